//! A chunk that a lossy ring names is not written again while its reader has it, and the newest one is found.

use loom::thread;

use super::explore;
use crate::{
    pool::{Allocated, Chunk, Holds, Place, Pool, RingKey},
    ring::{
        Position,
        lossy::{LossyConsumer, LossyProducer},
    },
    storage::{Content, LoomCursor, LoomReader, LoomWords, LossyLoomRing},
    sync::Ordering,
    table::{Buf, Shape, TableReader, TableWriter, Words},
};

/// Of each chunk; all of them lie in one segment.
const CHUNK_BYTES: u64 = 4096;

type Consumer = LossyConsumer<LossyLoomRing, LoomCursor>;

/// What chunks hold: words that loom watches, or atomic ones where a reader copies what may be written.
#[derive(Clone)]
enum Contents {
    Watched(Vec<Content>),
    Copied(LoomWords),
}

/// The publisher of as many chunks as there are contents.
struct Publisher {
    pool: Pool<LoomReader, LoomReader>,
    producer: LossyProducer<LossyLoomRing>,
    ring: RingKey,
    contents: Contents,
    /// Where the last records end.
    ends: Vec<u64>,
}

/// Explores that a chunk is not written while a reader that has found its record standing has it. The publisher takes the oldest
/// back for its third message.
pub fn run() {
    explore(3, || {
        let contents = Contents::Watched((0..2).map(|_| Content::new()).collect());
        let (mut publisher, mut consumer, reader) = ends(contents.clone());
        let writer = thread::spawn(move || publisher.publish(3));
        let holds = Holds::new(reader);
        let mut last = 0;
        while let Some((number, place)) = next(&mut consumer) {
            let slot = holds.take(place).expect("nothing is held");
            if consumer.stands() {
                assert_eq!(contents.load(place), number);
                last = number;
            }
            holds.release(slot);
        }
        writer.join().unwrap();
        // The newest is there, whatever came before.
        if let Some((number, place)) = next(&mut consumer) {
            assert!(consumer.stands());
            assert_eq!(contents.load(place), number);
            last = number;
        }
        assert_eq!(last, 3);
    });
}

/// Explores the same for a publisher that gives nothing up, but takes what was read, by the cursor.
pub fn run_read() {
    explore(3, || {
        let contents = Contents::Watched((0..2).map(|_| Content::new()).collect());
        let (mut publisher, mut consumer, reader) = ends(contents.clone());
        let writer = thread::spawn(move || publisher.try_publish(3));
        let holds = Holds::new(reader);
        for _ in 0..2 {
            if let Some((number, place)) = next(&mut consumer) {
                let slot = holds.take(place).expect("nothing is held");
                assert!(consumer.stands());
                assert_eq!(contents.load(place), number);
                holds.release(slot);
            }
        }
        writer.join().unwrap();
    });
}

/// Explores that a copy of a chunk is whole if its record stands behind it.
pub fn run_copied() {
    explore(3, || {
        let contents = Contents::Copied(LoomWords::new(4));
        let (mut publisher, mut consumer, _) = ends(contents.clone());
        let writer = thread::spawn(move || publisher.publish(3));
        for _ in 0..2 {
            if let Some((number, place)) = next(&mut consumer) {
                let copy = contents.copy(place);
                if consumer.stands() {
                    assert_eq!(copy, [number; 2]);
                }
            }
        }
        writer.join().unwrap();
    });
}

/// Explores the same of a table: a value that a reader may have found gives way to the next one.
pub fn run_table() {
    explore(3, || {
        let contents = Contents::Watched((0..2).map(|_| Content::new()).collect());
        let words = LoomWords::new(64);
        let shape = Shape { slots: 1, cells: 2 };
        let mut table = TableWriter::new(words.clone(), shape).expect("it fits");
        let mut reader = TableReader::open(words).expect("it is a table");
        let words = LoomReader::new();
        let (mut pool, ring) = account(&words);
        let mut publish = {
            let contents = contents.clone();
            move |number: u64| {
                // There is none if the reader has it: then there is nothing to be seen in this execution.
                let Some(Allocated { place, key }) = pool.allocate(CHUNK_BYTES, 64) else {
                    return;
                };
                contents.store(place, number);
                // The last one gets no further.
                if number < 3 {
                    let value = named(place).to_bytes();
                    table.store(7, 1, &[&value]).expect("short enough");
                    pool.push(&ring, key, table.sequence());
                    pool.settle(key);
                    pool.give_up_one(&ring, table.sequence() - 1);
                }
            }
        };
        publish(1);
        let writer = thread::spawn(move || (2..=3).for_each(publish));
        let holds = Holds::new(words);
        let mut buffer = Buf::new();
        let mut poll = || {
            let mut slot = None;
            let found = reader.poll_with(&mut buffer, |value, stands| {
                let place = place_in(value);
                let taken = holds.take(place).expect("nothing is held");
                if stands() {
                    slot = Some((taken, contents.load(place)));
                } else {
                    holds.release(taken);
                }
                slot.is_some()
            });
            let found = found.expect("the writer keeps the format")?;
            let (slot, number) = slot.expect("it was taken");
            assert_eq!((found.sequence, found.number + 1), (number, number));
            holds.release(slot);
            Some(number)
        };
        let first = poll();
        writer.join().unwrap();
        // The newest is there, whatever came before.
        assert_eq!(poll().or(first), Some(2));
    });
}

