//! The quick way for values without pointers, there and back.
//!
//! The one invariant of the unsafe lines here: bytes are read as a value, or a value as bytes, only where rkyv says that they
//! are the same. Of values that is [`Archive::COPY_OPTIMIZATION`], on which rkyv's own lists rely: no padding, every field
//! where the archived one is. Of bytes it is bytecheck's answer, with a context that finds one place valid, the root,
//! which lies in the bytes and is aligned, and refuses every other one.
//!
//! So a `bool` has to be 0 or 1 here, too. What falls away is the bookkeeping of places: for numbers, of which every pattern
//! of bits is one, nothing is left but a copy of constant size in one direction, length and alignment in the other.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ops::Range;
use std::slice;

use rkyv::api::{access_pos_with_context, root_position};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Failure, Strategy};
use rkyv::validation::ArchiveContext;
use rkyv::{Archive, Portable};

/// What checks a value without pointers.
pub type FlatValidator = Strategy<Flat, Failure>;

/// A context that lets a root be checked, and nothing that is pointed to.
#[derive(Debug)]
pub struct Flat {
    bytes: Range<usize>,
    /// Whether the root is found.
    inside: bool,
}

/// The length of an encoded value, if its bytes are the value's own.
#[inline(always)]
pub(super) const fn encoded_len<T: Archive>() -> Option<usize> {
    match T::COPY_OPTIMIZATION.is_enabled() && size_of::<T>() == size_of::<T::Archived>() {
        true => Some(size_of::<T>()),
        false => None,
    }
}

/// Copies the value's bytes to the start of `out`; gives their number. `None` if there is no room for them, or they are
/// not what is to be sent.
#[inline(always)]
pub(super) fn encode<T: Archive>(value: &T, out: &mut [u8]) -> Option<usize> {
    let len = encoded_len::<T>()?;
    let out = out.get_mut(..len)?;
    let start = std::ptr::from_ref(value);
    if len <= MOST_BY_WORDS && align_of::<T>().is_multiple_of(8) {
        for (index, word) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // SAFETY: within `value`, whose size is a multiple of its alignment.
            let place = unsafe { start.cast::<u64>().add(index) };
            // Volatile: word by word. A value is published just after its fields were written. A wider load, of two fields,
            // would have to wait until they have left the store buffer, behind the lines of the ring.
            // SAFETY: a part of `value`, aligned; without padding, so each byte is initialized.
            *word = unsafe { place.read_volatile() }.to_ne_bytes();
        }
        return Some(len);
    }
    // SAFETY: `value`, all of it; without padding, so each byte is initialized.
    let bytes = unsafe { slice::from_raw_parts(start.cast::<u8>(), len) };
    out.copy_from_slice(bytes);
    Some(len)
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

/// Beyond that a copy in wide pieces is quicker, whatever the first ones wait for.
const MOST_BY_WORDS: usize = 256;
