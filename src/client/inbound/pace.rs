//! How long a subscriber that polls rests: enough to let a stream run ahead of it, not enough to keep a single message waiting.
//!
//! Who polls right behind a publisher that sends as fast as it can takes the line from under its hands for every message, and
//! both go at the pace at which lines move between cores. A rest lets messages gather, and they move by
//! themselves. For a message that comes alone the same rest would be latency. So it is taken only after
//! [`SIGNS`] messages in a row that came at one of the first looks, sooner than any answer to a message can; it is short at first,
//! twice as long each time that it was worth it, and given up when it has gathered little.

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
    /// How long the last rest was, in pauses.
    rest: u32,
}

impl Pace {
    /// The rings have run dry behind so many messages. Takes a rest if these came in a stream.
    pub(super) fn dry(&mut self, received: u64) {
        let gathered = received.wrapping_sub(self.received);
        self.rest = self.next_rest(gathered);
        self.received = received;
        self.looks = 0;
        for _ in 0..self.rest {
            spin_loop();
        }
    }

    /// How long to rest, behind so many messages since the rings were dry last.
    fn next_rest(&mut self, gathered: u64) -> u32 {
        if self.rest > 0 && gathered >= u64::from(self.rest / PAUSES_PER_MESSAGE) {
            return (2 * self.rest).min(LONGEST_REST);
        }
        let soon = self.rest == 0 && gathered > 0 && self.looks <= FIRST_LOOKS;
        self.signs = if soon { self.signs + 1 } else { 0 };
        match self.signs {
            SIGNS => SHORTEST_REST,
            _ => 0,
        }
    }

    /// Between two looks.
    #[inline]
    pub(super) fn look(&mut self) {
        spin_loop();
        self.looks = self.looks.saturating_add(1);
    }
}

/// A round trip between two cores takes at least ten looks.
pub(super) const FIRST_LOOKS: u32 = 3;
/// Messages at the first looks that make a stream.
const SIGNS: u32 = 8;
/// About half a microsecond.
const SHORTEST_REST: u32 = 64;
/// About eight microseconds. Each end of a rest costs the publisher the lines that are fetched ahead on this side: of 64 bytes, by
/// runs, 45 million a second come with rests of two microseconds, 55 with four, 63 with eight.
const LONGEST_REST: u32 = 1024;
/// A rest that gathers less is not worth it.
const PAUSES_PER_MESSAGE: u32 = 16;
