//! Why a segment cannot be created, or why a foreign one is refused.

use std::io;

use thiserror::Error;

use super::Kind;

/// Why a segment cannot be created, or why a foreign one is refused.
///
/// The first group is about this process and its system, the second about what a peer sent: a lane with such a segment
/// must end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A segment needs at least one byte of data and has to fit the address space.
    #[error(
        "a segment of {asked} data bytes cannot exist: ask for at least 1 and less than half of the address space"
    )]
    Length {
        /// Data bytes asked for.
        asked: usize,
    },
    /// The process may not make files of this size, and memory files count.
    #[error(
        "a segment of {asked} bytes exceeds the file size limit of {limit}: raise `ulimit -f` (RLIMIT_FSIZE)"
    )]
    FileSizeLimit {
        /// Bytes of the whole segment.
        asked: u64,
        /// The soft limit, in bytes.
        limit: u64,
    },
    /// The memory is not there; touching it would end the process.
    #[error(
        "a segment of {asked} bytes does not fit the {available} bytes available ({source_of_limit}): use fewer or smaller rings, or give the process more memory"
    )]
    Memory {
        /// Bytes of the whole segment.
        asked: u64,
        /// Bytes that could be used.
        available: u64,
        /// Who says so: a file of the kernel.
        source_of_limit: String,
    },
    /// The system has no room for the pages although the limits allow them.
    #[error(
        "the system refused to allocate a segment of {asked} bytes: use fewer or smaller rings, or free memory"
    )]
    Allocate {
        /// Bytes of the whole segment.
        asked: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system has too few huge pages for it.
    #[error(
        "{needed} of the huge pages of {page_bytes} bytes are needed, {free} are free: set more aside (`sysctl vm.nr_hugepages`), or do without `huge_pages`"
    )]
    HugePages {
        /// Pages that the segment needs.
        needed: u64,
        /// Bytes of such a page.
        page_bytes: u64,
        /// Pages that were free.
        free: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Segments with names cannot lie in huge pages.
    #[error(
        "named segments cannot lie in huge pages: use `Backend::Memfd`, or do without `huge_pages`"
    )]
    HugePagesNamed,
    /// The memory cannot be locked.
    #[error(
        "the system refused to lock {asked} bytes in memory, this process may have {limit} locked in all: raise `ulimit -l` (RLIMIT_MEMLOCK), or do without `lock`"
    )]
    Lock {
        /// Bytes of the whole segment.
        asked: u64,
        /// The soft limit, in bytes.
        limit: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A system call failed for another reason; a full descriptor table is the usual one.
    #[error("{call} failed for a segment")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The peer uses named segments, this build has none.
    #[error(
        "the peer shares memory by name ({name}): build with the feature `named`, or let the peer use memfd segments"
    )]
    NamedUnsupported {
        /// The name.
        name: String,
    },
    /// The name is not one that this library gives.
    #[error("{name:?} is not the name of a segment")]
    Name {
        /// What the peer sent.
        name: String,
    },

    /// The descriptor is not a memory file.
    #[error("the descriptor is not a memfd (file system {file_system:#x})")]
    NotMemory {
        /// Magic number of the file system it lies in.
        file_system: u64,
    },
    /// The memory could be changed, cut or grown by others than its owner.
    #[error("the segment has seals {found:#x}, needed are {needed:#x}")]
    Seals {
        /// The seals it has.
        found: u32,
        /// The seals it must have at least.
        needed: u32,
    },
    /// The length is no multiple of a page.
    #[error("the segment has {len} bytes, no multiple of {page}")]
    NotPages {
        /// Its length in bytes.
        len: u64,
        /// The unit.
        page: u64,
    },
    /// There is no room for a header and data.
    #[error("the segment has {len} bytes, the smallest has {least}")]
    TooSmall {
        /// Its length in bytes.
        len: u64,
        /// The least length in bytes.
        least: u64,
    },
    /// The data is not one control page and a ring, or not what a cursor page holds.
    #[error("a segment with {data_len} bytes of data is no {kind:?}")]
    Shape {
        /// What it says it is.
        kind: Kind,
        /// Bytes of its data.
        data_len: u64,
    },
    /// More than the receiver is ready to map.
    #[error("the segment has {len} bytes, {limit} are accepted")]
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// Parts are not allocated; whoever touches them would pay for them, or be killed.
    #[error("the segment has {len} bytes of which only {allocated} are allocated")]
    Sparse {
        /// Its length in bytes.
        len: u64,
        /// Bytes that are allocated.
        allocated: u64,
    },
    /// The header does not begin with the magic bytes.
    #[error("the segment begins with {found:02x?}, not with the magic bytes")]
    Magic {
        /// What it begins with.
        found: [u8; 8],
    },
    /// The header is of another format.
    #[error(
        "the segment has format {found}, this build speaks {known}: use the same version of ringmain on both sides"
    )]
    Version {
        /// Its format.
        found: u32,
        /// The format of this build.
        known: u32,
    },
    /// The segment is of another kind.
    #[error("the segment is of kind {found}, expected was {expected:?}")]
    WrongKind {
        /// The kind's number in the header.
        found: u32,
        /// What was expected.
        expected: Kind,
    },
    /// The data is laid out in another way.
    #[error(
        "the {kind:?} segment has layout {found:#018x}, this build has {known:#018x}: use the same version of ringmain on both sides"
    )]
    Layout {
        /// Its kind.
        kind: Kind,
        /// The layout hash in the header.
        found: u64,
        /// The layout hash of this build.
        known: u64,
    },
    /// The header states another length than the file has.
    #[error("the segment's header says {stated} bytes, the file has {len}")]
    TotalBytes {
        /// What the header says.
        stated: u64,
        /// What the file has.
        len: u64,
    },
}

impl SegmentError {
    /// Makes the `map_err` argument for a failed call.
    pub(super) fn system<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::System {
            call,
            source: error.into(),
        }
    }
}
