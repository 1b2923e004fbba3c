//! Rings that several read: who comes, who leaves, who moves on.

use super::*;
use crate::sync::Ordering;

type Reads = Consumer<HeapRing, Cell>;

/// A cursor of its own.
#[derive(Clone, Debug)]
struct Cell(HeapRing);

impl Cursor for Cell {
    fn word(&self) -> &crate::sync::AtomicU64 {
        self.0.word()
    }
}

/// A reader, with what it has to find.
struct Party {
    lane: u64,
    seat: u32,
    consumer: Reads,
    /// The rings that it moves to, in order.
    next: Vec<HeapRing>,
    expected: Vec<u64>,
    found: Vec<u64>,
    /// Messages that it has to be told to have lost.
    lost: u64,
    told: u64,
}

/// A ring with those who read it.
struct Shared {
    producer: Producer<HeapRing, Cell>,
    lanes: Vec<u64>,
}

struct Bus {
    rings: Vec<Shared>,
    parties: Vec<Party>,
    last: u64,
    next: u64,
}

const CAPACITY: usize = 512;

impl Bus {
    fn new() -> Self {
        let mut producer = Producer::new(HeapRing::new(CAPACITY));
        producer.keep_room_to_leave();
        producer.remove(0);
        Self {
            rings: vec![Shared {
                producer,
                lanes: Vec::new(),
            }],
            parties: Vec::new(),
            last: 0,
            next: 0,
        }
    }

    fn join(&mut self, ring: usize) {
        let Shared { producer, lanes } = &mut self.rings[ring];
        let Some(seat) = (0..SEATS).find(|seat| !producer.has(*seat)) else {
            return;
        };
        self.last += 1;
        let (lane, memory) = (self.last, producer.storage().clone());
        give_seat(&memory, seat, lane);
        assert_eq!(seated(&memory, seat, lane), Seated::Waits);
        producer.join(seat);
        let Seated::At(from, told) = seated(&memory, seat, lane) else {
            panic!("it has begun");
        };
        assert_eq!(seated(&memory, seat, lane + 1), Seated::Gone);
        let cursor = Cell(HeapRing::new(256));
        let mut consumer = Consumer::new(memory, cursor.clone());
        consumer.begin(seat, from, told);
        producer.attach(seat, cursor);
        lanes.push(lane);
        self.parties.push(Party {
            lane,
            seat,
            consumer,
            next: Vec::new(),
            expected: Vec::new(),
            found: Vec::new(),
            lost: 0,
            told: 0,
        });
    }

    /// Publishes to all; who is ahead of the slowest moves where there is no room.
    fn publish(&mut self, len: usize) {
        self.next += 1;
        let mut ring = 0;
        while ring < self.rings.len() {
            self.publish_in(ring, len);
            ring += 1;
        }
        self.rings.retain(|ring| !ring.lanes.is_empty());
    }

    fn publish_in(&mut self, ring: usize, len: usize) {
        let Shared { producer, lanes } = &mut self.rings[ring];
        if lanes.is_empty() {
            return;
        }
        let (number, bytes) = (self.next, payload(self.next, len));
        let staged = producer
            .stage_gap()
            .and_then(|()| producer.stage_copy(Kind::Message, &bytes, number));
        let parties = &mut self.parties;
        let mut of = |lanes: &[u64], with: &mut dyn FnMut(&mut Party)| {
            let found = parties
                .iter_mut()
                .filter(|party| lanes.contains(&party.lane));
            found.for_each(with);
        };
        if staged.is_ok() {
            producer.commit();
            return of(lanes, &mut |party| party.expected.push(number));
        }
        producer.abort();
        let slowest = producer.slowest();
        let (mut ahead, mut seats) = (Vec::new(), 0);
        of(lanes, &mut |party| {
            if producer.seen(party.seat).unwrap().0 >= slowest.0 + 64 {
                ahead.push(party.lane);
                seats |= bit(party.seat);
            }
        });
        let memory = HeapRing::new(CAPACITY);
        let moved = match ahead.is_empty() {
            true => None,
            false => producer.move_to(memory.clone(), seats),
        };
        if let Some(other) = moved {
            lanes.retain(|lane| !ahead.contains(lane));
            of(&ahead, &mut |party| party.next.push(memory.clone()));
            self.rings.push(Shared {
                producer: other,
                lanes: ahead,
            });
        }
        let Shared { producer, lanes } = &mut self.rings[ring];
        if !lanes.is_empty() {
            producer.count_drop(DropCause::Full, 1);
            let mut parties = self.parties.iter_mut();
            parties
                .by_ref()
                .filter(|party| lanes.contains(&party.lane))
                .for_each(|party| party.lost += 1);
        }
    }

    /// A lane ends, and is read to its end.
    fn end(&mut self, party: usize) {
        let Party { lane, seat, .. } = self.parties[party];
        let ring = self
            .rings
            .iter_mut()
            .find(|ring| ring.lanes.contains(&lane));
        let Some(ring) = ring else { return };
        if ring.producer.leave(Switch::ending(bit(seat))).is_some() {
            ring.lanes.retain(|other| *other != lane);
            self.read(party, usize::MAX);
            let party = self.parties.swap_remove(party);
            // What was lost since the last message, nobody tells at such an end.
            assert_eq!(party.found, party.expected);
            assert!(party.told <= party.lost);
        }
    }

