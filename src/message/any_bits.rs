//! Types of which every pattern of bits is a value: bytes as such values, and back.
//!
//! The one invariant of the unsafe lines here: bytes become values, or values bytes, only of types that [`check`] lets compile: every
//! pattern of bits is a value ([`AnyBits`]), and the bytes of a value are its encoded form (`flat`), so none of them is padding.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::slice;

use super::{Describe, ViewError, flat};

/// Whether every pattern of bits is a value of `T`, and of its archived form: true of numbers, their arrays, and structs of those.
/// Then bytes need no check but that of their length, and memory can be written as values before it has any.
///
/// The derive macros tell it; see [`Describe::ANY_BITS`].
pub struct AnyBits<T: ?Sized> {
    holds: bool,
    of: PhantomData<fn(&T)>,
}

impl<T: ?Sized> AnyBits<T> {
    /// It is not known to be so.
    pub const UNKNOWN: Self = Self {
        holds: false,
        of: PhantomData,
    };

    /// It is so if `holds`.
    ///
    /// # Safety
    /// If `holds`, every pattern of bits of a `T`, and of its archived form, is a value, wherever it comes from.
    pub const unsafe fn claim(holds: bool) -> Self {
        Self {
            holds,
            of: PhantomData,
        }
    }

    /// What is known.
    pub const fn holds(&self) -> bool {
        self.holds
    }
}

impl<T, const N: usize> AnyBits<[T; N]> {
    /// An array is like its elements.
    pub(super) const fn of_array(element: AnyBits<T>) -> Self {
        Self {
            holds: element.holds,
            of: PhantomData,
        }
    }
}

impl<T: Number> AnyBits<T> {
    /// It is so of numbers.
    pub(super) const NUMBER: Self = Self {
        holds: true,
        of: PhantomData,
    };
}

/// Numbers of a fixed size; their archived form is a number of the same size.
pub trait Number: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl sealed::Sealed for $type {}
        impl Number for $type {}
    )+};
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

/// Compiles only where bytes are values of `T`, and values bytes.
pub(super) const fn check<T: Describe>() {
    assert!(
        T::ANY_BITS.holds() && flat::encoded_len::<T>().is_some(),
        "every pattern of bits has to be a value, without padding: use numbers, arrays of them, and `repr(C)` structs of \
         those in the order of their alignment"
    );
}

/// Values as what they are in a message.
pub(super) fn bytes_of<T: Describe>(values: &[T]) -> &[u8] {
    const { check::<T>() };
    // SAFETY: all of `values`; without padding, so each byte is initialized.
    unsafe { slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The archived value that the bytes are, if they have just its length and any bits are one: the way without a check of them.
#[inline(always)]
pub(super) fn archived_of<T: Describe>(bytes: &[u8]) -> Option<&T::Archived> {
    let start = bytes.as_ptr().cast::<T::Archived>();
    let whole = bytes.len() == size_of::<T::Archived>() && start.is_aligned();
    // SAFETY: aligned, and as long as a value; every pattern of bits is one; the lifetime is that of `bytes`.
    (T::ANY_BITS.holds() && whole).then(|| unsafe { &*start })
}

/// Bytes that a peer wrote as values.
///
/// # Errors
/// The bytes are no whole number of values, or not aligned.
#[inline]
pub(super) fn values_of<T: Describe>(bytes: &[u8]) -> Result<&[T], ViewError> {
    const { check::<T>() };
    if bytes.is_empty() {
        return Ok(&[]);
    }
    let len = count_of::<T>(bytes.as_ptr(), bytes.len())?;
    // SAFETY: aligned, and `len` values long; every pattern of bits is one; the lifetime is that of `bytes`.
    Ok(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), len) })
}

/// Bytes that nobody else has, to be written as values.
///
/// # Errors
/// As [`values_of`].
#[inline]
pub(super) fn values_of_mut<T: Describe>(bytes: &mut [u8]) -> Result<&mut [T], ViewError> {
    const { check::<T>() };
    if bytes.is_empty() {
        return Ok(&mut []);
    }
    let len = count_of::<T>(bytes.as_ptr(), bytes.len())?;
    // SAFETY: as in `values_of`; whatever is written leaves bytes behind, since a value has no padding.
    Ok(unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) })
}

#[inline]
fn count_of<T>(start: *const u8, len_bytes: usize) -> Result<usize, ViewError> {
    let size_bytes = size_of::<T>();
    if !start.cast::<T>().is_aligned() {
        return Err(ViewError {
            reason: format!("the elements are not aligned to {} bytes", align_of::<T>()),
        });
    }
    match (
        len_bytes.checked_div(size_bytes),
        len_bytes.checked_rem(size_bytes),
    ) {
        (Some(count), Some(0)) => Ok(count),
        _ => Err(ViewError {
            reason: format!("{len_bytes} bytes are no elements of {size_bytes} bytes each"),
        }),
    }
}
