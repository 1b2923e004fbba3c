//! A reader that sleeps is woken for every message, by one ring for each sleep.

use loom::{sync::Arc, thread};

use super::{LoomProducer, append, ends, expect, explore, poll};
use crate::{
    bell::Bell,
    doorbell::{Sleeper, Waker},
    sync::{AtomicU64, Ordering, fence},
};

const MESSAGES: u64 = 3;

/// Explores one producer.
pub fn run() {
    explore(3, || {
        let (mut producer, mut consumer) = ends();
        let side = Side::new();
        let writer = thread::spawn({
            let side = side.clone();
            move || send(&mut producer, &side, MESSAGES)
        });
        let mut sleeper = Sleeper::default();
        let mut sleeps = 0;
        for number in 0..MESSAGES {
            let record = loop {
                if let Some(record) = poll(&mut consumer) {
                    break record;
                }
                sleeps += 1;
                side.sleep(&mut sleeper, || poll(&mut consumer).is_some());
            };
            expect(&consumer, record, number, 0);
            let _ = consumer.release(record);
        }
        let rings = writer.join().unwrap();
        assert!(rings <= sleeps, "{rings} rings for {sleeps} sleeps");
    });
}

/// Explores two producers, each with its own ring, that share the reader's parked counter and bell.
pub fn run_two_wakers() {
    explore(3, || {
        let (mut one, mut from_one) = ends();
        let (mut other, mut from_other) = ends();
        let side = Side::new();
        let writers = [
            thread::spawn({
                let side = side.clone();
                move || send(&mut one, &side, 1)
            }),
            thread::spawn({
                let side = side.clone();
                move || send(&mut other, &side, 1)
            }),
        ];
        let mut sleeper = Sleeper::default();
        let (mut sleeps, mut seen) = (0, 0);
        while seen < 2 {
            let mut idle = true;
            for consumer in [&mut from_one, &mut from_other] {
                if let Some(record) = poll(consumer) {
                    let _ = consumer.release(record);
                    (seen, idle) = (seen + 1, false);
                }
            }
            if idle {
                sleeps += 1;
                side.sleep(&mut sleeper, || {
                    poll(&mut from_one).is_some() || poll(&mut from_other).is_some()
                });
            }
        }
        for writer in writers {
            let rings = writer.join().unwrap();
            assert!(rings <= sleeps, "{rings} rings for {sleeps} sleeps");
        }
    });
}

/// The sleeping side's parked counter and bell.
#[derive(Clone)]
struct Side {
    parked: Arc<AtomicU64>,
    bell: Arc<Bell>,
}

impl Side {
    fn new() -> Self {
        Self {
            parked: Arc::new(AtomicU64::new(0)),
            bell: Arc::new(Bell::new()),
        }
    }

    fn sleep(&self, sleeper: &mut Sleeper, look: impl FnOnce() -> bool) {
        if sleeper.announce(&self.parked, || fence(Ordering::SeqCst), look) {
            self.bell.wait();
        }
        sleeper.retire(&self.parked);
        self.bell.consume();
    }
}

/// Sends `messages`; returns how often it rang.
fn send(producer: &mut LoomProducer, side: &Side, messages: u64) -> u64 {
    let mut waker = Waker::default();
    let mut rings = 0;
    for number in 0..messages {
        assert!(append(producer, number, 0), "there is room for all");
        if waker.must_ring(&side.parked, || fence(Ordering::SeqCst)) {
            side.bell.ring();
            rings += 1;
        }
    }
    rings
}
