//! Two threads, one table.

use std::thread;

use super::*;

const WRITES: u64 = if cfg!(miri) { 100 } else { 1_000_000 };
const TOPICS: u64 = 5;

/// Each word tells the write.
fn words(write: u64) -> Vec<u8> {
    let dice = write.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let len = match dice % 64 {
        0 => 100,
        1..8 => dice as usize / 64 % 24,
        _ => 6,
    };
    write.to_le_bytes().repeat(len + 1)
}

/// Reads beside a writer; returns what it was given and told, for each slot.
fn read_along(reader: &mut TableReader<HeapWords>, until: u64) -> Vec<(u64, u64)> {
    let mut accounts = vec![(0, 0); reader.slots() as usize];
    let mut out = Buf::new();
    while reader.seen() < until {
        let Some(found) = reader.poll(&mut out).unwrap() else {
            thread::yield_now();
            continue;
        };
        let (sequence, sum) = &mut accounts[found.slot as usize];
        if !found.vacated {
            assert_eq!(out.as_slice(), words(found.sequence));
            assert!(found.sequence > *sequence, "order within a slot");
        }
        assert_eq!(*sum + found.skipped, found.number);
        *sequence = found.sequence;
        *sum = found.number + u64::from(found.count);
        // The newest may be a newer one by now; whatever it is, it is whole.
        if let Read::Value(newest) = reader.read(found.slot, 0, &mut out).unwrap() {
            assert_eq!(out.as_slice(), words(newest.sequence));
        }
    }
    accounts
}

fn run(bytes: usize, shape: Shape, writes: u64) {
    let (mut writer, mut reader) = ends(bytes, shape);
    let mut second = TableReader::open(writer.storage().clone()).unwrap();
    let writing = thread::spawn(move || {
        for write in 1..=writes {
            let count = (write % 3) as u32;
            let bytes = words(write);
            writer
                .store(write * write % 7 % TOPICS, count, &[&bytes])
                .unwrap();
            if write % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    let reading = thread::spawn(move || read_along(&mut second, writes + 1));
    let accounts = read_along(&mut reader, writes + 1);
    let stored: u64 = (1..=writes).map(|write| write % 3).sum();
    let sum = |accounts: Vec<(u64, u64)>| accounts.iter().map(|(_, sum)| sum).sum::<u64>();
    assert_eq!(sum(accounts), stored);
    assert_eq!(sum(reading.join().unwrap()), stored);
    writing.join().unwrap();
}

#[test]
fn two_readers_get_whole_values_in_order_and_exact_sums() {
    run(16 << 10, Shape { slots: 5, cells: 2 }, WRITES);
}

#[test]
fn two_readers_get_exact_sums_where_slots_and_memory_run_out() {
    run(5 << 10, Shape { slots: 3, cells: 2 }, WRITES / 4);
}
