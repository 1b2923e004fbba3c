//! A ring, a table, the words of a reader of chunks in loom's cells.
//!
//! # Safety
//! The plain half of each cell lies in loom's `UnsafeCell`, which reports any unordered access, so a breach of the
//! ring's protocol is a failed model, not undefined behaviour. A lossy ring has none: there all words are atomic.
#![allow(unsafe_code)]

use loom::{cell::UnsafeCell, sync::Arc};

use crate::{
    pool::{HOLDS, Presence, Slots, Watch},
    ring::{CELL_BYTES, Control, Cursor, Read, SeatWord, Write},
    sync::{AtomicU64, Ordering},
    table::{Words, WordsMut},
};

/// Bytes of a ring in the models; half of what real rings have at least, so that laps are short.
pub const CAPACITY_BYTES: usize = 128;

/// A ring whose readers stay away from what is written.
pub type LoomRing = Ring<Plain>;

/// A ring whose readers may look at what is being overwritten.
pub type LossyLoomRing = Ring<AtomicU64>;

/// A zeroed ring with its control words; clones share it.
#[derive(Debug)]
pub struct Ring<H> {
    shared: Arc<Shared<H>>,
}

/// A reader's cursor word; clones share it.
#[derive(Clone, Debug)]
pub struct LoomCursor {
    word: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Shared<H> {
    cells: Vec<Cell<H>>,
    control: [AtomicU64; 10],
    /// Seat 1, the only one that models give.
    seat: [AtomicU64; 4],
}

/// The first half is atomic, for it may be a commit word; the second is a detail or payload.
#[derive(Debug)]
struct Cell<H> {
    first: AtomicU64,
    second: H,
}

/// The second half of a cell.
pub trait Half {
    /// Holding 0.
    fn new() -> Self;
    /// What it holds.
    fn load(&self) -> u64;
    /// Changes that.
    fn store(&self, value: u64);
}

/// A half that must not be written while others look.
#[derive(Debug)]
pub struct Plain(UnsafeCell<u64>);

// SAFETY: loom's cell checks that accesses from several threads are ordered.
unsafe impl Sync for Plain {}

impl Half for Plain {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn load(&self) -> u64 {
        // SAFETY: loom panics unless every store is ordered before this.
        self.0.with(|word| unsafe { *word })
    }

