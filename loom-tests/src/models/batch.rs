//! A batch is seen whole or not at all.

use loom::thread;

use super::{append, ends, expect, explore, payload, poll};
use crate::ring::Kind;

/// Lengths in a batch: 16 + 32 + 48 bytes with headers.
const LENGTHS: [usize; 3] = [0, 9, 32];
/// The same behind a pad: 48 + 16 bytes, the first of which does not fit into the last 32 bytes of a lap.
const LENGTHS_BEHIND_PAD: [usize; 2] = [32, 0];

/// Explores a batch at the ring's beginning.
pub fn run() {
    check(&[], &LENGTHS);
}

/// Explores a batch that begins with a pad.
pub fn run_behind_pad() {
    check(&[32, 32], &LENGTHS_BEHIND_PAD);
}

fn check(before: &'static [usize], lengths: &'static [usize]) {
    explore(4, move || {
        let (mut producer, mut consumer) = ends();
        for &len in before {
            assert!(append(&mut producer, 0, len));
            let record = poll(&mut consumer).expect("just committed");
            let _ = consumer.release(record);
        }
        let writer = thread::spawn(move || {
            for (number, &len) in (0..).zip(lengths) {
                producer
                    .stage_copy(Kind::Message, &payload(number, len), number)
                    .expect("room for the whole batch");
            }
            producer.commit();
        });
        let seen = drain(&mut consumer, lengths);
        assert!(seen == 0 || seen == lengths.len(), "{seen} of a batch");
        writer.join().unwrap();
        assert_eq!(seen + drain(&mut consumer, lengths), lengths.len());
    });
}

/// Reads until the ring is empty; returns how many messages there were.
fn drain(consumer: &mut super::LoomConsumer, lengths: &[usize]) -> usize {
    let mut seen = 0;
    while let Some(record) = poll(consumer) {
        expect(consumer, record, seen as u64, lengths[seen]);
        let _ = consumer.release(record);
        seen += 1;
    }
    seen
}
