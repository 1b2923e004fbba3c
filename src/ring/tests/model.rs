//! The ring against a queue that keeps everything.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::ring::record_bytes;
use crate::sync::Ordering;

const CAPACITY: usize = 256;
const LIMIT: usize = max_payload_bytes(CAPACITY);

#[derive(Clone, Debug)]
enum Step {
    Stage(usize),
    StageInPlace(usize),
    /// At once, into room of exactly this length, or into all that there is; or the encoder fails, having written to all of it.
    Append {
        len: usize,
        exactly: bool,
        fails: bool,
    },
    Commit,
    Abort,
    /// What a publisher does whose policy is to drop; the number is the payload's length.
    Publish(usize),
    Take,
    /// A look without a release.
    Look,
    Cursor,
    Losses,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..=LIMIT, 4 => Just(24), 1 => Just(0), 2 => 0..=20usize, 1 => Just(LIMIT), 1 => Just(LIMIT + 1)];
    let step = prop_oneof![
        4 => len.clone().prop_map(Step::Stage),
        2 => len.clone().prop_map(Step::StageInPlace),
        6 => (len.clone(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(len, exactly, fails)| Step::Append { len, exactly, fails }
        ),
        3 => Just(Step::Commit),
        1 => Just(Step::Abort),
        6 => len.prop_map(Step::Publish),
        8 => Just(Step::Take),
        1 => Just(Step::Look),
        2 => Just(Step::Cursor),
        2 => Just(Step::Losses),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Clone, Debug)]
struct Entry {
    start: u64,
    end: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Message(u64, Vec<u8>),
    /// Cumulative.
    Gap(u64),
}

/// Positions as the format's page defines them, without a ring.
#[derive(Debug, Default)]
struct Naive {
    queue: VecDeque<Entry>,
    staged: Vec<Entry>,
    end: u64,
    limit: u64,
    /// Of the water marks.
    crossings: u64,
    position: u64,
    cursor: u64,
    dropped: u64,
    announced: u64,
    told: u64,
}

impl Naive {
    fn staged_end(&self) -> u64 {
        self.staged.last().map_or(self.end, |entry| entry.end)
    }

    fn stage(&mut self, len: usize, what: What) -> Result<(), NoRoom> {
        if len > LIMIT {
            return Err(NoRoom::TooLarge(LIMIT));
        }
        let (from, capacity) = (self.staged_end(), CAPACITY as u64);
        let record = record_bytes(len) as u64;
        let to_end = capacity - from % capacity;
        let start = if record > to_end { from + to_end } else { from };
        let end = start + record;
        if end + 16 > self.limit {
            self.look_for_room(end + 16);
        }
        if end + 16 > self.limit - self.room() + capacity {
            return Err(NoRoom::Full);
        }
        self.staged.push(Entry { start, end, what });
        Ok(())
    }

    /// What can be written, beyond the cursor that was looked at last, without another look.
    fn room(&self) -> u64 {
        let capacity = CAPACITY as u64;
        if self.crossings % 2 == 1 {
            capacity
        } else {
            capacity * 3 / 4
        }
    }

    fn look_for_room(&mut self, end: u64) {
        let (fill, capacity) = (end - self.cursor, CAPACITY as u64);
        let crosses = match self.crossings % 2 {
            0 => fill > capacity * 3 / 4,
            _ => fill <= capacity / 2,
        };
        self.crossings += u64::from(crosses);
        self.limit = self.cursor + self.room();
    }

    fn rest(&self) -> Option<usize> {
        let (from, capacity) = (self.staged_end(), CAPACITY as u64);
        let below_limit = self.limit.checked_sub(from + 32)?;
        Some((capacity - from % capacity - 16).min(below_limit) as usize)
            .map(|rest| rest.min(LIMIT))
    }

    fn commit(&mut self) {
        self.end = self.staged_end();
        self.queue.extend(self.staged.drain(..));
    }

    fn publish(&mut self, number: u64, len: usize) {
        let gap = if self.announced == self.dropped {
            Ok(())
        } else {
            self.stage(DropCounts::BYTES, What::Gap(self.dropped))
        };
        match gap.and_then(|()| self.stage(len, What::Message(number, payload(number, len)))) {
            Ok(()) => {
                self.commit();
                self.announced = self.dropped;
            }
            Err(_) => {
                self.staged.clear();
                self.dropped += 1;
            }
        }
    }

    /// Passes over what needs no telling; returns what the reader then stands at.
    fn look(&mut self) -> Option<Entry> {
        while let Some(front) = self.queue.front().cloned() {
            self.position = front.start;
            match front.what {
                What::Gap(counts) if counts == self.told => {
                    self.position = front.end;
                    self.queue.pop_front();
                }
                What::Gap(counts) => {
                    let news = counts - self.told;
                    self.told = counts;
                    self.position = front.end;
                    self.queue.pop_front();
                    return Some(Entry {
                        what: What::Gap(news),
                        ..front
                    });
                }
                What::Message(..) => return Some(front),
            }
        }
        None
    }

    fn release(&mut self) {
        self.position = self.queue.pop_front().unwrap().end;
        if self.position - self.cursor >= CAPACITY as u64 / 8 {
            self.cursor = self.position;
        }
    }
}

