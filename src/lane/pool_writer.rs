//! A publisher's pool: its account, and the memory that this is about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::{
    Allocated, CHUNK_ALIGN_BYTES, Idle, Pool, Presence, RingKey, SegmentId, Shortage,
};
use crate::segment::{Kind, Segment, SegmentError, SegmentOptions};

use super::block::{Block, RawLoan};
use super::{CargoSender, PeerArea};

/// A publisher's pool.
pub struct PoolWriter {
    account: Pool<Arc<PeerArea>, Arc<CargoSender>>,
    segments: BTreeMap<SegmentId, Arc<Segment>>,
    options: SegmentOptions,
    /// What the next loan is likely to be.
    next: Option<NextLoan>,
    /// Chunks that were given since the clock was looked at.
    given: u32,
    /// When idle segments were looked for.
    looked: Instant,
    /// Segments that were given up and that lanes may not know yet of.
    retired: Vec<SegmentId>,
}

/// What the next loan is likely to be: as the last one.
struct NextLoan {
    len: usize,
    align: u64,
    /// Its memory, if that was found while there was time.
    loan: Option<RawLoan>,
}

/// What a lane has to do with the pool of its publisher.
pub struct PoolLane {
    ring: RingKey,
    reader: usize,
    cargo: Arc<CargoSender>,
    /// Segments that the subscriber was sent.
    known: Vec<SegmentId>,
    /// Those of them that were given up, which it is to be told.
    retired: Vec<SegmentId>,
}

/// Why there is no memory for a payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The pool's limit does not allow it: subscribers have not read what lies there, or hold it.
    #[error("the pool cannot grow: {asked} bytes are needed, {used} of {limit} are in use")]
    Limit {
        /// What is needed, in bytes.
        asked: u64,
        /// Bytes of memory there are.
        used: u64,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// There are too many pieces of memory.
    #[error("the pool cannot grow: it has {0} segments, which is the most")]
    Segments(usize),
    /// The system has none.
    #[error("the pool cannot grow: {0}")]
    Segment(#[from] SegmentError),
}

impl From<Shortage> for PoolError {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Limit { asked, used, limit } => Self::Limit { asked, used, limit },
            Shortage::Segments(segments) => Self::Segments(segments),
        }
    }
}

impl Presence for Arc<CargoSender> {
    fn is_gone(&self) -> bool {
        // The other end is kept open by whoever reads the lane, and by all that is held of it.
        self.is_hung_up()
    }
}

impl PoolWriter {
    /// Without any memory; it takes `limit` bytes at most.
    pub fn new(limit: u64, options: SegmentOptions) -> Self {
        Self {
            account: Pool::new(limit),
            segments: BTreeMap::new(),
            options,
            next: None,
            given: 0,
            looked: Instant::now(),
            retired: Vec::new(),
        }
    }

    /// Memory for `len` bytes, at a multiple of `align`, a power of two from 64 to 4,096.
    pub fn loan(&mut self, len: usize, align: u64) -> Result<RawLoan, PoolError> {
        self.given += 1;
        if self.given >= LOANS_PER_LOOK {
            self.given = 0;
            if self.looked.elapsed() >= STALE_AFTER {
                self.looked = Instant::now();
                self.shrink(Idle::Stale);
            }
        }
        let align = align.max(CHUNK_ALIGN_BYTES);
        if let Some(loan) = self.take_prepared(len, align) {
            return Ok(loan);
        }
        self.next = Some(NextLoan {
            len,
            align,
            loan: None,
        });
        let chunk = match self.account.allocate(len as u64, align) {
            Some(chunk) => chunk,
            None => {
                self.grow(len as u64, align)?;
                let chunk = self.account.allocate(len as u64, align);
                chunk.ok_or(Shortage::Segments(self.segments.len()))?
            }
        };
        self.lend(chunk, len)
    }

    /// Looks for what the next loan is likely to need, after one was published: now nobody waits for it.
    pub fn prepare(&mut self) {
        let Some(NextLoan {
            len,
            align,
            loan: None,
        }) = self.next
        else {
            return;
        };
        let Some(chunk) = self.account.allocate_soon(len as u64, align) else {
            return;
        };
        let prepared = self.lend(chunk, len).ok();
        if let (Some(next), Some(loan)) = (&mut self.next, prepared) {
            loan.fetch();
            next.loan = Some(loan);
        }
    }

    fn take_prepared(&mut self, len: usize, align: u64) -> Option<RawLoan> {
        let next = self.next.as_mut()?;
        let loan = next.loan.take()?;
        if (next.len, next.align) == (len, align) {
            return Some(loan);
        }
        self.account.settle(loan.seal().key());
        None
    }

    /// Gives back what was looked for in vain.
    fn forget_prepared(&mut self) {
        if let Some(loan) = self.next.take().and_then(|next| next.loan) {
            self.account.settle(loan.seal().key());
        }
    }

    fn lend(&mut self, chunk: Allocated, len: usize) -> Result<RawLoan, PoolError> {
        let segment = self.segments.get(&chunk.place.segment).cloned();
        let key = chunk.key;
        segment
            .and_then(|segment| RawLoan::new(chunk, len, segment))
            .ok_or_else(|| {
                debug_assert!(false, "the account is of these segments");
                self.account.settle(key);
                Shortage::Segments(self.segments.len()).into()
            })
    }

    /// A block once more, to be settled by itself.
    pub fn duplicate(&mut self, block: &Block) -> Block {
        self.account.reopen(block.key());
        block.duplicate()
    }

