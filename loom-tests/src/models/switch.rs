//! Of two readers the one moves to another ring: it misses nothing, and is not told of what the other has lost.

use loom::thread;

use super::{LoomConsumer, LoomProducer, append, explore};
use crate::{
    ring::{Consumer, Cursor, DropCause, Polled, Producer, Seated, bit, give_seat, seated},
    storage::{LoomCursor, LoomRing},
    sync::Ordering,
};

const LEN_BYTES: usize = 16;
/// Room is kept in it for switches.
const CAPACITY: usize = 256;

/// Explores one that moves while the other one loses something.
pub fn run() {
    explore(3, || {
        let (mut producer, moves, _) = ends();
        assert!(append(&mut producer, 0, LEN_BYTES));
        let other = LoomRing::with_capacity(CAPACITY);
        let writer = thread::spawn({
            let other = other.clone();
            move || {
                let mut moved = producer.move_to(other, bit(1)).expect("there is room");
                producer.count_drop(DropCause::Full, 1);
                assert!(append(&mut moved, 1, LEN_BYTES));
            }
        });
        read(moves, other);
        writer.join().unwrap();
    });
}

/// Explores one that moves while the ring that it leaves is written over.
pub fn run_over() {
    explore(3, || {
        let (mut producer, moves, stays) = ends();
        assert!(append(&mut producer, 0, LEN_BYTES));
        let other = LoomRing::with_capacity(CAPACITY);
        let mut moved = producer
            .move_to(other.clone(), bit(1))
            .expect("there is room");
        assert!(append(&mut moved, 1, LEN_BYTES));
        // Behind the message and the switch.
        stays.word().store(48, Ordering::Relaxed);
        let writer = thread::spawn(move || {
            for number in 2..9 {
                while !append(&mut producer, number, LEN_BYTES) {
                    thread::yield_now();
                }
            }
        });
        read(moves, other);
        writer.join().unwrap();
    });
}

/// A ring with readers in seats 0 and 1: the consumer of the second, the cursor of the first.
fn ends() -> (LoomProducer, LoomConsumer, LoomCursor) {
    let ring = LoomRing::with_capacity(CAPACITY);
    let cursors = [LoomCursor::new(), LoomCursor::new()];
    let mut producer: LoomProducer = Producer::new(ring.clone());
    give_seat(&ring, 1, 1);
    producer.join(1);
    for (seat, cursor) in (0..).zip(&cursors) {
        producer.attach(seat, cursor.clone());
    }
    let [stays, moves] = cursors;
    let mut moves = Consumer::new(ring.clone(), moves);
    if let Seated::At(from, told) = seated(&ring, 1, 1) {
        moves.begin(1, from, told);
    }
    (producer, moves, stays)
}

/// Reads message 0, moves, reads message 1.
fn read(mut consumer: LoomConsumer, other: LoomRing) {
    let (mut next, mut other) = (0, Some(other));
    while next < 2 {
        let mut polled = consumer.poll().expect("the format is kept");
        if polled == Polled::Empty {
            let _ = consumer.publish();
            polled = consumer.poll_losses().expect("counters only rise");
        }
        match polled {
            Polled::Empty => thread::yield_now(),
            Polled::Gap(counts) => panic!("{} of the other one's losses", counts.total()),
            Polled::Switch(_) => {
                assert_eq!(next, 1);
                assert!(consumer.go_on_in(other.take().expect("it moves once")));
            }
            Polled::Record(record) => {
                super::expect(&consumer, record, next, LEN_BYTES);
                let _ = consumer.release(record);
                next += 1;
            }
        }
    }
    assert!(other.is_none());
}
