//! What the doorbell must do, on real threads.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

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
    for _ in 0..3 {
        assert!(sleeper.announce(&parked, || {}, || false));
        assert!(waker.must_ring(&parked, || {}));
        assert!(!waker.must_ring(&parked, || {}));
        sleeper.retire(&parked);
    }
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
    assert_eq!(parked.load(Ordering::Relaxed), 2);
}

#[test]
fn any_value_of_a_foreign_counter_rings_at_most_once() {
    let mut waker = Waker::default();
    for count in [u64::MAX, 1, u64::MAX - 1, 0, u64::MAX] {
        let parked = AtomicU64::new(count);
        assert_eq!(waker.must_ring(&parked, || {}), count % 2 == 1, "{count}");
        assert!(!waker.must_ring(&parked, || {}), "{count}");
    }
}
