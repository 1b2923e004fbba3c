//! The message that is a list of values, as many as there are.
//!
//! The one invariant of the unsafe line here: [`Slice`] is `repr(transparent)` over `[E]`, so a reference to one is a
//! reference to the other.
#![allow(unsafe_code)]

use std::ops::Deref;

use super::any_bits::{bytes_of, check, values_of};
use super::{
    Describe, EncodeError, Layout, Message, MessageType, Scratch, ViewError, identity::once_for,
};

/// Values of one type, as many as there are; its type is named `slice`, and has that of the elements in its layout.
///
/// Every pattern of bits has to be a value of an element ([`Describe::ANY_BITS`]), without padding, else it does not compile. So they are published by one
/// copy, and read where they lie without a look at any of them.
///
/// ```
/// use ringmain::message::{Message, Slice};
///
/// let samples = Slice::new(&[0.5_f32, -0.25]);
/// assert_eq!(samples.len(), 2);
/// assert_eq!(Slice::<f32>::message_type().to_string(), "slice v1");
/// ```
/// Of the 256 patterns of a byte, two are a `bool`:
/// ```compile_fail
/// # use ringmain::message::{Message, Slice};
/// Slice::<bool>::message_type();
/// ```
#[derive(Debug, PartialEq)]
#[repr(transparent)]
pub struct Slice<E>([E]);

impl<E: Describe> Slice<E> {
    /// The values as a message.
    pub fn new(values: &[E]) -> &Self {
        // SAFETY: `Slice` is `repr(transparent)` over `[E]`; lifetime and shared access stay the same.
        unsafe { &*(std::ptr::from_ref(values) as *const Self) }
    }
}

impl<E> Deref for Slice<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.0
    }
}

impl<E: Describe> Message for Slice<E> {
    type View = [E];

    fn message_type() -> &'static MessageType {
        const { check::<E>() };
        once_for::<Self>(|| {
            MessageType::new("slice", 1, Layout::with_tail::<(), E>(align_of::<E>()))
        })
    }

    #[inline]
    fn encode(&self, out: &mut [u8], _: &mut Scratch) -> Result<usize, EncodeError> {
        let bytes = bytes_of(&self.0);
        let room_bytes = out.len();
        let out = out
            .get_mut(..bytes.len())
            .ok_or(EncodeError::NoRoom { room_bytes })?;
        out.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn encoded_len(&self, _: &mut Scratch) -> Result<usize, EncodeError> {
        Ok(size_of_val(&self.0))
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&[E], ViewError> {
        values_of(bytes)
    }
}
