//! What a pool promises.

mod model;
mod stress;

use super::heap::HeapReader;
use super::*;

const MIB: u64 = 1 << 20;

/// A pool that makes its segments by itself.
struct Grown(Pool<HeapReader, HeapReader>);

impl Grown {
    fn new(limit: u64) -> Self {
        Self(Pool::new(limit))
    }

    fn allocate(&mut self, len: u64) -> Result<Allocated, Shortage> {
        self.allocate_aligned(len, 64)
    }

    fn allocate_aligned(&mut self, len: u64, align: u64) -> Result<Allocated, Shortage> {
        if let Some(chunk) = self.0.allocate(len, align) {
            return Ok(chunk);
        }
        let plan = self.0.plan(len, align)?;
        self.0.add_segment(plan);
        let chunk = self.0.allocate(len, align);
        Ok(chunk.expect("the segment is large enough"))
    }

    /// A ring with one reader.
    fn ring(&mut self) -> (RingKey, HeapReader) {
        let (ring, reader) = (self.0.add_ring(), HeapReader::default());
        let number = self.0.add_reader(&ring, reader.clone());
        self.0.watch(&ring, number, reader.clone());
        (ring, reader)
    }

    fn is_empty(&mut self) -> bool {
        self.0.take_idle(Idle::All);
        self.0.bytes() == 0
    }
}

#[test]
fn a_chunk_is_free_when_every_ring_is_past_it() {
    let mut pool = Grown::new(64 * MIB);
    let [(a, reader_a), (b, reader_b)] = [pool.ring(), pool.ring()];
    let chunk = pool.allocate(5000).unwrap();
    pool.0.push(&a, chunk.key, 48);
    pool.0.push(&b, chunk.key, 96);
    pool.0.settle(chunk.key);
    assert!(!pool.is_empty());
    reader_a.read_up_to(48);
    reader_b.read_up_to(48);
    assert!(!pool.is_empty());
    reader_b.read_up_to(96);
    assert!(pool.is_empty());
}

#[test]
fn a_chunk_that_is_not_settled_is_not_free() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let chunk = pool.allocate(5000).unwrap();
    pool.0.push(&ring, chunk.key, 48);
    reader.read_up_to(48);
    assert!(!pool.is_empty());
    pool.0.settle(chunk.key);
    assert!(pool.is_empty());
}

#[test]
fn a_ring_whose_reader_is_not_known_pins_what_it_has() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = (pool.0.add_ring(), HeapReader::default());
    let number = pool.0.add_reader(&ring, reader.clone());
    let chunk = pool.allocate(5000).unwrap();
    pool.0.push(&ring, chunk.key, 48);
    pool.0.settle(chunk.key);
    assert!(!pool.is_empty());
    pool.0.watch(&ring, number, reader.clone());
    assert!(!pool.is_empty());
    reader.read_up_to(48);
    assert!(pool.is_empty());
}

#[test]
fn what_a_reader_had_that_died_before_it_was_heard_of_is_free() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = (pool.0.add_ring(), HeapReader::default());
    pool.0.add_reader(&ring, reader.clone());
    let chunk = pool.allocate(5000).unwrap();
    pool.0.push(&ring, chunk.key, 48);
    pool.0.settle(chunk.key);
    drop(ring);
    assert!(!pool.is_empty());
    reader.exit();
    assert!(pool.is_empty());
}

#[test]
fn a_ring_with_several_readers_pins_what_the_slowest_has_before_it_and_any_holds() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let other = HeapReader::default();
    let number = pool.0.add_reader(&ring, other.clone());
    pool.0.watch(&ring, number, other.clone());
    let chunk = pool.allocate(5000).unwrap();
    pool.0.push(&ring, chunk.key, 48);
    pool.0.settle(chunk.key);
    let holds = Holds::new(other.clone());
    let slot = holds.take(chunk.place).unwrap();
    other.read_up_to(48);
    assert!(!pool.is_empty());
    reader.read_up_to(48);
    assert!(!pool.is_empty());
    holds.release(slot);
    assert!(pool.is_empty());
}

#[test]
fn holds_pin_and_are_released_in_any_order_and_after_the_reader_has_left() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let holds = Holds::new(reader.clone());
    let mut slots = Vec::new();
    for number in 1..=3 {
        let chunk = pool.allocate(5000).unwrap();
        pool.0.push(&ring, chunk.key, 48 * number);
        pool.0.settle(chunk.key);
        slots.push((holds.take(chunk.place).unwrap(), chunk.place));
    }
    reader.read_up_to(96);
    leave(reader.left_word());
    drop(ring);
    for index in [1, 0, 0] {
        assert!(!pool.is_empty());
        // What is held is not given out again.
        let others = [(); 3].map(|()| pool.allocate(5000).unwrap());
        let given = |place| others.iter().any(|other| other.place == place);
        assert!(!slots.iter().any(|(_, place)| given(*place)));
        for other in others {
            pool.0.settle(other.key);
        }
        holds.release(slots.remove(index).0);
    }
    assert!(pool.is_empty());
}

