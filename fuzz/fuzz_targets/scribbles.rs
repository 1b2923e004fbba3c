//! What a hostile producer does to a ring.
//!
//! The input is a list of stores of 9 bytes: an index, a little-endian word. Those with the high bit in the index come later,
//! one by one, the others before anybody looks.

use std::slice;

use crate::ring::{Control, HeapRing, Read, Write};
use crate::sync::Ordering;

/// Stores of which some are still to be done.
pub struct Scribbles<'a> {
    ring: &'a HeapRing,
    later: slice::Iter<'a, [u8; 9]>,
}

impl<'a> Scribbles<'a> {
    /// Does those that come first.
    pub fn begin(ring: &'a HeapRing, input: &'a [u8]) -> Self {
        let later = input.as_chunks().0.iter();
        for store in later.clone().filter(|store| store[0] < LATER) {
            scribble(ring, store);
        }
        Self { ring, later }
    }

    /// Does the next one; `None` if there is none.
    pub fn next(&mut self) -> Option<()> {
        let store = self.later.find(|store| store[0] >= LATER)?;
        scribble(self.ring, store);
        Some(())
    }
}

fn scribble(ring: &HeapRing, [index, word @ ..]: &[u8; 9]) {
    let value = u64::from_le_bytes(*word);
    let index = usize::from(index & 0x7f) % WORDS;
    let offset = index / 2 * 16;
    match index.checked_sub(CAPACITY / 8) {
        Some(control) => ring.control(CONTROL[control]).store(value, Ordering::Relaxed),
        None if index % 2 == 0 => ring.commit_word(offset).store(value, Ordering::Relaxed),
        None => ring.store_detail(offset, value),
    }
}

/// Bytes of the ring.
pub const CAPACITY: usize = 512;
/// Cells, of two words each, then words of the control page.
const WORDS: usize = CAPACITY / 8 + CONTROL.len();
const CONTROL: [Control; 4] = [
    Control::DroppedFull,
    Control::DroppedDeadline,
    Control::Intent,
    Control::Oldest,
];
/// From this index on, a store comes later.
const LATER: u8 = 0x80;
