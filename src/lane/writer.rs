//! The publisher's end of a lane.

use crate::message::{EncodeError, Message, Scratch};
use crate::ring::{
    DropCause, DropCounts, Kind, NoRoom, Position, Producer, Room, Staged, record_bytes,
};
use crate::topic::MAX_NAME_BYTES;

use super::{OwnRing, Peer, PeerCursor};

/// The publisher's end of a lane.
pub struct Writer {
    producer: Producer<OwnRing, PeerCursor>,
    /// Per topic id, the generation of the topic that the subscriber knows by it; 0 where it knows none.
    defined: Vec<u64>,
    /// `None` until the subscriber has answered.
    subscriber: Option<Subscriber>,
    /// The last message that [`Writer::write`] encoded.
    last: Option<Staged>,
}

/// A topic as a publisher numbers it.
#[derive(Clone, Copy, Debug)]
pub struct TopicRef<'a> {
    /// Below `MAX_TOPIC_IDS`.
    pub id: u32,
    /// Distinguishes the topics that had this id one after the other; not 0.
    pub generation: u64,
    /// The topic.
    pub name: &'a str,
}

/// Why a message was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The ring is full, or can never hold it.
    Room(NoRoom),
    /// The message cannot be encoded.
    Encode(EncodeError),
}

struct Subscriber {
    cursor: PeerCursor,
    peer: Peer,
}

impl Writer {
    /// The publisher's end of a fresh ring, whose subscriber has not answered yet.
    pub fn new(ring: OwnRing) -> Self {
        Self {
            producer: Producer::new(ring),
            defined: Vec::new(),
            subscriber: None,
            last: None,
        }
    }

    /// The subscriber has mapped the ring.
    pub fn attach(&mut self, cursor: PeerCursor, peer: Peer) {
        self.producer.attach(0, cursor.clone());
        self.subscriber = Some(Subscriber { cursor, peer });
        self.wake();
    }

