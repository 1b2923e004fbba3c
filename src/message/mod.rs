//! What a message is: a type with an identity, whose values become bytes.
//!
//! [`Message`] is what a publisher can publish. `#[derive(ringmain::Message)]` implements it for a type that also derives
//! [`rkyv::Archive`] and [`rkyv::Serialize`]; [`Bytes`] is the message without a structure. A type is the same on both
//! sides of a route if its [`MessageType`] is: name, version, and the [`Layout`] of its archived form.
//!
//! ```
//! use ringmain::message::Message;
//!
//! #[derive(ringmain::rkyv::Archive, ringmain::rkyv::Serialize, ringmain::Message)]
//! #[rkyv(crate = ringmain::rkyv)]
//! #[message(name = "md.quote", version = 2)]
//! struct Quote {
//!     bid: f64,
//!     ask: f64,
//! }
//!
//! assert_eq!(Quote::message_type().to_string(), "md.quote v2");
//! ```

#[cfg(test)]
pub(crate) mod allocations;
mod any_bits;
mod bytes;
mod canonical;
mod describe;
mod difference;
mod encoded;
mod flat;
#[cfg(feature = "json")]
mod from_json;
mod identity;
#[cfg(feature = "json")]
mod json;
mod layout;
mod lend;
#[cfg(feature = "json")]
mod plain_from_json;
pub mod rkyv_codec;
mod scratch;
mod slice;
#[cfg(test)]
mod tests;
mod timestamp;
mod validate;
mod with_tail;

use std::error::Error;

use rkyv::rancor;
use thiserror::Error;

pub use any_bits::AnyBits;
pub use bytes::Bytes;
pub(crate) use bytes::BytesParts;
pub use describe::{Describe, LayoutBuilder, VariantBuilder};
pub use difference::Difference;
pub(crate) use encoded::EncodedBytes;
#[cfg(feature = "json")]
pub use from_json::{FromJsonError, from_json};
pub use identity::MessageType;
#[cfg(feature = "json")]
pub use json::{JsonError, raw_to_text, to_json};
pub use layout::{Field, Kind, Layout, TypeIndex, TypeLayout, Variant};
pub use lend::Lend;
pub use scratch::{Scratch, ScratchHandle};
pub use slice::Slice;
pub use timestamp::{Clock, Host, Timestamp};
pub use validate::{LayoutError, MAX_MEMBERS, MAX_NAME_BYTES, MAX_NESTING, MAX_TYPES};
pub(crate) use with_tail::{Parts, encode_header};
pub use with_tail::{TailView, WithTail};

/// A type whose values can be published.
///
/// Derive it (see the [module](self)); by hand only for another encoding than rkyv's.
pub trait Message {
    /// What a subscriber sees, in shared memory.
    type View: ?Sized;

    /// The length of every encoded value, in bytes, if they all have the same one; a hint, which makes publishing faster.
    const ENCODED_LEN: Option<usize> = None;

    /// What encoded values begin at a multiple of, in bytes, where there is a choice: in memory for large messages. A power of two up to 4,096;
    /// a hint.
    const ALIGN_BYTES: usize = 64;

    /// Whether a message may take the place of an earlier one on its topic: `false` for messages of which each counts, such as
    /// changes of an order book. A subscriber with the policy `Conflate` is refused then.
    const CONFLATES: bool = true;

    /// The identity of the type; computed once.
    fn message_type() -> &'static MessageType;

    /// Writes the value to the start of `out`, which is aligned to 16 bytes, and returns how many bytes it took.
    ///
    /// Allocates nothing beyond `scratch`, which grows with the first values and is reused. Does not block.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`] if `out` is too short: [`Message::encoded_len`] tells what is needed.
    /// [`EncodeError::Failed`] if the value itself cannot be encoded. `out` holds nothing of use then.
    fn encode(&self, out: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError>;

    /// The exact number of bytes that [`Message::encode`] would write. It costs about as much as encoding.
    ///
    /// # Errors
    /// [`EncodeError::Failed`] if the value cannot be encoded.
    fn encoded_len(&self, scratch: &mut Scratch) -> Result<usize, EncodeError>;

    /// Checks bytes that a peer wrote, aligned to 16 bytes, and gives the view of them.
    ///
    /// # Errors
    /// [`ViewError`] if they are not an encoded value of this type.
    fn view(bytes: &[u8]) -> Result<&Self::View, ViewError>;
}

/// Why a value was not encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// It needs more bytes than there are.
    #[error("the encoded message does not fit into {room_bytes} bytes")]
    NoRoom {
        /// The bytes there are.
        room_bytes: usize,
    },
    /// The value itself cannot be encoded; the text says why.
    #[error("the message cannot be encoded: {0}")]
    Failed(String),
}

/// The bytes are not an encoded value of the type; the text says where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the bytes are not a message of this type: {reason}")]
pub struct ViewError {
    /// The first violation.
    pub reason: String,
}

impl rancor::Trace for EncodeError {
    fn trace<R>(self, _: R) -> Self {
        self
    }
}

impl rancor::Source for EncodeError {
    fn new<T: Error + Send + Sync + 'static>(source: T) -> Self {
        Self::Failed(source.to_string())
    }
}

impl rancor::Trace for ViewError {
    fn trace<R>(self, _: R) -> Self {
        self
    }
}

impl rancor::Source for ViewError {
    fn new<T: Error + Send + Sync + 'static>(source: T) -> Self {
        Self {
            reason: source.to_string(),
        }
    }
}
