//! The doorbell: when a peer sleeps, who rings, how often.
//!
//! # Protocol
//! Each sleeper has a *parked counter* in a page of its own. Its lowest bit is set while it sleeps or is about to; the bit
//! above says that it *looks twice*; the rest numbers its sleeps.
//!
//! | sleeper | waker |
//! |---|---|
//! | 1. set the counter's lowest bit | a. make the event visible (commit a record, move a cursor) |
//! | 2. full fence | b. load the counter; if the sleeper does not look twice: full fence, load it again |
//! | 3. look once more; something there: go to 5 | c. if it is asleep, and in another sleep than last rung for: ring, remember the sleep |
//! | 4. sleep until the bell was rung; look twice | |
//! | 5. number the next sleep, consume the bell's token, look | |
//!
//! The lost wake would be: the sleeper looks (3) before the event is visible (a), and the waker looks (b) before the
//! counter says so (1). The two fences exclude it: one of the two sees the other's store. A bell remembers a ring that
//! comes before the sleep (4). Each sleep has a number of its own, so a waker that rang for one has nothing to do until the
//! next: one system call for each sleep, however many messages arrive meanwhile.
//!
//! # Looking twice
//! A fence for every message costs a publisher more than the message does. A sleeper can spare it that: it sleeps for
//! [`SETTLE`], or some milliseconds if that is cheaper, looks a second time, and only then sleeps for good. A waker without a fence can miss the sleeper only
//! while its own store waits in its processor's store buffer, which takes nanoseconds, at worst microseconds; after
//! [`SETTLE`] the store is visible, and the second look finds the event. So such a wake comes late once in a great many, and is
//! never lost. (That stores become visible in bounded time is no promise of the architecture but of every machine there is:
//! A. Morrison, Y. Afek, "Temporally Bounding TSO for Fence-Free Asymmetric Synchronization", ASPLOS 2015.) A sleeper that
//! stops looking twice must not sleep before [`SETTLE`] is over, for a waker may not have seen the bit go yet.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering, Site, keep_program_order};

/// How long a sleeper that looks twice waits for its second look: thousands of times what a store takes to become visible.
pub const SETTLE: Duration = Duration::from_millis(1);

/// The sleeping side, for one parked counter.
#[derive(Debug, Default)]
pub struct Sleeper {
    /// What the counter holds; the sleeper is its only writer.
    count: u64,
}

/// The waking side, for one sleeper.
#[derive(Debug, Default)]
pub struct Waker {
    /// The value for which the bell was rung last; 0 before the first time.
    rung: u64,
}

impl Sleeper {
    /// Says whether this side looks twice; it does not unless it says so. Whether that is news.
    pub fn set_looks_twice(&mut self, parked: &AtomicU64, looks_twice: bool) -> bool {
        let bit = if looks_twice { LOOKS_TWICE } else { 0 };
        let is_news = self.count & LOOKS_TWICE != bit;
        if is_news {
            self.count ^= LOOKS_TWICE;
            parked.store(self.count, Ordering::Relaxed);
        }
        is_news
    }

    /// Steps 1 to 3: says that this side is about to sleep. Returns whether it may; `look` says whether there is
    /// something to do after all. [`Sleeper::retire`] must follow in either case; without an announcement it does nothing.
    pub fn announce(
        &mut self,
        parked: &AtomicU64,
        barrier: impl FnOnce(),
        look: impl FnOnce() -> bool,
    ) -> bool {
        // Announced twice is announced once.
        self.count |= ASLEEP;
        // Relaxed: the barrier orders it against the look below.
        parked.store(self.count, Ordering::Relaxed);
        if Site::SleeperFence.holds() {
            barrier();
        }
        !(Site::SleeperLookAgain.holds() && look())
    }

    /// Step 5, first third: awake again. The caller consumes the bell's token *afterwards*, then looks.
    pub fn retire(&mut self, parked: &AtomicU64) {
        if self.count & ASLEEP == 0 {
            return;
        }
        self.count -= ASLEEP;
        if Site::SleeperRetire.holds() {
            self.count = self.count.wrapping_add(NEXT);
        }
        // Relaxed: a waker that sees the old value rings once too often, which the bell forgets.
        parked.store(self.count, Ordering::Relaxed);
    }
}

impl Waker {
    /// Steps b and c: whether the bell must be rung now. True once for each sleep. `barrier` is a full fence.
    #[inline(always)]
    pub fn must_ring(&mut self, parked: &AtomicU64, barrier: impl FnOnce()) -> bool {
        // The processor may load before the event is visible. The compiler must not.
        keep_program_order();
        // Relaxed: see above.
        let count = parked.load(Ordering::Relaxed);
        if count & (ASLEEP | LOOKS_TWICE) == LOOKS_TWICE {
            return false;
        }
        self.must_ring_for(count, parked, barrier)
    }

    #[inline(never)]
    fn must_ring_for(
        &mut self,
        mut count: u64,
        parked: &AtomicU64,
        barrier: impl FnOnce(),
    ) -> bool {
        if count & LOOKS_TWICE == 0 {
            if Site::WakerFence.holds() {
                barrier();
            }
            if Site::WakerLookAgain.holds() {
                // Relaxed: the barrier orders it against the event before.
                count = parked.load(Ordering::Relaxed);
            }
        }
        if !Site::WakerRemember.holds() {
            let ring = count & ASLEEP != 0 && count != self.rung;
            self.rung = count | ASLEEP;
            return ring;
        }
        if count & ASLEEP == 0 || (count == self.rung && Site::WakerOnce.holds()) {
            return false;
        }
        self.rung = count;
        true
    }
}

/// In a parked counter: the sleeper sleeps, or is about to.
const ASLEEP: u64 = 1;
/// The sleeper looks twice.
const LOOKS_TWICE: u64 = 2;
/// What a sleep adds.
const NEXT: u64 = 4;

/// Whether somebody is asleep, or about to be, whose parked counter holds this.
#[inline]
pub fn is_asleep(count: u64) -> bool {
    count & ASLEEP != 0
}

#[cfg(all(test, not(ring_loom)))]
mod tests;
