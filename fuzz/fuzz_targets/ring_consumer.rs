//! Feeds the reading end of a ring with memory that a hostile producer wrote.
//!
//! The input is a list of stores of 9 bytes: an index, a little-endian word. Those with the high bit in the index come
//! between two polls, the others before. Whatever they are, the reader must neither panic nor hang, and each record that
//! it gives must lie in the ring.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
#[path = "../../src/sync.rs"]
mod sync;

use libfuzzer_sys::fuzz_target;
use ring::{Consumer, Control, HeapRing, Kind, Polled, Read, Write};
use sync::Ordering;

const CAPACITY: usize = 512;
/// Cells, of two words each, then the two drop counters.
const WORDS: usize = CAPACITY / 8 + 2;

fuzz_target!(|input: &[u8]| {
    let ring = HeapRing::new(CAPACITY);
    let mut consumer = Consumer::new(ring.clone(), ring.clone());
    let stores = input.as_chunks::<9>().0;
    for store in stores.iter().filter(|store| store[0] < 0x80) {
        scribble(&ring, store);
    }
    let mut between = stores.iter().filter(|store| store[0] >= 0x80);
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
            Polled::Empty => {
                if consumer.poll_losses().is_err() {
                    return;
                }
                let _ = consumer.publish();
            }
        }
        match between.next() {
            Some(store) => scribble(&ring, store),
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