#[test]
fn what_a_dead_reader_had_is_free_whatever_its_slots_say() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let holds = Holds::new(reader.clone());
    for number in 1..=2 {
        let chunk = pool.allocate(5000).unwrap();
        holds.take(chunk.place).unwrap();
        pool.0.push(&ring, chunk.key, 48 * number);
        pool.0.settle(chunk.key);
    }
    reader.read_up_to(48);
    assert!(!pool.is_empty());
    reader.exit();
    assert!(pool.is_empty());
}

/// A ring with so many chunks of a mebibyte, whose records end at 48, 96 and so on.
fn pushed(pool: &mut Grown, ring: &RingKey, chunks: u64) -> Vec<Place> {
    let mut push = |number| {
        let chunk = pool.allocate(MIB).unwrap();
        pool.0.push(ring, chunk.key, 48 * number);
        pool.0.settle(chunk.key);
        chunk.place
    };
    (1..=chunks).map(&mut push).collect()
}

#[test]
fn what_is_given_up_is_free_unless_it_is_held() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let holds = Holds::new(reader.clone());
    let places = pushed(&mut pool, &ring, 3);
    let slot = holds.take(places[0]).unwrap();
    pool.0.give_up(&ring, 96);
    let [first, second] = [(); 2].map(|()| pool.allocate(MIB).unwrap());
    assert!([first.place, second.place].contains(&places[1]));
    assert!(![first.place, second.place].contains(&places[0]));
    for chunk in [first, second] {
        pool.0.settle(chunk.key);
    }
    holds.release(slot);
    assert!(!pool.is_empty());
    // The newest is given up by nobody, so it is read.
    assert_eq!(pool.0.oldest(&ring), None);
    reader.read_up_to(144);
    assert!(pool.is_empty());
}

#[test]
fn what_is_given_up_of_a_reader_that_is_not_known_is_not_free() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = (pool.0.add_ring(), HeapReader::default());
    let number = pool.0.add_reader(&ring, reader.clone());
    let places = pushed(&mut pool, &ring, 2);
    // It may have found this before it was heard of.
    let holds = Holds::new(reader.clone());
    let slot = holds.take(places[0]).unwrap();
    pool.0.give_up(&ring, 48);
    // More than there is room for in the first segment.
    let others = [(); 4].map(|()| pool.allocate(MIB).unwrap());
    assert!(!others.iter().any(|other| places.contains(&other.place)));
    for other in others {
        pool.0.settle(other.key);
    }
    pool.0.watch(&ring, number, reader.clone());
    reader.read_up_to(96);
    assert!(!pool.is_empty());
    holds.release(slot);
    assert!(pool.is_empty());
}

#[test]
fn what_was_given_up_of_a_reader_that_died_before_it_was_heard_of_is_free() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = (pool.0.add_ring(), HeapReader::default());
    pool.0.add_reader(&ring, reader.clone());
    pushed(&mut pool, &ring, 2);
    pool.0.give_up(&ring, 48);
    drop(ring);
    assert!(!pool.is_empty());
    reader.exit();
    assert!(pool.is_empty());
}

#[test]
fn records_are_given_up_one_by_one_in_any_order() {
    let mut pool = Grown::new(64 * MIB);
    let (ring, reader) = pool.ring();
    let holds = Holds::new(reader.clone());
    let places = pushed(&mut pool, &ring, 4);
    let slot = holds.take(places[1]).unwrap();
    // One with which no chunk goes, or no more, is none.
    for end in [96, 144, 100, 144] {
        pool.0.give_up_one(&ring, end);
    }
    let other = pool.allocate(MIB).unwrap();
    assert_eq!(other.place, places[2]);
    pool.0.settle(other.key);
    assert_eq!(pool.0.oldest(&ring), Some(48));
    pool.0.give_up_one(&ring, 48);
    assert_eq!(pool.0.oldest(&ring), None);
    reader.read_up_to(192);
    assert!(!pool.is_empty());
    holds.release(slot);
    assert!(pool.is_empty());
}

#[test]
fn the_oldest_is_to_be_given_up_where_there_is_too_much_and_never_the_newest() {
    let mut pool = Grown::new(30 * MIB);
    let (ring, reader) = pool.ring();
    pushed(&mut pool, &ring, 4);
    assert_eq!(pool.0.oldest(&ring), Some(48));
    assert_eq!(pool.0.excess(&ring, 4 * MIB), None);
    // What was read is not in the way.
    reader.read_up_to(48);
    assert_eq!(pool.0.excess(&ring, 3 * MIB), None);
    assert_eq!(pool.0.excess(&ring, 2 * MIB), Some(96));
    pool.0.give_up(&ring, 96);
    assert_eq!(pool.0.excess(&ring, 2 * MIB), None);
    assert_eq!(pool.0.excess(&ring, 0), Some(144));
    pool.0.give_up(&ring, 144);
    assert_eq!(pool.0.excess(&ring, 0), None);
}

