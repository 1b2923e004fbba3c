//! The doorbell's fences, or its second look, forbid that both sides miss the other's store.

use loom::{sync::Arc, thread};

use super::explore;
use crate::sync::{AtomicU64, Ordering, fence};

/// Explores it with the fences.
pub fn run() {
    check(|| fence(Ordering::SeqCst));
}

/// Explores it without: shows that loom finds what the fences forbid.
pub fn run_without_fences() {
    check(|| {});
}

/// Explores a waker without a fence, and a sleeper that looks again when the waker's store has settled.
pub fn run_with_second_look() {
    check_looks(|| {}, true);
}

fn check(barrier: fn()) {
    check_looks(barrier, false);
}

fn check_looks(barrier: fn(), twice: bool) {
    explore(4, move || {
        let event = Arc::new(AtomicU64::new(0));
        let parked = Arc::new(AtomicU64::new(0));
        let waker = thread::spawn({
            let (event, parked) = (event.clone(), parked.clone());
            move || {
                event.store(1, Ordering::Release);
                barrier();
                parked.load(Ordering::Relaxed)
            }
        });
        parked.store(1, Ordering::Relaxed);
        barrier();
        let mut seen_by_sleeper = event.load(Ordering::Acquire);
        let seen_by_waker = waker.join().unwrap();
        if twice {
            seen_by_sleeper = event.load(Ordering::Acquire);
        }
        assert!(
            seen_by_sleeper == 1 || seen_by_waker == 1,
            "both sides missed the other's store"
        );
    });
}
