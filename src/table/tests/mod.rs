//! What a table on the heap must do.

mod bytes;
mod hints;
mod hostile;
mod model;
mod stress;

use super::writer::TooLarge;
use super::*;

fn ends(bytes: usize, shape: Shape) -> (TableWriter<HeapWords>, TableReader<HeapWords>) {
    let words = HeapWords::new(bytes);
    let writer = TableWriter::new(words.clone(), shape).unwrap();
    (writer, TableReader::open(words).unwrap())
}

/// A small table: a conflating one, whose slots are never short of memory with values of up to 64 bytes.
fn small() -> (TableWriter<HeapWords>, TableReader<HeapWords>) {
    ends(4096, Shape { slots: 4, cells: 2 })
}

/// Bytes that tell number and place.
fn value(number: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (number as usize * 37 + at + 1) as u8)
        .collect()
}

/// What is new; nothing is a failure.
fn poll(reader: &mut TableReader<HeapWords>) -> (Value, Vec<u8>) {
    let mut out = Buf::new();
    let found = reader.poll(&mut out).unwrap().expect("something is new");
    assert_eq!(found.len, out.len());
    (found, out.to_vec())
}

fn read(reader: &TableReader<HeapWords>, slot: u32, back: u32) -> Option<Vec<u8>> {
    let mut out = Buf::new();
    match reader.read(slot, back, &mut out).unwrap() {
        Read::Value(found) => {
            assert_eq!(found.len, out.len());
            Some(out.to_vec())
        }
        Read::None => None,
        Read::Busy => panic!("nobody writes"),
    }
}

fn is_dry(reader: &mut TableReader<HeapWords>) -> bool {
    reader.poll(&mut Buf::new()).unwrap().is_none()
}

#[test]
fn the_newest_value_is_given_once_and_says_what_it_replaced() {
    let (mut writer, mut reader) = small();
    assert!(!reader.has_something() && is_dry(&mut reader));
    assert_eq!((writer.sequence(), reader.sequence()), (1, 1));
    for number in 0..5 {
        writer.store(7, 2, &[&value(number, 40)]).unwrap();
    }
    assert!(reader.has_something());
    let (found, bytes) = poll(&mut reader);
    let expected = Value {
        slot: 0,
        sequence: 5,
        number: 8,
        count: 2,
        skipped: 8,
        len: 40,
        vacated: false,
    };
    assert_eq!((found, bytes), (expected, value(4, 40)));
    assert!(is_dry(&mut reader) && !reader.has_something());
    assert_eq!((reader.seen(), reader.sequence()), (6, 6));
}

#[test]
fn parts_stand_one_behind_the_other() {
    let (mut writer, mut reader) = small();
    writer
        .store(7, 1, &[&value(1, 16), &[], &value(2, 8), &value(3, 13)])
        .unwrap();
    let expected = [value(1, 16), value(2, 8), value(3, 13)].concat();
    assert_eq!(poll(&mut reader).1, expected);
    writer.store(7, 1, &[]).unwrap();
    let (found, bytes) = poll(&mut reader);
    assert_eq!((found.len, found.skipped, bytes.len()), (0, 0, 0));
    assert!(!found.vacated, "an empty value is a value");
}

#[test]
fn a_history_is_read_newest_first() {
    let shape = Shape { slots: 3, cells: 4 };
    let (mut writer, reader) = ends(4096, shape);
    for number in 0..9_u64 {
        writer.store(5, 1, &[&value(number, 24)]).unwrap();
        for back in 0..5_u32 {
            let kept = u64::from(back) <= number && back < reader.history();
            let expected = kept.then(|| value(number - u64::from(back), 24));
            assert_eq!(read(&reader, 0, back), expected, "{back} before {number}");
        }
    }
    assert_eq!(read(&reader, 1, 0), None);
    assert_eq!(read(&reader, 3, 0), None);
}

#[test]
fn a_reader_for_all_gets_what_is_kept_oldest_first_and_then_what_comes() {
    let words = HeapWords::new(8192);
    let shape = Shape { slots: 3, cells: 4 };
    let mut writer = TableWriter::new(words.clone(), shape).unwrap();
    let mut reader = TableReader::open_for_all(words).unwrap();
    let sequences = |reader: &mut TableReader<HeapWords>| {
        let mut found = Vec::new();
        while let Some(value) = reader.poll(&mut Buf::new()).unwrap() {
            assert!(!value.vacated);
            found.push((value.slot, value.sequence, value.skipped));
        }
        found
    };
    for key in [1, 2, 1, 1, 1, 2, 1] {
        writer.store(key, 1, &[&[0; 8]]).unwrap();
    }
    let kept = [(0, 4, 2), (0, 5, 0), (0, 7, 0), (1, 2, 0), (1, 6, 0)];
    assert_eq!(sequences(&mut reader), kept);
    assert_eq!(reader.seen(), writer.sequence());
    for key in [2, 1, 2] {
        writer.store(key, 1, &[&[0; 8]]).unwrap();
    }
    assert_eq!(sequences(&mut reader), [(0, 9, 0), (1, 8, 0), (1, 10, 0)]);
    // A topic that never rests does not keep others waiting.
    writer.store(2, 1, &[&[0; 8]]).unwrap();
    let mut slots = Vec::new();
    while slots.last() != Some(&1) && slots.len() < 9 {
        writer.store(1, 1, &[&[0; 8]]).unwrap();
        let value = reader.poll(&mut Buf::new()).unwrap();
        slots.extend(value.map(|value| value.slot));
    }
    assert_eq!(slots, [0, 1]);
    // What is vacated is told once.
    for key in [3, 4] {
        writer.store(key, 1, &[&[0; 8]]).unwrap();
    }
    let mut vacated = 0;
    while let Some(value) = reader.poll(&mut Buf::new()).unwrap() {
        vacated += u32::from(value.vacated);
    }
    assert_eq!(vacated, 1);
    assert!(!reader.has_something());
}