#[test]
fn more_is_lent_as_long_as_what_is_held_leaves_room_in_the_share() {
    let mut pool = Grown::new(20 * MIB);
    let (ring, reader) = pool.ring();
    let holds = Holds::new(reader.clone());
    let places = pushed(&mut pool, &ring, 12);
    // Its share is ten: what it has not got is in nobody's way.
    assert!(pool.0.may_lend(&ring, 15 * MIB));
    let slots: Vec<_> = places[..9].iter().map(|place| holds.take(*place)).collect();
    pool.0.give_up(&ring, 48 * 11);
    assert!(pool.0.may_lend(&ring, MIB) && !pool.0.may_lend(&ring, MIB + 1));
    assert_eq!(pool.0.excess(&ring, 2 * MIB), None);
    holds.release(slots[4].unwrap());
    assert!(pool.0.may_lend(&ring, 2 * MIB) && !pool.0.may_lend(&ring, 2 * MIB + 1));
}

#[test]
fn there_are_so_many_holds_and_no_more() {
    let mut pool = Grown::new(64 * MIB);
    let holds = Holds::new(HeapReader::default());
    let place = pool.allocate(1).unwrap().place;
    for expected in 0..HOLDS {
        assert_eq!(holds.take(place), Some(expected));
    }
    assert_eq!(holds.take(place), None);
    holds.release(7);
    assert_eq!(holds.take(place), Some(7));
}

#[test]
fn each_ring_may_pin_its_share_and_one_chunk_however_long() {
    let mut pool = Grown::new(30 * MIB);
    let [(a, reader), (b, _)] = [pool.ring(), pool.ring()];
    assert!(pool.0.has_room(&a, 25 * MIB));
    let mut end = 0;
    while pool.0.has_room(&a, MIB) {
        let chunk = pool.allocate(MIB).unwrap();
        end += 48;
        pool.0.push(&a, chunk.key, end);
        pool.0.settle(chunk.key);
    }
    assert_eq!(end, 48 * 10);
    assert!(pool.0.has_room(&b, 10 * MIB));
    reader.read_up_to(48);
    assert!(pool.0.has_room(&a, MIB) && !pool.0.has_room(&a, MIB + 1));
}

#[test]
#[cfg_attr(miri, ignore = "the accounts of large segments are long")]
fn segments_double_and_long_payloads_have_their_own() {
    let mut pool = Grown::new(1 << 40);
    let mut plan = |len| {
        let plan = pool.0.plan(len, 64).unwrap();
        pool.0.add_segment(plan);
        plan.bytes
    };
    assert_eq!(
        [5000; 6].map(&mut plan),
        [4, 8, 16, 32, 64, 64].map(|n| n * MIB)
    );
    assert_eq!(plan(33 * MIB), 33 * MIB);
    assert_eq!(plan((1 << 30) + 1), (1 << 30) + 4096);
    assert!(pool.0.allocate((1 << 30) + 1, 4096).is_some());
}

#[test]
fn chunks_lie_where_they_are_wanted() {
    let mut pool = Grown::new(64 * MIB);
    for (len, align) in [(1, 64), (5000, 4096), (0, 64), (70, 4096), (5 * MIB, 4096)] {
        let chunk = pool.allocate_aligned(len, align).unwrap();
        assert!(chunk.place.offset_bytes().is_multiple_of(align));
    }
}

#[test]
fn what_was_freed_last_is_given_first() {
    let mut pool = Grown::new(64 * MIB);
    let chunks: Vec<_> = (0..5).map(|_| pool.allocate(8192).unwrap()).collect();
    pool.0.settle(chunks[1].key);
    pool.0.settle(chunks[3].key);
    assert_eq!(pool.allocate(8192).unwrap().place, chunks[3].place);
}

#[test]
fn a_limit_is_kept_and_named() {
    let mut pool = Grown::new(10 * MIB);
    let first = pool.allocate(6 * MIB).unwrap();
    assert_eq!(
        pool.allocate(5 * MIB).unwrap_err(),
        Shortage::Limit {
            asked: 5 * MIB,
            used: 6 * MIB,
            limit: 10 * MIB
        }
    );
    pool.0.settle(first.key);
    assert_eq!(pool.0.take_idle(Idle::All), [0]);
    assert!(pool.allocate(10 * MIB).is_ok());
    assert!(matches!(pool.allocate(0), Err(Shortage::Limit { .. })));
}

#[test]
fn segments_that_are_used_are_not_stale() {
    let mut pool = Grown::new(64 * MIB);
    let small = pool.allocate(5000).unwrap();
    let large = pool.allocate(6 * MIB).unwrap();
    pool.0.settle(large.key);
    assert!(pool.0.take_idle(Idle::Stale).is_empty());
    assert_eq!(pool.0.take_idle(Idle::Stale), [1]);
    pool.0.settle(small.key);
    assert_eq!(pool.0.bytes(), 4 * MIB);
}
