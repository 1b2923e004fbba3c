//! What the reader of a lane keeps of its publisher's pool.

use std::sync::Arc;

use crate::doorbell::Waker;
use crate::pool::{Chunk, Holds, Place};
use crate::ring::{Control, Read};
use crate::segment::Kind;
use crate::segment::fork::ProcessMark;
use crate::sync::{Ordering, fence};
use crate::wake::{BellSender, CourierReceiver};

use super::block::Lent;
use super::{CargoError, CargoReceiver, CursorArea, PeerMedium};

/// What one reader holds of its publisher's pool.
pub(super) struct PoolReader {
    keeper: Arc<Keeper>,
}

/// What is held of one lane, and what keeps that: the publisher watches these until the last of them is gone.
struct Keeper {
    holds: Holds<Arc<CursorArea>>,
    /// As long as this is kept the publisher knows that somebody is there.
    _presence: Arc<CourierReceiver>,
    /// Whose publisher may wait for a hold to be released.
    ring: PeerMedium,
    bell: Arc<BellSender>,
    /// Where the lane was made.
    mark: ProcessMark,
}

/// A chunk that is kept beyond its record; released when the last clone is dropped, by any thread.
#[derive(Clone)]
pub struct Hold {
    _kept: Arc<Kept>,
    pub(super) lent: Lent,
}

/// A place that is kept beyond its record; released when dropped, by any thread.
pub struct Kept {
    slot: usize,
    keeper: Arc<Keeper>,
}

/// Why a chunk cannot be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotHold {
    /// As many of the lane are held as can be.
    UsedUp,
    /// This is a forked child of the process that reads.
    Forked,
}

impl PoolReader {
    pub(super) fn new(
        area: Arc<CursorArea>,
        presence: Arc<CourierReceiver>,
        ring: PeerMedium,
        bell: Arc<BellSender>,
        mark: ProcessMark,
    ) -> Self {
        Self {
            keeper: Arc::new(Keeper {
                holds: Holds::new(area),
                _presence: presence,
                ring,
                bell,
                mark,
            }),
        }
    }

    /// Keeps a chunk whose record is not released.
    pub(super) fn hold(&self, lent: Lent) -> Result<Hold, CannotHold> {
        let kept = self.keep(lent.place)?;
        Ok(Hold::new(kept, lent))
    }

    /// Keeps a place that goes with a record that is not released.
    pub(super) fn keep(&self, place: Place) -> Result<Kept, CannotHold> {
        // The slots are the parent's.
        if self.keeper.mark.is_forked() {
            return Err(CannotHold::Forked);
        }
        let slot = self.keeper.holds.take(place);
        let slot = slot.ok_or(CannotHold::UsedUp)?;
        Ok(Kept {
            slot,
            keeper: self.keeper.clone(),
        })
    }
}

impl Hold {
    /// Of a chunk whose place is kept.
    pub(super) fn new(kept: Kept, lent: Lent) -> Self {
        Self {
            _kept: Arc::new(kept),
            lent,
        }
    }
}

/// Where a chunk lies, which the publisher has named; `last` is another one, perhaps of the same segment.
pub(super) fn find(
    chunk: Chunk,
    last: Option<&Lent>,
    cargo: &mut CargoReceiver,
) -> Result<Lent, CargoError> {
    let number = chunk.place.segment;
    let segment = match last {
        Some(last) if last.place.segment == number => last.segment.clone(),
        _ => cargo.memory(number.into(), Kind::Pool, MOST_SEGMENT_BYTES)?,
    };
    let bounds = CargoError::Bounds {
        offset: chunk.place.offset_bytes(),
        len: chunk.len_bytes,
        segment_bytes: segment.data_len() as u64,
    };
    Lent::new(chunk, segment).ok_or(bounds)
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Keeper {
            holds,
            ring,
            bell,
            mark,
            ..
        } = &*self.keeper;
        // A forked child's copy must not release what its parent holds.
        if mark.is_forked() {
            return;
        }
        holds.release(self.slot);
        // Each on its own: it may ring more than once for a sleep.
        let mut waker = Waker::default();
        if waker.must_ring(ring.control(Control::Parked), || fence(Ordering::SeqCst)) {
            bell.ring();
        }
    }
}

/// The longest segment that is mapped, header page included: 256 GiB.
const MOST_SEGMENT_BYTES: u64 = 1 << 38;
