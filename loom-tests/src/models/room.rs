//! A producer that sleeps until there is room is woken, by one ring for each sleep.

use loom::{sync::Arc, thread};

use super::{append, ends, expect, explore, poll};
use crate::{
    bell::Bell,
    doorbell::{Sleeper, Waker},
    ring::{Control, Published, Read},
    sync::{Ordering, fence},
};

/// Two of these fill the ring.
const LEN_BYTES: usize = 32;
const MESSAGES: u64 = 4;

/// Explores it.
pub fn run() {
    explore(3, || {
        let (mut producer, mut consumer) = ends();
        for number in 0..2 {
            assert!(append(&mut producer, number, LEN_BYTES));
        }
        let bell = Arc::new(Bell::new());
        let writer = thread::spawn({
            let bell = bell.clone();
            move || {
                let ring = producer.storage().clone();
                let mut sleeper = Sleeper::default();
                let mut sleeps = 0;
                for number in 2..MESSAGES {
                    while !append(&mut producer, number, LEN_BYTES) {
                        sleeps += 1;
                        let may_sleep = sleeper.announce(
                            ring.control(Control::Parked),
                            || fence(Ordering::SeqCst),
                            || producer.has_room(LEN_BYTES),
                        );
                        if may_sleep {
                            bell.wait();
                        }
                        sleeper.retire(ring.control(Control::Parked));
                        bell.consume();
                    }
                }
                sleeps
            }
        });

        let mut waker = Waker::default();
        let mut rings = 0;
        for number in 0..MESSAGES {
            let record = loop {
                match poll(&mut consumer) {
                    Some(record) => break record,
                    None => thread::yield_now(),
                }
            };
            expect(&consumer, record, number, LEN_BYTES);
            let moved = consumer.release(record) == Published::Moved;
            let parked = consumer.storage().control(Control::Parked);
            if moved && waker.must_ring(parked, || fence(Ordering::SeqCst)) {
                bell.ring();
                rings += 1;
            }
        }
        let sleeps = writer.join().unwrap();
        assert!(rings <= sleeps, "{rings} rings for {sleeps} sleeps");
    });
}
