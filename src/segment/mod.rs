//! Shared memory that exactly one process can write.
//!
//! A segment is a header page followed by data. Its owner creates it ([`Segment`]), and seals it before the descriptor
//! can leave; everybody else opens it ([`ForeignSegment`]) after checking that the seals are there, so that the kernel
//! enforces for the life of the memory what was checked once: its size is fixed, all of it is allocated, and nobody but
//! the owner can map it writable. `docs/segment-format.md` describes the bytes.

mod error;
mod foreign;
pub(crate) mod fork;
mod header;
mod incarnation;
mod mapping;
mod memory;
#[cfg(feature = "named")]
mod named;
mod owner;
mod room;

pub use error::SegmentError;
pub use foreign::ForeignSegment;
pub use header::{HEADER_BYTES, Kind, PAGE_BYTES};
pub use incarnation::Incarnation;
pub use mapping::SegmentWord;
pub use memory::MemoryOptions;
pub use owner::{Backend, Segment, SegmentHandle, SegmentOptions};

#[cfg(test)]
mod tests;
