//! The table against a map that keeps everything.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Store {
        key: u64,
        count: u32,
        len: usize,
    },
    Poll {
        reader: usize,
    },
    /// A look without a poll.
    Read {
        slot: u32,
        back: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..100_usize, 2 => Just(48), 2 => 0..1200_usize, 1 => Just(160)];
    let store =
        (0..8_u64, 0..5_u32, len).prop_map(|(key, count, len)| Step::Store { key, count, len });
    let step = prop_oneof![
        6 => store,
        5 => (0..2_usize).prop_map(|reader| Step::Poll { reader }),
        2 => (0..6_u32, 0..4_u32).prop_map(|(slot, back)| Step::Read { slot, back }),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 60 } else { 300 })
}

/// Every value that was ever stored, and where it must be now.
#[derive(Debug, Default)]
struct Naive {
    /// By sequence.
    values: Vec<(u64, u32, Vec<u8>)>,
    /// Sequences of each topic.
    topics: HashMap<u64, Vec<u64>>,
    /// Messages of each topic.
    messages: HashMap<u64, u64>,
}

/// One reader's account of each slot.
#[derive(Clone, Debug, Default)]
struct Account {
    slots: HashMap<u32, (u64, u64)>,
}

impl Account {
    fn add(&mut self, found: &Value) -> Result<(), TestCaseError> {
        let (sequence, sum) = self.slots.entry(found.slot).or_default();
        prop_assert_eq!(*sum + found.skipped, found.number);
        prop_assert!(found.sequence > *sequence || (found.vacated && found.sequence == *sequence));
        *sequence = found.sequence;
        *sum = found.number + u64::from(found.count);
        Ok(())
    }

    fn total(&self) -> u64 {
        self.slots.values().map(|(_, sum)| sum).sum()
    }
}

/// Takes all that is new.
fn drain(
    reader: &mut TableReader<HeapWords>,
    account: &mut Account,
    naive: &Naive,
) -> Result<(), TestCaseError> {
    let mut out = Buf::new();
    while let Some(found) = reader.poll(&mut out).unwrap() {
        check(&found, &out, naive)?;
        account.add(&found)?;
    }
    prop_assert!(!reader.has_something());
    prop_assert_eq!(reader.seen(), reader.sequence());
    Ok(())
}

fn check(found: &Value, out: &Buf, naive: &Naive) -> Result<(), TestCaseError> {
    prop_assert!(found.vacated || found.len == out.len());
    if !found.vacated {
        let (_, count, bytes) = &naive.values[found.sequence as usize - 1];
        prop_assert_eq!((found.count, out.as_slice()), (*count, bytes.as_slice()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sums_are_exact_whoever_reads_when(
        steps in steps(),
        slots in 1..6_u32,
        cells in 2..5_u32,
        // From "two values at a time" to "enough for all".
        arena in 600..6000_usize,
    ) {
        let shape = Shape { slots, cells };
        let bytes = (192 + slots as usize * 192 + arena).next_multiple_of(64);
        let (mut writer, first) = ends(bytes, shape);
        let second = TableReader::open(writer.storage().clone()).unwrap();
        let mut readers = [(first, Account::default()), (second, Account::default())];
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Store { key, count, len } => {
                    let sequence = writer.sequence();
                    let bytes = value(sequence, len);
                    let (head, tail) = bytes.split_at(len / 16 * 8);
                    let stored = writer.store(key, count, &[head, tail]);
                    prop_assert_eq!(stored.is_err(), len > writer.longest());
                    if stored.is_ok() {
                        naive.values.push((key, count, bytes));
                        naive.topics.entry(key).or_default().push(sequence);
                        *naive.messages.entry(key).or_default() += u64::from(count);
                        prop_assert_eq!(sequence as usize, naive.values.len());
                    }
                }
                Step::Poll { reader } => {
                    let (reader, account) = &mut readers[reader];
                    let mut out = Buf::new();
                    if let Some(found) = reader.poll(&mut out).unwrap() {
                        check(&found, &out, &naive)?;
                        account.add(&found)?;
                    }
                }
                Step::Read { slot, back } => {
                    let mut out = Buf::new();
                    let reader = &readers[0].0;
                    let (mut newest, mut found) = (None, None);
                    if let Read::Value(value) = reader.read(slot, 0, &mut out).unwrap() {
                        newest = Some(value);
                    }
                    if let Read::Value(value) = reader.read(slot, back, &mut out).unwrap() {
                        check(&value, &out, &naive)?;
                        found = Some(value);
                    }
                    prop_assert!(found.is_none() || back < cells - 1);
                    // Values of a slot are the last ones of one topic, in a row.
                    if let (Some(newest), Some(found)) = (newest, found) {
                        let key = naive.values[newest.sequence as usize - 1].0;
                        let topic = &naive.topics[&key];
                        prop_assert_eq!(topic.last(), Some(&newest.sequence));
                        prop_assert_eq!(topic[topic.len() - 1 - back as usize], found.sequence);
                    }
                }
            }
            // The value that was stored last is always there.
            if let Some((_, count, bytes)) = naive.values.last() {
                let mut out = Buf::new();
                let last = (0..slots).find_map(|slot| match readers[0].0.read(slot, 0, &mut out) {
                    Ok(Read::Value(found)) if found.sequence as usize == naive.values.len() => Some(found),
                    _ => None,
                });
                prop_assert_eq!(last.map(|found| found.count), Some(*count));
                prop_assert!(out.as_slice() == bytes.as_slice());
            }
        }
        let stored: u64 = naive.messages.values().sum();
        for (reader, account) in &mut readers {
            drain(reader, account, &naive)?;
            prop_assert_eq!(account.total(), stored);
        }
    }
}
