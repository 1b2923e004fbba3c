//! Carries over a ring that a hostile producer writes.
//!
//! Some stores come before all rounds, the others between two (`scribbles.rs`). Whatever they are: what the tail takes, the
//! replica takes, too, at the same position, for else one bad publisher would end the connection that others use as well.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
mod scribbles;
#[path = "../../src/sync.rs"]
mod sync;

use libfuzzer_sys::fuzz_target;
use ring::{Consumer, Cursor, HeapRing, Polled, Position, Replica, Tail};
use scribbles::{CAPACITY, Scribbles};
use sync::Ordering;

fuzz_target!(|input: &[u8]| {
    let (near, far) = (HeapRing::new(CAPACITY), HeapRing::new(CAPACITY));
    let mut tail = Tail::new(near.clone());
    let mut replica = Replica::new(far.clone());
    replica.attach(far.clone());
    let mut consumer = Consumer::new(far.clone(), far);
    let mut scribbles = Scribbles::begin(&near, input);
    loop {
        let cursor = Position(near.word().load(Ordering::Relaxed));
        let mut bytes = Vec::new();
        let taken = tail.take(&mut bytes, 64, cursor);
        replica.append(&bytes).expect("what was taken fits");
        if taken.is_err() {
            return;
        }
        assert_eq!(replica.position(), tail.position());
        if let Some(counts) = tail.take_drops() {
            replica.set_drops(counts);
        }
        // One record in a round, so that the ring is full at times.
        match consumer.poll() {
            Ok(Polled::Record(record)) => drop(consumer.release(record)),
            Ok(Polled::Gap(_)) => {}
            Ok(Polled::Empty) if consumer.poll_losses().is_ok() => {}
            _ => return,
        }
        let _ = consumer.publish();
        near.word()
            .store(replica.reader_position().0, Ordering::Relaxed);
        if scribbles.next().is_none() {
            return;
        }
    }
});
