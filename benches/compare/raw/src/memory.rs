//! Memory that the processes of a round share.
//!
//! # Safety
//! The invariant: a word of commit is accessed as an atomic only; the bytes behind it are written only by the one producer, and
//! only while they are free, and read only between an acquire of their commit word and the release that frees them. The
//! processes are parts of one comparison and trust each other, which is one reason why this is faster than a bus.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;
use memmap2::{MmapOptions, MmapRaw};

/// The mapping of one process.
#[derive(Clone)]
pub struct Memory(Arc<MmapRaw>);

impl Memory {
    /// Maps the same memory for all who name the same folder and length; zeros at first.
    pub fn map(folder: &Path, len_bytes: usize) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("memory"))?;
        file.set_len(len_bytes as u64)?;
        let mapped = MmapOptions::new().populate().map_raw(&file)?;
        Ok(Self(Arc::new(mapped)))
    }

    /// The word of commit, or the cursor, at this offset.
    #[inline(always)]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.0.len() && offset.is_multiple_of(8));
        // SAFETY: within the mapping, as all offsets are that follow from the length that `map` was given.
        let word = unsafe { self.0.as_mut_ptr().add(offset) };
        // SAFETY: aligned, mapped as long as `self`; accessed in this way only.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// Bytes for their producer, who has not committed them.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the invariant gives them to one producer at a time"
    )]
    pub fn free(&self, offset: usize, len: usize) -> &mut [u8] {
        debug_assert!(offset + len <= self.0.len());
        // SAFETY: within the mapping, as in `word`.
        let bytes = unsafe { self.0.as_mut_ptr().add(offset) };
        // SAFETY: the invariant: not committed, so nobody else reads or writes.
        unsafe { slice::from_raw_parts_mut(bytes, len) }
    }

    /// Bytes for a reader, who has seen their commit and has not freed them.
    #[inline(always)]
    pub fn committed(&self, offset: usize, len: usize) -> &[u8] {
        debug_assert!(offset + len <= self.0.len());
        // SAFETY: within the mapping, as in `word`.
        let bytes = unsafe { self.0.as_mut_ptr().add(offset) };
        // SAFETY: the invariant: committed and not freed, so nobody writes.
        unsafe { slice::from_raw_parts(bytes, len) }
    }
}

/// The size of a page, on which things begin that are not to share anything.
pub const PAGE_BYTES: usize = 4096;
