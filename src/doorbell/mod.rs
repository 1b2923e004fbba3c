//! The doorbell: when a peer sleeps, who rings, how often.
//!
//! # Protocol
//! Each sleeper has a *parked counter* in a page of its own: odd while it sleeps or is about to.
//!
//! | sleeper | waker |
//! |---|---|
//! | 1. raise the counter to odd | a. make the event visible (commit a record, move a cursor) |
//! | 2. full barrier | b. barrier |
//! | 3. look once more; something there: go to 5 | c. load the counter; if it is odd and another value than last rung for: ring, remember it |
//! | 4. sleep until the bell was rung | |
//! | 5. raise the counter to even, consume the bell's token, look | |
//!
//! The lost wake would be: the sleeper looks (3) before the event is visible (a), and the waker looks (c) before the
//! counter is odd (1). The two barriers exclude it: one of the two sees the other's store. A bell remembers a ring that
//! comes before the sleep (4). Each sleep has an odd value of its own, so a waker that rang for one value has nothing to
//! do until the next sleep: one system call for each sleep, however many messages arrive meanwhile.
//!
//! A sleeper may pay for both barriers with a process-wide one (`membarrier`), and the waker's shrinks to a compiler
//! fence; `wake` decides that. Here barriers are parameters.

use crate::sync::{AtomicU64, Ordering, Site};

/// The sleeping side, for one parked counter.
#[derive(Debug, Default)]
pub struct Sleeper {
    /// What the counter holds; the sleeper is its only writer.
    count: u64,
}

/// The waking side, for one sleeper.
#[derive(Debug, Default)]
pub struct Waker {
    /// The odd value for which the bell was rung last; 0 before the first time.
    rung: u64,
}

impl Sleeper {
    /// Steps 1 to 3: says that this side is about to sleep. Returns whether it may; `look` says whether there is
    /// something to do after all. [`Sleeper::retire`] must follow in either case; without an announcement it does nothing.
    pub fn announce(
        &mut self,
        parked: &AtomicU64,
        barrier: impl FnOnce(),
        look: impl FnOnce() -> bool,
    ) -> bool {
        // Announced twice is announced once.
        self.count |= 1;
        // Relaxed: the barrier orders it against the look below.
        parked.store(self.count, Ordering::Relaxed);
        if Site::SleeperFence.holds() {
            barrier();
        }
        !(Site::SleeperLookAgain.holds() && look())
    }

    /// Step 5, first third: awake again. The caller consumes the bell's token *afterwards*, then looks.
    pub fn retire(&mut self, parked: &AtomicU64) {
        if self.count.is_multiple_of(2) {
            return;
        }
        if Site::SleeperRetire.holds() {
            self.count += 1;
        } else {
            self.count -= 1;
        }
        // Relaxed: a waker that sees the old value rings once too often, which the bell forgets.
        parked.store(self.count, Ordering::Relaxed);
    }
}

impl Waker {
    /// Steps b and c: whether the bell must be rung now. True once for each sleep.
    #[inline]
    pub fn must_ring(&mut self, parked: &AtomicU64, barrier: impl FnOnce()) -> bool {
        if Site::WakerFence.holds() {
            barrier();
        }
        // Relaxed: the barrier orders it against the event before.
        let count = parked.load(Ordering::Relaxed);
        if !Site::WakerRemember.holds() {
            let ring = count % 2 == 1 && count != self.rung;
            self.rung = count | 1;
            return ring;
        }
        if count.is_multiple_of(2) || (count == self.rung && Site::WakerOnce.holds()) {
            return false;
        }
        self.rung = count;
        true
    }
}

#[cfg(all(test, not(ring_loom)))]
mod tests;
