//! The account of large payloads: which memory is whose, without a word of it shared.
//!
//! # Protocol
//! A publisher writes a payload once, into a *chunk* of one of its segments, and pushes the chunk's [`Place`] on any number of
//! rings. It alone keeps account ([`Pool`]): which chunks there are, and of each ring, in order, which chunk goes with which
//! position. There is no shared reference count and no queue back. A chunk is free when for each ring that it was pushed on
//! 1. the cursor of its slowest reader is past it, or the reader has said that it reads no more, and
//! 2. no hold slot of a reader names it;
//!
//! or when nobody is at the other end any more, which the kernel tells ([`Presence::is_gone`]).
//!
//! A reader that keeps a chunk beyond its record writes the place into a *hold slot*, a word of its own segment ([`Holds`]). It does
//! so before its cursor moves past the record, and never moves a hold from one slot to another. So the publisher loads cursors first
//! (acquire), then slots: a hold is found, or was released. Whoever releases a hold stores 0 (release): what was read is
//! read by then.
//!
//! # Hints
//! In a ring whose oldest records give way ([`lossy`](crate::ring::lossy)) a place is a *hint*: the publisher may take the chunk
//! back before the record is read. So a reader never reads a chunk there but by a hold:
//! 1. It copies the record out, which is whole then, and writes the place into a hold slot.
//! 2. It passes a full fence, and looks whether the record stands still (`LossyConsumer::stands`). If so, the chunk is its own
//!    until it releases the slot. If not, it gives the slot back, and the record counts as one that was overtaken.
//! 3. Its cursor moves past the record only then.
//!
//! The publisher *gives records up*: it raises `Intent`, never past the newest one, tells the account ([`Pool::give_up`]), which
//! passes a full fence, and *then* looks at the slots. A chunk is free when its record is given up, or read, and no slot names it.
//! Of the two fences one is first. If it is the publisher's, the reader sees that the record is given up. If it is the
//! reader's, the publisher sees the slot; or what the slot held later, and then all reads of the chunk are over.
//!
//! In a [`table`](crate::table) a value is such a record: it ends at its sequence plus 1, as the reader's cursor has it, it stands as long
//! as it is the newest of its slot (`TableReader::poll_with`), and it is given up when another one has taken its place, or its
//! slot is vacated.
//!
//! A reader without a free slot copies the chunk by atomic words, passes the fence, and looks likewise: what is written into the
//! chunk next is written behind `Intent` and a fence, so a copy of a record that stands is whole.
//!
//! Of a reader that has not said yet where its slots are nothing is free that was given up.
//!
//! # When
//! Nothing is looked at but when memory is needed: [`Pool::allocate`] takes what is known to be free, and looks for more
//! only if there is none.

#[cfg(all(test, not(ring_loom)))]
mod heap;
mod holds;
mod ledger;
mod place;
mod space;
#[cfg(all(test, not(ring_loom)))]
mod tests;

use ledger::Ledger;
use space::{Part, Space};

pub use holds::{HOLDS, Holds, Slots, leave};
pub use ledger::{ChunkKey, Presence, RingKey, Watch, is_done};
pub use place::{CHUNK_ALIGN_BYTES, Chunk, Place, SegmentId};
pub use space::{Plan, Shortage};

/// The account of one publisher's chunks.
#[derive(Debug)]
pub struct Pool<W, P> {
    space: Space,
    ledger: Ledger<W, P>,
}

/// A chunk that nobody else knows of yet; to be given back with [`Pool::settle`].
#[derive(Debug)]
pub struct Allocated {
    /// Where it lies.
    pub place: Place,
    /// By which the account knows it.
    pub key: ChunkKey,
}

