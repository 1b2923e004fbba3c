//! Where everything of a table lies, in words of 8 bytes.
//!
//! Header, group words, slots, arena; `docs/segment-format.md` has them byte by byte.

use super::Words;
use crate::sync::Ordering;

/// How a table is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many values have a place, at least 1.
    pub slots: u32,
    /// Cells of a slot, one more than the values that can be read of it: 2 to conflate, n + 1 for a history of n.
    pub cells: u32,
}

/// Why memory is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A table has a slot at least.
    #[error("a table of {0} slots")]
    Slots(u64),
    /// A slot has two cells at least, and not so many that no memory could hold them.
    #[error("a table of {0} cells for each slot")]
    Cells(u64),
    /// Header, slots and a least arena need more memory than there is.
    #[error("{slots} slots of {cells} cells do not fit into {len} bytes")]
    TooShort {
        /// How many slots.
        slots: u32,
        /// Cells of each.
        cells: u32,
        /// Bytes of the memory.
        len: usize,
    },
    /// The arena does not begin where the slots end.
    #[error("an arena at word {found}, where {expected} follows from slots and cells")]
    Arena {
        /// What the header says.
        found: u64,
        /// Behind the slots.
        expected: usize,
    },
}

/// A checked shape, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub shape: Shape,
    /// How many group words.
    pub groups: usize,
    /// Words of a slot.
    stride: usize,
    /// Word at which the first slot begins.
    slots_at: usize,
    /// Word at which the arena begins.
    arena_at: usize,
    /// Places of [`UNIT_BYTES`] in the arena.
    pub units: u32,
    /// The longest value, in bytes: one of which the arena can hold `cells + 2`.
    pub longest: usize,
}

/// Words of a header: shape, a line further what changes, then the group words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    Slots = 0,
    Cells = 1,
    Arena = 2,
    Sequence = 8,
    Used = 9,
}

impl Shape {
    /// A sensible number of slots for a table of `bytes`: one for 512 bytes where slots are small, at least 16 unless
    /// there is no room for those.
    pub fn for_bytes(bytes: usize, cells: u32) -> Self {
        let cells = cells.clamp(LEAST_CELLS, MOST_CELLS);
        let slot_bytes = slot_words(cells as usize) * 8;
        let most = bytes.saturating_sub(LINE_BYTES * 4) / 2 / slot_bytes;
        let slots = (bytes / budget_bytes(cells))
            .max(LEAST_SLOTS)
            .min(most)
            .max(1);
        Self {
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            cells,
        }
    }
}

/// Bytes of a table, a multiple of 4,096, of the shape [`Shape::for_bytes`], that can hold `cells + 2` values of
/// `longest_value` bytes in one slot, and in 16 slots at a time all values of usual length.
pub fn bytes_for(longest_value: usize, cells: u32) -> usize {
    let cells = cells.clamp(LEAST_CELLS, MOST_CELLS);
    let value_bytes = |len: usize| class(units_of(len).unwrap_or(MOST_UNITS)) as usize * UNIT_BYTES;
    let one_slot = value_bytes(longest_value).saturating_mul(cells as usize + 2);
    let usual = value_bytes(longest_value.min(USUAL_BYTES)) * cells as usize * LEAST_SLOTS;
    // A part of each slot's budget is the slot itself and its share of a group word.
    let budget = budget_bytes(cells);
    let slot_bytes = slot_words(cells as usize) * 8 + 1;
    let fixed = LINE_BYTES * 4 + LEAST_SLOTS * slot_bytes;
    let arena = one_slot.max(usual);
    let bytes = fixed.saturating_add((arena / (budget - slot_bytes) + 1).saturating_mul(budget));
    bytes
        .max(2 * fixed)
        .checked_next_multiple_of(4096)
        .unwrap_or(usize::MAX - 4095)
}

impl Layout {
    /// The layout of `shape` in memory of so many words.
    pub fn new(shape: Shape, len_words: usize) -> Result<Self, ShapeError> {
        let Shape { slots, cells } = shape;
        if slots == 0 {
            return Err(ShapeError::Slots(0));
        }
        if !(LEAST_CELLS..=MOST_CELLS).contains(&cells) {
            return Err(ShapeError::Cells(cells.into()));
        }
        let groups = (slots as usize).div_ceil(GROUP_SLOTS);
        let stride = slot_words(cells as usize);
        let slots_at = (FIRST_GROUP + groups).next_multiple_of(LINE_WORDS);
        let too_short = ShapeError::TooShort {
            slots,
            cells,
            len: len_words.saturating_mul(8),
        };
        let arena_at = (slots as usize)
            .checked_mul(stride)
            .and_then(|words| words.checked_add(slots_at))
            .ok_or(too_short)?;
        let arena_words = len_words.checked_sub(arena_at).ok_or(too_short)?;
        let units = u32::try_from(arena_words / UNIT_WORDS).unwrap_or(u32::MAX);
        let units = units.min(MOST_UNITS);
        if units < cells + 2 {
            return Err(too_short);
        }
        Ok(Self {
            shape,
            groups,
            stride,
            slots_at,
            arena_at,
            units,
            longest: class_below(units / (cells + 2)) as usize * UNIT_BYTES,
        })
    }

