//! A message on its way into the lanes that have room for it.

use slab::Slab;

use crate::lane::{Block, PoolWriter, Stamp, TopicRef, WriteError, Writer};
use crate::message::{EncodeError, Message, Scratch};
use crate::ring::{Fill, NoRoom};

use super::{OutLane, PublishError};

/// A message on its way into the first lane that has room for it.
pub(super) struct Encoded<'a, T: ?Sized> {
    message: &'a T,
    scratch: &'a mut Scratch,
    limit: usize,
    via: Via<'a>,
    /// Known once it did not fit what lies ahead.
    len: Option<usize>,
}

/// What writes a message to memory that is not longer than what a copy may have.
struct Encoding<'a, T: ?Sized> {
    message: &'a T,
    scratch: &'a mut Scratch,
    up_to: usize,
}

impl<T: Message + ?Sized> Fill<EncodeError> for Encoding<'_, T> {
    #[inline(always)]
    fn fill(self, room: &mut [u8]) -> Result<usize, EncodeError> {
        let end = room.len().min(self.up_to);
        self.message.encode(&mut room[..end], self.scratch)
    }
}

/// By which way a message goes.
pub(super) enum Via<'a> {
    /// Each lane has a copy, if it is not longer than this.
    Copies { up_to: usize },
    /// It lies in the pool; lanes whose subscribers have that are told where.
    Pool(&'a Block, &'a mut PoolWriter),
}

/// What came of writing to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It is there.
    Yes,
    /// There is no room now.
    NoRoom,
    /// The message has so many bytes, which is too long for this way.
    TooLong(usize),
}

impl<'a, T: Message + ?Sized> Encoded<'a, T> {
    #[inline]
    pub(super) fn new(
        message: &'a T,
        scratch: &'a mut Scratch,
        limit: usize,
        via: Via<'a>,
    ) -> Self {
        Self {
            message,
            scratch,
            limit,
            via,
            len: None,
        }
    }

    /// Writes it, and wakes who reads it, if that is all there is to do; see [`Writer::write_at_once`].
    #[inline(always)]
    pub(super) fn write_at_once<S: Stamp>(
        &mut self,
        writer: &mut Writer,
        topic: TopicRef<'_, S>,
    ) -> bool {
        let Via::Copies { up_to } = self.via else {
            return false;
        };
        let encoding = Encoding {
            message: self.message,
            scratch: self.scratch,
            up_to,
        };
        writer.write_at_once(topic, T::ENCODED_LEN, encoding)
    }

    /// Whether it lies in the pool.
    pub(super) fn is_pooled(&self) -> bool {
        matches!(self.via, Via::Pool(..))
    }

    /// Writes it, or says why not.
    #[inline]
    pub(super) fn write<S: Stamp>(
        &mut self,
        writer: &mut Writer,
        topic: TopicRef<'_, S>,
    ) -> Result<Wrote, PublishError> {
        let message = self.message;
        let up_to = match &mut self.via {
            Via::Copies { up_to } => *up_to,
            Via::Pool(block, pool) => {
                return Ok(match writer.write_block(topic, block, pool) {
                    Ok(()) => Wrote::Yes,
                    Err(_) => Wrote::NoRoom,
                });
            }
        };
        let ahead = writer.write(topic, None, |room| {
            let end = room.len().min(up_to);
            message.encode(&mut room[..end], self.scratch)
        });
        match ahead {
            Ok(()) => Ok(Wrote::Yes),
            Err(
                WriteError::Encode(EncodeError::NoRoom { .. }) | WriteError::Room(NoRoom::Full),
            ) => self.write_exactly(writer, topic, up_to),
            Err(WriteError::Encode(error)) => Err(error.into()),
            Err(WriteError::Room(NoRoom::TooLarge(_))) => Ok(Wrote::NoRoom),
        }
    }

    #[cold]
    fn write_exactly<S: Stamp>(
        &mut self,
        writer: &mut Writer,
        topic: TopicRef<'_, S>,
        up_to: usize,
    ) -> Result<Wrote, PublishError> {
        let len = match self.len {
            Some(len) => len,
            None => self.message.encoded_len(self.scratch)?,
        };
        if len > self.limit {
            return Err(PublishError::TooLarge {
                len,
                limit: self.limit,
            });
        }
        self.len = Some(len);
        if len > up_to {
            return Ok(Wrote::TooLong(len));
        }
        match writer.write(topic, self.len, |room| {
            self.message.encode(room, self.scratch)
        }) {
            Ok(()) => Ok(Wrote::Yes),
            Err(WriteError::Room(_)) => Ok(Wrote::NoRoom),
            Err(WriteError::Encode(error)) => Err(error.into()),
        }
    }
}

/// Writes what one lane has to another.
#[inline]
pub(super) fn copy<S: Stamp>(
    lanes: &mut Slab<OutLane>,
    source: usize,
    target: usize,
    topic: TopicRef<'_, S>,
) -> Wrote {
    let Some((source, target)) = lanes.get2_mut(source, target) else {
        return Wrote::NoRoom;
    };
    let Some(bytes) = source.writer.last_written() else {
        return Wrote::NoRoom;
    };
    match target.writer.write_copy(topic, bytes) {
        Ok(()) => Wrote::Yes,
        Err(_) => Wrote::NoRoom,
    }
}
