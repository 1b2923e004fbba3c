//! Feeds the reading end of a lossy ring with memory that a hostile producer wrote.
//!
//! Some stores come before all polls, the others between two (`scribbles.rs`). Whatever they are, the reader must neither
//! panic nor hang, and its cursor never falls.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
mod scribbles;
#[path = "../../src/sync.rs"]
mod sync;

use libfuzzer_sys::fuzz_target;
use ring::{Cursor, HeapRing, lossy::LossyConsumer};
use scribbles::{CAPACITY, Scribbles};
use sync::Ordering;

fuzz_target!(|input: &[u8]| {
    let ring = HeapRing::new(CAPACITY);
    let mut consumer = LossyConsumer::new(ring.clone(), ring.clone());
    let mut scribbles = Scribbles::begin(&ring, input);
    let (mut bytes, mut cursor) = (Vec::new(), 0);
    while let Ok(found) = consumer.poll(&mut bytes) {
        assert!(bytes.len() < CAPACITY / 2 && (found.is_some() || bytes.is_empty()));
        let _ = consumer.publish();
        let now = ring.word().load(Ordering::Relaxed);
        assert!(now >= cursor);
        cursor = now;
        if scribbles.next().is_none() {
            return;
        }
    }
});
