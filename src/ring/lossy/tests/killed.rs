//! A producer that dies between any two stores leaves a ring that can be read.

use std::cell::Cell;

use super::*;
use crate::ring::SeatWord;

const CAPACITY: usize = 256;
/// Lengths of the records, again and again: pads, and records that overwrite several.
const LENGTHS: [usize; 5] = [16, 0, 64, 33, 48];
const RECORDS: u64 = 14;

/// A ring whose writer is dead after so many accesses: what it stores later goes elsewhere.
struct Mortal {
    ring: HeapRing,
    left: Cell<usize>,
    elsewhere: AtomicU64,
}

impl Mortal {
    fn is_alive(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

impl Read for Mortal {
    fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    fn commit_word(&self, offset: usize) -> &AtomicU64 {
        match self.is_alive() {
            true => self.ring.commit_word(offset),
            false => &self.elsewhere,
        }
    }

    fn load_detail(&self, offset: usize) -> u64 {
        self.ring.load_detail(offset)
    }

    fn copy_out(&self, _: usize, _: &mut [u8]) {
        unreachable!("it writes")
    }

    fn control(&self, word: Control) -> &AtomicU64 {
        match self.is_alive() {
            true => self.ring.control(word),
            false => &self.elsewhere,
        }
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        self.ring.seat(seat, word)
    }
}

impl Write for Mortal {
    fn store_detail(&self, offset: usize, detail: u64) {
        if self.is_alive() {
            self.ring.store_detail(offset, detail);
        }
    }

    fn copy_in(&self, _: usize, _: &[u8]) {
        unreachable!("readers may be looking")
    }
}

/// Lets a producer die after `accesses`; the reader has read after the first `read` records. Whether the producer got
/// through alive.
fn check(accesses: usize, read: u64) -> bool {
    let ring = HeapRing::new(CAPACITY);
    let mut reader = LossyConsumer::new(ring.clone(), ring.clone());
    let mut producer = LossyProducer::new(Mortal {
        ring,
        left: Cell::new(accesses),
        elsewhere: AtomicU64::new(0),
    });
    let (mut starts, mut given) = (Vec::new(), Vec::new());
    for number in 0..RECORDS {
        let bytes = payload(number, LENGTHS[number as usize % LENGTHS.len()]);
        producer.append(number, &[&bytes]).unwrap();
        starts.push(producer.committed().0 - record_bytes(bytes.len()) as u64);
        if producer.storage().left.get() == 0 {
            break;
        }
        if number < read {
            drain(&mut reader, &mut given);
        }
    }
    drain(&mut reader, &mut given);
    assert!(reader.is_dry(), "nothing is left, and it says so");

    // The last one begun may not have been committed, all before it have.
    let is_alive = producer.storage().left.get() > 0;
    let committed = starts.len() as u64 - u64::from(!is_alive);
    let last = given.last().map_or(0, |last| last + 1);
    assert!(
        (committed..=starts.len() as u64).contains(&last),
        "{last} of {committed}"
    );
    let oldest = reader
        .storage()
        .control(Control::Oldest)
        .load(Ordering::Relaxed);
    let given_up = intent_of(&reader).saturating_sub(CAPACITY as u64);
    assert!(given_up <= oldest);
    for number in 0..committed {
        let was_announced = starts[number as usize] < oldest;
        assert!(given.contains(&number) || was_announced, "{number}");
    }
    is_alive
}

fn drain(reader: &mut Reader, given: &mut Vec<u64>) {
    while let Some((number, bytes)) = take(reader) {
        let len = LENGTHS[number as usize % LENGTHS.len()];
        assert_eq!(bytes, payload(number, len), "payload of {number}");
        assert!(given.last() < Some(&number), "{number} behind {given:?}");
        given.push(number);
    }
}

#[test]
fn what_a_dead_producer_committed_is_read_or_was_given_up() {
    // An interpreter takes too long over all of them.
    let (stride, reads) = if cfg!(miri) { (7, 5) } else { (1, 1) };
    for read in (0..=RECORDS).step_by(reads) {
        let mut accesses = 0;
        while !check(accesses, read) {
            accesses += stride;
        }
        assert!(accesses > 100, "{accesses} places to die at");
    }
}