impl<W: Watch, P: Presence> Pool<W, P> {
    /// Without any segment; all together have at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            space: Space::new(limit),
            ledger: Ledger::new(),
        }
    }

    /// Memory for `len` bytes at a multiple of `align`, a power of two up to 4,096. Its content is what was there before.
    ///
    /// # Errors
    /// What is needed before the next try: as a rule a segment, see [`Pool::plan`].
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<Allocated> {
        let part = self.find(len, align)?;
        Some(self.open(part))
    }

    /// The same, as far as it costs no system call and no more memory in use.
    pub fn allocate_soon(&mut self, len: u64, align: u64) -> Option<Allocated> {
        let part = self.find_soon(len, align)?;
        Some(self.open(part))
    }

    fn open(&mut self, part: Part) -> Allocated {
        let place = part.place;
        let key = self.ledger.open(part);
        Allocated { place, key }
    }

    /// The segment that has to be added before so much memory is found.
    ///
    /// # Errors
    /// The limit does not allow it.
    pub fn plan(&self, len: u64, align: u64) -> Result<Plan, Shortage> {
        self.space.plan(len, align)
    }

    /// Takes in a fresh segment.
    pub fn add_segment(&mut self, plan: Plan) -> SegmentId {
        self.space.add(plan)
    }

    /// A ring that chunks are to be pushed on; it is forgotten when the key and all its clones are dropped, and all that was
    /// pushed on it is free.
    pub fn add_ring(&mut self) -> RingKey {
        self.ledger.add_ring()
    }

    /// From here on the ring has one more reader, which pins all that is pushed on it until it says where it has come. Gives
    /// its number.
    pub fn add_reader(&mut self, ring: &RingKey, presence: P) -> usize {
        self.ledger.add_reader(ring, presence)
    }

    /// The reader of this number has said where its words are.
    pub fn watch(&mut self, ring: &RingKey, reader: usize, words: W) {
        self.ledger.watch(ring, reader, words);
    }

    /// Whether one more chunk of so many bytes is within what the readers of this ring may pin: an equal share for each ring, and
    /// one for what is on its way. One chunk may always be pushed, however long it is.
    pub fn has_room(&mut self, ring: &RingKey, bytes: u64) -> bool {
        let share = self.share();
        let fits = |pinned: u64| pinned == 0 || pinned.saturating_add(bytes) <= share;
        fits(self.ledger.pinned(ring)) || {
            self.look_at(ring);
            fits(self.ledger.pinned(ring))
        }
    }

    /// Whether the readers of a ring whose oldest records give way may be lent one more chunk of so many bytes: what they hold
    /// leaves room for it in their share. What they do not hold can be given up.
    pub fn may_lend(&mut self, ring: &RingKey, bytes: u64) -> bool {
        let share = self.share();
        let fits = |held: u64| held == 0 || held.saturating_add(bytes) <= share;
        fits(self.ledger.held(ring)) || {
            self.look_at(ring);
            fits(self.ledger.held(ring))
        }
    }

    /// Where the oldest record ends that is to be given up, as long as those that are not take more than `budget` bytes, or all
    /// that is pinned more than the share. Never the newest one.
    pub fn excess(&mut self, ring: &RingKey, budget: u64) -> Option<u64> {
        let share = self.share();
        let is_excess = |ledger: &Ledger<W, P>| {
            let (pinned, held) = (ledger.pinned(ring), ledger.held(ring));
            pinned - held > budget || pinned > share
        };
        if is_excess(&self.ledger) {
            self.look_at(ring);
        }
        match is_excess(&self.ledger) {
            true => self.ledger.oldest(ring),
            false => None,
        }
    }

    /// Where the oldest record of this ring ends that a chunk goes with, unless it is the newest one, too.
    pub fn oldest(&self, ring: &RingKey) -> Option<u64> {
        self.ledger.oldest(ring)
    }

    /// The records of this ring that end here, or before, are given up: whoever looks at them from now on can see that.
    pub fn give_up(&mut self, ring: &RingKey, end: u64) {
        self.ledger.give_up(ring, end);
    }

    /// The same of one record alone.
    pub fn give_up_one(&mut self, ring: &RingKey, end: u64) {
        self.ledger.give_up_one(ring, end);
    }

    /// The chunk goes with the record of this ring that ends at the position `end`, which is above all before.
    pub fn push(&mut self, ring: &RingKey, chunk: ChunkKey, end: u64) {
        self.ledger.push(ring, chunk, end);
    }

    /// The publisher has the chunk once more: it is to be settled once more, too.
    pub fn reopen(&mut self, chunk: ChunkKey) {
        self.ledger.reopen(chunk);
    }

    /// The publisher is done with a chunk: it is free when nobody reads it any more.
    pub fn settle(&mut self, chunk: ChunkKey) {
        if let Some(part) = self.ledger.settle(chunk) {
            self.space.free(part);
        }
    }

    /// Takes out segments in which nothing lies: all, or those that were not used since this was asked last.
    pub fn take_idle(&mut self, idle: Idle) -> Vec<SegmentId> {
        self.reclaim();
        if idle == Idle::All {
            self.reclaim_of_gone();
        }
        self.space.take_idle(idle)
    }

    /// Forgets rings that nobody pushes on any more, with all that is free there.
    pub fn tidy(&mut self) {
        self.reclaim();
        self.reclaim_of_gone();
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.space.bytes()
    }

    fn find(&mut self, len: u64, align: u64) -> Option<Part> {
        if let Some(part) = self.find_soon(len, align) {
            return Some(part);
        }
        while self.space.use_more() {
            if let Some(part) = self.space.allocate(len, align) {
                return Some(part);
            }
        }
        self.reclaim_of_gone();
        self.space.allocate(len, align)
    }

    fn find_soon(&mut self, len: u64, align: u64) -> Option<Part> {
        self.space.allocate(len, align).or_else(|| {
            self.reclaim();
            self.space.allocate(len, align)
        })
    }

    fn share(&self) -> u64 {
        self.space.limit() / (self.ledger.rings() as u64 + 1)
    }

    fn look_at(&mut self, ring: &RingKey) {
        let space = &mut self.space;
        self.ledger.look_at(ring, &mut |part| space.free(part));
    }

    fn reclaim(&mut self) {
        let space = &mut self.space;
        self.ledger.look_at_all(|part| space.free(part));
    }

    fn reclaim_of_gone(&mut self) {
        let space = &mut self.space;
        self.ledger.part_from_gone(|part| space.free(part));
    }
}

/// Which segments are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// All in which nothing lies.
    All,
    /// Those that were not used lately.
    Stale,
}
