//! A writer that stores anything anywhere brings about errors, nothing else.

use proptest::prelude::*;

use super::*;
use crate::sync::Ordering;

const BYTES: usize = 2048;
const SLOTS: u32 = 3;

/// Words that are nearly right, so that the checks behind the first are reached, too.
fn word() -> impl Strategy<Value = u64> {
    let lengths = (0..200_u64, 0..9_u64).prop_map(|(len, count)| len << 32 | count);
    prop_oneof![
        6 => 0..6_u64,
        4 => (0..100_u64).prop_map(|unit| unit * 16),
        4 => lengths,
        2 => any::<u64>(),
        1 => Just(u64::MAX),
        1 => (0..4_u64).prop_map(|less| u64::MAX - less),
    ]
}

/// (which word, value); mostly of groups, slots and cells.
fn scribbles(count: usize) -> impl Strategy<Value = Vec<(usize, u64)>> {
    let index = prop_oneof![4 => 10..11_usize, 16 => 16..16 + 3 * 16_usize, 1 => 0..BYTES / 8];
    prop::collection::vec((index, word()), count)
}

fn scribble(words: &HeapWords, (index, value): (usize, u64)) {
    words.words()[index].store(value, Ordering::Relaxed);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 1000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_words_make_a_reader_panic_or_grow(
        stored in 0..8_u64,
        before in scribbles(12),
        between in scribbles(48),
    ) {
        let (mut writer, mut reader) = ends(BYTES, Shape { slots: SLOTS, cells: 2 });
        for number in 0..stored {
            writer.store(number % 3, 1, &[&value(number, 40)]).unwrap();
        }
        let words = writer.storage();
        before.into_iter().for_each(|scribbled| scribble(words, scribbled));
        let mut out = Buf::new();
        for scribbled in between {
            for slot in 0..SLOTS {
                let _ = reader.read(slot, 0, &mut out);
                prop_assert!(out.capacity() <= 2 * BYTES);
            }
            match reader.poll(&mut out) {
                Ok(Some(found)) => {
                    prop_assert!(found.slot < SLOTS && found.len == out.len() && found.len <= BYTES);
                }
                Ok(None) => {}
                // A reader that goes on all the same has to stay as safe.
                Err(_) => {}
            }
            scribble(words, scribbled);
        }
    }

    #[test]
    fn no_header_makes_a_reader_panic_or_leave_the_memory(
        header in prop::array::uniform3(word()),
        shaped in any::<bool>(),
        stored in scribbles(24),
    ) {
        let words = HeapWords::new(BYTES);
        for (index, value) in header.into_iter().enumerate() {
            scribble(&words, (index, value));
        }
        if shaped {
            // The arena where it belongs, if slots and cells are possible at all.
            let [slots, cells, _] = header;
            let stride = (4 + cells % (1 << 32) * 4).next_multiple_of(8);
            let slots_at = (10 + slots.div_ceil(64)).next_multiple_of(8);
            scribble(&words, (2, slots.wrapping_mul(stride).wrapping_add(slots_at)));
        }
        stored.into_iter().filter(|(index, _)| *index > 2).for_each(|scribbled| scribble(&words, scribbled));
        if let Ok(mut reader) = TableReader::open(words) {
            prop_assert!(reader.slots() as usize * 96 <= BYTES);
            let mut out = Buf::new();
            for _ in 0..8 {
                let _ = reader.poll(&mut out);
            }
            for slot in 0..reader.slots() {
                let _ = reader.read(slot, 0, &mut out);
            }
        }
    }
}

fn written() -> (HeapWords, TableReader<HeapWords>) {
    let (mut writer, mut reader) = small();
    for number in 0..3 {
        writer.store(1, 1, &[&value(number, 40)]).unwrap();
    }
    poll(&mut reader);
    writer.store(1, 1, &[&value(3, 40)]).unwrap();
    (writer.storage().clone(), reader)
}

#[test]
fn each_violation_is_named() {
    // Word 16 is the first slot's `begun`; the newest of four writes lies in its second cell, words 24 to 27.
    let violation = |word, value| {
        let (words, mut reader) = written();
        scribble(&words, (word, value));
        reader.poll(&mut Buf::new()).unwrap_err()
    };
    assert!(matches!(
        violation(16, 3),
        Violation::Begun {
            slot: 0,
            begun: 3,
            writes: 4
        }
    ));
    assert!(matches!(
        violation(17, 2),
        Violation::Writes {
            slot: 0,
            writes: 2,
            seen: 3
        }
    ));
    assert!(
        matches!(violation(24, 0), Violation::Cell { .. }),
        "no sequence"
    );
    assert!(matches!(
        violation(24, 3),
        Violation::Order { sequence: 3, .. }
    ));
    assert!(matches!(
        violation(25, 2),
        Violation::Order { number: 2, .. }
    ));
    assert!(
        matches!(violation(25, u64::MAX), Violation::Cell { .. }),
        "an account that overflows"
    );
    assert!(
        matches!(violation(26, 4096 << 32), Violation::Cell { .. }),
        "longer than the arena"
    );
    assert!(
        matches!(violation(27, 8), Violation::Cell { .. }),
        "between two places"
    );
    assert!(
        matches!(violation(27, 1), Violation::Cell { .. }),
        "vacated, with a length"
    );
    assert!(
        matches!(violation(27, u64::MAX - 15), Violation::Cell { .. }),
        "beyond the arena"
    );
}

#[test]
fn a_writer_in_an_endless_hurry_is_busy_and_no_more() {
    let (words, mut reader) = written();
    scribble(&words, (16, 100));
    let mut out = Buf::new();
    assert_eq!(reader.poll(&mut out), Ok(None));
    assert!(reader.has_something(), "there still is something");
    assert_eq!(reader.read(0, 0, &mut out), Ok(Read::Busy));
    assert!(reader.seen() < 5, "the fourth was not given");
    scribble(&words, (16, 4));
    assert_eq!(super::poll(&mut reader).1, value(3, 40));
}