    fn store(&self, value: u64) {
        // SAFETY: loom panics unless every other access is ordered before or after this.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}

impl Half for AtomicU64 {
    fn new() -> Self {
        AtomicU64::new(0)
    }

    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn store(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }
}

impl<H> Clone for Ring<H> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<H: Half> Ring<H> {
    /// An empty ring of [`CAPACITY_BYTES`].
    #[expect(clippy::new_without_default, reason = "only inside a loom model")]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY_BYTES)
    }

    /// An empty ring of so many bytes, a power of two.
    pub fn with_capacity(capacity: usize) -> Self {
        let cells = (0..capacity / CELL_BYTES)
            .map(|_| Cell {
                first: AtomicU64::new(0),
                second: H::new(),
            })
            .collect();
        Self {
            shared: Arc::new(Shared {
                cells,
                control: std::array::from_fn(|_| AtomicU64::new(0)),
                seat: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }

    fn cell(&self, offset: usize) -> &Cell<H> {
        assert!(offset.is_multiple_of(CELL_BYTES));
        &self.shared.cells[offset / CELL_BYTES]
    }
}

impl<H: Half> Read for Ring<H> {
    fn capacity(&self) -> usize {
        self.shared.cells.len() * CELL_BYTES
    }

    fn commit_word(&self, offset: usize) -> &AtomicU64 {
        &self.cell(offset).first
    }

    fn load_detail(&self, offset: usize) -> u64 {
        self.cell(offset).second.load()
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) {
        for (index, chunk) in out.chunks_mut(CELL_BYTES).enumerate() {
            let cell = self.cell(offset + index * CELL_BYTES);
            let (first, second) = chunk.split_at_mut(chunk.len().min(8));
            let word = cell.first.load(Ordering::Relaxed).to_le_bytes();
            first.copy_from_slice(&word[..first.len()]);
            if !second.is_empty() {
                let word = cell.second.load().to_le_bytes();
                second.copy_from_slice(&word[..second.len()]);
            }
        }
    }

    fn control(&self, word: Control) -> &AtomicU64 {
        &self.shared.control[match word {
            Control::Closed => 0,
            Control::Parked => 2,
            Control::DroppedFull => 3,
            Control::Water => 7,
            Control::Start => 8,
            Control::Retired => 9,
            Control::DroppedDeadline => 4,
            Control::Intent => 5,
            Control::Oldest => 6,
        }]
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        assert_eq!(seat, 1);
        &self.shared.seat[word as usize / 8]
    }
}

impl<H: Half> Write for Ring<H> {
    fn store_detail(&self, offset: usize, detail: u64) {
        self.cell(offset).second.store(detail);
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(CELL_BYTES).enumerate() {
            let cell = self.cell(offset + index * CELL_BYTES);
            let (first, second) = chunk.split_at(chunk.len().min(8));
            cell.first.store(word_from(first), Ordering::Relaxed);
            if !second.is_empty() {
                cell.second.store(word_from(second));
            }
        }
    }
}

impl LoomCursor {
    /// A cursor at the ring's beginning.
    #[expect(clippy::new_without_default, reason = "only inside a loom model")]
    pub fn new() -> Self {
        Self {
            word: Arc::new(AtomicU64::new(0)),
        }
    }
}

impl Cursor for LoomCursor {
    fn word(&self) -> &AtomicU64 {
        &self.word
    }
}

/// Zeroed words of a table; clones share them.
#[derive(Clone, Debug)]
pub struct LoomWords {
    words: Arc<Vec<AtomicU64>>,
}

impl LoomWords {
    /// So many words.
    pub fn new(count: usize) -> Self {
        let words = (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            words: Arc::new(words),
        }
    }
}

impl Words for LoomWords {
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl WordsMut for LoomWords {}

/// The words of a reader of chunks; clones share them.
#[derive(Clone, Debug)]
pub struct LoomReader {
    cursor: LoomCursor,
    words: Arc<[AtomicU64; HOLDS + 1]>,
}

impl LoomReader {
    /// A reader that has not read anything.
    #[expect(clippy::new_without_default, reason = "only inside a loom model")]
    pub fn new() -> Self {
        Self {
            cursor: LoomCursor::new(),
            words: Arc::new(std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Its cursor.
    pub fn cursor(&self) -> LoomCursor {
        self.cursor.clone()
    }

    /// What says that it reads no more.
    pub fn left_word(&self) -> &AtomicU64 {
        &self.words[HOLDS]
    }
}

impl Watch for LoomReader {
    fn cursor(&self) -> &AtomicU64 {
        self.cursor.word()
    }

    fn left(&self) -> [&AtomicU64; 2] {
        [self.left_word(); 2]
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }
}

impl Presence for LoomReader {
    fn is_gone(&self) -> bool {
        false
    }
}

impl Slots for LoomReader {
    fn slot(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }
}

/// The content of a chunk: a word that must not be written while others look.
#[derive(Clone, Debug)]
pub struct Content(Arc<Plain>);

impl Content {
    /// Holding 0.
    #[expect(clippy::new_without_default, reason = "only inside a loom model")]
    pub fn new() -> Self {
        Self(Arc::new(Plain::new()))
    }

    /// What it holds.
    pub fn load(&self) -> u64 {
        self.0.load()
    }

    /// Changes that.
    pub fn store(&self, value: u64) {
        self.0.store(value);
    }
}

/// Up to 8 bytes as a little-endian word, zeros behind them.
fn word_from(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
