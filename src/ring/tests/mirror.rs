//! A ring that is carried over is the same ring.

use proptest::prelude::*;

use super::*;
use crate::sync::Ordering;

#[derive(Clone, Debug)]
enum Step {
    /// A message of so many bytes, with a topic before it or not; dropped if there is no room.
    Publish(usize, bool),
    /// Carries over, at least so many bytes at a time.
    Carry(usize),
    Read,
    Cursor,
    Losses,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..=96usize, any::<bool>()).prop_map(|(len, topic)| Step::Publish(len, topic)),
        4 => (1..200usize).prop_map(Step::Carry),
        6 => Just(Step::Read),
        2 => Just(Step::Cursor),
        2 => Just(Step::Losses),
    ];
    prop::collection::vec(step, 0..200)
}

struct Mirrored {
    producer: Producer<HeapRing, HeapRing>,
    tail: Tail<HeapRing>,
    replica: Replica<HeapRing, HeapRing>,
    consumer: Consumer<HeapRing, HeapRing>,
    /// The cursor that the producer looks at.
    cursor: HeapRing,
    bytes: Vec<u8>,
}

impl Mirrored {
    fn new() -> Self {
        let (near, far) = (HeapRing::new(256), HeapRing::new(256));
        let mut producer = Producer::new(near.clone());
        producer.attach(0, near.clone());
        let mut replica = Replica::new(far.clone());
        replica.attach(far.clone());
        Self {
            producer,
            tail: Tail::new(near.clone()),
            replica,
            consumer: Consumer::new(far.clone(), far),
            cursor: near,
            bytes: Vec::new(),
        }
    }

    fn publish(&mut self, number: u64, len: usize, topic: bool) -> bool {
        let producer = &mut self.producer;
        let staged = producer.stage_gap().is_ok()
            && (!topic || producer.stage_copy(Kind::Topic, b"a/b", 3).is_ok())
            && producer
                .stage_copy(Kind::Message, &payload(number, len), number)
                .is_ok();
        if staged {
            producer.commit();
        } else {
            producer.abort();
            producer.count_drop(DropCause::Full, 1);
        }
        staged
    }

    fn carry(&mut self, enough: usize) {
        self.bytes.clear();
        self.tail.take(&mut self.bytes, enough).unwrap();
        self.replica.append(&self.bytes).unwrap();
        assert_eq!(self.replica.position(), self.tail.position());
        if let Some(counts) = self.tail.take_drops() {
            self.replica.set_drops(counts);
        }
    }

    fn move_cursor(&mut self) {
        let position = self.replica.reader_position();
        self.cursor.word().store(position.0, Ordering::Release);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]

    /// Positions are equal, so the far reader's cursor is one of the near ring; nothing is lost or told twice.
    #[test]
    fn what_is_carried_over_is_the_same_at_the_same_places(steps in steps()) {
        let mut rings = Mirrored::new();
        let (mut sent, mut received, mut dropped, mut told) = (Vec::new(), Vec::new(), 0, 0);
        let mut read = |rings: &mut Mirrored, losses: bool| {
            let polled = match rings.consumer.poll().unwrap() {
                Polled::Empty if losses => rings.consumer.poll_losses().unwrap(),
                polled => polled,
            };
            match polled {
                Polled::Record(record) => {
                    if record.kind == Kind::Message {
                        received.push((record.detail, bytes_of(&rings.consumer, record)));
                    }
                    let _ = rings.consumer.release(record);
                }
                Polled::Gap(news) => told += news.total(),
                Polled::Empty => return false,
            }
            true
        };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish(len, topic) => {
                    if rings.publish(number as u64, len, topic) {
                        sent.push((number as u64, payload(number as u64, len)));
                    } else {
                        dropped += 1;
                    }
                }
                Step::Carry(enough) => rings.carry(enough),
                Step::Read => drop(read(&mut rings, false)),
                Step::Losses => drop(read(&mut rings, true)),
                Step::Cursor => {
                    let _ = rings.consumer.publish();
                    rings.move_cursor();
                }
            }
        }
        loop {
            rings.carry(usize::MAX);
            while read(&mut rings, true) {}
            if !rings.tail.has_something() {
                break;
            }
        }
        prop_assert_eq!(received, sent);
        prop_assert_eq!(told, dropped);
    }

    /// Whatever a peer sends as records, its receiver says no, or has a ring that its reader says no to.
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut rings = Mirrored::new();
        let _ = rings.replica.append(&bytes);
        for _ in 0..100 {
            match rings.consumer.poll() {
                Ok(Polled::Record(record)) => drop(rings.consumer.release(record)),
                Ok(Polled::Gap(_)) => {}
                Ok(Polled::Empty) | Err(_) => break,
            }
        }
    }
}

