//! What the doorbell must do, on real threads.

use std::{
    hint::black_box,
    sync::{Arc, Condvar, Mutex},
    thread,
};

use crossbeam_utils::CachePadded;

use super::*;
use crate::sync::fence;

const EVENTS: u64 = if cfg!(miri) { 50 } else { 200_000 };

/// Remembers a ring, as a datagram socket does.
#[derive(Debug, Default)]
struct Bell {
    token: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.token.lock().unwrap() = true;
        self.rung.notify_one();
    }

    fn wait(&self) {
        let token = self.token.lock().unwrap();
        drop(self.rung.wait_while(token, |token| !*token).unwrap());
    }

    fn consume(&self) {
        *self.token.lock().unwrap() = false;
    }
}

#[derive(Debug, Default)]
struct Shared {
    events: AtomicU64,
    parked: AtomicU64,
    bell: Bell,
}

fn barrier() {
    fence(Ordering::SeqCst);
}

#[test]
fn a_sleeper_sees_every_event_for_one_ring_a_sleep() {
    let shared = Arc::new(Shared::default());
    let waking = thread::spawn({
        let shared = shared.clone();
        move || {
            let (mut waker, mut rings) = (Waker::default(), 0);
            for event in 1..=EVENTS {
                shared.events.store(event, Ordering::Release);
                if waker.must_ring(&shared.parked, barrier) {
                    shared.bell.ring();
                    rings += 1;
                }
            }
            rings
        }
    });
    let (mut sleeper, mut sleeps, mut seen) = (Sleeper::default(), 0, 0);
    while seen < EVENTS {
        sleeps += 1;
        let may_sleep = sleeper.announce(&shared.parked, barrier, || {
            shared.events.load(Ordering::Acquire) != seen
        });
        if may_sleep {
            shared.bell.wait();
        }
        sleeper.retire(&shared.parked);
        shared.bell.consume();
        seen = shared.events.load(Ordering::Acquire);
    }
    let rings = waking.join().unwrap();
    assert!(rings <= sleeps, "{rings} rings for {sleeps} sleeps");
}

#[test]
fn nobody_is_rung_who_does_not_sleep() {
    let parked = AtomicU64::new(0);
    let (mut sleeper, mut waker) = (Sleeper::default(), Waker::default());
    assert!(!waker.must_ring(&parked, || {}));
    assert!(sleeper.announce(&parked, || {}, || false));
    sleeper.retire(&parked);
    assert!(!waker.must_ring(&parked, || {}));
}

#[test]
fn each_sleep_is_rung_for_once() {
    let parked = AtomicU64::new(0);
    let (mut sleeper, mut waker) = (Sleeper::default(), Waker::default());
    for looks_twice in [false, false, true, true, false] {
        sleeper.set_looks_twice(&parked, looks_twice);
        assert!(sleeper.announce(&parked, || {}, || false));
        assert!(waker.must_ring(&parked, || {}));
        assert!(!waker.must_ring(&parked, || {}));
        sleeper.retire(&parked);
    }
}

#[test]
fn a_waker_passes_a_fence_unless_the_sleeper_looks_twice() {
    let parked = AtomicU64::new(0);
    let (mut sleeper, mut waker) = (Sleeper::default(), Waker::default());
    let mut fences = |parked: &AtomicU64| {
        let mut fences = 0;
        waker.must_ring(parked, || fences += 1);
        fences
    };
    assert_eq!(fences(&parked), 1);
    assert!(sleeper.set_looks_twice(&parked, true));
    assert!(!sleeper.set_looks_twice(&parked, true));
    assert_eq!(fences(&parked), 0);
    sleeper.announce(&parked, || {}, || false);
    assert_eq!(fences(&parked), 0);
    sleeper.retire(&parked);
    assert!(sleeper.set_looks_twice(&parked, false));
    assert_eq!(fences(&parked), 1);
}

#[test]
fn two_wakers_ring_for_the_same_sleep_independently() {
    let parked = AtomicU64::new(0);
    let mut sleeper = Sleeper::default();
    let (mut one, mut other) = (Waker::default(), Waker::default());
    assert!(sleeper.announce(&parked, || {}, || false));
    assert!(one.must_ring(&parked, || {}));
    assert!(other.must_ring(&parked, || {}));
}

