//! The publisher's end of a lane.

use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::message::{EncodeError, EncodedBytes, Message, Scratch, Timestamp};
use crate::ring::{
    DropCause, DropCounts, Ending, Kind, NoRoom, Position, Producer, Room, Staged, Tail,
    record_bytes,
};
use crate::topic::MAX_NAME_BYTES;

use super::attached::LONGEST_BYTES;
use super::stamping::{Stamp, Unstamped};
use super::{Attached, CargoSender, OwnMedium, Peer, PeerCursor};

/// The publisher's end of a lane.
pub struct Writer {
    producer: Producer<OwnMedium, PeerCursor>,
    /// Per topic id, the generation of the topic that the subscriber knows by it; 0 where it knows none.
    defined: Vec<u64>,
    /// `None` until the subscriber has answered.
    subscriber: Option<Subscriber>,
    /// The generation of a topic for which a message is all there is to write: the subscriber has answered and knows the topic,
    /// and no drops are to be told. 0 if there is none.
    ready_for: u64,
    /// Whether each message says what its topic is.
    names_each: bool,
    /// The last message that [`Writer::write`] encoded.
    last: Option<Staged>,
    counters: LaneSlot,
    /// By which descriptors go to the subscriber, where they can.
    cargo: Option<CargoSender>,
    /// What is attached to the next message.
    attached: Option<Arc<Attached>>,
    /// Number of the next parcel to be sent.
    unsent: u64,
}

