//! Chunks are not overwritten while they are read, with threads.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::*;
use crate::sync::{AtomicU64, Ordering};

#[test]
fn a_chunk_keeps_its_content_until_its_hold_is_released_by_another_thread() {
    let messages = if cfg!(miri) { 40 } else { 20_000_u64 };
    // Room for a few chunks only, each of which is a word in the middle of it.
    let mut pool = Grown::new(8 * 4096);
    let words: Arc<[AtomicU64]> = (0..8 * 4096 / 64).map(|_| AtomicU64::new(0)).collect();
    let (ring, reader) = pool.ring();
    let (records, incoming) = sync_channel::<(u64, Place, u64)>(64);
    let (keep, kept) = sync_channel::<(usize, usize, u64)>(HOLDS);
    let holds = Arc::new(Holds::new(reader.clone()));
    let index = |place: Place| (place.offset_bytes() / 64) as usize;
    thread::scope(|scope| {
        scope.spawn({
            let (words, holds) = (words.clone(), holds.clone());
            move || {
                for (slot, at, number) in kept {
                    // Relaxed: that the word does not change is what the pool promises.
                    assert_eq!(words[at].load(Ordering::Relaxed), number);
                    holds.release(slot);
                }
            }
        });
        scope.spawn({
            let words = words.clone();
            move || {
                for (end, place, number) in incoming {
                    let at = index(place);
                    assert_eq!(words[at].load(Ordering::Relaxed), number);
                    let slot = (number % 3 != 0).then(|| holds.take(place)).flatten();
                    reader.read_up_to(end);
                    if let Some(slot) = slot {
                        keep.send((slot, at, number)).unwrap();
                    }
                }
            }
        });
        for number in 1..=messages {
            let chunk = loop {
                match pool.allocate(4096) {
                    Ok(chunk) => break chunk,
                    Err(_) => thread::yield_now(),
                }
            };
            words[index(chunk.place)].store(number, Ordering::Relaxed);
            pool.0.push(&ring, chunk.key, 48 * number);
            pool.0.settle(chunk.key);
            records.send((48 * number, chunk.place, number)).unwrap();
        }
        drop(records);
    });
    assert!(pool.is_empty());
}
