//! A peer that writes anything anywhere brings about errors, nothing else.

use proptest::prelude::*;

use super::*;
use crate::ring::SeatWord;

const CAPACITY: usize = 256;
const WORDS: usize = CAPACITY / 8;

/// Words that are nearly right, so that the checks behind the first are reached, too.
fn word() -> impl Strategy<Value = u64> {
    let kind = prop_oneof![4 => Just(1u64), 1 => 0..6u64];
    let len = prop_oneof![8 => 0..100u64, 1 => 0..300u64, 1 => Just(u64::from(u32::MAX))];
    let near = (kind, len).prop_map(|(kind, len)| len << 32 | kind);
    let pad =
        (0..CAPACITY as u64 / 16).prop_map(|cell| (CAPACITY as u64 - cell * 16 - 16) << 32 | 2);
    prop_oneof![16 => near, 3 => pad, 1 => any::<u64>(), 2 => Just(0)]
}

/// Positions near the first laps, near what is believed at most, anywhere.
fn position() -> impl Strategy<Value = u64> {
    let cell = prop_oneof![8 => 0..64u64, 1 => (1u64 << 58) - 32..(1 << 58) + 32];
    prop_oneof![16 => cell.prop_map(|cell| cell * 16), 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

/// (which word, value)
fn scribbles(count: usize) -> impl Strategy<Value = Vec<(usize, u64)>> {
    let ring = (0..WORDS, word());
    let control = (WORDS..WORDS + 2, position());
    prop::collection::vec(prop_oneof![6 => ring, 1 => control], count)
}

fn scribble(ring: &HeapRing, (index, value): (usize, u64)) {
    let offset = index / 2 * CELL_BYTES;
    match index.checked_sub(WORDS) {
        Some(0) => ring
            .control(Control::Intent)
            .store(value, Ordering::Relaxed),
        Some(_) => ring
            .control(Control::Oldest)
            .store(value, Ordering::Relaxed),
        None if index % 2 == 0 => ring.commit_word(offset).store(value, Ordering::Relaxed),
        None => ring.store_detail(offset, value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn no_bytes_make_a_reader_panic_or_step_back(
        before in scribbles(48),
        between in scribbles(64),
    ) {
        let ring = HeapRing::new(CAPACITY);
        let mut reader = LossyConsumer::new(ring.clone(), ring.clone());
        let (mut bytes, mut cursor) = (Vec::new(), 0);
        for scribbled in before {
            scribble(&ring, scribbled);
        }
        for scribbled in between {
            let Ok(found) = reader.poll(&mut bytes) else { break };
            prop_assert!(bytes.len() < CAPACITY / 2 && (found.is_some() || bytes.is_empty()));
            prop_assert!(found.is_some() || reader.is_dry() || reader.has_something());
            let _ = reader.publish();
            let now = ring.word().load(Ordering::Relaxed);
            prop_assert!(now >= cursor && now.is_multiple_of(16));
            cursor = now;
            scribble(&ring, scribbled);
        }
    }
}

#[test]
fn an_oldest_record_that_cannot_be_is_a_violation() {
    let lies = [0, 48, 64, 200, 0x1000 - 256 - 16, 0x1008, !15, u64::MAX];
    for oldest in lies {
        let ring = HeapRing::new(CAPACITY);
        let mut reader = LossyConsumer::new(ring.clone(), ring.clone());
        ring.commit_word(0).store(48 << 32 | 1, Ordering::Relaxed);
        assert_eq!(reader.poll(&mut Vec::new()), Ok(Some(0)));
        ring.control(Control::Intent)
            .store(0x1000, Ordering::Relaxed);
        ring.control(Control::Oldest)
            .store(oldest, Ordering::Relaxed);
        let position = 64;
        let refused = Err(Violation::Oldest { oldest, position });
        assert_eq!(reader.poll(&mut Vec::new()), refused);
    }
}

#[test]
fn pads_that_never_end_do_not_keep_a_reader_busy() {
    let ring = HeapRing::new(CAPACITY);
    for offset in (0..CAPACITY).step_by(CELL_BYTES) {
        let to_end = (CAPACITY - offset - CELL_BYTES) as u64;
        ring.commit_word(offset)
            .store(to_end << 32 | 2, Ordering::Relaxed);
    }
    for offset in (0..160).step_by(CELL_BYTES) {
        ring.commit_word(offset).store(1, Ordering::Relaxed);
    }
    let mut reader = LossyConsumer::new(ring.clone(), ring.clone());
    for _ in 0..160 / CELL_BYTES {
        assert_eq!(reader.poll(&mut Vec::new()), Ok(Some(0)));
    }
    ring.commit_word(0).store(240 << 32 | 2, Ordering::Relaxed);
    let refused = reader.poll(&mut Vec::new());
    assert!(
        matches!(refused, Err(Violation::Length { position: 256, .. })),
        "{refused:?}"
    );
}

#[test]
fn records_that_no_lossy_ring_holds_are_violations() {
    for kind in [3, 4, 5, 6] {
        let ring = HeapRing::new(CAPACITY);
        let word = 16 << 32 | kind;
        ring.commit_word(0).store(word, Ordering::Relaxed);
        let mut reader = LossyConsumer::new(ring.clone(), ring);
        let refused = Violation::CommitWord { word, position: 0 };
        assert_eq!(reader.poll(&mut Vec::new()), Err(refused));
    }
}

/// A ring whose producer does something each time that a reader looks at `Intent`.
struct Fickle {
    ring: HeapRing,
    at_each_look: fn(&AtomicU64, &AtomicU64),
}

impl Read for Fickle {
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
        if word == Control::Intent {
            (self.at_each_look)(self.ring.control(word), self.ring.control(Control::Oldest));
        }
        self.ring.control(word)
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        self.ring.seat(seat, word)
    }
}

#[test]
fn a_producer_that_is_always_ahead_does_not_keep_a_reader_busy() {
    let ring = HeapRing::new(CAPACITY);
    ring.commit_word(0).store(16 << 32 | 1, Ordering::Relaxed);
    let fleeing = Fickle {
        ring: ring.clone(),
        at_each_look: |intent, oldest| {
            let fled = oldest.fetch_add(CAPACITY as u64, Ordering::Relaxed) + CAPACITY as u64;
            intent.store(fled + CAPACITY as u64, Ordering::Relaxed);
        },
    };
    let mut reader = LossyConsumer::new(fleeing, ring);
    let mut bytes = vec![1; 3];
    for _ in 0..3 {
        assert_eq!(reader.poll(&mut bytes), Ok(None));
        assert!(bytes.is_empty() && reader.has_something());
    }
}

#[test]
fn an_intent_that_falls_does_not_make_a_reader_step_back() {
    let ring = HeapRing::new(CAPACITY);
    ring.commit_word(0).store(48 << 32 | 1, Ordering::Relaxed);
    ring.control(Control::Intent)
        .store(0x1000, Ordering::Relaxed);
    ring.control(Control::Oldest).store(16, Ordering::Relaxed);
    let wavering = Fickle {
        ring: ring.clone(),
        at_each_look: |intent, _| {
            intent.fetch_xor(0x1000, Ordering::Relaxed);
        },
    };
    let mut reader = LossyConsumer::new(wavering, ring);
    assert_eq!(reader.poll(&mut Vec::new()), Ok(Some(0)));
    let (oldest, position) = (16, 64);
    let refused = Err(Violation::Oldest { oldest, position });
    assert_eq!(reader.poll(&mut Vec::new()), refused);
}
