//! A pool against a naive account of the same.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A chunk of so many bytes, pushed on the rings whose bit is set.
    Publish(u64, u8),
    /// A reader takes its next chunk, and holds it or not.
    Read(usize, bool),
    /// A reader gives back one of its holds.
    Release(usize, usize),
    Shrink,
}

/// What a reader has before it, and holds.
struct Reader {
    ring: RingKey,
    words: HeapReader,
    holds: Holds<HeapReader>,
    end: u64,
    unread: VecDeque<(u64, Place, u64)>,
    held: Vec<(usize, Place, u64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..100_000_u64, 0..8_u8).prop_map(|(len, rings)| Step::Publish(len, rings)),
        3 => (0..3_usize, any::<bool>()).prop_map(|(reader, holds)| Step::Read(reader, holds)),
        2 => (0..3_usize, 0..4_usize).prop_map(|(reader, hold)| Step::Release(reader, hold)),
        1 => Just(Step::Shrink),
    ];
    proptest::collection::vec(step, 1..if cfg!(miri) { 30 } else { 300 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_somebody_may_read_is_given_out(steps in steps()) {
        // So small that memory is used again and again.
        let mut pool = Grown::new(400_000);
        let mut readers: Vec<_> = (0..3).map(|_| {
            let (ring, words) = pool.ring();
            let holds = Holds::new(words.clone());
            Reader { ring, words, holds, end: 0, unread: VecDeque::new(), held: Vec::new() }
        }).collect();
        for step in steps {
            match step {
                Step::Publish(len, rings) => {
                    let Ok(chunk) = pool.allocate(len) else { continue };
                    let (start, end) = (chunk.place.offset_bytes(), chunk.place.offset_bytes() + len.max(1));
                    for reader in &readers {
                        let live = reader.unread.iter().map(|(_, place, len)| (place, len));
                        for (place, len) in live.chain(reader.held.iter().map(|(_, place, len)| (place, len))) {
                            let apart = place.segment != chunk.place.segment
                                || place.offset_bytes() >= end
                                || place.offset_bytes() + (*len).max(1) <= start;
                            prop_assert!(apart, "{place:?} is read, {:?} given", chunk.place);
                        }
                    }
                    for (index, reader) in readers.iter_mut().enumerate() {
                        if rings & 1 << index != 0 && pool.0.has_room(&reader.ring, len) {
                            reader.end += 48;
                            pool.0.push(&reader.ring, chunk.key, reader.end);
                            reader.unread.push_back((reader.end, chunk.place, len));
                        }
                    }
                    pool.0.settle(chunk.key);
                }
                Step::Read(index, holds) => {
                    let reader = &mut readers[index];
                    let Some((end, place, len)) = reader.unread.pop_front() else { continue };
                    if holds && let Some(slot) = reader.holds.take(place) {
                        reader.held.push((slot, place, len));
                    }
                    reader.words.read_up_to(end);
                }
                Step::Release(index, hold) => {
                    let reader = &mut readers[index];
                    if hold < reader.held.len() {
                        reader.holds.release(reader.held.remove(hold).0);
                    }
                }
                Step::Shrink => drop(pool.0.take_idle(Idle::All)),
            }
        }
        // All comes back in the end.
        for reader in &mut readers {
            reader.words.read_up_to(reader.end);
            for (slot, ..) in reader.held.drain(..) {
                reader.holds.release(slot);
            }
        }
        prop_assert!(pool.is_empty());
    }
}