    fn read(&mut self, party: usize, most: usize) {
        let party = &mut self.parties[party];
        for _ in 0..most {
            match party.consumer.poll().unwrap() {
                Polled::Record(record) => {
                    let mut bytes = vec![0; record.len_bytes];
                    party.consumer.storage().copy_out(record.offset, &mut bytes);
                    assert_eq!(bytes, payload(record.detail, bytes.len()));
                    party.found.push(record.detail);
                    let _ = party.consumer.release(record);
                }
                Polled::Gap(news) => party.told += news.total(),
                Polled::Switch(switch) if switch.ends() => {
                    let _ = party.consumer.pass_switch();
                    return;
                }
                Polled::Switch(_) => {
                    let next = party.next.remove(0);
                    assert!(party.consumer.go_on_in(next));
                }
                Polled::Empty => {
                    let _ = party.consumer.publish();
                    match party.consumer.poll_losses().unwrap() {
                        Polled::Gap(news) => party.told += news.total(),
                        _ => return,
                    }
                }
            }
        }
    }
}

/// Joins, ends, publishes and reads at random: everybody gets what is published from when it comes until it goes, but for what it is
/// told to have lost.
#[test]
#[cfg_attr(
    miri,
    ignore = "Miri (1.97.0-nightly of 2026-05-19) panics in its own weak memory emulation"
)]
fn whoever_comes_goes_or_moves_misses_nothing_and_gets_nothing_twice() {
    let (seeds, steps) = if cfg!(miri) { (3, 150) } else { (300, 800) };
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bus = Bus::new();
        for _ in 0..4 {
            bus.join(0);
        }
        for _ in 0..steps {
            let party = random.usize(..bus.parties.len());
            match random.u32(..100) {
                0..3 if bus.parties.len() < 12 && !bus.rings.is_empty() => {
                    let ring = random.usize(..bus.rings.len());
                    bus.join(ring);
                }
                3..5 if bus.parties.len() > 2 => bus.end(party),
                5..60 => bus.publish(random.usize(..60)),
                // The first one is slow.
                _ if party == 0 && random.u32(..8) > 0 => {}
                _ => bus.read(party, random.usize(1..12)),
            }
        }
        for party in 0..bus.parties.len() {
            bus.read(party, usize::MAX);
            let party = &bus.parties[party];
            assert_eq!(party.found, party.expected, "seed {seed}");
            assert_eq!(party.told, party.lost, "seed {seed}");
            assert!(party.next.is_empty());
        }
    }
}

#[test]
fn room_is_kept_for_each_reader_to_leave_a_full_ring() {
    let mut bus = Bus::new();
    for _ in 0..8 {
        bus.join(0);
    }
    let producer = &mut bus.rings[0].producer;
    while producer.stage_copy(Kind::Message, &[], 0).is_ok() {
        producer.commit();
    }
    producer.abort();
    // Two more could come meanwhile.
    for seat in 0..10 {
        assert!(
            producer.leave(Switch::ending(bit(seat))).is_some(),
            "{seat}"
        );
    }
    assert!(producer.leave(Switch::ending(bit(10))).is_none());
}

#[test]
fn a_seat_says_nothing_to_a_lane_that_had_it_before() {
    let ring = HeapRing::new(256);
    let mut producer: Producer<_, Cell> = Producer::new(ring.clone());
    give_seat(&ring, 3, 7);
    take_seat_back(&ring, 3);
    assert_eq!(seated(&ring, 3, 7), Seated::Gone);
    give_seat(&ring, 3, 9);
    assert_eq!(seated(&ring, 3, 7), Seated::Gone);
    assert_eq!(seated(&ring, 3, 9), Seated::Waits);
    producer.join(3);
    // Whoever has begun may look late.
    take_seat_back(&ring, 3);
    let begins = Seated::At(Position(0), DropCounts::default());
    assert_eq!(seated(&ring, 3, 9), begins);
    give_seat(&ring, 3, 10);
    assert_eq!(seated(&ring, 3, 9), Seated::Gone);
    producer.close();
    assert_eq!(seated(&ring, 3, 10), Seated::Gone);
    for begin in [2, 16, MOST_POSITION + 17, u64::MAX] {
        ring.seat(3, SeatWord::Begin)
            .store(begin, Ordering::Relaxed);
        assert_eq!(seated(&ring, 3, 10), Seated::Broken(begin));
    }
}

#[test]
fn a_switch_that_cannot_be_is_refused() {
    for (seats, len) in [(0, 0), (1 << SEATS, 0), (2, 16)] {
        let ring = HeapRing::new(256);
        let mut producer: Producer<_, Cell> = Producer::new(ring.clone());
        let bytes = vec![0; len];
        producer.stage_copy(Kind::Switch, &bytes, seats).unwrap();
        producer.commit();
        let mut consumer = Consumer::new(ring.clone(), ring);
        let violation = Violation::Switch { position: 0 };
        assert_eq!(consumer.poll(), Err(violation), "{seats:#x}");
    }
    // Nor as many as a ring takes.
    let ring = HeapRing::new(256);
    let mut consumer = Consumer::new(ring.clone(), ring.clone());
    for offset in (0..256).step_by(CELL_BYTES) {
        ring.store_detail(offset, 2);
        ring.commit_word(offset).store(10, Ordering::Relaxed);
    }
    assert!(matches!(consumer.poll(), Err(Violation::Switch { .. })));
}

#[test]
fn nobody_goes_on_in_a_ring_of_another_size() {
    let ring = HeapRing::new(256);
    let mut producer = Producer::new(ring.clone());
    producer.attach(0, ring.clone());
    producer.keep_room_to_leave();
    assert!(producer.move_to(HeapRing::new(256), 1).is_some());
    let mut consumer = Consumer::new(ring.clone(), ring);
    assert_eq!(consumer.poll(), Ok(Polled::Switch(Switch::moving(1))));
    assert!(!consumer.go_on_in(HeapRing::new(512)));
    assert_eq!(consumer.position(), Position(0));
}
