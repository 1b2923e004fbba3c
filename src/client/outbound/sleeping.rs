//! How a publisher sleeps that waits for room.

use std::time::Duration;

use crate::doorbell::SETTLE;
use crate::sync::{Ordering, fence};
use crate::wake::Wait as Woken;

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

    /// Sleeps as announced, at most so long.
    pub(super) fn sleep(&mut self, timeout: Duration) {
        let first = match self.second_look.is_due() {
            true => timeout.min(SETTLE),
            false => timeout,
        };
        // An error is a passing lack of memory: look again, which is what follows.
        let woken = self.bell.wait(Some(first));
        if matches!(woken, Ok(Woken::TimedOut)) && first < timeout && !self.may_go_on() {
            let _ = self.bell.wait(Some(timeout - first));
        }
    }

    /// As [`announce`](Self::announce), for somebody else who sleeps, and cannot look twice: an executor, an event loop.
    pub(in crate::client) fn announce_elsewhere(&mut self) -> bool {
        if self.shared.mark().is_forked() {
            return false;
        }
        let lanes = self.lanes.iter_mut();
        self.second_look
            .end(|| lanes.for_each(|(_, lane)| lane.set_looks_twice(false)));
        !self.second_look.is_due() && self.announce()
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
