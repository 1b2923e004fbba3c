//! Feeds the reading end of a ring with memory that a hostile producer wrote.
//!
//! Some stores come before all polls, the others between two (`scribbles.rs`). Whatever they are, the reader must neither
//! panic nor hang, and each record that it gives must lie in the ring.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
mod scribbles;
#[path = "../../src/sync.rs"]
mod sync;

use libfuzzer_sys::fuzz_target;
use ring::{Consumer, HeapRing, Kind, Polled, Read};
use scribbles::{CAPACITY, Scribbles};

fuzz_target!(|input: &[u8]| {
    let ring = HeapRing::new(CAPACITY);
    let mut consumer = Consumer::new(ring.clone(), ring.clone());
    let mut scribbles = Scribbles::begin(&ring, input);
    loop {
        let Ok(polled) = consumer.poll() else { return };
        match polled {
            Polled::Record(record) => {
                assert!(matches!(record.kind, Kind::Message | Kind::Stamped | Kind::Topic));
                assert!(record.offset + record.len_bytes <= CAPACITY);
                let mut bytes = vec![0; record.len_bytes];
                consumer.storage().copy_out(record.offset, &mut bytes);
                let _ = consumer.release(record);
            }
            Polled::Gap(_) => {}
            Polled::Switch(_) => drop(consumer.pass_switch()),
            Polled::Empty => {
                if consumer.poll_losses().is_err() {
                    return;
                }
                let _ = consumer.publish();
            }
        }
        if scribbles.next().is_none() {
            return;
        }
    }
});
