//! What a ring on the heap must do.

mod hostile;
mod mirror;
mod model;
mod shared;
mod stress;

use super::*;

fn ends(capacity: usize) -> (Producer<HeapRing, HeapRing>, Consumer<HeapRing, HeapRing>) {
    let ring = HeapRing::new(capacity);
    let mut producer = Producer::new(ring.clone());
    producer.attach(0, ring.clone());
    (producer, Consumer::new(ring.clone(), ring))
}

/// Payload of message `number`: every byte tells number and place.
fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (number as usize * 37 + at + 1) as u8)
        .collect()
}

fn bytes_of(consumer: &Consumer<HeapRing, HeapRing>, record: Record) -> Vec<u8> {
    let mut bytes = vec![0; record.len_bytes];
    consumer.storage().copy_out(record.offset, &mut bytes);
    bytes
}

/// Takes the next record out; a gap or an empty ring is a failure.
fn take(consumer: &mut Consumer<HeapRing, HeapRing>) -> (u64, Vec<u8>) {
    match consumer.poll().unwrap() {
        Polled::Record(record) => {
            let bytes = bytes_of(consumer, record);
            let _ = consumer.release(record);
            (record.detail, bytes)
        }
        other => panic!("{other:?} where a record is due"),
    }
}

#[test]
fn the_longest_payload_fits_behind_a_gap_wherever_the_position_stands() {
    for start in (0..256).step_by(CELL_BYTES) {
        let (mut producer, mut consumer) = ends(256);
        for number in 0..start as u64 / 16 {
            producer.stage_copy(Kind::Message, &[], number).unwrap();
            producer.commit();
            take(&mut consumer);
            let _ = consumer.publish();
        }
        producer.count_drop(DropCause::Full, 3);
        producer.stage_gap().unwrap();
        let longest = payload(7, max_payload_bytes(256));
        producer.stage_copy(Kind::Message, &longest, 7).unwrap();
        producer.commit();
        assert!(
            matches!(consumer.poll(), Ok(Polled::Gap(news)) if news.count(DropCause::Full) == 3)
        );
        assert_eq!(take(&mut consumer), (7, longest), "from {start}");
        let _ = consumer.publish();
    }
}

#[test]
fn a_payload_beyond_the_limit_is_refused_for_good() {
    let (mut producer, _consumer) = ends(256);
    assert_eq!(producer.reserve(97), Err(NoRoom::TooLarge(96)));
    assert!(producer.reserve(96).is_ok());
}

#[test]
fn no_payload_limit_exceeds_what_a_commit_word_can_say() {
    let limit = max_payload_bytes(1 << 40);
    assert!(u32::try_from(limit).is_ok());
    assert!(limit.is_multiple_of(CELL_BYTES));
    assert_eq!(capacity_for(limit + 1), None);
}

#[test]
fn a_ring_made_for_a_payload_is_a_valid_ring_that_takes_it() {
    // An interpreter takes too long over the large ones.
    let longest = if cfg!(miri) { 200 } else { 1 << 20 };
    let lens = [0, 1, 15, 16, 79, 80, 81, 96, 97, 4095, 4096, 1 << 20];
    for len in lens.into_iter().filter(|len| *len <= longest) {
        let capacity = capacity_for(len).unwrap();
        assert!(capacity.is_power_of_two() && capacity >= MIN_CAPACITY_BYTES);
        assert!(max_payload_bytes(capacity) >= len);
        let (mut producer, _consumer) = ends(capacity);
        for number in 0..2 {
            producer
                .stage_copy(Kind::Message, &payload(number, len), number)
                .unwrap();
        }
    }
}

