//! Segments that this process creates.

use crate::sync::{AtomicU64, Ordering};
use std::io;
use std::os::fd::OwnedFd;

use memmap2::{Advice, MmapOptions};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use super::header::Header;
use super::mapping::{Keep, Mapping};
use super::memory::{file_page_bytes, no_huge_pages};
use super::{Incarnation, Kind, MemoryOptions, PAGE_BYTES, SegmentError, room};

/// A segment that this process has created; the only one that can write it.
///
/// The memory lives until the last process has unmapped it, also after this value is gone.
pub struct Segment {
    mapping: Mapping,
    source: Source,
}

/// How to make a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct SegmentOptions {
    /// Where the memory comes from.
    pub backend: Backend,
    /// What is asked of it.
    pub memory: MemoryOptions,
}

/// Where the memory of a segment comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// A sealed memfd.
    #[default]
    Memfd,
    /// A file in `/dev/shm`, made by the crate `shared_memory`, for systems without memfd.
    ///
    /// Lost with it: seals, so any process of the same user can write the memory, cut it (which kills whoever touches
    /// it) or open it by its name; the check of the size before mapping holds for that moment only; and the clean-up
    /// after SIGKILL of the owner, whose file stays until somebody removes it.
    #[cfg(feature = "named")]
    Named,
}

/// What a peer needs to open a segment.
#[derive(Debug)]
pub enum SegmentHandle {
    /// The memory itself.
    Descriptor(OwnedFd),
    /// Its name in `/dev/shm`.
    Named(String),
}

/// What the memory of a segment is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Ordinary,
    Huge,
}

enum Source {
    /// Kept to be handed out again.
    Descriptor(OwnedFd),
    #[cfg(feature = "named")]
    Named(String),
}

impl Segment {
    /// Makes a segment of at least `data_len` zero bytes; the length is rounded up to pages of 4,096.
    ///
    /// All of it is allocated when this returns. Takes time in proportion to the length; waits for nobody.
    ///
    /// # Errors
    /// Every group "this process and its system" of [`SegmentError`].
    pub fn create(
        kind: Kind,
        data_len: usize,
        options: &SegmentOptions,
    ) -> Result<Self, SegmentError> {
        let total = total_bytes(data_len)?;
        let pages = match options.memory.huge_pages && !kind.is_small() {
            true => Pages::Huge,
            false => Pages::Ordinary,
        };
        room::check_file_size(total as u64)?;
        let header = Header {
            kind,
            total_bytes: total as u64,
            incarnation: Incarnation::random().map_err(SegmentError::system("getrandom"))?,
            creator_pid: std::process::id(),
        };
        let (keep, source) = match options.backend {
            Backend::Memfd => create_memfd(kind, total, pages)?,
            #[cfg(feature = "named")]
            Backend::Named => {
                if pages == Pages::Huge {
                    return Err(SegmentError::HugePagesNamed);
                }
                room::check_memory(total as u64)?;
                let (keep, name) = super::named::create(total, header.incarnation)?;
                (keep, Source::Named(name))
            }
        };
        let segment = Self::finish(keep, header, source)?;
        if options.memory.prefault {
            segment.mapping.prefault(Advice::PopulateWrite);
        }
        if options.memory.lock && pages == Pages::Ordinary {
            segment.mapping.lock()?;
        }
        Ok(segment)
    }

