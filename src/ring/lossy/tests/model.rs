//! The lossy ring against a queue that forgets.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const CAPACITY: usize = 512;
const LIMIT: usize = max_payload_bytes(CAPACITY);

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Take,
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..=LIMIT, 4 => 0..=40usize, 1 => Just(LIMIT), 1 => Just(LIMIT + 1)];
    let step = prop_oneof![
        4 => len.prop_map(Step::Append),
        3 => Just(Step::Take),
        1 => Just(Step::Publish),
    ];
    prop::collection::vec(step, 0..200)
}

/// Positions as the format's page defines them, without a ring.
#[derive(Debug, Default)]
struct Naive {
    /// What was not given up: where it starts, where it ends, its number unless it is a pad.
    queue: VecDeque<(u64, u64, Option<u64>)>,
    lens: Vec<usize>,
    end: u64,
    /// Where the newest record starts.
    newest: u64,
    given_up: u64,
    position: u64,
    cursor: u64,
}

impl Naive {
    fn append(&mut self, len: usize) {
        let capacity = CAPACITY as u64;
        let record = record_bytes(len) as u64;
        let to_end = capacity - self.end % capacity;
        let start = if record > to_end {
            self.end + to_end
        } else {
            self.end
        };
        let needed = start + record + 16;
        if needed > self.given_up + capacity {
            self.given_up = (needed + capacity / 16).min(self.newest + capacity) - capacity;
        }
        while self
            .queue
            .front()
            .is_some_and(|entry| entry.0 < self.given_up)
        {
            self.queue.pop_front();
        }
        if start != self.end {
            self.queue.push_back((self.end, start, None));
        }
        let number = self.lens.len() as u64;
        self.queue.push_back((start, start + record, Some(number)));
        self.lens.push(len);
        self.newest = start;
        self.end = start + record;
    }

    fn next(&self) -> Option<(u64, u64)> {
        let mut left = self.queue.iter().filter(|entry| entry.0 >= self.position);
        left.find_map(|(_, end, number)| number.map(|number| (number, *end)))
    }

    fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        // What was found before is read by now.
        if self.position - self.cursor >= CAPACITY as u64 / 8 {
            self.cursor = self.position;
        }
        let passed: Vec<_> = self
            .queue
            .iter()
            .filter(|entry| entry.0 >= self.position)
            .collect();
        let next = self.next();
        // Over pads to the record's end, or to where the next record will be.
        let record = passed.iter().position(|(_, _, number)| number.is_some());
        if let Some((_, end, _)) = record.map(|index| passed[index]).or(passed.last().copied()) {
            self.position = *end;
        }
        next.map(|(number, _)| (number, payload(number, self.lens[number as usize])))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_lossy_ring_does_what_a_queue_that_forgets_does(steps in steps()) {
        let (mut producer, mut reader) = ends(CAPACITY);
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Append(len) if len > LIMIT => {
                    let refused = producer.append(0, &[&payload(0, len)]);
                    prop_assert_eq!(refused, Err(TooLarge(LIMIT)));
                }
                Step::Append(len) => {
                    let number = naive.lens.len() as u64;
                    let bytes = payload(number, len);
                    let (head, tail) = bytes.split_at(len / 3 / 16 * 16);
                    producer.append(number, &[head, tail]).unwrap();
                    naive.append(len);
                    prop_assert!(naive.next().is_some(), "the newest stays");
                }
                Step::Take => prop_assert_eq!(take(&mut reader), naive.take()),
                Step::Publish => {
                    let moved = naive.cursor != naive.position;
                    naive.cursor = naive.position;
                    prop_assert_eq!(reader.publish() == Published::Moved, moved);
                }
            }
            prop_assert_eq!(producer.committed().0, naive.end);
            prop_assert_eq!(reader.has_something(), naive.next().is_some());
            prop_assert_eq!(reader.is_dry(), naive.next().is_none());
            prop_assert_eq!(reader.cursor().word().load(Ordering::Relaxed), naive.cursor);
            let given_up = intent_of(&reader).saturating_sub(CAPACITY as u64);
            prop_assert_eq!(given_up, naive.given_up);
        }
        while let Some(found) = take(&mut reader) {
            prop_assert_eq!(Some(found), naive.take());
        }
        prop_assert_eq!(naive.take(), None);
    }
}
