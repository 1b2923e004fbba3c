//! A table on the heap, for tests, Miri, benchmarks.

use std::sync::Arc;

use super::{Words, WordsMut};
use crate::sync::AtomicU64;

/// Zeroed words; clones share them.
#[derive(Clone, Debug)]
pub struct HeapWords {
    words: Arc<[AtomicU64]>,
}

impl HeapWords {
    /// Memory of `bytes`, a multiple of 8.
    pub fn new(bytes: usize) -> Self {
        let words = std::iter::repeat_with(AtomicU64::default)
            .take(bytes / 8)
            .collect();
        Self { words }
    }
}

impl Words for HeapWords {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl WordsMut for HeapWords {}
