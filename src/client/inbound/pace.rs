//! How long a subscriber that polls rests: enough to let a stream run ahead of it, not enough to keep a single message waiting.
//!
//! Who polls right behind a publisher that sends as fast as it can takes the line from under its hands for every message, and
//! both go at the pace at which lines move between cores. A rest lets messages gather, and they move by
//! themselves. For a message that comes alone the same rest would be latency. So it is taken only after
//! [`SIGNS`] messages in a row that came at one of the first looks, sooner than any answer to a message can; and given up when
//! it has gathered little.

use crate::sync::spin_loop;

/// What is remembered from one time that the rings were dry to the next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Messages received when the rings were dry last.
    received: u64,
    /// Looks since then.
    looks: u32,
    /// How often in a row a message came at one of the first looks.
    signs: u32,
}

impl Pace {
    /// The rings have run dry behind so many messages. Takes a rest if these came in a stream.
    pub(super) fn dry(&mut self, received: u64) {
        let gathered = received.wrapping_sub(self.received);
        let rested = self.signs >= SIGNS;
        let soon = match rested {
            true => gathered >= LEAST_GATHERED,
            false => gathered > 0 && self.looks <= FIRST_LOOKS,
        };
        self.signs = if soon { (self.signs + 1).min(SIGNS) } else { 0 };
        self.received = received;
        self.looks = 0;
        if self.signs >= SIGNS {
            for _ in 0..PAUSES {
                spin_loop();
            }
        }
    }

    /// Between two looks.
    #[inline]
    pub(super) fn look(&mut self) {
        spin_loop();
        self.looks += 1;
    }
}

/// A round trip between two cores takes at least ten looks.
pub(super) const FIRST_LOOKS: u32 = 3;
/// Messages at the first looks that make a stream.
const SIGNS: u32 = 8;
/// About two microseconds.
const PAUSES: u32 = 256;
/// Messages that a rest has to gather, or it is not worth it.
const LEAST_GATHERED: u64 = 16;