/// Messages 1 and 2 are on their way before there are threads, and take all the memory there is.
fn ends(contents: Contents) -> (Publisher, Consumer, LoomReader) {
    let (memory, reader) = (LossyLoomRing::with_capacity(256), LoomReader::new());
    let (pool, ring) = account(&reader);
    let mut publisher = Publisher {
        pool,
        producer: LossyProducer::new(memory.clone()),
        ring,
        contents,
        ends: Vec::new(),
    };
    (1..=2).for_each(|number| assert!(publisher.try_publish(number)));
    let consumer = LossyConsumer::new(memory, reader.cursor());
    (publisher, consumer, reader)
}

/// Of two chunks, and a ring, or a table, with this reader.
fn account(reader: &LoomReader) -> (Pool<LoomReader, LoomReader>, RingKey) {
    let mut pool = Pool::new(2 * CHUNK_BYTES);
    let ring = pool.add_ring();
    let number = pool.add_reader(&ring, reader.clone());
    pool.watch(&ring, number, reader.clone());
    let plan = pool.plan(CHUNK_BYTES, 64).expect("the limit allows it");
    pool.add_segment(plan);
    (pool, ring)
}

impl Publisher {
    /// Has the oldest message give way if there is no memory; waits for it to be released if need be.
    fn publish(&mut self, number: u64) {
        if self.try_publish(number) {
            return;
        }
        self.producer.give_up(Position(self.ends[0]));
        self.pool.give_up(&self.ring, self.producer.given_up().0);
        while !self.try_publish(number) {
            thread::yield_now();
        }
    }

    /// Takes what is free; whether there is something.
    fn try_publish(&mut self, number: u64) -> bool {
        let Some(Allocated { place, key }) = self.pool.allocate(CHUNK_BYTES, 64) else {
            return false;
        };
        self.contents.store(place, number);
        let written = self.producer.append(number, &[&named(place).to_bytes()]);
        written.expect("short enough");
        let Position(end) = self.producer.committed();
        self.ends.push(end);
        self.pool.push(&self.ring, key, end);
        self.pool.settle(key);
        true
    }
}

impl Contents {
    fn load(&self, place: Place) -> u64 {
        match self {
            Self::Watched(contents) => contents[index(place)].load(),
            Self::Copied(_) => self.copy(place)[0],
        }
    }

    fn store(&self, place: Place, number: u64) {
        match self {
            Self::Watched(contents) => contents[index(place)].store(number),
            Self::Copied(words) => {
                for word in &words.words()[2 * index(place)..][..2] {
                    word.store(number, Ordering::Relaxed);
                }
            }
        }
    }

    fn copy(&self, place: Place) -> [u64; 2] {
        match self {
            Self::Watched(_) => [self.load(place); 2],
            Self::Copied(words) => {
                let words = &words.words()[2 * index(place)..];
                [0, 1].map(|at: usize| words[at].load(Ordering::Relaxed))
            }
        }
    }
}

/// The next message, and the chunk that it names.
fn next(consumer: &mut Consumer) -> Option<(u64, Place)> {
    let mut record = Vec::new();
    let number = consumer
        .poll(&mut record)
        .expect("the producer keeps the format")?;
    Some((number, place_in(&record)))
}

/// How a chunk is named.
fn named(place: Place) -> Chunk {
    Chunk {
        place,
        len_bytes: CHUNK_BYTES,
    }
}

/// What a record, or a value, names.
fn place_in(bytes: &[u8]) -> Place {
    let bytes = bytes.try_into().expect("of a chunk's length");
    let chunk = Chunk::from_bytes(bytes).expect("the publisher keeps the format");
    chunk.place
}

/// Which content a chunk has.
fn index(place: Place) -> usize {
    (place.offset_bytes() / CHUNK_BYTES) as usize
}
