//! Two threads, one ring, many laps.

use std::thread;

use super::*;

const RECORDS: u64 = if cfg!(miri) { 300 } else { 2_000_000 };
const CAPACITY: usize = 1024;

/// The same lengths on both sides: mostly short, now and then the longest.
fn len_of(number: u64) -> usize {
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match dice % 64 {
        0 => max_payload_bytes(CAPACITY),
        // Whole words: Miri itself panics over atomic words that a plain write covered in part.
        _ if cfg!(miri) => dice as usize / 64 % 9 * 8,
        _ => dice as usize / 64 % 72,
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn fill(bytes: &mut Vec<u8>, number: u64) {
    bytes.clear();
    bytes.resize(len_of(number), number as u8);
    if let Some(last) = bytes.last_mut() {
        *last = (number >> 8) as u8;
    }
}

#[test]
fn two_threads_lose_change_and_reorder_nothing() {
    let (mut producer, mut consumer) = ends(CAPACITY);
    let writer = thread::spawn(move || {
        let (mut bytes, mut number) = (Vec::new(), 0);
        while number < RECORDS {
            fill(&mut bytes, number);
            match producer.stage_copy(Kind::Message, &bytes, checksum(&bytes)) {
                Ok(()) => {
                    number += 1;
                    // Batches of three, so that first words come last.
                    if number % 3 == 0 {
                        producer.commit();
                    }
                }
                Err(NoRoom::Full) => {
                    producer.commit();
                    thread::yield_now();
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
        producer.commit();
        producer.close();
    });
    let (mut bytes, mut expected, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        let closed = consumer.is_closed();
        match consumer.poll().unwrap() {
            Polled::Record(record) => {
                fill(&mut expected, number);
                bytes.resize(record.len_bytes, 0);
                consumer.storage().copy_out(record.offset, &mut bytes);
                assert_eq!(
                    (&bytes, record.detail),
                    (&expected, checksum(&bytes)),
                    "message {number}"
                );
                number += 1;
                let _ = consumer.release(record);
            }
            Polled::Empty if closed => break,
            Polled::Empty => {
                let _ = consumer.publish();
                thread::yield_now();
            }
            Polled::Switch(switch) => panic!("{switch:?}"),
            Polled::Gap(counts) => panic!("{counts:?}"),
        }
    }
    writer.join().unwrap();
    assert_eq!(number, RECORDS);
}

#[test]
fn two_threads_account_for_every_drop_at_its_place() {
    let (mut producer, mut consumer) = ends(CAPACITY);
    let writer = thread::spawn(move || {
        let mut bytes = Vec::new();
        for number in 0..RECORDS {
            fill(&mut bytes, number);
            let staged = producer
                .stage_gap()
                .and_then(|()| producer.stage_copy(Kind::Message, &bytes, number));
            if staged.is_ok() {
                producer.commit();
            } else {
                producer.abort();
                producer.count_drop(DropCause::Full, 1);
                if number % 7 == 0 {
                    thread::yield_now();
                }
            }
        }
        producer.close();
    });
    let (mut records, mut missing) = (0, 0);
    loop {
        let closed = consumer.is_closed();
        let mut polled = consumer.poll().unwrap();
        if polled == Polled::Empty {
            let _ = consumer.publish();
            polled = consumer.poll_losses().unwrap();
        }
        match polled {
            Polled::Record(record) => {
                assert_eq!(record.detail, records + missing, "derived sequence");
                records += 1;
                let _ = consumer.release(record);
            }
            Polled::Gap(counts) => missing += counts.total(),
            Polled::Empty if closed => break,
            Polled::Empty => thread::yield_now(),
            Polled::Switch(switch) => panic!("{switch:?}"),
        }
    }
    writer.join().unwrap();
    assert_eq!(records + missing, RECORDS);
    assert!(records > 0);
}
