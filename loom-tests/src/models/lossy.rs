//! A reader of a lossy ring gets what was written, in order, the newest record in the end, and misses only what was given up.

use loom::thread;

use super::{explore, payload};
use crate::{
    ring::{
        Control, Cursor, Read,
        lossy::{LossyConsumer, LossyProducer},
        record_bytes,
    },
    storage::{LoomCursor, LossyLoomRing},
    sync::Ordering,
};

/// What happens in a model; records are payload lengths.
#[derive(Clone, Copy)]
struct Course {
    capacity: usize,
    /// Written before there are two threads.
    before: &'static [usize],
    /// How many of those are read before that, too.
    read: usize,
    /// Written while the reader polls so often.
    during: &'static [usize],
    polls: usize,
}

/// Explores a producer that overwrites what the reader is looking at. A payload comes to lie where the header at 48 was, the
/// last 0 where the one at 80 was.
///
/// Ends of the records: 32, 48, 80, 112; then, behind a pad, 160, 192, 208.
pub fn run() {
    let course = Course {
        capacity: 128,
        before: &[16, 0, 16, 16],
        read: 0,
        during: &[16, 16, 0],
        polls: 2,
    };
    explore(3, move || course.run());
}

/// Explores a producer that goes on while an overtaken reader looks for its place. The last record gives up all but the one
/// before, which is committed without a fence since the last time that anything was given up.
///
/// Ends of the records: 80, 160, 240, 256, 336, 352; 432, 448; then, behind a pad, 592.
pub fn run_resumed() {
    let course = Course {
        capacity: 256,
        before: &[64, 64, 64, 0, 64, 0],
        read: 0,
        during: &[64, 0, 64],
        polls: 1,
    };
    explore(2, move || course.run());
}

/// Explores a reader close behind the producer, over the ring's end, where headers of other records were.
///
/// Ends of the records: 16, 48, 80, 112; then, behind a pad, 160, 176.
pub fn run_followed() {
    let course = Course {
        capacity: 128,
        before: &[0, 16, 16, 16],
        read: 4,
        during: &[16, 0],
        polls: 3,
    };
    explore(3, move || course.run());
}

impl Course {
    fn run(self) {
        let (ring, cursor) = (
            LossyLoomRing::with_capacity(self.capacity),
            LoomCursor::new(),
        );
        let mut producer = LossyProducer::new(ring.clone());
        let mut reader = Reader {
            consumer: LossyConsumer::new(ring, cursor),
            lengths: [self.before, self.during].concat(),
            given: Vec::new(),
            buffer: Vec::new(),
        };
        append(&mut producer, 0, self.before);
        for _ in 0..self.read {
            assert!(reader.step());
        }
        let writer = thread::spawn(move || {
            append(&mut producer, self.before.len() as u64, self.during);
        });
        for _ in 0..self.polls {
            reader.step();
        }
        writer.join().unwrap();
        while reader.step() {}
        reader.check_missed();
    }
}

fn append(producer: &mut LossyProducer<LossyLoomRing>, first: u64, lengths: &[usize]) {
    for (number, len) in (first..).zip(lengths) {
        let bytes = payload(number, *len);
        producer.append(number, &[&bytes]).expect("short enough");
    }
}

struct Reader {
    consumer: LossyConsumer<LossyLoomRing, LoomCursor>,
    /// Of all records, by number.
    lengths: Vec<usize>,
    /// Numbers of the records that were given.
    given: Vec<u64>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Takes the next record, if there is one, and checks all about it.
    fn step(&mut self) -> bool {
        let found = self.consumer.poll(&mut self.buffer);
        let Some(number) = found.expect("the producer keeps the format") else {
            return false;
        };
        let last = self.given.last().copied();
        assert!(last < Some(number), "{number} behind {last:?}");
        let len = self.lengths[number as usize];
        assert_eq!(self.buffer, payload(number, len), "payload of {number}");
        let _ = self.consumer.publish();
        let end = self.consumer.cursor().word().load(Ordering::Relaxed);
        let start = self.start_of(number);
        assert_eq!(end, start + record_bytes(len) as u64, "place of {number}");
        self.given.push(number);
        true
    }

    /// Demands that all records were given that are still whole; the newest one is.
    fn check_missed(&self) {
        assert!(!self.consumer.has_something());
        let ring = self.consumer.storage();
        let intent = ring.control(Control::Intent).load(Ordering::Relaxed);
        let given_up = intent.saturating_sub(ring.capacity() as u64);
        let newest = self.lengths.len() as u64 - 1;
        assert!(self.start_of(newest) >= given_up, "the newest record stays");
        for number in 0..=newest {
            assert!(
                self.given.contains(&number) || self.start_of(number) < given_up,
                "{number} is missed, and was not given up"
            );
        }
    }

    fn start_of(&self, number: u64) -> u64 {
        let capacity = self.consumer.storage().capacity();
        let mut start = 0;
        let mut end = 0;
        for len in &self.lengths[..=number as usize] {
            let to_end = capacity - end % capacity;
            let record = record_bytes(*len);
            start = if record > to_end { end + to_end } else { end };
            end = start + record;
        }
        start as u64
    }
}
