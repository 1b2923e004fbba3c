//! The table of docs/segment-format.md, held to the byte.

use super::*;
use crate::sync::Ordering;

fn words(storage: &HeapWords) -> Vec<u64> {
    let words = storage.words().iter();
    words.map(|word| word.load(Ordering::Relaxed)).collect()
}

#[test]
fn a_table_has_these_words() {
    let shape = Shape { slots: 2, cells: 2 };
    let (mut writer, _) = ends(1024, shape);
    writer.store(7, 1, &[b"abcdefgh", b"ijk"]).unwrap();
    writer.store(7, 3, &[b"ABCDEFGH"]).unwrap();
    writer.store(9, 1, &[&[0xff; 40]]).unwrap();
    let mut golden = vec![0; 128];
    // Slots, cells, where the arena begins; sequence of the next write, slots in use; the group's writes.
    golden[0..3].copy_from_slice(&[2, 2, 48]);
    golden[8..10].copy_from_slice(&[4, 2]);
    golden[10] = 3;
    // Two writes begun and complete. Sequence, messages before, length and count, place.
    golden[16..18].copy_from_slice(&[2, 2]);
    golden[20..24].copy_from_slice(&[1, 0, 11 << 32 | 1, 0]);
    golden[24..28].copy_from_slice(&[2, 1, 8 << 32 | 3, 16]);
    golden[32..34].copy_from_slice(&[1, 1]);
    golden[36..40].copy_from_slice(&[3, 0, 40 << 32 | 1, 32]);
    golden[48] = u64::from_le_bytes(*b"abcdefgh");
    golden[49] = u64::from_le_bytes(*b"ijk\0\0\0\0\0");
    golden[50] = u64::from_le_bytes(*b"ABCDEFGH");
    golden[52..57].copy_from_slice(&[u64::MAX; 5]);
    assert_eq!(words(writer.storage()), golden);

    // The third topic takes the first one's slot.
    writer.store(8, 2, &[b"8"]).unwrap();
    golden[8] = 5;
    golden[10] = 6;
    golden[16..18].copy_from_slice(&[5, 5]);
    golden[20..24].copy_from_slice(&[4, 4, 1 << 32 | 2, 0]);
    golden[24..28].copy_from_slice(&[2, 4, 0, 1]);
    golden[48] = u64::from(b'8');
    assert_eq!(words(writer.storage()), golden);
}
