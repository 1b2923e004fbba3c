//! The message that is a typed header with a tail of values behind it.
//!
//! The one invariant of the unsafe lines here: a [`TailView`] is `repr(transparent)` over bytes that [`WithTail::view`] has checked: they begin
//! with an archived header, and from the tail's offset on are whole elements, of which every pattern of bits is one.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;

use super::any_bits::{bytes_of, check, values_of};
use super::identity::once_for;
use super::rkyv_codec::FlatValidator;
use super::{Describe, EncodeError, Layout, Message, MessageType, Scratch, ViewError, flat};

/// A header with a tail: an image, a block of samples, a recording, with what is to be known of it.
///
/// The header is a message type without text, lists and boxes, so that its values have one length; what the message is called, and its version, come from it. The
/// tail consists of values of which every pattern of bits is one ([`Describe::ANY_BITS`]): bytes unless told otherwise. It
/// begins at the next multiple of `ALIGN` bytes behind the header: 64 unless told otherwise, a power of two up to 4096. In a payload that is so aligned itself
/// the tail is, too.
///
/// Publish borrowed parts with [`Publisher::publish_with_tail`](crate::Publisher::publish_with_tail), which joins them in shared memory only.
///
/// ```
/// use ringmain::message::{Message, WithTail};
/// use ringmain::rkyv;
///
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// #[message(name = "camera.frame")]
/// struct Frame {
///     number: u64,
///     width: u32,
///     height: u32,
/// }
///
/// type Image = WithTail<Frame>;
/// assert_eq!(Image::message_type().to_string(), "camera.frame+tail v1");
/// assert_eq!(Image::TAIL_OFFSET, 64);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WithTail<H, E = u8, const ALIGN: usize = 64> {
    /// What stands first.
    pub header: H,
    /// What stands behind it.
    pub tail: Vec<E>,
}

/// The same, of parts that lie elsewhere.
pub(crate) struct Parts<'a, H, E, const ALIGN: usize> {
    pub header: &'a H,
    pub tail: &'a [E],
}

/// A header with its tail, in shared memory.
#[repr(transparent)]
pub struct TailView<H, E = u8, const ALIGN: usize = 64> {
    types: PhantomData<fn() -> (H, E)>,
    bytes: [u8],
}

impl<H: Describe, E: Describe, const ALIGN: usize> WithTail<H, E, ALIGN> {
    /// Where the tail begins, in bytes.
    pub const TAIL_OFFSET: usize = {
        check::<E>();
        assert!(
            ALIGN.is_power_of_two() && ALIGN <= 4096 && ALIGN >= align_of::<E>(),
            "a tail is aligned to a power of two, as its elements at least and to 4096 at most"
        );
        size_of::<H::Archived>().next_multiple_of(ALIGN)
    };
}

impl<H: Describe, E: Describe, const ALIGN: usize> TailView<H, E, ALIGN> {
    /// The header.
    #[inline]
    pub fn header(&self) -> &H::Archived {
        // SAFETY: checked by `view`, at this place.
        unsafe { &*self.bytes.as_ptr().cast() }
    }

    /// What stands behind it.
    #[inline]
    pub fn tail(&self) -> &[E] {
        let tail = &self.bytes[WithTail::<H, E, ALIGN>::TAIL_OFFSET..];
        values_of(tail).expect("`view` has found whole elements, aligned")
    }
}

impl<H, E, const ALIGN: usize> Message for WithTail<H, E, ALIGN>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    type View = TailView<H, E, ALIGN>;

    const ALIGN_BYTES: usize = if ALIGN > 64 { ALIGN } else { 64 };

    const CONFLATES: bool = H::CONFLATES;

    fn message_type() -> &'static MessageType {
        const { _ = Self::TAIL_OFFSET };
        once_for::<Self>(|| {
            let header = H::message_type();
            let name = format!("{}+tail", header.name);
            MessageType::new(&name, header.version, Layout::with_tail::<H, E>(ALIGN))
        })
    }

    fn encode(&self, out: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError> {
        self.parts().encode(out, scratch)
    }

    fn encoded_len(&self, scratch: &mut Scratch) -> Result<usize, EncodeError> {
        self.parts().encoded_len(scratch)
    }

    fn view(bytes: &[u8]) -> Result<&Self::View, ViewError> {
        let short = || ViewError {
            reason: format!(
                "{} bytes are too few for a header, {} are the least",
                bytes.len(),
                Self::TAIL_OFFSET
            ),
        };
        let tail = bytes.get(Self::TAIL_OFFSET..).ok_or_else(short)?;
        let header = bytes.get(..size_of::<H::Archived>()).ok_or_else(short)?;
        flat::view::<H::Archived>(header).map_err(|_| ViewError {
            reason: "the header is none of its type, or not aligned".into(),
        })?;
        values_of::<E>(tail)?;
        // SAFETY: `repr(transparent)` over these bytes, which were checked; lifetime and shared access stay the same.
        Ok(unsafe { &*(std::ptr::from_ref(bytes) as *const Self::View) })
    }
}

impl<H, E, const ALIGN: usize> WithTail<H, E, ALIGN> {
    fn parts(&self) -> Parts<'_, H, E, ALIGN> {
        Parts {
            header: &self.header,
            tail: &self.tail,
        }
    }
}

impl<H, E, const ALIGN: usize> Message for Parts<'_, H, E, ALIGN>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    type View = TailView<H, E, ALIGN>;

    const ALIGN_BYTES: usize = WithTail::<H, E, ALIGN>::ALIGN_BYTES;

    fn message_type() -> &'static MessageType {
        WithTail::<H, E, ALIGN>::message_type()
    }

    fn encode(&self, out: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError> {
        let len = self.encoded_len(scratch)?;
        let room_bytes = out.len();
        let (front, tail) = out
            .get_mut(..len)
            .and_then(|out| out.split_at_mut_checked(WithTail::<H, E, ALIGN>::TAIL_OFFSET))
            .ok_or(EncodeError::NoRoom { room_bytes })?;
        encode_header(self.header, front, scratch)?;
        tail.copy_from_slice(bytes_of(self.tail));
        Ok(len)
    }

    fn encoded_len(&self, _: &mut Scratch) -> Result<usize, EncodeError> {
        let tail = size_of_val(self.tail);
        tail.checked_add(WithTail::<H, E, ALIGN>::TAIL_OFFSET)
            .ok_or_else(|| EncodeError::Failed("the tail is longer than memory".into()))
    }

    fn view(bytes: &[u8]) -> Result<&Self::View, ViewError> {
        WithTail::<H, E, ALIGN>::view(bytes)
    }
}

/// Writes the header to the start of `front`, which is what lies before the tail.
pub(crate) fn encode_header<H: Message + Describe>(
    header: &H,
    front: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), EncodeError> {
    let (place, gap) = front.split_at_mut(size_of::<H::Archived>());
    match header.encode(place, scratch) {
        Ok(written) if written == place.len() => {}
        // The room is that of a value without anything that it points to.
        Ok(_) | Err(EncodeError::NoRoom { .. }) => {
            return Err(EncodeError::Failed(
                "a header must not point to anything: no text, no lists, no boxes".into(),
            ));
        }
        Err(error) => return Err(error),
    }
    // What an older message has left there is nobody's business.
    gap.fill(0);
    Ok(())
}

impl<H: Describe, E: Describe + fmt::Debug, const ALIGN: usize> fmt::Debug for TailView<H, E, ALIGN>
where
    H::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailView")
            .field("header", &self.header())
            .field("tail", &self.tail())
            .finish()
    }
}