/// What goes with a message: its topic, as the publisher numbers it; the time.
#[derive(Clone, Copy, Debug)]
pub struct TopicRef<'a, S = Unstamped> {
    /// Below `MAX_TOPIC_IDS`.
    pub id: u32,
    /// Distinguishes the topics that had this id one after the other; not 0.
    pub generation: u64,
    /// The topic.
    pub name: &'a str,
    /// When the message was published, where its publisher tells that.
    pub stamp: S,
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
    pub fn new(ring: OwnMedium, counters: LaneSlot) -> Self {
        Self {
            producer: Producer::new(ring),
            defined: Vec::new(),
            subscriber: None,
            ready_for: 0,
            names_each: false,
            last: None,
            counters,
            cargo: None,
            attached: None,
            unsent: 0,
        }
    }

    /// With a way for descriptors.
    pub fn with_cargo(mut self, cargo: Option<CargoSender>) -> Self {
        self.cargo = cargo;
        self
    }

    /// From now on each message says what its topic is, so that a reader can begin at any of them. Costs a record of 16 bytes
    /// and the name, and copying them.
    pub fn name_each(&mut self) {
        self.names_each = true;
    }

    /// Whether descriptors and memory can be sent here; else regions are copied.
    pub fn takes_attachments(&self) -> bool {
        self.cargo.is_some()
    }

    /// Attaches this to the next message. It has no room as long as one of both has none.
    pub fn attach_to_next(&mut self, attached: Option<Arc<Attached>>) {
        self.ready_for = 0;
        self.attached = attached;
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
    pub fn write<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        len_bytes: Option<usize>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), WriteError> {
        self.last = None;
        // A caught panic of an encoder may have left something.
        self.producer.abort();
        let room = len_bytes.map_or(Room::Rest, |len| Room::Exactly(S::PREFIX_BYTES + len));
        let result = self.stage_prelude(topic).and_then(|()| {
            self.producer
                .stage_in_place(room, S::KIND, u64::from(topic.id), |payload| {
                    topic.fill(payload, encode)
                })
        });
        match result {
            Ok(Ok(staged)) => {
                let staged = staged.behind(S::PREFIX_BYTES);
                self.last = Some(staged);
                self.commit(topic, 1, staged.len_bytes());
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
    #[inline(always)]
    pub fn write_at_once<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        len_bytes: Option<usize>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> bool {
        if topic.generation != self.ready_for && !self.get_ready(topic.id, topic.generation) {
            return false;
        }
        self.last = None;
        let room = len_bytes.map_or(Room::Rest, |len| Room::Exactly(S::PREFIX_BYTES + len));
        let (producer, id) = (&mut self.producer, u64::from(topic.id));
        let fill = |payload: &mut [u8]| topic.fill(payload, encode);
        let Some(len) = producer.append_in_place(room, S::KIND, id, fill) else {
            return false;
        };
        let len_bytes = len - S::PREFIX_BYTES;
        self.counters.message(len_bytes, self.producer.committed());
        self.wake();
        true
    }

    fn get_ready(&mut self, topic: u32, generation: u64) -> bool {
        let known = self.defined.get(topic as usize) == Some(&generation);
        let is_plain = !self.producer.has_drops() && self.attached.is_none();
        let ready = known && is_plain && self.subscriber.is_some();
        if ready {
            self.ready_for = generation;
        }
        ready
    }

    /// Appends messages that become visible together. Whether they had room; if not, none of them is there.
    pub fn write_batch<T: Message, S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        messages: &[T],
        scratch: &mut Scratch,
    ) -> Result<bool, EncodeError> {
        self.last = None;
        self.producer.abort();
        let staged = self.stage_batch(topic, messages, scratch);
        match staged {
            Ok(Some(len_bytes)) => self.commit(topic, messages.len(), len_bytes),
            Ok(None) | Err(_) => self.producer.abort(),
        }
        staged.map(|staged| staged.is_some())
    }

    /// Gives the length of all together; `None` if they have no room.
    #[inline]
    fn stage_batch<T: Message, S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        messages: &[T],
        scratch: &mut Scratch,
    ) -> Result<Option<usize>, EncodeError> {
        if self.stage_prelude(topic).is_err() {
            return Ok(None);
        }
        let mut len_bytes = 0;
        for (index, message) in messages.iter().enumerate() {
            if index > 0 && self.stage_name_of_next(topic).is_err() {
                return Ok(None);
            }
            let len = match T::ENCODED_LEN {
                Some(len) => len,
                None => message.encoded_len(scratch)?,
            };
            let room = Room::Exactly(S::PREFIX_BYTES + len);
            let encode = |room: &mut [u8]| message.encode(room, scratch);
            let staged =
                self.producer
                    .stage_in_place(room, S::KIND, u64::from(topic.id), |payload| {
                        topic.fill(payload, encode)
                    });
            match staged {
                Ok(staged) => len_bytes += staged?.len_bytes() - S::PREFIX_BYTES,
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(len_bytes))
    }

    /// Appends messages that are encoded already; they become visible together.
    pub fn write_copies<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        messages: &[EncodedBytes],
    ) -> Result<(), NoRoom> {
        self.last = None;
        let mut len_bytes = 0;
        let mut result = self.stage_prelude(topic);
        for (index, message) in messages.iter().enumerate() {
            len_bytes += message.len();
            if index > 0 {
                result = result.and_then(|()| self.stage_name_of_next(topic));
            }
            result = result.and_then(|()| topic.stage_copy(&mut self.producer, message));
        }
        match result {
            Ok(()) => self.commit(topic, messages.len(), len_bytes),
            Err(_) => self.producer.abort(),
        }
        result
    }

    /// Appends a message that is encoded already.
    #[inline]
    pub fn write_copy<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        bytes: &[u8],
    ) -> Result<(), NoRoom> {
        self.last = None;
        let result = self
            .stage_prelude(topic)
            .and_then(|()| topic.stage_copy(&mut self.producer, bytes));
        match result {
            Ok(()) => {
                self.commit(topic, 1, bytes.len());
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
    #[inline(always)]
    pub fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber
            && peer.wake_if_parked(cursor.parked())
        {
            self.counters.woke();
        }
    }

    /// Rings the subscriber's bell whether or not it sleeps; whether the bell is known.
    pub fn prompt(&self) -> bool {
        if let Some(Subscriber { peer, .. }) = &self.subscriber {
            peer.ring();
        }
        self.is_attached()
    }

    /// Counts messages that found no room. The subscriber learns it in band, or from the counter when it is idle.
    pub fn count_drops(&mut self, cause: DropCause, messages: u64) {
        self.ready_for = 0;
        self.attached = None;
        self.producer.count_drop(cause, messages);
        self.counters.dropped(cause, messages);
    }

    /// Ends the lane for want of room: what lies in it is still read.
    pub fn disconnect(&mut self) {
        self.producer.close_with(Ending::Disconnected as u64);
    }

    /// What the lane counts.
    pub fn counters(&self) -> &LaneSlot {
        &self.counters
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

    /// Messages that the subscriber has not told to have read.
    pub fn unread_messages(&mut self) -> u64 {
        let position = self.reader_position();
        Tail::count_messages(self.ring().clone(), position)
    }

    /// Messages that were dropped.
    pub fn dropped_messages(&self) -> u64 {
        self.producer.dropped()
    }

    /// Where the subscriber stands when it has read everything.
    pub fn position(&self) -> Position {
        self.producer.committed()
    }

    /// Whether a message of this length, and what may have to go before it, has room now.
    pub fn has_room(&mut self, len_bytes: usize) -> bool {
        self.producer.has_room(len_bytes + PRELUDE_BYTES)
    }

    /// The ring, whose control page holds the publisher's parked counter.
    pub fn ring(&self) -> &OwnMedium {
        self.producer.storage()
    }

    /// What has to stand before a message: a gap that is not announced yet, a topic that the subscriber does not know.
    #[inline]
    fn stage_prelude<S: Stamp>(&mut self, topic: TopicRef<'_, S>) -> Result<(), NoRoom> {
        self.producer.stage_gap()?;
        // Where each message names it, none is known.
        if self.defined.get(topic.id as usize) != Some(&topic.generation) {
            self.stage_name(topic)?;
        }
        match self.attached {
            Some(_) => self.stage_attached(),
            None => Ok(()),
        }
    }

    /// The descriptors go ahead: where their record is found they are there.
    #[cold]
    fn stage_attached(&mut self) -> Result<(), NoRoom> {
        let Some(attached) = &self.attached else {
            return Ok(());
        };
        let Some(cargo) = &mut self.cargo else {
            let record = attached.copied_record();
            return self.producer.stage_copy(Kind::Attachments, &record, 0);
        };
        let record = attached.record();
        self.producer.stage_copy(Kind::Attachments, &record, 0)?;
        // Where the subscriber is gone, so is the room.
        for region in attached.regions() {
            if !cargo.send_region(region).unwrap_or(false) {
                return Err(NoRoom::Full);
            }
        }
        let sent = attached.send(cargo, self.unsent);
        self.unsent = sent.map_err(|_| NoRoom::Full)?;
        match self.unsent >= attached.next() {
            true => Ok(()),
            false => Err(NoRoom::Full),
        }
    }

    /// The same before the second message of a batch, and those behind it.
    #[inline]
    fn stage_name_of_next<S: Stamp>(&mut self, topic: TopicRef<'_, S>) -> Result<(), NoRoom> {
        match self.names_each {
            true => self.stage_name(topic),
            false => Ok(()),
        }
    }

    fn stage_name<S: Stamp>(&mut self, topic: TopicRef<'_, S>) -> Result<(), NoRoom> {
        self.producer
            .stage_copy(Kind::Topic, topic.name.as_bytes(), u64::from(topic.id))
    }

    #[inline]
    fn commit<S: Stamp>(&mut self, topic: TopicRef<'_, S>, messages: usize, len_bytes: usize) {
        self.producer.commit();
        self.attached = None;
        let position = self.producer.committed();
        self.counters.messages(messages as u64, len_bytes, position);
        let id = topic.id as usize;
        if self.defined.get(id) != Some(&topic.generation) && !self.names_each {
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

/// What can stand before a message: a gap record, the definition of the longest topic, what is attached, a timestamp. They are committed
/// together, so a ring holds twice as much as the longest message *and* these.
pub const PRELUDE_BYTES: usize = record_bytes(DropCounts::BYTES)
    + record_bytes(MAX_NAME_BYTES)
    + record_bytes(LONGEST_BYTES)
    + Timestamp::BYTES;