#[test]
fn slots_take_turns() {
    let (mut writer, mut reader) = small();
    for key in [1, 2, 3] {
        writer.store(key, 1, &[&[0; 8]]).unwrap();
    }
    let mut slots = Vec::new();
    for _ in 0..9 {
        let (found, _) = poll(&mut reader);
        slots.push(found.slot);
        // One topic that never rests.
        writer.store(1, 1, &[&[0; 8]]).unwrap();
        writer.store(2, 1, &[&[0; 8]]).unwrap();
        writer.store(3, 1, &[&[0; 8]]).unwrap();
    }
    assert_eq!(slots, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes in an interpreter")]
fn what_is_seen_rises_though_there_is_always_more() {
    let shape = Shape {
        slots: 200,
        cells: 2,
    };
    let (mut writer, mut reader) = ends(128 << 10, shape);
    let mut store = |key| {
        let _slot = writer.store(key, 1, &[&[0; 8]]).unwrap();
    };
    (0..200).for_each(&mut store);
    let before = reader.sequence();
    for key in (0..200).cycle().take(450) {
        poll(&mut reader);
        store(key);
    }
    assert!(reader.seen() >= before, "{} < {before}", reader.seen());
    assert!(reader.seen() < reader.sequence());
}

#[test]
fn a_slot_that_gives_way_is_told_of_and_its_account_goes_on() {
    let (mut writer, mut reader) = small();
    for key in 0..4 {
        writer.store(key, 1, &[&value(key, 8)]).unwrap();
    }
    assert_eq!(poll(&mut reader).0.slot, 0);
    // The first is the one that was not written again.
    writer.store(1, 1, &[&value(1, 8)]).unwrap();
    writer.store(9, 5, &[&value(9, 8)]).unwrap();
    let mut given = Vec::new();
    while !is_dry(&mut TableReader::open(reader.storage().clone()).unwrap()) {
        let mut out = Buf::new();
        match reader.poll(&mut out).unwrap() {
            Some(found) => given.push((found.slot, found.skipped, found.number, found.count)),
            None => break,
        }
    }
    assert_eq!(
        given,
        [(1, 1, 1, 1), (2, 0, 0, 1), (3, 0, 0, 1), (0, 0, 1, 5)]
    );
    assert_eq!(read(&reader, 0, 0), Some(value(9, 8)));
}

#[test]
fn a_vacated_slot_says_so_once() {
    let shape = Shape { slots: 2, cells: 2 };
    let (mut writer, mut reader) = ends(1024, shape);
    let longest = writer.longest();
    for number in 0..3 {
        writer.store(1, 1, &[&value(number, longest)]).unwrap();
    }
    assert_eq!(poll(&mut reader).0.number, 2);
    writer.store(1, 7, &[&value(3, longest)]).unwrap();
    // Two more of the other topic, and there is no room for both.
    for number in 4..7 {
        writer.store(2, 1, &[&value(number, longest)]).unwrap();
    }
    let (mut reached, mut vacated) = (0, 0);
    let mut out = Buf::new();
    while let Some(found) = reader.poll(&mut out).unwrap() {
        if found.slot == 0 {
            reached = found.number + u64::from(found.count);
            vacated += usize::from(found.vacated);
            if found.vacated {
                assert_eq!((found.len, found.count, out.len()), (0, 0, 0));
            }
        }
    }
    assert_eq!((reached, vacated <= 1), (10, true));
    assert_eq!(vacated == 1, read(&reader, 0, 0).is_none());
}

#[test]
fn the_longest_value_fits_and_a_longer_one_is_refused() {
    for cells in [2, 3, 9] {
        let shape = Shape { slots: 2, cells };
        let (mut writer, mut reader) = ends(8192, shape);
        let longest = writer.longest();
        for number in 0..20 {
            writer.store(1, 1, &[&value(number, longest)]).unwrap();
            assert_eq!(poll(&mut reader).1, value(number, longest));
        }
        let refused = TooLarge {
            len: longest + 1,
            limit: longest,
        };
        assert_eq!(writer.store(1, 1, &[&value(0, longest + 1)]), Err(refused));
        assert!(is_dry(&mut reader));
        assert_eq!(read(&reader, 0, 0), Some(value(19, longest)));
    }
}

#[test]
fn a_table_made_for_a_value_takes_it_as_often_as_promised() {
    let lens = [0, 1, 16, 48, 300, 1000, 4096, 70_000, 1 << 20];
    // An interpreter takes too long over the large ones.
    let (longest, most) = if cfg!(miri) { (300, 3) } else { (1 << 20, 101) };
    for len in lens.into_iter().filter(|len| *len <= longest) {
        for cells in [2, 3, 5, 17, 101]
            .into_iter()
            .filter(|cells| *cells <= most)
        {
            let bytes = bytes_for(len, cells);
            let shape = Shape::for_bytes(bytes, cells);
            let (mut writer, reader) = ends(bytes, shape);
            assert!(
                writer.longest() >= len,
                "{len} bytes, {cells} cells: {}",
                writer.longest()
            );
            assert!(shape.slots >= 16 && bytes.is_multiple_of(4096));
            let large = (cells as usize + 2) * (len + 64) * 16;
            assert!(
                bytes < 64 << 10 || bytes < 4 * large,
                "{bytes} for {cells} of {len}"
            );
            for number in 0..u64::from(cells) {
                writer.store(1, 1, &[&value(number, len)]).unwrap();
            }
            assert_eq!(read(&reader, 0, cells - 2), Some(value(1, len)));
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    for bytes in [0, 8, 64, 128, 256] {
        let shape = Shape::for_bytes(bytes, 2);
        assert!(TableWriter::new(HeapWords::new(bytes), shape).is_err());
        assert!(TableReader::open(HeapWords::new(bytes)).is_err());
    }
    for (slots, cells) in [
        (0, 2),
        (1, 0),
        (1, 1),
        (u32::MAX, 2),
        (1, u32::MAX),
        (16, 1 << 16),
    ] {
        assert!(TableWriter::new(HeapWords::new(8192), Shape { slots, cells }).is_err());
    }
    assert!(bytes_for(usize::MAX, u32::MAX) > 1 << 40);
}

#[test]
fn a_copy_of_a_table_is_told_what_a_reader_was_told() {
    let (mut writer, mut reader) = small();
    let (mut replica, mut remote) = small();
    let mut sums = [[0_u64; 4]; 2];
    for number in 0..if cfg!(miri) { 60 } else { 500_u64 } {
        let key = number * number % 6;
        writer
            .store(key, 1, &[&value(number, (number % 97) as usize)])
            .unwrap();
        if number % 3 > 0 {
            continue;
        }
        let mut out = Buf::new();
        while let Some(found) = reader.poll(&mut out).unwrap() {
            sums[0][found.slot as usize] += found.skipped + u64::from(found.count);
            let stamp = Stamp {
                sequence: found.sequence,
                number: found.number,
                count: found.count,
            };
            match found.vacated {
                true => replica.vacate_at(found.slot, stamp).unwrap(),
                false => replica.store_at(found.slot, stamp, &[&out]).unwrap(),
            }
        }
        replica.complete_below(reader.seen());
        assert_eq!(remote.sequence(), reader.seen());
        for slot in 0..4 {
            assert_eq!(read(&remote, slot, 0), read(&reader, slot, 0));
        }
        if number % 5 == 0 {
            while let Some(found) = remote.poll(&mut out).unwrap() {
                sums[1][found.slot as usize] += found.skipped + u64::from(found.count);
            }
            assert_eq!((sums[0], remote.seen()), (sums[1], reader.seen()));
        }
    }
}

#[test]
fn a_copy_refuses_what_does_not_follow() {
    let (mut replica, _) = small();
    let stamp = |sequence, number, count| Stamp {
        sequence,
        number,
        count,
    };
    let mut store = |slot, stamp| replica.store_at(slot, stamp, &[&[1; 8]]);
    assert_eq!(
        store(4, stamp(1, 0, 1)),
        Err(StoreAtError::Slot { slot: 4, slots: 4 })
    );
    assert!(store(0, stamp(0, 0, 1)).is_err());
    assert!(store(0, stamp(1, u64::MAX, 1)).is_err());
    store(0, stamp(5, 10, 3)).unwrap();
    assert!(
        store(0, stamp(5, 13, 1)).is_err(),
        "the same sequence again"
    );
    assert!(store(0, stamp(4, 13, 1)).is_err(), "a sequence that falls");
    assert!(store(0, stamp(6, 12, 1)).is_err(), "messages twice");
    // Values of other slots may be older.
    store(1, stamp(2, 0, 1)).unwrap();
    store(0, stamp(6, 13, 1)).unwrap();
    assert!(replica.vacate_at(0, stamp(5, 14, 0)).is_err());
    replica.vacate_at(0, stamp(6, 14, 0)).unwrap();
    replica.vacate_at(0, stamp(6, 14, 0)).unwrap();
    replica.store_at(0, stamp(7, 14, 1), &[]).unwrap();
    let limit = replica.longest();
    let refused = replica.store_at(0, stamp(8, 15, 1), &[&value(0, limit + 1)]);
    assert!(matches!(refused, Err(StoreAtError::TooLarge(_))));
}