    /// The layout that the header states.
    pub fn read(storage: &impl Words) -> Result<Self, ShapeError> {
        let words = storage.words();
        let short = ShapeError::TooShort {
            slots: 0,
            cells: 0,
            len: words.len() * 8,
        };
        // Relaxed: the header was written before anybody else had the memory; each word is looked at once.
        let load = |word: Header| {
            let word = words.get(word as usize).ok_or(short)?;
            Ok(word.load(Ordering::Relaxed))
        };
        let (slots, cells) = (load(Header::Slots)?, load(Header::Cells)?);
        let shape = Shape {
            slots: u32::try_from(slots).map_err(|_| ShapeError::Slots(slots))?,
            cells: u32::try_from(cells).map_err(|_| ShapeError::Cells(cells))?,
        };
        let layout = Self::new(shape, words.len())?;
        let found = load(Header::Arena)?;
        if found != layout.arena_at as u64 {
            return Err(ShapeError::Arena {
                found,
                expected: layout.arena_at,
            });
        }
        Ok(layout)
    }

    /// States it in the header of zeroed memory.
    pub fn write(&self, storage: &impl Words) {
        let store = |word: Header, value: u64| {
            // Relaxed: nobody else has the memory yet.
            storage.words()[word as usize].store(value, Ordering::Relaxed);
        };
        store(Header::Slots, self.shape.slots.into());
        store(Header::Cells, self.shape.cells.into());
        store(Header::Arena, self.arena_at as u64);
    }

    /// Where a group's word is.
    #[inline(always)]
    pub fn group(&self, group: usize) -> usize {
        FIRST_GROUP + group
    }

    /// Where a slot, below `slots`, begins.
    #[inline(always)]
    pub fn slot(&self, slot: u32) -> usize {
        self.slots_at + slot as usize * self.stride
    }

    /// Where a cell begins, in a slot that begins at `slot`.
    #[inline(always)]
    pub fn cell(&self, slot: usize, cell: usize) -> usize {
        slot + SLOT_HEADER_WORDS + cell * CELL_WORDS
    }

    /// Where the words of a value are, if they lie in the arena.
    #[inline]
    pub fn value(&self, offset: u64, len: u32) -> Option<std::ops::Range<usize>> {
        let end = offset.checked_add(len.into())?;
        let fits = end <= u64::from(self.units) * UNIT_BYTES as u64;
        if !fits || !offset.is_multiple_of(UNIT_BYTES as u64) {
            return None;
        }
        let start = self.arena_at + offset as usize / 8;
        Some(start..start + (len as usize).div_ceil(8))
    }
}

/// Units that hold `len` bytes; an empty value has one, too. `None` if there are not so many.
pub(super) fn units_of(len: usize) -> Option<u32> {
    let units = u32::try_from(len.div_ceil(UNIT_BYTES).max(1)).ok()?;
    (units <= MOST_UNITS).then_some(units)
}

/// Rounds up to a size that the allocator finds exactly: three bits behind the leading one.
pub(super) const fn class(units: u32) -> u32 {
    units.next_multiple_of(class_step(units))
}

/// The same, rounded down.
const fn class_below(units: u32) -> u32 {
    units - units % class_step(units)
}

const fn class_step(units: u32) -> u32 {
    match units.checked_ilog2() {
        Some(log) if log > 3 => 1 << (log - 3),
        _ => 1,
    }
}

/// Words of a slot: whole lines, so that the write of one never disturbs the reading of its neighbour.
const fn slot_words(cells: usize) -> usize {
    (SLOT_HEADER_WORDS + cells * CELL_WORDS).next_multiple_of(LINE_WORDS)
}

/// What a table has for each slot, arena included.
fn budget_bytes(cells: u32) -> usize {
    (4 * 8 * slot_words(cells as usize)).max(512)
}

/// Slots whose writes one group word counts.
pub(super) const GROUP_SLOTS: usize = 64;
/// Bytes in which values are measured out.
pub(super) const UNIT_BYTES: usize = 16;

const UNIT_WORDS: usize = UNIT_BYTES / 8;
const LINE_BYTES: usize = 64;
const LINE_WORDS: usize = LINE_BYTES / 8;
/// The first group word shares a line with the sequence, for they are written and read together.
const FIRST_GROUP: usize = 10;
const SLOT_HEADER_WORDS: usize = 4;
const CELL_WORDS: usize = 4;
const LEAST_CELLS: u32 = 2;
const MOST_CELLS: u32 = 1 << 16;
const LEAST_SLOTS: usize = 16;
/// Lengths of values are 32 bits.
const MOST_UNITS: u32 = (u32::MAX / UNIT_BYTES as u32) - 1;
/// Values that most slots have are not longer.
const USUAL_BYTES: usize = 256;
