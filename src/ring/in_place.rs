//! Payloads written where they lie.
//!
//! # Safety
//! The invariant: between `reserve` and `commit` the reserved bytes are the producer's alone, between `poll` and
//! `release` the record's bytes are not written. The ring's protocol gives both; of a producer in another process the
//! second is trust.
#![allow(unsafe_code)]

use std::slice;

use super::producer::Slot;
use super::record::{commit_word, record_bytes};
use super::{CELL_BYTES, Cells, Cursor, InPlace, Kind, NoRoom, Position, Producer, Read, Write};

/// What a payload in place may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All that lies in one piece, as far as known; for a payload whose length is not known yet.
    Rest,
    /// This many bytes.
    Exactly(usize),
}

/// Writes a payload where it lies, and tells its length. A closure does; on the shortest way a type with a method of its own, for
/// no attribute has the compiler inline a closure.
pub trait Fill<E> {
    /// Writes it.
    fn fill(self, payload: &mut [u8]) -> Result<usize, E>;
}

impl<E, F: FnOnce(&mut [u8]) -> Result<usize, E>> Fill<E> for F {
    #[inline(always)]
    fn fill(self, payload: &mut [u8]) -> Result<usize, E> {
        self(payload)
    }
}

impl<S: Cells, C: Cursor> Producer<S, C> {
    /// Stages a record whose payload `fill` writes in place; it returns the length. Gives the payload's offset and
    /// length. The bytes that `fill` gets are 16-byte aligned, their content is arbitrary.
    ///
    /// # Panics
    /// When `fill` claims to have written more than it got.
    #[inline]
    pub fn stage_in_place<E>(
        &mut self,
        room: Room,
        kind: Kind,
        detail: u64,
        fill: impl Fill<E>,
    ) -> Result<Result<Staged, E>, NoRoom> {
        let slot = self.reserve_room(room)?;
        let len_bytes = match self.fill(slot, fill) {
            Ok(len) => len,
            Err(error) => return Ok(Err(error)),
        };
        self.stage(slot, kind, len_bytes, detail);
        Ok(Ok(Staged {
            offset: slot.offset,
            len_bytes,
        }))
    }

    /// Appends a record whose payload `fill` writes in place, if that is possible at once: nothing is staged, no pad is needed, there
    /// is room as far as known, and all of it is filled if it is exact. Gives the length of the payload; if it is `None`, nothing is
    /// done, and it says nothing.
    #[inline(always)]
    pub fn append_in_place<E>(
        &mut self,
        room: Room,
        kind: Kind,
        detail: u64,
        fill: impl Fill<E>,
    ) -> Option<usize> {
        if let Room::Exactly(len) = room {
            return self.append_exactly(len, kind, detail, fill);
        }
        let slot = self.reserve_rest_at_once()?;
        let len = self.fill(slot, fill).ok()?;
        self.append(slot, kind, len, detail);
        Some(len)
    }

    /// The same for a length that is known, where possible as a constant.
    #[inline(always)]
    fn append_exactly<E>(
        &mut self,
        len: usize,
        kind: Kind,
        detail: u64,
        fill: impl Fill<E>,
    ) -> Option<usize> {
        let cells = self.storage.cells();
        let (Position(start), mask) = (self.committed, cells.capacity() - 1);
        let (offset, record) = (start as usize & mask, record_bytes(len));
        let end = Position(start + record as u64);
        let fits = len <= self.max_payload
            && record <= mask + 1 - offset
            && end.0 + CELL_BYTES as u64 <= self.limit.0
            && self.staged == self.committed;
        if !fits {
            return None;
        }
        let is_cleared = self.cleared == end;
        // Even if nothing comes of it, something is written there.
        if !is_cleared {
            self.cleared = Position(0);
        }
        let place = cells.address(offset + CELL_BYTES);
        // SAFETY: as in `fill`; there is room for as much.
        let payload = unsafe { slice::from_raw_parts_mut(place, len) };
        // From the first store to the commit word nothing is to come in between: a reader that polls takes the line back. (A call
        // that was not inlined here cost 60 ns of a round trip.)
        match fill.fill(payload) {
            Ok(filled) if filled == len => {}
            _ => return None,
        }
        cells.store_detail(offset, detail);
        let word = commit_word(kind, len as u32);
        Self::reveal_in(&cells, (offset, word), end, is_cleared);
        Self::fetch_ahead(&cells, end, record as u64);
        drop(cells);
        self.committed = end;
        self.staged = end;
        self.clear_next(end, record as u64);
        Some(len)
    }

    #[inline]
    fn reserve_room(&mut self, room: Room) -> Result<Slot, NoRoom> {
        match room {
            Room::Rest => self.reserve_rest().ok_or(NoRoom::Full),
            Room::Exactly(len) => self.reserve(len),
        }
    }

    /// Has `fill` write to a slot that was just reserved; the length that it returns is not beyond the slot.
    #[inline(always)]
    fn fill<E>(&mut self, slot: Slot, fill: impl Fill<E>) -> Result<usize, E> {
        let start = self.storage().address(slot.offset);
        // SAFETY: the memory of a ring begins as zeros, so it is initialized. `reserve` found these bytes inside it, below
        // the limit and beyond all that is committed, so nobody else accesses them; `&mut self` is held while the slice
        // lives.
        let payload = unsafe { slice::from_raw_parts_mut(start, slot.len_bytes) };
        let len_bytes = fill.fill(payload)?;
        assert!(
            len_bytes <= slot.len_bytes,
            "an encoder wrote {len_bytes} bytes into {}",
            slot.len_bytes
        );
        Ok(len_bytes)
    }

    /// The payload of a record that this producer wrote, wherever the readers are.
    ///
    /// # Safety
    /// Nothing was staged since that record.
    pub unsafe fn written(&self, staged: Staged) -> &[u8] {
        let start = self.storage().address(staged.offset);
        // SAFETY: written in full by `stage_in_place`; not written again as long as nothing else is staged.
        unsafe { slice::from_raw_parts(start, staged.len_bytes) }
    }
}

/// A payload that was written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Offset in the ring.
    offset: usize,
    /// Length in bytes.
    len_bytes: usize,
}

impl Staged {
    /// Its length in bytes.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The payload without a prefix that it was written with.
    #[inline]
    pub fn behind(self, prefix_bytes: usize) -> Self {
        debug_assert!(prefix_bytes <= self.len_bytes);
        Self {
            offset: self.offset + prefix_bytes,
            len_bytes: self.len_bytes - prefix_bytes,
        }
    }
}
