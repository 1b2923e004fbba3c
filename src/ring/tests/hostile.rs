//! A peer that writes anything anywhere brings about errors, nothing else.

use proptest::prelude::*;

use super::*;
use crate::sync::Ordering;

const CAPACITY: usize = 256;

/// Words that are nearly right, so that the checks behind the first are reached, too.
fn word() -> impl Strategy<Value = u64> {
    // Mostly short messages, so that a reader gets as far as the ring's end.
    let kind = prop_oneof![4 => Just(1u64), 1 => 0..6u64];
    let len = prop_oneof![8 => 0..100u64, 1 => 0..300u64, 1 => Just(16u64), 1 => Just(u64::from(u32::MAX))];
    let near = (kind, len).prop_map(|(kind, len)| len << 32 | kind);
    let pad =
        (0..CAPACITY as u64 / 16).prop_map(|cell| (CAPACITY as u64 - cell * 16 - 16) << 32 | 2);
    prop_oneof![16 => near, 3 => pad, 1 => any::<u64>(), 1 => Just(0)]
}

/// (which word, value)
fn scribbles(count: usize) -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0..CAPACITY / CELL_BYTES * 2, word()), count)
}

fn scribble(ring: &HeapRing, (index, value): (usize, u64)) {
    let offset = index / 2 * CELL_BYTES;
    if index % 2 == 0 {
        ring.commit_word(offset).store(value, Ordering::Relaxed);
    } else {
        ring.store_detail(offset, value);
    }
}

/// Demands that what `poll` found lies in the ring.
fn check(polled: Polled) {
    if let Polled::Record(record) = polled {
        assert!(matches!(
            record.kind,
            Kind::Message | Kind::Stamped | Kind::Topic
        ));
        assert!(record.offset.is_multiple_of(CELL_BYTES) && record.offset >= CELL_BYTES);
        assert!(record.offset + record.len_bytes <= CAPACITY);
        assert!(record.len_bytes <= max_payload_bytes(CAPACITY));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn no_bytes_make_a_reader_panic_or_leave_the_ring(
        before in scribbles(48),
        between in scribbles(64),
        counters in prop::collection::vec(any::<(u64, bool)>(), 64),
    ) {
        let ring = HeapRing::new(CAPACITY);
        let mut consumer = Consumer::new(ring.clone(), ring.clone());
        for scribbled in before {
            scribble(&ring, scribbled);
        }
        for (scribbled, (count, full)) in between.into_iter().zip(counters) {
            let Ok(polled) = consumer.poll() else { break };
            check(polled);
            match polled {
                Polled::Record(record) => drop(consumer.release(record)),
                Polled::Gap(_) => {}
                Polled::Switch(_) => drop(consumer.pass_switch()),
                Polled::Empty => {
                    let word = if full { Control::DroppedFull } else { Control::DroppedDeadline };
                    ring.control(word).store(count, Ordering::Relaxed);
                    if consumer.poll_losses().is_err() {
                        break;
                    }
                }
            }
            scribble(&ring, scribbled);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_cursor_that_lies_never_runs_backwards_or_ahead(
        lies in prop::collection::vec(prop_oneof![any::<u64>(), (0..200u64).prop_map(|cell| cell * 8)], 1..80),
        len in 0..=max_payload_bytes(CAPACITY),
    ) {
        let (mut producer, consumer) = ends(CAPACITY);
        let (mut last, mut committed) = (0, 0);
        for lie in lies {
            consumer.storage().word().store(lie, Ordering::Relaxed);
            if producer.stage_copy(Kind::Message, &payload(1, len), 1).is_ok() {
                producer.commit();
                committed += 2 * CAPACITY as u64;
            }
            let slowest = producer.slowest().0;
            prop_assert!(slowest >= last && slowest <= committed && slowest.is_multiple_of(16));
            prop_assert!(slowest == last || slowest == lie);
            last = slowest;
        }
    }
}

#[test]
fn pads_that_never_end_do_not_keep_a_reader_busy() {
    let ring = HeapRing::new(CAPACITY);
    for offset in (0..CAPACITY).step_by(CELL_BYTES) {
        ring.commit_word(offset).store(2, Ordering::Relaxed);
    }
    let mut consumer = Consumer::new(ring.clone(), ring);
    assert_eq!(consumer.poll(), Err(Violation::Pad { position: 0 }));
}

#[test]
fn gap_records_that_tell_nothing_do_not_keep_a_reader_busy() {
    let ring = HeapRing::new(CAPACITY);
    for offset in (0..CAPACITY).step_by(2 * CELL_BYTES) {
        ring.commit_word(offset)
            .store(16 << 32 | 4, Ordering::Relaxed);
    }
    let mut consumer = Consumer::new(ring.clone(), ring);
    assert_eq!(consumer.poll(), Err(Violation::Gap { position: 96 }));
}

#[test]
fn a_counter_that_runs_backwards_is_a_violation() {
    let (mut producer, mut consumer) = ends(CAPACITY);
    producer.count_drop(DropCause::Deadline, 5);
    assert!(
        matches!(consumer.poll_losses(), Ok(Polled::Gap(news)) if news.count(DropCause::Deadline) == 5)
    );
    producer
        .storage()
        .control(Control::DroppedDeadline)
        .store(4, Ordering::Relaxed);
    assert_eq!(consumer.poll_losses(), Err(Violation::Gap { position: 0 }));
}

#[test]
fn a_record_across_the_ring_s_end_is_a_violation() {
    let (mut producer, mut consumer) = ends(CAPACITY);
    for number in 0..15 {
        producer.stage_copy(Kind::Message, &[], number).unwrap();
        producer.commit();
        take(&mut consumer);
    }
    producer
        .storage()
        .commit_word(240)
        .store(1 << 32 | 1, Ordering::Relaxed);
    let refused = Violation::Length {
        len: 1,
        position: 240,
        limit: 0,
    };
    assert_eq!(consumer.poll(), Err(refused));
}