    /// The publisher does not push, nor read, a block any more.
    pub fn settle(&mut self, block: Block) {
        self.account.settle(block.key());
    }

    /// A lane has ended: gives up what is kept for it, if nobody reads it any more.
    pub fn tidy(&mut self) {
        self.account.tidy();
    }

    /// Gives up segments in which nothing lies.
    pub fn shrink(&mut self, idle: Idle) {
        self.given = 0;
        self.forget_prepared();
        for id in self.account.take_idle(idle) {
            self.segments.remove(&id);
            self.retired.push(id);
        }
    }

    /// For a forked child: what is left here is its parent's.
    pub fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.segments));
        std::mem::forget(self.next.take());
    }

    /// Segments that were given up since this was asked last.
    pub fn take_retired(&mut self) -> Vec<SegmentId> {
        std::mem::take(&mut self.retired)
    }

    /// Bytes of memory that it has.
    pub fn bytes(&self) -> u64 {
        self.account.bytes()
    }

    /// A lane whose subscriber can get segments.
    pub fn add_lane(&mut self, cargo: Arc<CargoSender>) -> PoolLane {
        let ring = self.account.add_ring();
        let reader = self.account.add_reader(&ring, cargo.clone());
        PoolLane {
            ring,
            reader,
            cargo,
            known: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The subscriber of a lane has answered.
    pub fn attach(&mut self, lane: &PoolLane, area: Arc<PeerArea>) {
        self.account.watch(&lane.ring, lane.reader, area);
    }

    /// Whether the share of this lane has room for so many bytes more.
    pub fn has_share(&mut self, lane: &PoolLane, bytes: usize) -> bool {
        self.account.has_room(&lane.ring, bytes as u64)
    }

    /// Whether a lane whose older messages give way may be lent so many bytes more, by what its subscriber holds.
    pub(super) fn may_lend(&mut self, lane: &PoolLane, bytes: usize) -> bool {
        self.account.may_lend(&lane.ring, bytes as u64)
    }

    /// See [`Pool::excess`].
    pub(super) fn excess(&mut self, lane: &PoolLane, budget: usize) -> Option<u64> {
        self.account.excess(&lane.ring, budget as u64)
    }

    /// See [`Pool::oldest`].
    pub(super) fn oldest(&self, lane: &PoolLane) -> Option<u64> {
        self.account.oldest(&lane.ring)
    }

    /// See [`Pool::give_up`].
    pub(super) fn give_up(&mut self, lane: &PoolLane, end: u64) {
        self.account.give_up(&lane.ring, end);
    }

    /// See [`Pool::give_up_one`].
    pub(super) fn give_up_one(&mut self, lane: &PoolLane, end: u64) {
        self.account.give_up_one(&lane.ring, end);
    }

    /// Sees to it that the subscriber has the segment of a block; whether it does.
    pub(super) fn introduce(&mut self, lane: &mut PoolLane, block: &Block) -> bool {
        let id = block.chunk().place.segment;
        if lane.known.contains(&id) {
            return true;
        }
        let handle = self.segments.get(&id).map(|segment| segment.handle());
        let Some(Ok(handle)) = handle else {
            return false;
        };
        // Whoever is gone has no room.
        let sent = lane.cargo.send_memory(id.into(), &handle);
        let sent = sent.unwrap_or(false);
        if sent {
            lane.known.push(id);
        }
        sent
    }

    /// A block goes with the record that ends here.
    pub(super) fn push(&mut self, lane: &PoolLane, block: &Block, end: u64) {
        self.account.push(&lane.ring, block.key(), end);
    }

    /// Adds a segment for so much; gives others up if that makes room.
    #[cold]
    fn grow(&mut self, len: u64, align: u64) -> Result<(), PoolError> {
        let plan = self.account.plan(len, align).or_else(|_| {
            self.shrink(Idle::All);
            self.account.plan(len, align)
        })?;
        let bytes = usize::try_from(plan.bytes).unwrap_or(usize::MAX);
        let segment = Segment::create(Kind::Pool, bytes, &self.options)?;
        let id = self.account.add_segment(plan);
        self.segments.insert(id, Arc::new(segment));
        Ok(())
    }
}

impl PoolLane {
    /// These segments were given up.
    pub(super) fn retire(&mut self, segments: &[SegmentId]) {
        if segments.is_empty() {
            return;
        }
        let (given_up, known) = std::mem::take(&mut self.known)
            .into_iter()
            .partition(|id| segments.contains(id));
        self.known = known;
        self.retired.extend::<Vec<_>>(given_up);
    }

    /// Tells the subscriber by the courier, as far as there is room; of how many.
    pub(super) fn tell_retired(&mut self) -> u64 {
        let mut told = 0;
        while let Some(segment) = self.next_retired() {
            // Whoever is gone has no room.
            if !matches!(self.cargo.send_retired(segment.into()), Ok(true)) {
                break;
            }
            self.told_retired();
            told += 1;
        }
        told
    }

    /// What the subscriber is to be told next.
    pub(super) fn next_retired(&self) -> Option<SegmentId> {
        self.retired.last().copied()
    }

    /// It was told that.
    pub(super) fn told_retired(&mut self) {
        self.retired.pop();
    }
}

/// How many chunks are given between two looks at the clock.
const LOANS_PER_LOOK: u32 = 64;
/// A segment that was not used for as long, or for twice that, is given up. A burst of a stream must not have one made anew:
/// with a look each 64 chunks 1 MiB of which a line is touched went at 70,000 a second, for the memory of the second segment was given
/// back, and cleared, again and again.
const STALE_AFTER: Duration = Duration::from_secs(1);
