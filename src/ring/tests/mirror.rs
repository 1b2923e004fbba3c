//! A ring that is carried over is the same ring.

use proptest::prelude::*;

use std::cell::RefCell;

use super::*;
use crate::ring::record::commit_word;
use crate::sync::{AtomicU64, Ordering};

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

    /// The next message, with what stands before it.
    fn take(&mut self) -> Result<(), Violation> {
        self.take_until(1)
    }

    fn take_until(&mut self, enough: usize) -> Result<(), Violation> {
        let cursor = Position(self.cursor.word().load(Ordering::Relaxed));
        self.tail.take(&mut self.bytes, enough, cursor)
    }

    fn carry(&mut self, enough: usize) {
        self.bytes.clear();
        self.take_until(enough).unwrap();
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
    // Miri has no folder to keep failures in.
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Positions are equal, so the far reader's cursor is one of the near ring; nothing is lost or told twice.
    ///
    /// Miri itself panics here ("cannot have empty store buffer when previous write was atomic") unless it is told
    /// `-Zmiri-disable-weak-memory-emulation`.
    #[test]
    #[cfg_attr(miri, ignore)]
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
                Polled::Switch(switch) => panic!("{switch:?}"),
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
                Ok(Polled::Empty | Polled::Switch(_)) | Err(_) => break,
            }
        }
    }
}

#[test]
fn a_sender_that_does_not_wait_for_the_reader_is_refused() {
    let mut rings = Mirrored::new();
    assert!(rings.publish(1, 96, false));
    rings.take().unwrap();
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
    rings.take().unwrap();
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
    let error = rings.take().unwrap_err();
    assert!(matches!(error, Violation::Prelude { .. }));
}

/// What the other ring would refuse ends its own lane, not the connection that others use as well.
#[test]
fn a_producer_that_breaks_the_rules_is_found_out_where_its_ring_is_read() {
    // Nobody has read, so nothing may stand behind the first lap.
    let mut rings = Mirrored::new();
    let deaf = HeapRing::new(256);
    rings.producer.attach(0, deaf.clone());
    let error = (0..10).find_map(|number| {
        assert!(rings.publish(number, 20, false));
        deaf.word()
            .store(rings.producer.committed().0, Ordering::Relaxed);
        rings.take().err()
    });
    assert_eq!(error, Some(Violation::Overrun { position: 240 }));

    // A pad that no record demands: one alone, one before a record that fits.
    for record in [None, Some(20)] {
        let mut rings = Mirrored::new();
        for number in 0..4 {
            assert!(rings.publish(number, 20, false));
            rings.take().unwrap();
        }
        rings
            .cursor
            .word()
            .store(rings.tail.position().0, Ordering::Relaxed);
        let pad = 256 - rings.producer.committed().0 as usize - CELL_BYTES;
        rings
            .producer
            .stage_copy(Kind::Pad, &vec![0; pad], 0)
            .unwrap();
        if let Some(len) = record {
            let payload = payload(4, len);
            rings
                .producer
                .stage_copy(Kind::Message, &payload, 4)
                .unwrap();
        }
        rings.producer.commit();
        let error = rings.take().unwrap_err();
        assert!(matches!(error, Violation::Pad { .. }), "{error}");
    }

    let ring = HeapRing::new(1 << 15);
    let mut producer: Producer<_, HeapRing> = Producer::new(ring.clone());
    producer.stage_copy(Kind::Topic, &[b'a'; 5000], 1).unwrap();
    producer.stage_copy(Kind::Message, &[], 1).unwrap();
    producer.commit();
    let error = Tail::new(ring).take(&mut Vec::new(), 1, Position(0));
    assert_eq!(error, Err(Violation::Prelude { position: 0 }));
}

#[test]
fn what_is_not_contained_in_a_ring_is_carried_nowhere() {
    for kind in [
        Kind::Pooled,
        Kind::StampedPooled,
        Kind::Retire,
        Kind::Switch,
    ] {
        let mut rings = Mirrored::new();
        rings.producer.stage_copy(kind, &[0; 48], 1).unwrap();
        rings.producer.commit();
        let error = rings.take().unwrap_err();
        assert!(matches!(error, Violation::CommitWord { position: 0, .. }));
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&commit_word(kind, 48).to_le_bytes());
        let error = rings.replica.append(&bytes).unwrap_err();
        assert_eq!(error, ReplicaError::Malformed(64));
    }
}

/// A heap ring whose reader looks each time something is copied in.
struct Watched<F> {
    ring: HeapRing,
    look: RefCell<F>,
}

impl<F: FnMut()> Read for Watched<F> {
    fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    fn commit_word(&self, offset: usize) -> &AtomicU64 {
        self.ring.commit_word(offset)
    }

    fn load_detail(&self, offset: usize) -> u64 {
        self.ring.load_detail(offset)
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) {
        self.ring.copy_out(offset, out);
    }

    fn control(&self, word: Control) -> &AtomicU64 {
        self.ring.control(word)
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        self.ring.seat(seat, word)
    }
}

impl<F: FnMut()> Write for Watched<F> {
    fn store_detail(&self, offset: usize, detail: u64) {
        self.ring.store_detail(offset, detail);
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        (self.look.borrow_mut())();
        self.ring.copy_in(offset, bytes);
    }
}

#[test]
fn a_reader_that_has_run_dry_is_told_of_a_loss_at_its_place() {
    let (near, far) = (HeapRing::new(1024), HeapRing::new(1024));
    let mut producer: Producer<_, HeapRing> = Producer::new(near.clone());
    for number in 0..2 {
        producer.stage_copy(Kind::Message, &[1], number).unwrap();
        producer.commit();
    }
    producer.count_drop(DropCause::Full, 5);
    producer.stage_gap().unwrap();
    producer.stage_copy(Kind::Message, &[1], 2).unwrap();
    producer.commit();
    let mut bytes = Vec::new();
    let mut tail = Tail::new(near);
    tail.take(&mut bytes, usize::MAX, Position(0)).unwrap();

    let mut consumer = Consumer::new(far.clone(), far.clone());
    let found = RefCell::new(Vec::new());
    let mut look = || loop {
        let polled = match consumer.poll().unwrap() {
            Polled::Empty => consumer.poll_losses().unwrap(),
            polled => polled,
        };
        match polled {
            Polled::Record(record) => {
                found
                    .borrow_mut()
                    .push(format!("message {}", record.detail));
                let _ = consumer.release(record);
            }
            Polled::Gap(news) => found.borrow_mut().push(format!("gap of {}", news.total())),
            Polled::Empty => return,
            Polled::Switch(switch) => panic!("{switch:?}"),
        }
    };
    let watched = Watched {
        ring: far,
        look: RefCell::new(&mut look),
    };
    let mut replica: Replica<_, HeapRing> = Replica::new(watched);
    replica.append(&bytes).unwrap();
    drop(replica);
    look();
    assert_eq!(
        *found.borrow(),
        ["message 0", "message 1", "gap of 5", "message 2"]
    );
}

#[test]
fn how_a_lane_ended_is_told() {
    for ending in [Ending::Closed, Ending::TransportLost] {
        let rings = Mirrored::new();
        assert_eq!(rings.consumer.ending(), None);
        rings.replica.close(ending);
        assert_eq!(rings.consumer.ending(), Some(ending));
        assert_eq!(rings.consumer.ending_by_exit(), ending);
        let word = rings.replica.storage().control(Control::Closed);
        assert!(Ending::is_relayed(word.load(Ordering::Relaxed)));
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
