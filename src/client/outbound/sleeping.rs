//! How a publisher sleeps that waits for room.

use crate::sync::{Ordering, fence};

use super::Outbound;

impl Outbound {
    /// Says that this side is about to sleep on its bell, until some lane may have room or the control thread has posted
    /// something. Whether it may; `retire` must follow in either case.
    pub(in crate::client) fn announce(&mut self) -> bool {
        if self.shared.mark().is_forked() {
            return false;
        }
        self.announce_lanes();
        let sleeps = !self.may_go_on();
        if sleeps {
            self.count_parked();
        }
        sleeps
    }

    /// Says once, for all attempts to come, that somebody waits: readers tell of every message from then on, and ring once.
    pub(in crate::client) fn announce_for_good(&mut self) {
        if !self.waits.announced && !self.shared.mark().is_forked() {
            self.announce_lanes();
        }
    }

    fn announce_lanes(&mut self) {
        self.waits.announced = true;
        for waiting in &self.waits.lanes {
            // One fence, below, for all of them.
            if let Some(lane) = waiting.lane(&mut self.lanes) {
                lane.announce();
            }
        }
        fence(Ordering::SeqCst);
    }

    /// The sleep is over. Does nothing if none is announced.
    pub(in crate::client) fn retire(&mut self) {
        // The counters and the token belong to the parent.
        if !self.waits.announced || self.shared.mark().is_forked() {
            return;
        }
        self.waits.announced = false;
        for waiting in &self.waits.lanes {
            if let Some(lane) = waiting.lane(&mut self.lanes) {
                lane.retire();
            }
        }
        self.bell.drain();
    }

    /// Counts a sleep, in each lane that is waited for.
    pub(super) fn count_parked(&mut self) {
        for waiting in &self.waits.lanes {
            if let Some(lane) = waiting.lane(&mut self.lanes) {
                lane.writer.count(|lane| lane.parked());
            }
        }
    }

    /// Whether nobody is waited for, or another attempt may go otherwise than the last.
    pub(in crate::client) fn may_go_on(&mut self) -> bool {
        // A forked child has something to be told.
        let mut lanes = self.waits.lanes.iter();
        self.shared.mark().is_forked()
            || self.mailbox.has_news(self.seen)
            || self.waits.lanes.is_empty()
            || lanes.any(|waiting| waiting.has_changed(&mut self.lanes, &mut self.pool))
    }
}