struct Pair {
    producer: Producer<HeapRing, HeapRing>,
    consumer: Consumer<HeapRing, HeapRing>,
    naive: Naive,
    number: u64,
}

impl Pair {
    fn new() -> Self {
        let (producer, consumer) = ends(CAPACITY);
        let naive = Naive {
            limit: CAPACITY as u64 * 3 / 4,
            ..Naive::default()
        };
        Self {
            producer,
            consumer,
            naive,
            number: 0,
        }
    }

    fn run(&mut self, step: Step) {
        self.number += 1;
        match step {
            Step::Stage(len) => self.stage(len),
            Step::StageInPlace(len) => self.stage_in_place(len),
            Step::Append {
                len,
                exactly,
                fails,
            } => self.append(len, exactly, fails),
            Step::Commit => {
                self.producer.commit();
                self.naive.commit();
            }
            Step::Abort => {
                self.producer.abort();
                self.naive.staged.clear();
            }
            Step::Publish(len) => self.publish(len),
            Step::Look => drop(self.look()),
            Step::Take => {
                if let Some(record) = self.look() {
                    let _ = self.consumer.release(record);
                    self.naive.release();
                }
            }
            Step::Cursor => {
                let moved = self.naive.cursor != self.naive.position;
                let published = self.consumer.publish();
                assert_eq!(published == Published::Moved, moved);
                self.naive.cursor = self.naive.position;
            }
            Step::Losses => self.losses(),
        }
        let water = self.producer.storage().control(Control::Water);
        assert_eq!(water.load(Ordering::Relaxed), self.naive.crossings);
    }

    fn message(&self, len: usize) -> What {
        What::Message(self.number, payload(self.number, len))
    }

    fn stage(&mut self, len: usize) {
        let bytes = payload(self.number, len);
        let staged = self.producer.stage_copy(Kind::Message, &bytes, self.number);
        assert_eq!(staged, self.naive.stage(len, self.message(len)));
    }

    fn stage_in_place(&mut self, len: usize) {
        let slot = self.producer.reserve_rest();
        assert_eq!(slot.map(|slot| slot.len_bytes), self.naive.rest());
        let Some(slot) = slot.filter(|slot| slot.len_bytes >= len) else {
            return;
        };
        write_in_place(self.producer.storage(), slot, &payload(self.number, len));
        self.producer.stage(slot, Kind::Message, len, self.number);
        assert_eq!(self.naive.stage(len, self.message(len)), Ok(()));
    }

    fn append(&mut self, len: usize, exactly: bool, fails: bool) {
        let room = match exactly {
            true => Room::Exactly(len),
            false => Room::Rest,
        };
        let bytes = payload(self.number, len);
        let fill = |room: &mut [u8]| {
            room.fill(0xdd);
            let place = room.get_mut(..len).filter(|_| !fails).ok_or(())?;
            place.copy_from_slice(&bytes);
            Ok::<_, ()>(len)
        };
        let detail = self.number;
        let appended = self
            .producer
            .append_in_place(room, Kind::Message, detail, fill);
        // Where it is not done, that says nothing.
        if appended.is_some() {
            assert!(appended == Some(len) && !fails && self.naive.staged.is_empty());
            assert_eq!(self.naive.stage(len, self.message(len)), Ok(()));
            self.naive.commit();
        }
    }

    fn publish(&mut self, len: usize) {
        self.run(Step::Commit);
        let bytes = payload(self.number, len);
        let staged = self
            .producer
            .stage_gap()
            .and_then(|()| self.producer.stage_copy(Kind::Message, &bytes, self.number));
        if staged.is_ok() {
            self.producer.commit();
        } else {
            self.producer.abort();
            self.producer.count_drop(DropCause::Full, 1);
        }
        self.naive.publish(self.number, len);
    }

    /// Polls; returns the record that the reader stands at.
    fn look(&mut self) -> Option<Record> {
        let ready = self.consumer.ready(None);
        let expected = self.naive.look().map(|entry| entry.what);
        if let Some(found) = ready {
            let record = self.consumer.record(found);
            assert_eq!(self.consumer.ready(Some(record.len_bytes)), ready);
            assert_eq!(self.consumer.ready(Some(record.len_bytes + 1)), None);
            assert_eq!(self.consumer.poll(), Ok(Polled::Record(record)));
        }
        match (self.consumer.poll().unwrap(), expected) {
            (Polled::Empty, None) => None,
            (Polled::Gap(news), Some(What::Gap(expected))) => {
                assert_eq!(news.total(), expected);
                None
            }
            (Polled::Record(record), Some(What::Message(number, bytes))) => {
                assert_eq!((record.kind, record.detail), (Kind::Message, number));
                assert_eq!(bytes_of(&self.consumer, record), bytes);
                Some(record)
            }
            (polled, expected) => panic!("{polled:?} instead of {expected:?}"),
        }
    }

    fn losses(&mut self) {
        let polled = self.consumer.poll_losses().unwrap();
        let news = self.naive.dropped - self.naive.told;
        if !self.naive.queue.is_empty() || news == 0 {
            assert_eq!(polled, Polled::Empty);
            return;
        }
        assert!(matches!(polled, Polled::Gap(counts) if counts.total() == news));
        self.naive.told = self.naive.dropped;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_ring_does_what_a_queue_with_positions_does(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
    }
}