#[test]
fn a_sender_that_does_not_wait_for_the_reader_is_refused() {
    let mut rings = Mirrored::new();
    assert!(rings.publish(1, 96, false));
    rings.tail.take(&mut rings.bytes, 1).unwrap();
    rings.replica.append(&rings.bytes).unwrap();
    rings.replica.append(&rings.bytes).unwrap();
    let position = rings.replica.position();
    assert_eq!(
        rings.replica.append(&rings.bytes),
        Err(ReplicaError::Credit)
    );
    assert_eq!(rings.replica.position(), position);
}

#[test]
fn records_that_cannot_be_are_refused_whole() {
    let mut rings = Mirrored::new();
    assert!(rings.publish(1, 20, true));
    rings.tail.take(&mut rings.bytes, 1).unwrap();
    let good = rings.bytes.clone();
    let pad = [2, 0, 0, 0, 16, 0, 0, 0];
    let long = [1, 0, 0, 0, 97, 0, 0, 0];
    for (header, expected) in [
        (pad, None),
        (long, Some(ReplicaError::TooLarge { limit: 96 })),
    ] {
        let mut bytes = good.clone();
        bytes.extend(header);
        bytes.resize(good.len() + 16 + 112, 0);
        let error = rings.replica.append(&bytes).unwrap_err();
        assert!(expected.is_none_or(|expected| error == expected), "{error}");
    }
    assert!(rings.replica.append(&good[..good.len() - 1]).is_err());
    assert_eq!(rings.replica.position(), Position(0));
    assert_eq!(rings.consumer.poll(), Ok(Polled::Empty));
    rings.replica.append(&good).unwrap();
    assert_eq!(take(&mut rings.consumer).1, b"a/b");
    assert_eq!(take(&mut rings.consumer).1, payload(1, 20));
}

#[test]
fn a_producer_of_endless_preludes_is_stopped() {
    let mut rings = Mirrored::new();
    for _ in 0..8 {
        rings.producer.stage_copy(Kind::Topic, &[], 1).unwrap();
    }
    rings.producer.commit();
    let error = rings.tail.take(&mut rings.bytes, 1).unwrap_err();
    assert!(matches!(error, Violation::Prelude { .. }));
}

#[test]
fn how_a_lane_ended_is_told() {
    for ending in [Ending::Closed, Ending::TransportLost] {
        let rings = Mirrored::new();
        assert_eq!(rings.consumer.ending(), None);
        rings.replica.close(ending);
        assert_eq!(rings.consumer.ending(), Some(ending));
        assert_eq!(rings.consumer.ending_by_exit(), ending);
    }
    let rings = Mirrored::new();
    assert_eq!(rings.consumer.ending_by_exit(), Ending::Closed);
    rings
        .replica
        .storage()
        .control(Control::Closed)
        .store(Ending::RELAYED, Ordering::Relaxed);
    assert!(!rings.consumer.is_closed());
    assert_eq!(rings.consumer.ending_by_exit(), Ending::TransportLost);
}
