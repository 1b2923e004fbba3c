//! A message on its way into the lanes that have room for it.

use slab::Slab;

use crate::lane::{Stamp, TopicRef, WriteError, Writer};
use crate::message::{EncodeError, Message, Scratch};
use crate::ring::NoRoom;

use super::{OutLane, PublishError};

/// A message on its way into the first lane that has room for it.
pub(super) struct Encoded<'a, T: ?Sized> {
    message: &'a T,
    scratch: &'a mut Scratch,
    limit: usize,
    /// Known once it did not fit what lies ahead.
    len: Option<usize>,
}

impl<'a, T: Message + ?Sized> Encoded<'a, T> {
    #[inline]
    pub(super) fn new(message: &'a T, scratch: &'a mut Scratch, limit: usize) -> Self {
        Self {
            message,
            scratch,
            limit,
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
        writer.write_at_once(topic, T::ENCODED_LEN, |room| {
            let end = room.len().min(self.limit);
            self.message.encode(&mut room[..end], self.scratch)
        })
    }

    /// Whether the lane had room.
    #[inline]
    pub(super) fn write<S: Stamp>(
        &mut self,
        writer: &mut Writer,
        topic: TopicRef<'_, S>,
    ) -> Result<bool, PublishError> {
        let (message, limit) = (self.message, self.limit);
        let ahead = writer.write(topic, None, |room| {
            let end = room.len().min(limit);
            message.encode(&mut room[..end], self.scratch)
        });
        match ahead {
            Ok(()) => Ok(true),
            Err(
                WriteError::Encode(EncodeError::NoRoom { .. }) | WriteError::Room(NoRoom::Full),
            ) => self.write_exactly(writer, topic),
            Err(WriteError::Encode(error)) => Err(error.into()),
            Err(WriteError::Room(NoRoom::TooLarge(_))) => Ok(false),
        }
    }

    #[cold]
    fn write_exactly<S: Stamp>(
        &mut self,
        writer: &mut Writer,
        topic: TopicRef<'_, S>,
    ) -> Result<bool, PublishError> {
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
        match writer.write(topic, self.len, |room| {
            self.message.encode(room, self.scratch)
        }) {
            Ok(()) => Ok(true),
            Err(WriteError::Room(_)) => Ok(false),
            Err(WriteError::Encode(error)) => Err(error.into()),
        }
    }
}

/// Writes what one lane has to another; whether that had room.
#[inline]
pub(super) fn copy<S: Stamp>(
    lanes: &mut Slab<OutLane>,
    source: usize,
    target: usize,
    topic: TopicRef<'_, S>,
) -> bool {
    let Some((source, target)) = lanes.get2_mut(source, target) else {
        return false;
    };
    let Some(bytes) = source.writer.last_written() else {
        return false;
    };
    target.writer.write_copy(topic, bytes).is_ok()
}