    fn finish(keep: Keep, header: Header, source: Source) -> Result<Self, SegmentError> {
        let mapping = Mapping::new(keep)
            .and_then(|mapping| mapping.cut(header.total_bytes))
            .ok_or(SegmentError::Length {
                asked: header.total_bytes as usize,
            })?;
        for (word, bytes) in mapping
            .header_words()
            .iter()
            .zip(header.encode().as_chunks::<8>().0)
        {
            // Relaxed: readers get the segment by a message, which orders this before whatever they read.
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        Ok(Self { mapping, source })
    }

    /// What a peer needs to open the segment; any number of times.
    ///
    /// # Errors
    /// [`SegmentError::System`]: the descriptor table is full.
    pub fn handle(&self) -> Result<SegmentHandle, SegmentError> {
        match &self.source {
            Source::Descriptor(descriptor) => {
                let copy = descriptor
                    .try_clone()
                    .map_err(SegmentError::system::<io::Error>("dup"))?;
                Ok(SegmentHandle::Descriptor(copy))
            }
            #[cfg(feature = "named")]
            Source::Named(name) => Ok(SegmentHandle::Named(name.clone())),
        }
    }

    /// Bytes of data, a multiple of 4,096.
    pub fn data_len(&self) -> usize {
        self.mapping.data_len()
    }

    /// Start of the data, page-aligned; valid for [`data_len`](Self::data_len) bytes as long as the segment lives.
    pub fn data_ptr(&self) -> *mut u8 {
        self.mapping.data_ptr()
    }

    /// The 8 bytes at `offset` of the data; `None` if that is out of bounds or no multiple of 8.
    #[inline]
    pub fn try_word(&self, offset: usize) -> Option<&AtomicU64> {
        self.mapping.try_word(offset)
    }

    /// The 8 bytes at `offset` of the data.
    ///
    /// # Panics
    /// When `offset` is out of bounds or no multiple of 8. An offset that a peer sent belongs into
    /// [`try_word`](Self::try_word).
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        self.mapping.word(offset)
    }
}

fn create_memfd(kind: Kind, total: usize, pages: Pages) -> Result<(Keep, Source), SegmentError> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let create = |flags| {
        memfd_create(kind.memfd_name(), flags).map_err(SegmentError::system("memfd_create"))
    };
    let (descriptor, len) = match pages {
        Pages::Ordinary => {
            room::check_memory(total as u64)?;
            (create(flags)?, total)
        }
        Pages::Huge => {
            let descriptor = create(flags | MFdFlags::MFD_HUGETLB)?;
            let page_bytes = file_page_bytes(&descriptor)?;
            let len = (total as u64).checked_next_multiple_of(page_bytes);
            let len = len.filter(|len| *len <= isize::MAX as u64);
            let len = len.ok_or(SegmentError::Length { asked: total })?;
            (descriptor, len as usize)
        }
    };
    ftruncate(&descriptor, len as libc::off_t).map_err(SegmentError::system("ftruncate"))?;
    match (allocate(&descriptor, len), pages) {
        (Err(SegmentError::Allocate { asked, source }), Pages::Huge) => {
            let page_bytes = file_page_bytes(&descriptor)?;
            return Err(no_huge_pages(asked, page_bytes, source));
        }
        (result, _) => result?,
    }
    let map = MmapOptions::new()
        .len(len)
        .map_raw(&descriptor)
        .map_err(SegmentError::system("mmap"))?;
    // Before anybody else can have the descriptor: from here on the writable mapping above is the only one.
    fcntl(&descriptor, FcntlArg::F_ADD_SEALS(NEEDED_SEALS))
        .map_err(SegmentError::system("fcntl(F_ADD_SEALS)"))?;
    Ok((Keep::Memfd(map), Source::Descriptor(descriptor)))
}

fn total_bytes(data_len: usize) -> Result<usize, SegmentError> {
    let too_long = SegmentError::Length { asked: data_len };
    let rounded = data_len
        .checked_next_multiple_of(PAGE_BYTES)
        .and_then(|data| data.checked_add(PAGE_BYTES));
    match rounded {
        Some(total) if data_len > 0 && total <= isize::MAX as usize => Ok(total),
        _ => Err(too_long),
    }
}

/// Makes the kernel provide every page now, where a lack is an error; later it would be a SIGBUS.
pub(super) fn allocate(descriptor: &OwnedFd, total: usize) -> Result<(), SegmentError> {
    loop {
        match fallocate(descriptor, FallocateFlags::empty(), 0, total as libc::off_t) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error @ (Errno::ENOMEM | Errno::ENOSPC)) => {
                return Err(SegmentError::Allocate {
                    asked: total as u64,
                    source: error.into(),
                });
            }
            Err(error) => {
                return Err(SegmentError::System {
                    call: "fallocate",
                    source: error.into(),
                });
            }
        }
    }
}

/// What makes a segment safe to map: nobody can change its length, nor write it but the owner, nor take that back.
pub(super) const NEEDED_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);
