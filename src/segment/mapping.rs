//! Access to the bytes of a mapped segment.
#![allow(unsafe_code)]
//! The one invariant: `base` points to `len` mapped bytes, page-aligned, that stay mapped and allocated until `keep` is
//! dropped, and are accessed by atomic operations or through raw pointers only, never through references to plain bytes.

use crate::sync::AtomicU64;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use memmap2::{Advice, MmapRaw};
use nix::sys::mman::mlock;

use super::memory::not_locked;
use super::{HEADER_BYTES, PAGE_BYTES, SegmentError};

/// A mapped segment, header page included.
pub(super) struct Mapping {
    base: NonNull<u8>,
    /// What is in use; the rest of the last page of the file is not.
    len: usize,
    /// Owns what `base` points to.
    keep: Keep,
}

/// One word of a segment's data, which it keeps mapped: bounds are checked when it is made, not when it is used.
#[derive(Clone)]
pub struct SegmentWord {
    /// Within `_mapping`.
    word: NonNull<AtomicU64>,
    _mapping: Arc<Mapping>,
}

/// Who unmaps the memory.
pub(super) enum Keep {
    Memfd(MmapRaw),
    #[cfg(feature = "named")]
    Named(shared_memory::Shmem),
}

impl Mapping {
    /// Takes over a mapping; `None` if it has no header page, which the callers have excluded before.
    pub(super) fn new(keep: Keep) -> Option<Self> {
        let (base, len) = match &keep {
            Keep::Memfd(map) => (map.as_mut_ptr(), map.len()),
            #[cfg(feature = "named")]
            Keep::Named(map) => (map.as_ptr(), map.len()),
        };
        let base = NonNull::new(base)
            .filter(|base| base.cast::<AtomicU64>().is_aligned() && len > PAGE_BYTES)?;
        Some(Self { base, len, keep })
    }

    /// Leaves the end out of use: what remains is `len` bytes. `None` if they are more than there are, or no more than the
    /// header page.
    pub(super) fn cut(mut self, len: u64) -> Option<Self> {
        let len = usize::try_from(len).ok()?;
        self.len = Some(len).filter(|len| (PAGE_BYTES + 1..=self.len).contains(len))?;
        Some(self)
    }

    /// Has every page entered into the page tables.
    pub(super) fn prefault(&self, advice: Advice) {
        match &self.keep {
            // The pages exist already; this spares the first lap its faults. Linux before 5.14 does not know it.
            Keep::Memfd(map) => drop(map.advise(advice)),
            #[cfg(feature = "named")]
            Keep::Named(_) => {}
        }
    }

    /// Locks every page in memory.
    pub(super) fn lock(&self) -> Result<(), SegmentError> {
        // SAFETY: `len` bytes are mapped from `base` on; locking them changes none.
        unsafe { mlock(self.base.cast(), self.len) }
            .map_err(|error| not_locked(self.len as u64, error.into()))
    }

    /// Bytes behind the header page.
    pub(super) fn data_len(&self) -> usize {
        self.len - PAGE_BYTES
    }

    /// Start of the data.
    pub(super) fn data_ptr(&self) -> *mut u8 {
        // SAFETY: `new` has checked that the mapping is longer than the header page.
        unsafe { self.base.as_ptr().add(PAGE_BYTES) }
    }

    /// The 8 bytes at `offset` of the data; `None` if that is out of bounds or no multiple of 8.
    #[inline]
    pub(super) fn try_word(&self, offset: usize) -> Option<&AtomicU64> {
        let inside = offset.is_multiple_of(8) && offset < self.data_len();
        inside.then(|| self.raw_word(PAGE_BYTES + offset))
    }

    /// The 8 bytes at `offset` of the data, which the caller knows to be there.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        self.try_word(offset)
            .expect("the offset is a multiple of 8 within the segment's data")
    }

    /// So many words from `offset` of the data on, which the caller knows to be there.
    #[inline]
    pub(super) fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let bytes = count.checked_mul(8);
        let end = bytes.and_then(|bytes| offset.checked_add(bytes));
        assert!(offset.is_multiple_of(8) && end.is_some_and(|end| end <= self.data_len()));
        // SAFETY: `offset` is within the data.
        let start = unsafe { self.base.as_ptr().add(PAGE_BYTES + offset) };
        // SAFETY: as in `raw_word`, of each of them.
        unsafe { slice::from_raw_parts(start.cast(), count) }
    }

    /// The 8 bytes at `offset` of the data, kept; `None` as for [`Mapping::try_word`].
    pub(super) fn kept_word(self: &Arc<Self>, offset: usize) -> Option<SegmentWord> {
        Some(SegmentWord {
            word: NonNull::from(self.try_word(offset)?),
            _mapping: self.clone(),
        })
    }

    /// The words of the header.
    pub(super) fn header_words(&self) -> [&AtomicU64; HEADER_BYTES / 8] {
        std::array::from_fn(|i| self.raw_word(i * 8))
    }

    #[inline]
    fn raw_word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: the callers give an offset within `len`, which is what is mapped.
        let word = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: mapped as long as `self` lives, aligned since base and offset are; plain access to it does not exist
        // (the invariant), and the owner's own raw access to data is the ring's, which touches words by atomics alone.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }
}

impl Deref for SegmentWord {
    type Target = AtomicU64;

    #[inline(always)]
    fn deref(&self) -> &AtomicU64 {
        // SAFETY: `kept_word` took it from a reference into the mapping, which lives as long as `self`.
        unsafe { self.word.as_ref() }
    }
}

// SAFETY: an `AtomicU64`, which any thread may access, in a mapping that may be dropped by any thread.
unsafe impl Send for SegmentWord {}
// SAFETY: as for `Send`.
unsafe impl Sync for SegmentWord {}

// SAFETY: memory that other processes change is accessed as above, so from which thread does not matter; dropping `keep`
// on another thread unmaps, which the kernel does for any thread.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`; all of `&self` is atomic access or gives raw pointers.
unsafe impl Sync for Mapping {}
