//! The message without a structure.
//!
//! The one invariant of the unsafe line here: [`Bytes`] is `repr(transparent)` over `[u8]`, so a reference to one is a
//! reference to the other.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::sync::OnceLock;

use super::{EncodeError, Kind, Layout, Message, MessageType, Scratch, TypeLayout, ViewError};

/// Bytes as they are; its type is named `bytes`.
///
/// ```
/// use ringmain::message::{Bytes, Message};
///
/// assert_eq!(&**Bytes::new(b"hello"), b"hello");
/// assert_eq!(Bytes::message_type().to_string(), "bytes v1");
/// ```
#[derive(Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bytes([u8]);

impl Bytes {
    /// The bytes as a message.
    pub fn new(bytes: &[u8]) -> &Self {
        // SAFETY: `Bytes` is `repr(transparent)` over `[u8]`; lifetime and shared access stay the same.
        unsafe { &*(std::ptr::from_ref(bytes) as *const Self) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> From<&'a [u8]> for &'a Bytes {
    fn from(bytes: &'a [u8]) -> Self {
        Bytes::new(bytes)
    }
}

impl Message for Bytes {
    type View = [u8];

    fn message_type() -> &'static MessageType {
        static TYPE: OnceLock<MessageType> = OnceLock::new();
        TYPE.get_or_init(|| {
            let raw = TypeLayout {
                size_bytes: 0,
                align_bytes: 1,
                kind: Kind::Raw,
            };
            MessageType::new("bytes", 1, Layout { types: vec![raw] })
        })
    }

    #[inline]
    fn encode(&self, out: &mut [u8], _: &mut Scratch) -> Result<usize, EncodeError> {
        let room_bytes = out.len();
        let out = out
            .get_mut(..self.0.len())
            .ok_or(EncodeError::NoRoom { room_bytes })?;
        out.copy_from_slice(&self.0);
        Ok(out.len())
    }

    fn encoded_len(&self, _: &mut Scratch) -> Result<usize, EncodeError> {
        Ok(self.0.len())
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&[u8], ViewError> {
        Ok(bytes)
    }
}

/// The same, of parts that lie elsewhere.
pub(crate) struct BytesParts<'a>(pub &'a [&'a [u8]]);

impl Message for BytesParts<'_> {
    type View = [u8];

    fn message_type() -> &'static MessageType {
        Bytes::message_type()
    }

    fn encode(&self, out: &mut [u8], _: &mut Scratch) -> Result<usize, EncodeError> {
        let room_bytes = out.len();
        let mut rest = out;
        for part in self.0 {
            let (place, behind) = rest
                .split_at_mut_checked(part.len())
                .ok_or(EncodeError::NoRoom { room_bytes })?;
            place.copy_from_slice(part);
            rest = behind;
        }
        Ok(room_bytes - rest.len())
    }

    fn encoded_len(&self, _: &mut Scratch) -> Result<usize, EncodeError> {
        // The same part can be given over and over.
        self.0
            .iter()
            .map(|part| part.len())
            .try_fold(0_usize, usize::checked_add)
            .ok_or_else(|| EncodeError::Failed("the parts are longer than memory".into()))
    }

    fn view(bytes: &[u8]) -> Result<&[u8], ViewError> {
        Ok(bytes)
    }
}