    /// Whether the subscriber has mapped the ring.
    #[inline]
    pub fn is_attached(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Appends a message, encoded in place. `len_bytes` is its length where that is known; without it the message goes
    /// into the room that lies ahead, and [`EncodeError::NoRoom`] says that it did not fit there.
    #[inline]
    pub fn write(
        &mut self,
        topic: TopicRef<'_>,
        len_bytes: Option<usize>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), WriteError> {
        self.last = None;
        // A caught panic of an encoder may have left something.
        self.producer.abort();
        let room = len_bytes.map_or(Room::Rest, Room::Exactly);
        let result = self.stage_prelude(topic).and_then(|()| {
            self.producer
                .stage_in_place(room, Kind::Message, u64::from(topic.id), encode)
        });
        match result {
            Ok(Ok(staged)) => {
                self.last = Some(staged);
                self.commit(topic);
                Ok(())
            }
            Ok(Err(error)) => {
                self.producer.abort();
                Err(WriteError::Encode(error))
            }
            Err(error) => {
                self.producer.abort();
                Err(WriteError::Room(error))
            }
        }
    }

    /// Appends a message and wakes the subscriber, if that is all there is to do: the subscriber has answered and knows the
    /// topic, and the message fits into the room that lies ahead. If not, or if `encode` fails, nothing is done, and
    /// [`Writer::write`] finds out.
    #[inline]
    pub fn write_at_once(
        &mut self,
        topic: TopicRef<'_>,
        len_bytes: Option<usize>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> bool {
        let known = self.defined.get(topic.id as usize) == Some(&topic.generation);
        if !known || self.producer.has_drops() || self.subscriber.is_none() {
            return false;
        }
        self.last = None;
        let room = len_bytes.map_or(Room::Rest, Room::Exactly);
        let id = u64::from(topic.id);
        let appended = self
            .producer
            .append_in_place(room, Kind::Message, id, encode);
        if !matches!(appended, Ok(Ok(()))) {
            return false;
        }
        self.wake();
        true
    }

    /// Appends messages that become visible together. Whether they had room; if not, none of them is there.
    pub fn write_batch<T: Message>(
        &mut self,
        topic: TopicRef<'_>,
        messages: &[T],
        scratch: &mut Scratch,
    ) -> Result<bool, EncodeError> {
        self.last = None;
        self.producer.abort();
        let staged = self.stage_batch(topic, messages, scratch);
        match staged {
            Ok(true) => self.commit(topic),
            Ok(false) | Err(_) => self.producer.abort(),
        }
        staged
    }

    #[inline]
    fn stage_batch<T: Message>(
        &mut self,
        topic: TopicRef<'_>,
        messages: &[T],
        scratch: &mut Scratch,
    ) -> Result<bool, EncodeError> {
        if self.stage_prelude(topic).is_err() {
            return Ok(false);
        }
        for message in messages {
            let len = match T::ENCODED_LEN {
                Some(len) => len,
                None => message.encoded_len(scratch)?,
            };
            let (room, id) = (Room::Exactly(len), u64::from(topic.id));
            let encode = |room: &mut [u8]| message.encode(room, scratch);
            match self
                .producer
                .stage_in_place(room, Kind::Message, id, encode)
            {
                Ok(staged) => staged.map(drop)?,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Appends a message that is encoded already.
    #[inline]
    pub fn write_copy(&mut self, topic: TopicRef<'_>, bytes: &[u8]) -> Result<(), NoRoom> {
        self.last = None;
        let result = self.stage_prelude(topic).and_then(|()| {
            self.producer
                .stage_copy(Kind::Message, bytes, u64::from(topic.id))
        });
        match result {
            Ok(()) => {
                self.commit(topic);
                Ok(())
            }
            Err(error) => {
                self.producer.abort();
                Err(error)
            }
        }
    }

    /// The bytes of the message that the last call of [`Writer::write`] appended.
    #[expect(unsafe_code, reason = "one promise to the ring")]
    pub fn last_written(&self) -> Option<&[u8]> {
        let last = self.last?;
        // SAFETY: `last` is the message that was staged last: `write` and `write_copy` clear it before they stage
        // anything else.
        Some(unsafe { self.producer.written(last) })
    }

    /// Rings the subscriber's bell if it sleeps.
    #[inline]
    pub fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber {
            peer.wake_if_parked(cursor.parked());
        }
    }

    /// Counts messages that found no room. The subscriber learns it in band, or from the counter when it is idle.
    pub fn count_drops(&mut self, cause: DropCause, messages: u64) {
        self.producer.count_drop(cause, messages);
    }

    /// Whether the subscriber has said, by itself, that it reads no more.
    pub fn is_closed(&self) -> bool {
        self.subscriber
            .as_ref()
            .is_some_and(|subscriber| subscriber.cursor.is_closed())
    }

    /// How far the subscriber has read, as far as it has told.
    pub fn reader_position(&mut self) -> Position {
        self.producer.slowest()
    }

    /// Whether a message of this length, and what may have to go before it, has room now.
    pub fn has_room(&mut self, len_bytes: usize) -> bool {
        self.producer.has_room(len_bytes + PRELUDE_BYTES)
    }

    /// The ring, whose control page holds the publisher's parked counter.
    pub fn ring(&self) -> &OwnRing {
        self.producer.storage()
    }

    /// What has to stand before a message: a gap that is not announced yet, a topic that the subscriber does not know.
    #[inline]
    fn stage_prelude(&mut self, topic: TopicRef<'_>) -> Result<(), NoRoom> {
        self.producer.stage_gap()?;
        if self.defined.get(topic.id as usize) != Some(&topic.generation) {
            self.producer
                .stage_copy(Kind::Topic, topic.name.as_bytes(), u64::from(topic.id))?;
        }
        Ok(())
    }

    #[inline]
    fn commit(&mut self, topic: TopicRef<'_>) {
        self.producer.commit();
        let id = topic.id as usize;
        if self.defined.get(id) != Some(&topic.generation) {
            if self.defined.len() <= id {
                self.defined.resize(id + 1, 0);
            }
            self.defined[id] = topic.generation;
        }
    }
}

impl Drop for Writer {
    /// Says that nothing more will come, whatever the reason: a reader waits for that, or for the end of the process.
    fn drop(&mut self) {
        self.producer.close();
        if let Some(Subscriber { peer, .. }) = &self.subscriber {
            peer.ring();
        }
    }
}

/// What can stand before a message: a gap record, the definition of the longest topic. They are committed together, so a
/// ring holds twice as much as the longest message *and* these.
pub const PRELUDE_BYTES: usize = record_bytes(DropCounts::BYTES) + record_bytes(MAX_NAME_BYTES);
