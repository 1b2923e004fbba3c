//! Which part of the arena each cell has.

use std::fmt;

use offset_allocator::{Allocation, Allocator};

use super::layout::{Layout, UNIT_BYTES, class, units_of};

/// The writer's own account of the arena; nothing of it is in shared memory.
#[derive(Debug)]
pub(super) struct Arena {
    allocator: Allocator,
}

/// The memory of one cell.
pub(super) struct Place {
    allocation: Allocation,
    units: u32,
}

impl Arena {
    /// All of the arena is free.
    pub fn new(layout: &Layout) -> Self {
        let cells = u64::from(layout.shape.slots) * u64::from(layout.shape.cells);
        // A free part behind each cell's, and one before all; no more parts than units; and the allocator never uses up all
        // that it has.
        let parts = (2 * cells + 1).min(layout.units.into()) + 4;
        // As many as units at most, which are fewer than 2^28.
        let parts = u32::try_from(parts).unwrap_or(layout.units);
        Self {
            allocator: Allocator::with_max_allocs(layout.units, parts),
        }
    }

    /// Memory for `len` bytes; `None` if there is no such part.
    pub fn allocate(&mut self, len: usize) -> Option<Place> {
        // In these sizes a part that fits is found, and one that was freed fits what is as long.
        let units = class(units_of(len)?);
        let allocation = self.allocator.allocate(units)?;
        Some(Place { allocation, units })
    }

    /// Takes memory back.
    pub fn free(&mut self, place: Place) {
        self.allocator.free(place.allocation);
    }
}

impl Place {
    /// Whether a value of `len` bytes fits, and wastes less than half.
    pub fn suits(&self, len: usize) -> bool {
        units_of(len).is_some_and(|units| units <= self.units && self.units / 2 <= units)
    }

    /// Bytes from the start of the arena.
    pub fn offset(&self) -> u64 {
        u64::from(self.allocation.offset) * UNIT_BYTES as u64
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} units at {}", self.units, self.allocation.offset)
    }
}
