//! A chunk is written again only when it is read, and held, no more.

use loom::{sync::Arc, thread};

use super::{LoomConsumer, explore, poll};
use crate::{
    pool::{Allocated, Chunk, Holds, Place, Pool, RingKey, leave},
    ring::{Consumer, Kind, Position, Producer, Read, Record},
    storage::{Content, LoomCursor, LoomReader, LoomRing},
};

/// Of each chunk; all of them lie in one segment.
const CHUNK_BYTES: u64 = 4096;

/// The publisher of as many chunks as there are contents.
struct Publisher {
    pool: Pool<LoomReader, LoomReader>,
    producer: Producer<LoomRing, LoomCursor>,
    ring: RingKey,
    contents: Vec<Content>,
}

/// Explores that a chunk is not written before its record is read.
pub fn run_read() {
    explore(3, || {
        let (mut publisher, mut consumer, _, contents) = ends(1);
        let writer = thread::spawn(move || (1..=2).for_each(|number| publisher.publish(number)));
        for number in 1..=2 {
            let (record, place) = next(&mut consumer);
            assert_eq!(contents[index(place)].load(), number);
            give_back(&mut consumer, record);
        }
        writer.join().unwrap();
    });
}

/// Explores that a chunk is not written while it is held.
pub fn run_hold() {
    explore(3, || {
        let (mut publisher, mut consumer, reader, contents) = ends(1);
        let writer = thread::spawn(move || (1..=2).for_each(|number| publisher.publish(number)));
        let holds = Holds::new(reader);
        let (record, place) = next(&mut consumer);
        let slot = holds.take(place).expect("nothing is held");
        give_back(&mut consumer, record);
        assert_eq!(contents[0].load(), 1);
        holds.release(slot);
        let (record, _) = next(&mut consumer);
        assert_eq!(contents[0].load(), 2);
        give_back(&mut consumer, record);
        writer.join().unwrap();
    });
}

/// Explores that a chunk is not written while it is held, though its slot names another one by the time of the look.
pub fn run_reused() {
    explore(2, || {
        let (mut publisher, mut consumer, reader, contents) = ends(2);
        // Both chunks are on their way before there are threads.
        (1..=2).for_each(|number| publisher.publish(number));
        let holds = Arc::new(Holds::new(reader));
        let (record, place) = next(&mut consumer);
        let slot = holds.take(place).expect("nothing is held");
        give_back(&mut consumer, record);
        let writer = thread::spawn(move || publisher.try_publish(3));
        let other = thread::spawn({
            let (holds, content) = (holds.clone(), contents[index(place)].clone());
            move || {
                assert_eq!(content.load(), 1);
                holds.release(slot);
            }
        });
        let (record, second) = next(&mut consumer);
        // The slot may be in use still: then there is nothing to be seen in this execution.
        if let Some(slot) = holds.take(second) {
            give_back(&mut consumer, record);
            assert_eq!(contents[index(second)].load(), 2);
            holds.release(slot);
        }
        other.join().unwrap();
        writer.join().unwrap();
    });
}

/// Explores that a reader that leaves keeps what it holds, and nothing else.
pub fn run_left() {
    explore(3, || {
        let (mut publisher, mut consumer, reader, contents) = ends(1);
        let writer = thread::spawn(move || (1..=2).for_each(|number| publisher.publish(number)));
        let holds = Holds::new(reader.clone());
        let (_, place) = next(&mut consumer);
        let slot = holds.take(place).expect("nothing is held");
        leave(reader.left_word());
        assert_eq!(contents[0].load(), 1);
        holds.release(slot);
        writer.join().unwrap();
    });
}

fn ends(chunks: usize) -> (Publisher, LoomConsumer, LoomReader, Vec<Content>) {
    // Room for all that is ever sent: what is waited for is chunks.
    let (memory, reader) = (LoomRing::with_capacity(256), LoomReader::new());
    let mut producer = Producer::new(memory.clone());
    producer.attach(0, reader.cursor());
    let mut pool = Pool::new(chunks as u64 * CHUNK_BYTES);
    let ring = pool.add_ring();
    let number = pool.add_reader(&ring, reader.clone());
    pool.watch(&ring, number, reader.clone());
    let contents: Vec<_> = (0..chunks).map(|_| Content::new()).collect();
    let plan = pool.plan(CHUNK_BYTES, 64).expect("the limit allows it");
    pool.add_segment(plan);
    let publisher = Publisher {
        pool,
        producer,
        ring,
        contents: contents.clone(),
    };
    let consumer = Consumer::new(memory, reader.cursor());
    (publisher, consumer, reader, contents)
}

impl Publisher {
    /// Waits for a chunk, writes it, and sends it.
    fn publish(&mut self, number: u64) {
        while !self.try_publish(number) {
            thread::yield_now();
        }
    }

    /// The same without waiting for a chunk; whether there was one.
    fn try_publish(&mut self, number: u64) -> bool {
        let Some(Allocated { place, key }) = self.pool.allocate(CHUNK_BYTES, 64) else {
            return false;
        };
        self.contents[index(place)].store(number);
        let chunk = Chunk {
            place,
            len_bytes: CHUNK_BYTES,
        };
        let bytes = chunk.to_bytes();
        let staged = self.producer.stage_copy(Kind::Pooled, &bytes, number);
        staged.expect("the ring has room");
        self.producer.commit();
        let Position(end) = self.producer.committed();
        self.pool.push(&self.ring, key, end);
        self.pool.settle(key);
        true
    }
}

/// Waits for the next record; it names this place.
fn next(consumer: &mut LoomConsumer) -> (Record, Place) {
    let record = loop {
        match poll(consumer) {
            Some(record) => break record,
            None => thread::yield_now(),
        }
    };
    let mut bytes = [0; Chunk::BYTES];
    consumer.storage().copy_out(record.offset, &mut bytes);
    let chunk = Chunk::from_bytes(bytes).expect("the publisher keeps the format");
    (record, chunk.place)
}

/// Which content a chunk has.
fn index(place: Place) -> usize {
    (place.offset_bytes() / CHUNK_BYTES) as usize
}

fn give_back(consumer: &mut LoomConsumer, record: Record) {
    let _ = consumer.release(record);
    let _ = consumer.publish();
}
