//! A ring on the heap, for tests, Miri, benchmarks.
//!
//! # Safety
//! All memory is `AtomicU64` words that the shared `Arc` keeps alive; plain accesses through `address` are ordered by
//! the ring's protocol.
#![allow(unsafe_code)]

use std::sync::Arc;

use super::{CELL_BYTES, Cells, Control, Cursor, InPlace, Read, SEATS, SeatWord, Write};
use crate::sync::{AtomicU64, Ordering};

/// A zeroed ring with a control page and one cursor word; clones share it.
#[derive(Clone, Debug)]
pub struct HeapRing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Aligned as records are.
    cells: Box<[Cell]>,
    control: Box<[AtomicU64]>,
    cursor: AtomicU64,
}

#[repr(C, align(16))]
#[derive(Debug, Default)]
struct Cell {
    commit: AtomicU64,
    detail: AtomicU64,
}

impl HeapRing {
    /// A ring of `capacity` bytes, a power of two, at least 256.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two() && capacity >= 256);
        let control = std::iter::repeat_with(AtomicU64::default)
            .take(64 + 4 * SEATS as usize)
            .collect();
        let cells = std::iter::repeat_with(Cell::default)
            .take(capacity / CELL_BYTES)
            .collect();
        Self {
            shared: Arc::new(Shared {
                cells,
                control,
                cursor: AtomicU64::new(0),
            }),
        }
    }
}

impl Read for HeapRing {
    #[inline]
    fn capacity(&self) -> usize {
        self.shared.cells.len() * CELL_BYTES
    }

    #[inline]
    fn commit_word(&self, offset: usize) -> &AtomicU64 {
        &self.shared.cells[offset / CELL_BYTES].commit
    }

    #[inline]
    fn load_detail(&self, offset: usize) -> u64 {
        self.shared.cells[offset / CELL_BYTES]
            .detail
            .load(Ordering::Relaxed)
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) {
        assert!(offset + out.len() <= self.capacity());
        // SAFETY: in bounds; the record is committed, so the producer does not write here.
        unsafe {
            self.address(offset)
                .copy_to_nonoverlapping(out.as_mut_ptr(), out.len())
        }
    }

    #[inline]
    fn control(&self, word: Control) -> &AtomicU64 {
        &self.shared.control[word as usize / 8]
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        &self.shared.control[64 + seat as usize * 4 + word as usize / 8]
    }
}

impl Write for HeapRing {
    #[inline]
    fn store_detail(&self, offset: usize, detail: u64) {
        self.shared.cells[offset / CELL_BYTES]
            .detail
            .store(detail, Ordering::Relaxed);
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.capacity());
        // SAFETY: in bounds; the record is not committed, so no reader looks here.
        unsafe {
            self.address(offset)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        }
    }
}

// SAFETY: `cells` is one allocation of `capacity()` bytes, aligned to 16, kept by the `Arc`; its cells are atomics, so
// that writing through a shared reference is allowed.
unsafe impl InPlace for HeapRing {
    #[inline]
    fn address(&self, offset: usize) -> *mut u8 {
        self.shared
            .cells
            .as_ptr()
            .cast::<u8>()
            .cast_mut()
            .wrapping_add(offset)
    }
}

impl Cells for HeapRing {
    type Cells<'a> = Self;

    fn cells(&self) -> Self {
        self.clone()
    }
}

impl Cursor for HeapRing {
    fn word(&self) -> &AtomicU64 {
        &self.shared.cursor
    }
}