#[test]
fn a_payload_is_written_in_place_and_trimmed() {
    let (mut producer, mut consumer) = ends(256);
    for (number, len) in [0, 5, 96, 16, 33].into_iter().enumerate() {
        let slot = match producer.reserve_rest() {
            Some(slot) if slot.len_bytes >= len => slot,
            _ => producer.reserve(len).unwrap(),
        };
        write_in_place(producer.storage(), slot, &payload(number as u64, len));
        producer.stage(slot, Kind::Message, len, number as u64);
        producer.commit();
        assert_eq!(
            take(&mut consumer),
            (number as u64, payload(number as u64, len))
        );
        let _ = consumer.publish();
    }
}

#[test]
fn what_was_aborted_leaves_no_trace() {
    let (mut producer, mut consumer) = ends(256);
    producer
        .stage_copy(Kind::Message, &payload(1, 96), 1)
        .unwrap();
    producer
        .stage_copy(Kind::Message, &payload(2, 32), 2)
        .unwrap();
    producer.abort();
    producer.commit();
    assert_eq!(consumer.poll(), Ok(Polled::Empty));
    producer.stage_copy(Kind::Message, &[], 3).unwrap();
    producer.commit();
    assert_eq!(take(&mut consumer), (3, vec![]));
    assert_eq!(consumer.poll(), Ok(Polled::Empty));
}

#[test]
fn a_header_that_was_cleared_ahead_counts_only_while_nothing_was_written_over_it() {
    let scribble = |room: &mut [u8]| {
        room.fill(0xff);
        Ok::<_, ()>(room.len())
    };
    let rooms = [Room::Rest, Room::Exactly(64)];
    for (spoil, at_once) in rooms
        .into_iter()
        .flat_map(|room| [(room, false), (room, true)])
    {
        let (mut producer, mut consumer) = ends(256);
        // Behind the second record lies a header that is cleared for a third one of the same length.
        for number in 0..2 {
            producer
                .stage_copy(Kind::Message, &[1; 16], number)
                .unwrap();
            producer.commit();
            take(&mut consumer);
            let _ = consumer.publish();
        }
        let _ = producer.slowest();
        if at_once {
            let fail = |room: &mut [u8]| scribble(room).and(Err(()));
            assert_eq!(
                producer.append_in_place(spoil, Kind::Message, 9, fail),
                None
            );
        } else {
            let staged = producer.stage_in_place(spoil, Kind::Message, 9, scribble);
            staged.unwrap().unwrap();
            producer.abort();
        }
        producer.stage_copy(Kind::Message, &[1; 16], 2).unwrap();
        producer.commit();
        assert_eq!(take(&mut consumer), (2, vec![1; 16]), "{spoil:?}");
        assert_eq!(consumer.poll(), Ok(Polled::Empty), "{spoil:?}");
        assert!(consumer.is_dry() && consumer.ready(None).is_none());
    }
}

#[test]
fn a_closed_ring_says_so_after_its_records() {
    let (mut producer, mut consumer) = ends(256);
    producer.stage_copy(Kind::Topic, b"md/quote", 4).unwrap();
    producer.commit();
    assert!(!consumer.is_closed());
    producer.close();
    assert!(consumer.is_closed());
    assert_eq!(take(&mut consumer), (4, b"md/quote".to_vec()));
}

#[test]
fn a_reader_that_is_not_attached_yet_holds_one_ring() {
    let mut producer: Producer<_, HeapRing> = Producer::new(HeapRing::new(256));
    let mut records = 0;
    while producer.stage_copy(Kind::Message, &[], records).is_ok() {
        producer.commit();
        records += 1;
    }
    assert_eq!(records, 256 / 16 - 1, "all but the following header");
    assert_eq!(producer.slowest(), Position(0));
}

/// Writes a payload as a serializer does: through the pointer, with no copy.
#[allow(unsafe_code)]
fn write_in_place(ring: &HeapRing, slot: producer::Slot, bytes: &[u8]) {
    assert!(bytes.len() <= slot.len_bytes);
    // SAFETY: `reserve` gave the slot, within the ring, to us alone until it is committed.
    let room = unsafe { std::slice::from_raw_parts_mut(ring.address(slot.offset), bytes.len()) };
    room.copy_from_slice(bytes);
}
