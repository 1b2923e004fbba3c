//! Values that refer to something, which their reader holds before it believes them.

use super::*;

/// What a poll gives whose `keep` says this.
fn poll_keeping(
    reader: &mut TableReader<HeapWords>,
    keep: impl FnMut(&[u8], &dyn Fn() -> bool) -> bool,
) -> Option<(u64, u64)> {
    let found = reader.poll_with(&mut Buf::new(), keep).unwrap();
    found.map(|value| (value.sequence, value.skipped))
}

#[test]
fn a_value_stands_until_another_one_takes_its_place() {
    let (mut writer, mut reader) = small();
    writer.store(7, 1, &[&value(1, 16)]).unwrap();
    let mut looks = 0;
    let found = poll_keeping(&mut reader, |bytes, stands| {
        looks += 1;
        assert_eq!(bytes, value(looks, 16));
        assert!(stands());
        if looks < 3 {
            // While the reader looks at it.
            writer.store(7, 1, &[&value(looks + 1, 16)]).unwrap();
            assert!(!stands());
        }
        stands()
    });
    assert_eq!((found, looks), (Some((3, 2)), 3));
    assert!(is_dry(&mut reader) && !reader.has_something());
    assert_eq!(reader.seen(), writer.sequence());
}

#[test]
fn a_value_that_never_stands_is_neither_given_nor_accounted_for() {
    let (mut writer, mut reader) = small();
    writer.store(7, 1, &[&value(1, 16)]).unwrap();
    assert_eq!(poll_keeping(&mut reader, |_, _| false), None);
    assert!(reader.has_something());
    assert!(reader.seen() < writer.sequence());
    writer.store(7, 1, &[&value(2, 16)]).unwrap();
    assert_eq!(
        poll_keeping(&mut reader, |_, stands| stands()),
        Some((2, 1))
    );
    assert!(is_dry(&mut reader) && !reader.has_something());
}

#[test]
fn a_value_that_is_taken_away_does_not_stand_and_is_told_as_skipped() {
    let (mut writer, mut reader) = small();
    let slot = writer.store(7, 1, &[&value(1, 16)]).unwrap();
    let found = poll_keeping(&mut reader, |bytes, stands| {
        if bytes.is_empty() {
            return true;
        }
        assert!(!writer.take_away(slot, 2) && stands());
        assert!(writer.take_away(slot, 1) && !stands());
        // Once.
        assert!(!writer.take_away(slot, 1));
        false
    });
    assert_eq!(found, Some((1, 1)));
    assert_eq!(writer.messages_of(7), 0);
    assert!(!writer.take_away(99, 1));
}

#[test]
fn values_that_are_gone_are_told_to_who_watches_them() {
    let (mut writer, _) = small();
    let store =
        |writer: &mut TableWriter<HeapWords>, key| writer.store(key, 1, &[&value(1, 16)]).unwrap();
    let gone = |writer: &mut TableWriter<HeapWords>| writer.take_gone().collect::<Vec<_>>();
    store(&mut writer, 1);
    let slot = store(&mut writer, 1);
    assert!(gone(&mut writer).is_empty());
    writer.watch(slot);
    store(&mut writer, 2);
    assert!(gone(&mut writer).is_empty());
    store(&mut writer, 1);
    assert_eq!(gone(&mut writer), [2]);
    // Nobody watches what came in its place.
    store(&mut writer, 1);
    assert!(gone(&mut writer).is_empty());
    writer.watch(slot);
    assert!(writer.take_away(slot, 5));
    assert_eq!(gone(&mut writer), [5]);
    let slot = store(&mut writer, 3);
    writer.watch(slot);
    // All slots, and one more: the oldest give way.
    for key in 100..200 {
        store(&mut writer, key);
    }
    assert_eq!(gone(&mut writer), [6]);
}
