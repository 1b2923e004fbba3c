//! Segments that another process has created.

use crate::sync::{AtomicU64, Ordering};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{FileStat, fstat};

use super::header::Header;
use super::mapping::{Keep, Mapping, SegmentWord};
use super::memory::file_page_bytes;
use super::owner::NEEDED_SEALS;
use super::{HEADER_BYTES, Kind, MemoryOptions, PAGE_BYTES, SegmentError, SegmentHandle};

/// A segment of another process, mapped read-only.
///
/// Its owner may change every byte at any time: load what is needed once, check it, use the copy.
pub struct ForeignSegment {
    mapping: Arc<Mapping>,
    /// Of the file that it lies in.
    page_bytes: u64,
}

impl ForeignSegment {
    /// Checks what a peer sent, and maps it.
    ///
    /// Seals, length and allocation are checked before the memory is mapped; `max_len` is the largest segment accepted, in
    /// bytes, header page included. The descriptor is closed: the mapping keeps the memory alive.
    ///
    /// # Errors
    /// Every group "what a peer sent" of [`SegmentError`]; [`SegmentError::System`] when the system refuses the mapping.
    pub fn open(handle: SegmentHandle, expected: Kind, max_len: u64) -> Result<Self, SegmentError> {
        let (mapping, page_bytes) = match handle {
            SegmentHandle::Descriptor(descriptor) => map_memfd(&descriptor, max_len)?,
            #[cfg(feature = "named")]
            SegmentHandle::Named(name) => (super::named::open(name, max_len)?, PAGE_BYTES as u64),
            #[cfg(not(feature = "named"))]
            SegmentHandle::Named(name) => return Err(SegmentError::NamedUnsupported { name }),
        };
        let len = (mapping.data_len() + PAGE_BYTES) as u64;
        let header = Header::decode(&copy_header(&mapping), expected, len, page_bytes)?;
        let mapping = mapping
            .cut(header.total_bytes)
            .ok_or(SegmentError::TooSmall {
                len: header.total_bytes,
                least: LEAST_BYTES,
            })?;
        Ok(Self {
            mapping: Arc::new(mapping),
            page_bytes,
        })
    }

    /// Has the memory as this process wants it.
    ///
    /// # Errors
    /// [`SegmentError::Lock`].
    pub fn settle(&self, memory: MemoryOptions) -> Result<(), SegmentError> {
        if memory.prefault {
            self.mapping.prefault(Advice::PopulateRead);
        }
        // Huge pages are never swapped out.
        if memory.lock && self.page_bytes == PAGE_BYTES as u64 {
            self.mapping.lock()?;
        }
        Ok(())
    }

    /// The header's bytes.
    #[cfg(test)]
    pub fn header_bytes(&self) -> [u8; HEADER_BYTES] {
        copy_header(&self.mapping)
    }

    /// Bytes of data, a multiple of 4,096.
    pub fn data_len(&self) -> usize {
        self.mapping.data_len()
    }

    /// Start of the data, page-aligned; readable for [`data_len`](Self::data_len) bytes as long as the segment lives.
    pub fn data_ptr(&self) -> *const u8 {
        self.mapping.data_ptr()
    }

    /// The 8 bytes at `offset` of the data, to be loaded only, kept beyond the life of `self`; `None`
    /// if that is out of bounds or no multiple of 8.
    pub fn kept_word(&self, offset: usize) -> Option<SegmentWord> {
        self.mapping.kept_word(offset)
    }

    /// The 8 bytes at `offset` of the data, to be loaded only: a store raises SIGSEGV. `None` if that is out of bounds or
    /// no multiple of 8.
    #[inline]
    pub fn try_word(&self, offset: usize) -> Option<&AtomicU64> {
        self.mapping.try_word(offset)
    }

    /// So many words from `offset` of the data on, which the caller knows to be there.
    pub fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        self.mapping.words(offset, count)
    }
}

/// The mapping, with the bytes of a page of its file.
fn map_memfd(descriptor: &OwnedFd, max_len: u64) -> Result<(Mapping, u64), SegmentError> {
    let page_bytes = file_page_bytes(descriptor)?;
    let found = fcntl(descriptor, FcntlArg::F_GET_SEALS)
        .map_err(SegmentError::system("fcntl(F_GET_SEALS)"))?;
    let needed = NEEDED_SEALS.bits();
    if found & needed != needed {
        return Err(SegmentError::Seals {
            found: found as u32,
            needed: needed as u32,
        });
    }
    // From here on the length cannot change any more.
    let len = check_extent(
        &fstat(descriptor).map_err(SegmentError::system("fstat"))?,
        max_len,
        page_bytes,
    )?;
    let map = MmapOptions::new()
        .len(len)
        .map_raw_read_only(descriptor)
        .map_err(SegmentError::system("mmap"))?;
    let mapping = Mapping::new(Keep::Memfd(map)).ok_or(SegmentError::TooSmall {
        len: len as u64,
        least: LEAST_BYTES,
    })?;
    Ok((mapping, page_bytes))
}

/// Checks length and allocation of a file in such pages; gives its length. The last page may be longer than what is accepted.
pub(super) fn check_extent(
    stat: &FileStat,
    max_len: u64,
    page: u64,
) -> Result<usize, SegmentError> {
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    if len < LEAST_BYTES {
        return Err(SegmentError::TooSmall {
            len,
            least: LEAST_BYTES,
        });
    }
    if !len.is_multiple_of(page) {
        return Err(SegmentError::NotPages { len, page });
    }
    if len > max_len.checked_next_multiple_of(page).unwrap_or(max_len) {
        return Err(SegmentError::TooLarge {
            len,
            limit: max_len,
        });
    }
    // `stat(2)`: blocks of 512 bytes, whatever the file system's own are.
    let allocated = u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512);
    if allocated < len {
        return Err(SegmentError::Sparse { len, allocated });
    }
    usize::try_from(len).map_err(|_| SegmentError::TooLarge {
        len,
        limit: usize::MAX as u64,
    })
}

/// The header is checked on a copy: the owner may change the original in between.
fn copy_header(mapping: &Mapping) -> [u8; HEADER_BYTES] {
    let words = mapping.header_words();
    let mut bytes = [0; HEADER_BYTES];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        // Relaxed: the owner wrote it before it sent the message that brought the segment here.
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    bytes
}

/// Header page, one page of data.
const LEAST_BYTES: u64 = 2 * PAGE_BYTES as u64;
