//! Two threads, one lossy ring, many laps.

use std::thread;

use super::*;

const RECORDS: u64 = if cfg!(miri) { 40 } else { 400_000 };
const CAPACITY: usize = 1024;

/// A length and 8 bytes that fill it, told by the number: mostly short, now and then the longest.
fn content(number: u64) -> (usize, u64) {
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match dice >> 40 & 63 {
        0 => max_payload_bytes(CAPACITY),
        short => (dice >> 46) as usize % 72 + short as usize % 2,
    };
    (len, dice)
}

fn fill(bytes: &mut Vec<u8>, number: u64) {
    let (len, word) = content(number);
    bytes.clear();
    bytes.extend(word.to_le_bytes().into_iter().cycle().take(len));
}

/// Reads beside a producer; `pause` is called after each record.
fn race(pause: impl Fn(u64)) {
    let (mut producer, mut reader) = ends(CAPACITY);
    let writer = thread::spawn(move || {
        let mut bytes = Vec::new();
        for number in 0..RECORDS {
            fill(&mut bytes, number);
            let (head, tail) = bytes.split_at(bytes.len() / 2 / CELL_BYTES * CELL_BYTES);
            producer.append(number, &[head, tail]).unwrap();
        }
        producer.close(Ending::Closed);
    });
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    let (mut last, mut given) = (None, 0_u64);
    loop {
        let closed = reader.ending().is_some();
        match reader.poll(&mut bytes).unwrap() {
            Some(number) => {
                assert!(last < Some(number), "{number} behind {last:?}");
                fill(&mut expected, number);
                assert!(bytes == expected, "payload of {number}");
                last = Some(number);
                given += 1;
                pause(given);
            }
            None if reader.has_something() => {}
            None if closed => break,
            None => thread::yield_now(),
        }
    }
    writer.join().unwrap();
    assert_eq!(last, Some(RECORDS - 1), "the newest record stays");
    println!("{given} of {RECORDS} given");
}

#[test]
fn a_reader_that_does_its_best_gets_what_was_written_in_order() {
    race(|_| {});
}

#[test]
fn a_reader_that_pauses_gets_what_was_written_in_order() {
    race(|given| {
        if given % 5 == 0 {
            thread::yield_now();
        }
    });
}
