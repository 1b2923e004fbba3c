//! Whether a handle looks twice when it sleeps, so that its peers need no fence to wake it (see [`crate::doorbell`]).

use std::mem;
use std::time::Instant;

use crate::doorbell::SETTLE;

/// Whether a handle looks twice: it does while only its own thread sleeps for it. An executor or an event loop cannot; from the first time
/// that one of these sleeps for the handle, peers are asked for fences.
#[derive(Debug, Default)]
pub(super) struct SecondLook {
    /// Whether its parked counters say so.
    told: bool,
    /// Whether somebody else has ever slept for this handle, who cannot look twice.
    sleeps_elsewhere: bool,
    /// When its counters stopped saying so.
    asked_for_fences: Option<Instant>,
}

impl SecondLook {
    /// Of a handle whose own thread sleeps; its counters are to say so from the beginning.
    pub(super) fn begun() -> Self {
        Self {
            told: true,
            ..Self::default()
        }
    }

    /// Its own thread sleeps from now on, or polls. Whether its counters are to say that it looks twice, and have not said so.
    #[inline]
    pub(super) fn begin(&mut self) -> bool {
        let is_news = !self.told && !self.sleeps_elsewhere;
        self.told |= is_news;
        is_news
    }

    /// Somebody else is about to sleep. `tell` has the counters say that nobody looks twice, where they have said so.
    pub(super) fn end(&mut self, tell: impl FnOnce()) {
        self.sleeps_elsewhere = true;
        if mem::take(&mut self.told) {
            tell();
            // Behind the stores: from here on peers have the time that they need to see them.
            self.asked_for_fences = Some(Instant::now());
        }
    }

    /// Whether its counters say that it looks twice.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// Whether whoever sleeps has to look twice: peers may pass no fences, or not yet.
    pub(super) fn is_due(&self) -> bool {
        let may_not_know = |asked: Instant| asked.elapsed() < SETTLE;
        self.told || self.asked_for_fences.is_some_and(may_not_know)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_is_due_until_peers_know_that_somebody_else_sleeps() {
        let mut look = SecondLook::default();
        assert!(!look.is_due());
        assert!(look.begin() && !look.begin() && look.is_due());
        let told = Cell::new(0);
        look.end(|| told.set(told.get() + 1));
        look.end(|| told.set(told.get() + 1));
        assert_eq!(told.get(), 1);
        assert!(look.is_due() && !look.is_told());
        assert!(!look.begin(), "for good");
        std::thread::sleep(SETTLE);
        assert!(!look.is_due());
    }
}
