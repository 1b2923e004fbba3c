//! Messages that can be written where they will be read.

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;

use super::any_bits::{values_of, values_of_mut};
use super::rkyv_codec::FlatValidator;
use super::{Bytes, Describe, Message, Slice, ViewError, WithTail};

/// A message type whose content can be written where it will be read, in a loan.
///
/// Bytes, lists of values, the tail behind a header, and values of which every pattern of bits is one
/// ([`Describe::ANY_BITS`]): of another type this does not compile.
pub trait Lend: Message {
    /// What is written.
    type Content: ?Sized;

    /// The content of an encoded message.
    ///
    /// # Errors
    /// The bytes are too few, too many, or not aligned.
    fn content(bytes: &[u8]) -> Result<&Self::Content, ViewError>;

    /// As [`content`](Self::content), to be written.
    ///
    /// # Errors
    /// The bytes are too few, too many, or not aligned.
    fn content_mut(bytes: &mut [u8]) -> Result<&mut Self::Content, ViewError>;
}

impl Lend for Bytes {
    type Content = [u8];

    fn content(bytes: &[u8]) -> Result<&[u8], ViewError> {
        Ok(bytes)
    }

    fn content_mut(bytes: &mut [u8]) -> Result<&mut [u8], ViewError> {
        Ok(bytes)
    }
}

impl<E: Describe> Lend for Slice<E> {
    type Content = [E];

    fn content(bytes: &[u8]) -> Result<&[E], ViewError> {
        values_of(bytes)
    }

    fn content_mut(bytes: &mut [u8]) -> Result<&mut [E], ViewError> {
        values_of_mut(bytes)
    }
}

/// The content is the tail.
impl<H, E, const ALIGN: usize> Lend for WithTail<H, E, ALIGN>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    type Content = [E];

    fn content(bytes: &[u8]) -> Result<&[E], ViewError> {
        values_of(bytes.get(Self::TAIL_OFFSET..).ok_or_else(no_room)?)
    }

    fn content_mut(bytes: &mut [u8]) -> Result<&mut [E], ViewError> {
        values_of_mut(bytes.get_mut(Self::TAIL_OFFSET..).ok_or_else(no_room)?)
    }
}

impl<T: Message + Describe> Lend for T {
    type Content = T;

    fn content(bytes: &[u8]) -> Result<&T, ViewError> {
        match values_of(bytes)? {
            [value] => Ok(value),
            _ => Err(no_room()),
        }
    }

    fn content_mut(bytes: &mut [u8]) -> Result<&mut T, ViewError> {
        match values_of_mut(bytes)? {
            [value] => Ok(value),
            _ => Err(no_room()),
        }
    }
}

fn no_room() -> ViewError {
    ViewError {
        reason: "they are not as many as the content has".into(),
    }
}
