//! Encodes values with rkyv's low-level API, the code that a derived [`Message`](super::Message) calls.
//!
//! The root of an archive is at its end, so its exact length has to be kept beside it. rkyv's relative pointers are 32 bits
//! wide, which bounds a typed message by [`MAX_ENCODED_BYTES`]; beyond that rkyv would panic, so the writers here stop
//! before.
//!
//! Under Miri it needs `-Zmiri-tree-borrows`: rkyv follows a relative pointer from a reference to the pointer alone, which the
//! older Stacked Borrows model forbids.

use std::num::NonZeroUsize;

use rkyv::api::access_with_context;
use rkyv::api::low::{LowSerializer, LowValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Archive, Portable, Serialize};

use super::any_bits::archived_of;
use super::flat;
use super::scratch::ScratchHandle;
use super::{Describe, EncodeError, Scratch, ViewError};

pub use super::flat::{Flat, FlatValidator};

/// The serializer that [`encode`] runs.
pub type Encoder<'a> = LowSerializer<SlotWriter<'a>, ScratchHandle<'a>, EncodeError>;
/// The serializer that [`encoded_len`] runs.
pub type Counter<'a> = LowSerializer<CountingWriter, ScratchHandle<'a>, EncodeError>;

/// Encodes `value` to the start of `out`, which is aligned to 16 bytes; returns the length.
///
/// # Errors
/// See [`Message::encode`](super::Message::encode).
#[inline]
pub fn encode<T>(value: &T, out: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError>
where
    T: for<'a> Serialize<Encoder<'a>>,
{
    if let Some(len) = flat::encode(value, out) {
        return Ok(len);
    }
    encode_parts(value, out, scratch)
}

fn encode_parts<T>(value: &T, out: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError>
where
    T: for<'a> Serialize<Encoder<'a>>,
{
    let room = out.len().min(MAX_ENCODED_BYTES);
    let writer = SlotWriter {
        out: &mut out[..room],
        pos: 0,
    };
    let mut serializer = Serializer::new(writer, scratch.handle(), ());
    rkyv::api::serialize_using::<_, EncodeError>(value, &mut serializer)?;
    Ok(serializer.into_writer().pos())
}

/// The length of every encoded value of a type that has no pointers and no padding.
pub const fn constant_len<T: Archive>() -> Option<usize> {
    flat::encoded_len::<T>()
}

/// The length that [`encode`] needs for `value`.
///
/// # Errors
/// See [`Message::encoded_len`](super::Message::encoded_len).
pub fn encoded_len<T>(value: &T, scratch: &mut Scratch) -> Result<usize, EncodeError>
where
    T: for<'a> Serialize<Counter<'a>>,
{
    if let Some(len) = flat::encoded_len::<T>() {
        return Ok(len);
    }
    let mut serializer = Serializer::new(CountingWriter { len: 0 }, scratch.handle(), ());
    rkyv::api::serialize_using::<_, EncodeError>(value, &mut serializer)?;
    Ok(serializer.into_writer().pos())
}

/// Checks an encoded value, aligned to 16 bytes, and gives its archived form.
///
/// # Errors
/// [`ViewError`] if a pointer leaves the bytes or the place that it may point into, a value is not one of its type, or
/// pointers are nested deeper than [`MAX_POINTER_DEPTH`].
#[inline]
pub fn view<T>(bytes: &[u8]) -> Result<&T::Archived, ViewError>
where
    T: Describe,
    T::Archived:
        Portable + CheckBytes<FlatValidator> + for<'a> CheckBytes<LowValidator<'a, ViewError>>,
{
    if let Some(view) = archived_of::<T>(bytes) {
        return Ok(view);
    }
    flat::view(bytes).or_else(|_| view_with_pointers::<T>(bytes))
}

#[inline(never)]
fn view_with_pointers<T>(bytes: &[u8]) -> Result<&T::Archived, ViewError>
where
    T: Archive,
    T::Archived: Portable + for<'a> CheckBytes<LowValidator<'a, ViewError>>,
{
    let archive = ArchiveValidator::with_max_depth(bytes, NonZeroUsize::new(MAX_POINTER_DEPTH));
    access_with_context::<T::Archived, _, ViewError>(bytes, &mut Validator::new(archive, ()))
}

/// Writes into a slice; running out of it is no text, so it costs nothing.
#[derive(Debug)]
pub struct SlotWriter<'a> {
    out: &'a mut [u8],
    pos: usize,
}

/// Writes nowhere.
#[derive(Debug)]
pub struct CountingWriter {
    len: usize,
}

impl Positional for SlotWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.pos
    }
}

impl Writer<EncodeError> for SlotWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let free = &mut self.out[self.pos..];
        let Some(place) = free.get_mut(..bytes.len()) else {
            return Err(EncodeError::NoRoom {
                room_bytes: self.out.len(),
            });
        };
        place.copy_from_slice(bytes);
        self.pos += bytes.len();
        Ok(())
    }
}

impl Positional for CountingWriter {
    fn pos(&self) -> usize {
        self.len
    }
}

impl Writer<EncodeError> for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > MAX_ENCODED_BYTES - self.len {
            return Err(EncodeError::Failed(format!(
                "it needs more than {MAX_ENCODED_BYTES} bytes; send large data as `Bytes`"
            )));
        }
        self.len += bytes.len();
        Ok(())
    }
}

/// The longest typed message: what a signed 32-bit offset spans.
pub const MAX_ENCODED_BYTES: usize = i32::MAX as usize;

/// How deep pointers may be nested in a message that is viewed, its root counted. A level costs the checker a few stack
/// frames, so a deeper archive could overflow the stack.
pub const MAX_POINTER_DEPTH: usize = 128;
