//! What a lossy ring on the heap must do.

mod hostile;
mod killed;
mod model;
mod stress;

use super::{LossyConsumer, LossyProducer, TooLarge, capacity_for, max_payload_bytes};
use crate::ring::{
    CELL_BYTES, Control, Cursor, Ending, HeapRing, MIN_CAPACITY_BYTES, Position, Published, Read,
    Violation, Write, record_bytes,
};
use crate::sync::{AtomicU64, Ordering};

type Reader = LossyConsumer<HeapRing, HeapRing>;

fn ends(capacity: usize) -> (LossyProducer<HeapRing>, Reader) {
    let ring = HeapRing::new(capacity);
    let reader = LossyConsumer::new(ring.clone(), ring.clone());
    (LossyProducer::new(ring), reader)
}

/// Payload of record `number`: every byte tells number and place.
fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (number as usize * 37 + at + 1) as u8)
        .collect()
}

/// Polls once.
fn take(reader: &mut Reader) -> Option<(u64, Vec<u8>)> {
    let mut bytes = vec![0xaa; 5];
    let number = reader.poll(&mut bytes).unwrap();
    assert!(number.is_some() || bytes.is_empty());
    number.map(|number| (number, bytes))
}

#[test]
fn a_payload_comes_out_as_its_parts_went_in() {
    let (mut producer, mut reader) = ends(1024);
    let bytes = payload(3, 75);
    let (first, rest) = bytes.split_at(16);
    let (second, third) = rest.split_at(48);
    for (number, parts) in [&[first, second, third][..], &[&bytes], &[], &[&[], first]]
        .into_iter()
        .enumerate()
    {
        producer.append(number as u64, parts).unwrap();
        assert_eq!(take(&mut reader), Some((number as u64, parts.concat())));
        assert_eq!(take(&mut reader), None);
    }
}

#[test]
fn the_longest_payloads_leave_the_newest_record_whole_wherever_the_position_stands() {
    // An interpreter takes too long over the large ones.
    let capacities = if cfg!(miri) { 1 } else { 3 };
    for capacity in [256, 512, 1024].into_iter().take(capacities) {
        let longest = max_payload_bytes(capacity);
        for start in 0..capacity / CELL_BYTES {
            let (mut producer, mut reader) = ends(capacity);
            let mut newest = 0;
            for number in 0..start as u64 {
                newest = producer.committed().0;
                producer.append(number, &[]).unwrap();
            }
            for number in start as u64..start as u64 + 7 {
                let bytes = payload(number, longest);
                producer.append(number, &[&bytes]).unwrap();
                let given_up = intent_of(&reader).saturating_sub(capacity as u64);
                assert!(given_up <= newest, "while {number} was written");
                newest = producer.committed().0 - record_bytes(longest) as u64;
            }
            let mut last = None;
            while let Some(found) = take(&mut reader) {
                last = Some(found);
            }
            let number = start as u64 + 6;
            assert_eq!(last, Some((number, payload(number, longest))));
        }
    }
}

#[test]
fn a_payload_beyond_the_limit_is_refused_for_good() {
    let (mut producer, mut reader) = ends(256);
    assert_eq!(producer.append(0, &[&[0; 65]]), Err(TooLarge(64)));
    assert_eq!(producer.append(0, &[&[0; 48], &[0; 17]]), Err(TooLarge(64)));
    assert_eq!(producer.committed(), Position(0));
    assert_eq!(take(&mut reader), None);
    assert_eq!(producer.append(0, &[&[0; 48], &[0; 16]]), Ok(()));
}

#[test]
fn a_ring_made_for_a_payload_takes_it_and_one_of_half_the_size_does_not() {
    for len in [0, 1, 64, 65, 79, 80, 1328, 1329, 1344, 1345, 4096, 1 << 20] {
        let capacity = capacity_for(len).unwrap();
        assert!(capacity.is_power_of_two() && capacity >= MIN_CAPACITY_BYTES);
        assert!(max_payload_bytes(capacity) >= len, "{len}");
        assert!(capacity == MIN_CAPACITY_BYTES || max_payload_bytes(capacity / 2) < len);
    }
    assert_eq!(capacity_for(u32::MAX as usize), None);
    assert!(u32::try_from(max_payload_bytes(1 << 40)).is_ok());
}

