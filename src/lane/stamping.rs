//! The prefix of a message that says when it was published.

use crate::message::{EncodeError, Timestamp};
use crate::ring::{Kind, NoRoom, Producer};

use super::{OwnRing, PeerCursor, TopicRef};

impl TopicRef<'_> {
    /// What its messages are in a ring.
    #[inline(always)]
    pub(super) fn kind(&self) -> Kind {
        match self.stamp {
            None => Kind::Message,
            Some(_) => Kind::Stamped,
        }
    }

    /// Bytes of the prefix.
    #[inline(always)]
    pub(super) fn prefix_bytes(&self) -> usize {
        match self.stamp {
            None => 0,
            Some(_) => Timestamp::BYTES,
        }
    }

    /// Writes the prefix, then whatever `encode` writes; gives the length of both.
    #[inline(always)]
    pub(super) fn fill(
        &self,
        payload: &mut [u8],
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<usize, EncodeError> {
        let Some(stamp) = self.stamp else {
            return encode(payload);
        };
        let (prefix, rest) = payload
            .split_first_chunk_mut()
            .ok_or(EncodeError::NoRoom { room_bytes: 0 })?;
        *prefix = stamp.to_bytes();
        Ok(Timestamp::BYTES + encode(rest)?)
    }

    /// Stages a message that is encoded already.
    #[inline]
    pub(super) fn stage_copy(
        &self,
        producer: &mut Producer<OwnRing, PeerCursor>,
        bytes: &[u8],
    ) -> Result<(), NoRoom> {
        match self.stamp {
            None => producer.stage_copy(Kind::Message, bytes, u64::from(self.id)),
            Some(stamp) => producer.stage_copies(
                Kind::Stamped,
                &[&stamp.to_bytes(), bytes],
                u64::from(self.id),
            ),
        }
    }
}
