//! A chunk of a pool as its publisher has it, and as a subscriber does.
//!
//! # Safety
//! The invariants: `start` begins `len_bytes` bytes that lie in the segment beside it, which stays mapped. A [`RawLoan`] comes from an account
//! that has given the chunk to nobody else, and nobody has been told of it; so its bytes are its holder's alone. Once it is a
//! [`Block`] nobody writes it, until that is given up. What a subscriber [`Hold`]s, or has found and not released, the publisher does not give to anybody; of a
//! publisher in another process that is trust, as for records in a ring.
#![allow(unsafe_code)]

use std::hint::assert_unchecked;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use crate::pool::{Allocated, Chunk, ChunkKey, Place};
use crate::ring::CELL_BYTES;
use crate::segment::{ForeignSegment, Segment};

use super::Hold;

/// A chunk that is being written; its bytes may be anything at first.
pub struct RawLoan {
    block: Block,
}

/// A chunk that is written.
pub struct Block {
    start: NonNull<u8>,
    len_bytes: usize,
    place: Place,
    key: ChunkKey,
    _segment: Arc<Segment>,
}

/// Where a payload lies that a subscriber has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    start: NonNull<u8>,
    len_bytes: usize,
}

/// Memory of another process, mapped; a chunk of it that was checked.
#[derive(Clone)]
pub(super) struct Lent {
    pub(super) payload: Payload,
    pub(super) place: Place,
    pub(super) segment: Arc<ForeignSegment>,
}

// SAFETY: the bytes are owned, or only read, from whatever thread; the mapping moves along.
unsafe impl Send for Block {}
// SAFETY: as above; all of `&self` only reads.
unsafe impl Sync for Block {}
// SAFETY: an address; what it may be used for its holder promises anew.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}

impl RawLoan {
    /// The chunk that an account has just given, in its segment; `None` if it is not of that length.
    pub(super) fn new(chunk: Allocated, len_bytes: usize, segment: Arc<Segment>) -> Option<Self> {
        let offset = usize::try_from(chunk.place.offset_bytes()).ok()?;
        let end = offset.checked_add(len_bytes)?;
        if end > segment.data_len() {
            return None;
        }
        let data = NonNull::new(segment.data_ptr())?;
        // SAFETY: `offset` is not beyond the data, as was checked.
        let start = unsafe { data.add(offset) };
        Some(Self {
            block: Block {
                start,
                len_bytes,
                place: chunk.place,
                key: chunk.key,
                _segment: segment,
            },
        })
    }

    /// Only the first bytes, so many, are of use; if it has as many.
    pub fn trim(&mut self, len_bytes: usize) {
        self.block.len_bytes = self.block.len_bytes.min(len_bytes);
    }

    /// From here on nobody writes it.
    pub fn seal(self) -> Block {
        self.block
    }

    /// Has the processor fetch the first line, to be written: a subscriber has had it.
    pub(super) fn fetch(&self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a hint; it reads and writes nothing, and does not fault.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) self.block.start.as_ptr(), options(nostack, preserves_flags));
        }
    }
}

impl Deref for RawLoan {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.block
    }
}

impl DerefMut for RawLoan {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let Block {
            start, len_bytes, ..
        } = self.block;
        // SAFETY: mapped and initialized, for a segment begins as zeros; nobody else has the chunk.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), len_bytes) }
    }
}

impl Block {
    /// The same once more.
    pub(super) fn duplicate(&self) -> Self {
        Self {
            start: self.start,
            len_bytes: self.len_bytes,
            place: self.place,
            key: self.key,
            _segment: self._segment.clone(),
        }
    }

    /// By which the account knows it.
    pub(super) fn key(&self) -> ChunkKey {
        self.key
    }

    /// As it goes through a ring.
    pub fn chunk(&self) -> Chunk {
        Chunk {
            place: self.place,
            len_bytes: self.len_bytes as u64,
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped and initialized; nobody writes it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len_bytes) }
    }
}

impl Payload {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Self {
            // Aligned as all payloads are.
            start: NonNull::<u128>::dangling().cast(),
            len_bytes: 0,
        }
    }

    /// So many bytes from an address on, which is that of a record, or of a chunk.
    #[inline(always)]
    pub(super) fn at(start: *mut u8, len_bytes: usize) -> Self {
        Self {
            // SAFETY: a mapping does not lie at address 0.
            start: unsafe { NonNull::new_unchecked(start) },
            len_bytes,
        }
    }

    /// A chunk's bytes; `None` if the segment has not as many.
    #[inline]
    fn within(segment: &ForeignSegment, chunk: Chunk) -> Option<Self> {
        let data = segment.data_len() as u64;
        let (offset, len) = (chunk.place.offset_bytes(), chunk.len_bytes);
        if offset > data || len > data - offset {
            return None;
        }
        let start = segment.data_ptr().wrapping_add(offset as usize);
        Some(Self::at(start.cast_mut(), len as usize))
    }

    /// Without the first bytes, so many; `None` if it has not as many.
    pub(super) fn behind(self, bytes: usize) -> Option<Self> {
        let len_bytes = self.len_bytes.checked_sub(bytes)?;
        Some(Self {
            // SAFETY: not beyond the end, as was checked.
            start: unsafe { self.start.add(bytes) },
            len_bytes,
        })
    }

    /// Its length in bytes.
    #[inline(always)]
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The bytes.
    ///
    /// # Safety
    /// It was checked to lie in memory that is mapped, and does not change, while the slice lives.
    #[inline(always)]
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        let start = self.start.addr().get();
        // So that what reads values in place need not ask.
        // SAFETY: payloads in rings and in chunks are aligned as cells are, and so is what is behind a timestamp;
        unsafe { assert_unchecked(start.is_multiple_of(CELL_BYTES)) };
        // SAFETY: and no mapping reaches the last address.
        unsafe { assert_unchecked(start < usize::MAX - self.len_bytes) };
        // SAFETY: the caller's promise.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len_bytes) }
    }
}

impl Lent {
    /// Has the processor fetch the first line, to be read.
    #[inline]
    pub(super) fn fetch(&self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a hint; it reads and writes nothing, and does not fault.
        unsafe {
            std::arch::asm!("prefetcht0 [{}]", in(reg) self.payload.start.as_ptr(), options(nostack, preserves_flags));
        }
    }

    /// A chunk in a segment of its publisher; `None` if it is not within that.
    pub(super) fn new(chunk: Chunk, segment: Arc<ForeignSegment>) -> Option<Self> {
        Some(Self {
            payload: Payload::within(&segment, chunk)?,
            place: chunk.place,
            segment,
        })
    }

    /// Another chunk, if it is one of the same segment.
    #[inline]
    pub(super) fn move_to(&mut self, chunk: Chunk) -> bool {
        if chunk.place.segment != self.place.segment {
            return false;
        }
        let Some(payload) = Payload::within(&self.segment, chunk) else {
            return false;
        };
        self.payload = payload;
        self.place = chunk.place;
        true
    }
}

impl Deref for Hold {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: checked to lie in the segment, which stays mapped with it; held, so its publisher does not write it.
        unsafe { self.lent.payload.bytes() }
    }
}
