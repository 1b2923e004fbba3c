//! The words of a reader on the heap, for tests, Miri.

use std::sync::Arc;

use super::{HOLDS, Presence, Slots, Watch};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Cursor, left word and hold slots of a reader; clones share them.
#[derive(Clone, Debug, Default)]
pub struct HeapReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cursor: AtomicU64,
    left: AtomicU64,
    slots: [AtomicU64; HOLDS],
    gone: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            cursor: AtomicU64::new(0),
            left: AtomicU64::new(0),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
            gone: AtomicBool::new(false),
        }
    }
}

impl HeapReader {
    /// All up to here is read.
    pub fn read_up_to(&self, end: u64) {
        self.shared.cursor.store(end, Ordering::Release);
    }

    /// The left word.
    pub fn left_word(&self) -> &AtomicU64 {
        &self.shared.left
    }

    /// As if its process had exited.
    pub fn exit(&self) {
        self.shared.gone.store(true, Ordering::Release);
    }
}

impl Watch for HeapReader {
    fn cursor(&self) -> &AtomicU64 {
        &self.shared.cursor
    }

    fn left(&self) -> [&AtomicU64; 2] {
        [&self.shared.left, &self.shared.left]
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        &self.shared.slots[index]
    }
}

impl Presence for HeapReader {
    fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::Acquire)
    }
}

impl Slots for HeapReader {
    fn slot(&self, index: usize) -> &AtomicU64 {
        &self.shared.slots[index]
    }
}
