//! What a reader keeps beyond its records.

use super::Place;
use crate::sync::{AtomicU64, Ordering, Site};

/// Where a reader's hold slots lie: words that it alone writes.
pub trait Slots {
    /// The word of a slot, below [`HOLDS`].
    fn slot(&self, index: usize) -> &AtomicU64;
}

/// The hold slots of one reader of one ring. One thread takes, any releases.
#[derive(Debug)]
pub struct Holds<S> {
    slots: S,
    /// A bit for each slot that is free; of this process alone.
    free: AtomicU64,
}

impl<S: Slots> Holds<S> {
    /// Slots that all hold 0.
    pub fn new(slots: S) -> Self {
        Self {
            slots,
            free: AtomicU64::new((1 << HOLDS) - 1),
        }
    }

    /// Keeps a chunk, whose record is not released yet; `None` if all slots are in use. Gives the slot, which is to be released
    /// once.
    pub fn take(&self, place: Place) -> Option<usize> {
        // Partner: the release in `release`; whoever had the slot has read what he held. No site: to loom, the fence behind the
        // publisher's look at the slot takes in what this thread has seen, whether it took that in or not.
        let free = self.free.load(Ordering::Acquire);
        if free == 0 {
            return None;
        }
        let index = free.trailing_zeros() as usize;
        // Relaxed: no other thread takes.
        self.free.fetch_and(!(1 << index), Ordering::Relaxed);
        // Partner: the acquire in `Reader::names`. Release: a publisher that finds this, and not what was held here before, must
        // know that to be read.
        let slot = self.slots.slot(index);
        slot.store(place.word(), Site::HoldStore.order(Ordering::Release));
        Some(index)
    }

    /// Gives a slot back; what was held there is read no more.
    pub fn release(&self, index: usize) {
        let slot = self.slots.slot(index);
        // Partner: the acquire in `Reader::names`; our reads of the chunk are over.
        slot.store(0, Site::HoldRelease.order(Ordering::Release));
        let given_back = Site::HoldGiveBack.order(Ordering::Release);
        self.free.fetch_or(1 << index, given_back);
    }
}

/// Says that a reader reads no more records; what it holds, it holds.
pub fn leave(word: &AtomicU64) {
    // Partner: the acquire in `Reader::has_left`; what is held is in its slots by now.
    word.store(1, Site::LeftStore.order(Ordering::Release));
}

/// Chunks that a reader can hold at a time, of one ring; fewer in models, which look at all interleavings.
pub const HOLDS: usize = if cfg!(ring_loom) { 1 } else { 48 };
