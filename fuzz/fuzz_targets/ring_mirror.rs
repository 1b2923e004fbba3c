//! Carries over a ring that a hostile producer writes.
//!
//! The input is a list of stores of 9 bytes: an index, a little-endian word. Those with the high bit in the index come
//! between two rounds, the others before. Whatever they are: what the tail takes, the replica takes, too, at the same
//! position, for else one bad publisher would end the connection that others use as well.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
#[path = "../../src/sync.rs"]
mod sync;

use libfuzzer_sys::fuzz_target;
use ring::{Consumer, Control, Cursor, HeapRing, Polled, Position, Read, Replica, Tail, Write};
use sync::Ordering;

const CAPACITY: usize = 512;
/// Cells, of two words each, then the two drop counters.
const WORDS: usize = CAPACITY / 8 + 2;

fuzz_target!(|input: &[u8]| {
    let (near, far) = (HeapRing::new(CAPACITY), HeapRing::new(CAPACITY));
    let mut tail = Tail::new(near.clone());
    let mut replica = Replica::new(far.clone());
    replica.attach(far.clone());
    let mut consumer = Consumer::new(far.clone(), far);
    let stores = input.as_chunks::<9>().0;
    for store in stores.iter().filter(|store| store[0] < 0x80) {
        scribble(&near, store);
    }
    let mut between = stores.iter().filter(|store| store[0] >= 0x80);
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
        match between.next() {
            Some(store) => scribble(&near, store),
            None => return,
        }
    }
});

fn scribble(ring: &HeapRing, [index, word @ ..]: &[u8; 9]) {
    let value = u64::from_le_bytes(*word);
    let index = usize::from(index & 0x7f) % WORDS;
    let offset = index / 2 * 16;
    match index.checked_sub(CAPACITY / 8) {
        Some(0) => ring.control(Control::DroppedFull).store(value, Ordering::Relaxed),
        Some(_) => ring.control(Control::DroppedDeadline).store(value, Ordering::Relaxed),
        None if index % 2 == 0 => ring.commit_word(offset).store(value, Ordering::Relaxed),
        None => ring.store_detail(offset, value),
    }
}
