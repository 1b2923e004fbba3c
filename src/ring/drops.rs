//! How losses are counted, announced, told once.
//!
//! The producer adds each drop to a cumulative counter in the ring's control page *before* `publish` returns; a gap
//! record with the same counts follows in band as soon as there is room. The consumer keeps what it has told already and
//! tells the difference. When it finds the ring dry it reads the counters by itself: it loads them with acquire, looks
//! at the header again, and only if that still holds 0 believes them. A record committed before the drop would be
//! visible by then, so the gap is told at its place in the stream, also when the producer died right after the drop.

use super::{Control, Read, SeatWord};
use crate::sync::{Ordering, Site};

/// Why messages were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropCause {
    /// The ring was full, and the subscriber did not want it waited for.
    Full = 0,
    /// The ring was full, and stayed so for as long as the subscriber asked the publisher to wait.
    Deadline = 1,
}

/// Cumulative counts per cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropCounts::CAUSES]);

/// The producer's record of its drops.
#[derive(Debug, Default)]
pub struct DropLog {
    counts: DropCounts,
    /// Whether `counts` is ahead of the last gap record.
    pending: bool,
}

/// The consumer's record of what it has told.
#[derive(Debug, Default)]
pub struct Losses {
    told: DropCounts,
}

impl DropCounts {
    const CAUSES: usize = 2;
    const WORDS: [Control; Self::CAUSES] = [Control::DroppedFull, Control::DroppedDeadline];
    const SEAT_WORDS: [SeatWord; Self::CAUSES] = [SeatWord::DroppedFull, SeatWord::DroppedDeadline];
    /// Bytes of the payload of a gap record: one little-endian u64 per cause.
    pub const BYTES: usize = 8 * Self::CAUSES;

    /// So many, for one cause.
    #[cfg(not(ring_loom))]
    pub fn of(cause: DropCause, messages: u64) -> Self {
        let mut counts = Self::default();
        counts.0[cause as usize] = messages;
        counts
    }

    /// Messages dropped for a cause.
    pub fn count(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// Messages dropped.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// As a gap record has them.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (cell, count) in bytes.chunks_exact_mut(8).zip(self.0) {
            cell.copy_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// The counters in the payload of a gap record.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut counts = Self::default();
        for (cell, count) in bytes.chunks_exact(8).zip(&mut counts.0) {
            let mut word = [0; 8];
            word.copy_from_slice(cell);
            *count = u64::from_le_bytes(word);
        }
        counts
    }

    /// Stores the counters of another ring into the control page of one that goes on after it.
    pub(super) fn store(self, storage: &impl Read) {
        for (word, count) in Self::WORDS.into_iter().zip(self.0) {
            // Partner: the acquire in `DropCounts::load`.
            storage
                .control(word)
                .store(count, Site::DropStore.order(Ordering::Release));
        }
    }

    /// Stores what the reader of a seat is not to be told.
    pub(super) fn store_seat(self, storage: &impl Read, seat: u32) {
        for (word, count) in Self::SEAT_WORDS.into_iter().zip(self.0) {
            // Release: see `seat::seated`.
            storage.seat(seat, word).store(count, Ordering::Release);
        }
    }

    /// What the reader of a seat is not to be told.
    pub(super) fn load_seat(word: impl Fn(SeatWord) -> u64) -> Self {
        Self(Self::SEAT_WORDS.map(word))
    }

    /// The counters as they stand in the control page.
    pub(super) fn load(storage: &impl Read) -> Self {
        // Partner: the release in `DropLog::count`; what was committed before the drop is visible after this.
        Self(Self::WORDS.map(|word| Site::DropLoad.load_acquire(storage.control(word))))
    }
}

impl DropLog {
    /// Goes on in another ring, before anybody reads that.
    pub(super) fn carry_over(&self, storage: &impl Read) -> Self {
        self.counts.store(storage);
        Self {
            counts: self.counts,
            pending: self.pending,
        }
    }

    pub(super) fn count(&mut self, storage: &impl Read, cause: DropCause, messages: u64) {
        let index = cause as usize;
        self.counts.0[index] += messages;
        self.pending = true;
        // Partner: the acquire in `DropCounts::load`.
        storage.control(DropCounts::WORDS[index]).store(
            self.counts.0[index],
            Site::DropStore.order(Ordering::Release),
        );
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    pub(super) fn announced(&mut self) {
        self.pending = false;
    }

    pub(super) fn counts(&self) -> DropCounts {
        self.counts
    }
}

impl Losses {
    /// Those up to `told` are told.
    pub(super) fn after(told: DropCounts) -> Self {
        Self { told }
    }

    pub(super) fn told(&self) -> DropCounts {
        self.told
    }

    /// Whether `counts` holds something that was not told.
    pub(super) fn is_behind(&self, counts: DropCounts) -> bool {
        self.told != counts
    }

    /// What `counts` adds to that which was told; from now on it counts as told. `None` if a counter ran backwards,
    /// which only a peer that breaks the format brings about.
    pub(super) fn tell(&mut self, counts: DropCounts) -> Option<DropCounts> {
        let mut news = DropCounts::default();
        for ((new, now), told) in news.0.iter_mut().zip(counts.0).zip(self.told.0) {
            *new = now.checked_sub(told)?;
        }
        self.told = counts;
        Some(news)
    }
}
