//! Checks values without pointers, quickly.
//!
//! The one invariant of the unsafe lines here: the first place that [`Flat`] finds valid is the root, which lies in the bytes
//! and is aligned; it refuses every other place. So whatever was checked with it contains no pointer that was followed.
//!
//! The checks of the values themselves are bytecheck's, all of them: a `bool` has to be 0 or 1 here, too. What falls away is
//! the bookkeeping of places; for numbers, of which every pattern of bits is one, nothing is left but length and alignment.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ops::Range;

use rkyv::Portable;
use rkyv::api::{access_pos_with_context, root_position};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Failure, Strategy};
use rkyv::validation::ArchiveContext;

/// What checks a value without pointers.
pub type FlatValidator = Strategy<Flat, Failure>;

/// A context that lets a root be checked, and nothing that is pointed to.
#[derive(Debug)]
pub struct Flat {
    bytes: Range<usize>,
    /// Whether the root is found.
    inside: bool,
}

/// The value at the end of `bytes`; an error if it is none, or has pointers: then only a full check tells.
#[inline]
pub(super) fn view<T>(bytes: &[u8]) -> Result<&T, Failure>
where
    T: Portable + CheckBytes<FlatValidator>,
{
    let start = bytes.as_ptr() as usize;
    let mut flat = Flat {
        bytes: start..start + bytes.len(),
        inside: false,
    };
    access_pos_with_context(bytes, root_position::<T>(bytes.len()), &mut flat)
}

// SAFETY: a place is found valid only if it lies in the bytes and is aligned.
unsafe impl ArchiveContext<Failure> for Flat {
    #[inline]
    fn check_subtree_ptr(&mut self, place: *const u8, layout: &Layout) -> Result<(), Failure> {
        let start = place as usize;
        let room = self.bytes.end.wrapping_sub(start);
        let inside = start >= self.bytes.start && start <= self.bytes.end && layout.size() <= room;
        match inside && start.is_multiple_of(layout.align()) && !self.inside {
            true => Ok(()),
            false => Err(Failure),
        }
    }

    #[inline]
    unsafe fn push_subtree_range(
        &mut self,
        _: *const u8,
        _: *const u8,
    ) -> Result<Range<usize>, Failure> {
        self.inside = true;
        Ok(self.bytes.clone())
    }

    #[inline]
    unsafe fn pop_subtree_range(&mut self, _: Range<usize>) -> Result<(), Failure> {
        Ok(())
    }
}
