//! The prefix of a message that says when it was published.

use crate::message::{EncodeError, Timestamp};
use crate::pool::Chunk;
use crate::ring::{Fill, Kind, NoRoom, Producer};

use super::{OwnMedium, PeerCursor, TopicRef};

/// Whether messages say when they were published. A type, so that all that concerns a stamp is gone where there is none.
pub trait Stamp: Copy {
    /// What its messages are in a ring.
    const KIND: Kind;
    /// What they are where their payload lies in a pool.
    const POOLED: Kind;
    /// Bytes of the prefix.
    const PREFIX_BYTES: usize;

    /// The time.
    fn timestamp(&self) -> Option<&Timestamp>;

    /// Writes the prefix; gives what is behind it. `None` if it does not fit.
    fn write(self, payload: &mut [u8]) -> Option<&mut [u8]>;

    /// Stages a record of this kind: the prefix, then these bytes.
    fn stage_copy(
        self,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        kind: Kind,
        bytes: &[u8],
        detail: u64,
    ) -> Result<(), NoRoom>;
}

/// Messages do not say it.
#[derive(Clone, Copy, Debug)]
pub struct Unstamped;

impl Stamp for Unstamped {
    const KIND: Kind = Kind::Message;
    const POOLED: Kind = Kind::Pooled;
    const PREFIX_BYTES: usize = 0;

    fn timestamp(&self) -> Option<&Timestamp> {
        None
    }

    #[inline(always)]
    fn write(self, payload: &mut [u8]) -> Option<&mut [u8]> {
        Some(payload)
    }

    #[inline]
    fn stage_copy(
        self,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        kind: Kind,
        bytes: &[u8],
        detail: u64,
    ) -> Result<(), NoRoom> {
        producer.stage_copy(kind, bytes, detail)
    }
}

impl Stamp for &Timestamp {
    const KIND: Kind = Kind::Stamped;
    const POOLED: Kind = Kind::StampedPooled;
    const PREFIX_BYTES: usize = Timestamp::BYTES;

    fn timestamp(&self) -> Option<&Timestamp> {
        Some(self)
    }

    #[inline]
    fn write(self, payload: &mut [u8]) -> Option<&mut [u8]> {
        let (prefix, rest) = payload.split_first_chunk_mut()?;
        *prefix = self.to_bytes();
        Some(rest)
    }

    #[inline]
    fn stage_copy(
        self,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        kind: Kind,
        bytes: &[u8],
        detail: u64,
    ) -> Result<(), NoRoom> {
        producer.stage_copies(kind, &[&self.to_bytes(), bytes], detail)
    }
}

impl<'a> TopicRef<'a> {
    /// The same for messages with a stamp, or without one.
    #[inline(always)]
    pub fn stamped<S: Stamp>(self, stamp: S) -> TopicRef<'a, S> {
        TopicRef {
            id: self.id,
            generation: self.generation,
            name: self.name,
            stamp,
        }
    }
}

/// What writes a message with its prefix.
pub(super) struct Stamped<S, F> {
    stamp: S,
    encode: F,
}

impl<S: Stamp, F: Fill<EncodeError>> Fill<EncodeError> for Stamped<S, F> {
    #[inline(always)]
    fn fill(self, payload: &mut [u8]) -> Result<usize, EncodeError> {
        match self.stamp.write(payload) {
            Some(rest) => Ok(S::PREFIX_BYTES + self.encode.fill(rest)?),
            None => Err(EncodeError::NoRoom { room_bytes: 0 }),
        }
    }
}

impl<S: Stamp> TopicRef<'_, S> {
    /// The prefix, then whatever `encode` writes; the length is that of both.
    #[inline(always)]
    pub(super) fn before<F>(&self, encode: F) -> Stamped<S, F> {
        Stamped {
            stamp: self.stamp,
            encode,
        }
    }

    /// Stages a message that is encoded already.
    #[inline]
    pub(super) fn stage_copy(
        &self,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        bytes: &[u8],
    ) -> Result<(), NoRoom> {
        self.stage_as(S::KIND, producer, bytes)
    }

    /// Stages what names a message that lies in a pool.
    pub(super) fn stage_chunk(
        &self,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        chunk: Chunk,
    ) -> Result<(), NoRoom> {
        self.stage_as(S::POOLED, producer, &chunk.to_bytes())
    }

    #[inline]
    fn stage_as(
        &self,
        kind: Kind,
        producer: &mut Producer<OwnMedium, PeerCursor>,
        bytes: &[u8],
    ) -> Result<(), NoRoom> {
        let detail = u64::from(self.id);
        self.stamp.stage_copy(producer, kind, bytes, detail)
    }
}
