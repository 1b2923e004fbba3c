//! The parked counters of a subscriber, one for each of its cursor pages.

use std::sync::Arc;

use crate::client::second_look::SecondLook;
use crate::doorbell::Sleeper;
use crate::lane::CursorPage;
use crate::sync::{Ordering, fence};

/// The parked counters of a subscriber. They say the same.
#[derive(Default)]
pub(super) struct Sleepers {
    pages: Vec<(Arc<CursorPage>, Sleeper)>,
    /// Whether a sleep is announced and not retired. The bell keeps its token until then.
    announced: bool,
    second_look: SecondLook,
}

impl Sleepers {
    /// Takes in a page, unless it is there already.
    pub(super) fn add(&mut self, page: &Arc<CursorPage>) {
        if self.pages.iter().any(|(other, _)| Arc::ptr_eq(other, page)) {
            return;
        }
        let mut sleeper = Sleeper::default();
        sleeper.set_looks_twice(page.parked(), self.second_look.is_told());
        self.pages.push((page.clone(), sleeper));
    }

    /// Spares publishers their fences, for a subscriber that polls or sleeps in its own thread.
    #[inline]
    pub(super) fn look_twice(&mut self) {
        if self.second_look.begin() {
            tell(&mut self.pages, true);
        }
    }

    /// Asks publishers for fences, from now on: somebody else is about to sleep. Whether they know it; a wake can be lost
    /// until they do.
    pub(super) fn look_once(&mut self) -> bool {
        let pages = &mut self.pages;
        self.second_look.end(|| tell(pages, false));
        !self.second_look.is_due()
    }

    /// Whether whoever sleeps has to look twice: publishers may pass no fences, or not yet.
    pub(super) fn do_look_twice(&self) -> bool {
        self.second_look.is_due()
    }

    /// Says that a sleep begins. What is looked at afterwards is no older.
    pub(super) fn announce(&mut self) {
        self.announced = true;
        for (page, sleeper) in &mut self.pages {
            // One fence, below, for all of them.
            sleeper.announce(page.parked(), || (), || false);
        }
        fence(Ordering::SeqCst);
    }

    /// Whether a sleep is announced and not retired.
    pub(super) fn are_announced(&self) -> bool {
        self.announced
    }

    /// Says that the sleep is over.
    pub(super) fn retire(&mut self) {
        self.announced = false;
        for (page, sleeper) in &mut self.pages {
            sleeper.retire(page.parked());
        }
    }
}

#[cold]
fn tell(pages: &mut [(Arc<CursorPage>, Sleeper)], looks_twice: bool) {
    for (page, sleeper) in pages {
        sleeper.set_looks_twice(page.parked(), looks_twice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::SETTLE;
    use crate::segment::SegmentOptions;

    #[test]
    fn a_sleep_right_after_one_elsewhere_looks_twice_until_publishers_know() {
        let page = Arc::new(CursorPage::create(&SegmentOptions::default()).unwrap());
        let mut sleepers = Sleepers::default();
        sleepers.add(&page);
        sleepers.look_twice();
        assert!(sleepers.do_look_twice());
        // A future is polled once, and dropped.
        assert!(!sleepers.look_once());
        sleepers.look_twice();
        assert!(sleepers.do_look_twice());
        std::thread::sleep(SETTLE);
        assert!(!sleepers.do_look_twice() && sleepers.look_once());
    }
}