#[test]
fn who_finds_something_at_the_last_look_does_not_sleep() {
    let parked = AtomicU64::new(0);
    let mut sleeper = Sleeper::default();
    assert!(!sleeper.announce(&parked, || {}, || true));
    sleeper.retire(&parked);
    assert_eq!(parked.load(Ordering::Relaxed), NEXT);
}

#[test]
fn any_value_of_a_foreign_counter_rings_at_most_once() {
    let mut waker = Waker::default();
    for count in [u64::MAX, 1, u64::MAX - 1, 0, 2, u64::MAX, u64::MAX - 2] {
        let parked = AtomicU64::new(count);
        assert_eq!(waker.must_ring(&parked, || {}), is_asleep(count), "{count}");
        assert!(!waker.must_ring(&parked, || {}), "{count}");
    }
}

/// The words of the store-buffer litmus test.
#[derive(Debug, Default)]
struct Litmus {
    start: CachePadded<AtomicU64>,
    parked: CachePadded<AtomicU64>,
    event: CachePadded<AtomicU64>,
    /// Lines that the sleeper's processor has when a round begins: stores to them keep the waker's next store waiting.
    clutter: Vec<CachePadded<AtomicU64>>,
}

impl Litmus {
    fn new() -> Self {
        Self {
            clutter: (0..48).map(|_| CachePadded::default()).collect(),
            ..Self::default()
        }
    }

    /// Both sides begin a round at the same moment.
    fn start(&self, round: u64) {
        self.start.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while self.start.load(Ordering::Acquire) < 2 * round {
            spins += 1;
            if spins.is_multiple_of(1000) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }

    fn dirty(&self, round: u64) {
        for word in &self.clutter {
            word.store(round, Ordering::Relaxed);
        }
    }

    /// Rounds in which the sleeper does not see the event, nor the waker that the sleeper is parked.
    fn both_missed(&self, fence: fn(), second_look: impl Fn() -> u64) -> usize {
        let wake = |round| {
            self.start(round);
            self.dirty(round);
            self.event.store(round, Ordering::Relaxed);
            fence();
            self.parked.load(Ordering::Relaxed)
        };
        let sleep = |round| {
            self.dirty(round);
            self.start(round);
            // Sweeps the moment.
            for step in 0..round % 512 {
                black_box(step);
            }
            self.parked.store(round, Ordering::Relaxed);
            barrier();
            match self.event.load(Ordering::Relaxed) {
                seen if seen < round => second_look(),
                seen => seen,
            }
        };
        let (by_sleeper, by_waker): (Vec<u64>, Vec<u64>) = thread::scope(|scope| {
            let waker = scope.spawn(|| (1..=ROUNDS).map(wake).collect());
            ((1..=ROUNDS).map(sleep).collect(), waker.join().unwrap())
        });
        let rounds = by_sleeper.into_iter().zip(by_waker).zip(1..);
        let missed = rounds.filter(|((sleeper, waker), round)| sleeper < round && waker < round);
        missed.count()
    }
}

/// Seen red without the waker's fence, in one of a hundred rounds.
#[test]
fn with_fences_sleeper_and_waker_never_both_miss() {
    let litmus = Litmus::new();
    let look = || litmus.event.load(Ordering::Relaxed);
    assert_eq!(litmus.both_missed(barrier, look), 0);
}

/// Seen red without the second look, in one of a hundred rounds.
#[test]
#[cfg_attr(miri, ignore = "Miri's store buffers know no time")]
fn what_a_waker_without_a_fence_misses_the_second_look_finds() {
    let litmus = Litmus::new();
    let second_look = || {
        thread::sleep(SETTLE);
        litmus.event.load(Ordering::Relaxed)
    };
    assert_eq!(litmus.both_missed(keep_program_order, second_look), 0);
}

const ROUNDS: u64 = if cfg!(miri) { 20 } else { 3_000 };