#[test]
fn numbers_tell_a_reader_that_stood_still_what_it_has_missed() {
    let (mut producer, mut reader) = ends(256);
    for number in 0..3 {
        producer.append(number, &[&payload(number, 16)]).unwrap();
    }
    assert_eq!(take(&mut reader), Some((0, payload(0, 16))));
    for number in 3..100 {
        producer.append(number, &[&payload(number, 16)]).unwrap();
    }
    assert!(reader.has_something() && !reader.is_dry());
    // Of 256 bytes: the header that comes next, and the sixteenth given up ahead, leave room for seven records of 32.
    for number in 93..100 {
        assert_eq!(take(&mut reader), Some((number, payload(number, 16))));
    }
    assert_eq!(take(&mut reader), None);
    assert!(reader.is_dry() && !reader.has_something());
}

#[test]
fn a_reader_overtaken_by_whole_laps_does_not_take_a_0_for_the_end() {
    let (mut producer, reader) = ends(256);
    for number in 0..32 {
        // After each eighth record, the 0 behind the last one is where the reader stands.
        producer.append(number, &[&payload(number, 16)]).unwrap();
        assert!(reader.has_something(), "{number}");
    }
}

#[test]
fn the_cursor_moves_each_eighth_of_the_ring_behind_what_was_found_before_and_on_demand() {
    let (mut producer, mut reader) = ends(1024);
    for number in 0..5 {
        producer.append(number, &[&payload(number, 16)]).unwrap();
    }
    let mut cursors = Vec::new();
    while take(&mut reader).is_some() {
        cursors.push(reader.cursor().word().load(Ordering::Relaxed));
    }
    assert_eq!(cursors, [0, 0, 0, 0, 128]);
    assert_eq!(reader.publish(), Published::Moved);
    assert_eq!(reader.cursor().word().load(Ordering::Relaxed), 160);
    assert_eq!(reader.publish(), Published::Unchanged);
}

#[test]
fn what_is_given_up_stands_no_more_and_the_newest_is_never_given_up() {
    let (mut producer, mut reader) = ends(1024);
    for number in 0..4 {
        producer.append(number, &[&payload(number, 16)]).unwrap();
    }
    assert_eq!(take(&mut reader).unwrap().0, 0);
    assert!(reader.stands());
    producer.give_up(Position(0));
    assert!(reader.stands());
    // To the end of the first.
    producer.give_up(Position(32));
    assert!(!reader.stands());
    assert_eq!(take(&mut reader).unwrap().0, 1);
    assert!(reader.stands());
    producer.give_up(producer.committed());
    assert_eq!(producer.given_up(), Position(96));
    assert!(!reader.stands());
    assert_eq!(take(&mut reader).unwrap().0, 3);
    assert!(reader.stands());
    // Nothing is taken back.
    producer.give_up(Position(32));
    assert_eq!(producer.given_up(), Position(96));
    assert_eq!(take(&mut reader), None);
}

#[test]
fn a_closed_ring_says_so_beside_its_records() {
    let (mut producer, mut reader) = ends(256);
    producer.append(7, &[b"last"]).unwrap();
    assert_eq!(reader.ending(), None);
    assert_eq!(reader.ending_by_exit(), Ending::Closed);
    producer.close(Ending::Closed);
    assert_eq!(reader.ending(), Some(Ending::Closed));
    assert_eq!(take(&mut reader), Some((7, b"last".to_vec())));
}

#[test]
fn a_ring_that_a_relay_writes_stays_known_as_such_when_it_is_closed() {
    let (producer, reader) = ends(256);
    let closed = producer.storage().control(Control::Closed);
    closed.store(Ending::RELAYED, Ordering::Relaxed);
    assert_eq!(reader.ending(), None);
    assert_eq!(reader.ending_by_exit(), Ending::TransportLost);
    producer.close(Ending::Closed);
    assert!(Ending::is_relayed(closed.load(Ordering::Relaxed)));
    assert_eq!(reader.ending(), Some(Ending::Closed));
}

fn intent_of(reader: &Reader) -> u64 {
    let intent = reader.storage().control(Control::Intent);
    intent.load(Ordering::Relaxed)
}
