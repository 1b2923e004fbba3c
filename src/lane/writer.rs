//! The publisher's end of a lane.

mod pooled;
mod regions;

use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::message::{EncodeError, EncodedBytes, Message, Scratch, Timestamp};
use crate::ring::{
    DropCause, DropCounts, Ending, Fill, Kind, NoRoom, Position, Producer, Room, Staged,
    record_bytes,
};
use crate::topic::MAX_NAME_BYTES;

use super::attached::ENTRY_BYTES;
use super::sharing::Leaver;
use super::stamping::{Stamp, Unstamped};
use super::{Attached, Member, OwnMedium, PeerCursor, PoolLane};

/// The publisher's end of a lane.
pub struct Writer {
    pub(super) producer: Producer<OwnMedium, PeerCursor>,
    /// Per topic id, the generation of the topic that all subscribers know by it; 0 where they know none.
    pub(super) defined: Vec<u64>,
    /// The lanes of those who read the ring, as a rule one. The first counts messages for all: for each message a page of each would have
    /// to be fetched, and as words of equal pages these drive each other from the processor's cache.
    pub(super) first: Member,
    pub(super) others: Vec<Member>,
    /// Who has left the ring and has not read all that is there for it.
    pub(super) leavers: Vec<Leaver>,
    /// Seats of those whose lanes have ended, which nothing in the ring says yet.
    pub(super) ends: u64,
    /// The generation of a topic for which a message is all there is to write: the subscribers have answered and know the topic,
    /// and no drops are to be told. 0 if there is none.
    pub(super) ready_for: u64,
    /// Whether each message says what its topic is.
    names_each: bool,
    /// The last message that [`Writer::write`] encoded.
    last: Option<Staged>,
    /// What is attached to the next message.
    pub(super) attached: Option<Arc<Attached>>,
    /// What it has to do with the publisher's pool, where the only subscriber can map that.
    pool: Option<PoolLane>,
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

impl Writer {
    /// The publisher's end of a fresh ring.
    pub fn new(ring: OwnMedium, first: Member) -> Self {
        Self::over(Producer::new(ring), first)
    }

    pub(super) fn over(producer: Producer<OwnMedium, PeerCursor>, first: Member) -> Self {
        Self {
            producer,
            defined: Vec::new(),
            first,
            others: Vec::new(),
            leavers: Vec::new(),
            ends: 0,
            ready_for: 0,
            names_each: false,
            last: None,
            attached: None,
            pool: None,
        }
    }

    /// From now on each message says what its topic is, so that a reader can begin at any of them. Costs a record of 16 bytes
    /// and the name, and copying them.
    pub fn name_each(&mut self) {
        self.names_each = true;
    }

    /// Whose client cannot be sent descriptors with what goes here, if there is one.
    pub fn cannot_take_attachments(&self) -> Option<&str> {
        let mut members = self.members();
        members
            .find(|member| member.cargo.is_none())
            .map(Member::name)
    }

    /// Attaches this to the next message. It has no room as long as one of both has none.
    pub fn attach_to_next(&mut self, attached: Option<Arc<Attached>>) {
        self.ready_for = 0;
        self.attached = attached;
    }

    /// Whether all subscribers have mapped the ring.
    #[inline]
    pub fn is_attached(&self) -> bool {
        self.first.is_attached() && self.others.iter().all(Member::is_attached)
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
                .stage_in_place(room, S::KIND, u64::from(topic.id), topic.before(encode))
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
        encode: impl Fill<EncodeError>,
    ) -> bool {
        if topic.generation != self.ready_for && !self.get_ready(topic.id, topic.generation) {
            return false;
        }
        self.last = None;
        let room = len_bytes.map_or(Room::Rest, |len| Room::Exactly(S::PREFIX_BYTES + len));
        let (producer, id) = (&mut self.producer, u64::from(topic.id));
        let Some(len) = producer.append_in_place(room, S::KIND, id, topic.before(encode)) else {
            return false;
        };
        let len_bytes = len - S::PREFIX_BYTES;
        let position = self.producer.committed();
        self.first.counters.message(len_bytes, position);
        self.first.wake();
        if self.is_shared() {
            self.wake_others();
        }
        true
    }

    #[inline(never)]
    fn wake_others(&mut self) {
        self.others.iter_mut().for_each(Member::wake);
    }

    fn get_ready(&mut self, topic: u32, generation: u64) -> bool {
        let known = self.defined.get(topic as usize) == Some(&generation);
        let is_plain = !self.producer.has_drops() && self.attached.is_none();
        let ready = known && is_plain && self.ends == 0 && self.is_attached();
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
            let id = u64::from(topic.id);
            let staged = self
                .producer
                .stage_in_place(room, S::KIND, id, topic.before(encode));
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

    /// Rings the bells of subscribers that sleep.
    #[inline(always)]
    pub fn wake(&mut self) {
        self.first.wake();
        for member in &mut self.others {
            member.wake();
        }
    }

    /// Rings the subscribers' bells whether or not they sleep; whether the bells are known.
    pub fn prompt(&self) -> bool {
        self.members().for_each(Member::ring);
        self.is_attached()
    }

    /// Counts messages that found no room. The subscriber learns it in band, or from the counter when it is idle.
    pub fn count_drops(&mut self, cause: DropCause, messages: u64) {
        self.ready_for = 0;
        self.attached = None;
        self.producer.count_drop(cause, messages);
        for member in self.members() {
            member.counters.dropped(cause, messages);
        }
    }

    /// Ends the lane for want of room: what lies in it is still read.
    pub fn disconnect(&mut self) {
        self.producer.close_with(Ending::Disconnected as u64);
    }

    /// Counts something, in each lane.
    pub fn count(&self, count: impl Fn(&LaneSlot)) {
        self.members().for_each(|member| count(&member.counters));
    }

    /// Whether a subscriber has said, by itself, that it reads no more.
    pub fn has_closed(&self) -> bool {
        self.members().any(Member::is_closed)
    }

    /// How far the slowest subscriber has read, as far as it has told.
    pub fn reader_position(&mut self) -> Position {
        self.producer.slowest()
    }

    /// Where subscribers stand when they have read everything.
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
        if self.ends != 0 && !self.commit_ends() {
            return Err(NoRoom::Full);
        }
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
        // Where several read the ring, all can be sent something.
        if self.first.cargo.is_none() {
            let record = attached.copied_record();
            return self.producer.stage_copy(Kind::Attachments, &record, 0);
        }
        let record = attached.record();
        self.producer.stage_copy(Kind::Attachments, &record, 0)?;
        let mut all_sent = true;
        for member in std::iter::once(&mut self.first).chain(&mut self.others) {
            let Some(cargo) = &member.cargo else { continue };
            // Where the subscriber is gone, so is the room.
            for region in attached.regions() {
                all_sent &= cargo.send_region(region).unwrap_or(false);
            }
            member.unsent = attached
                .send(cargo, member.unsent)
                .map_err(|_| NoRoom::Full)?;
            all_sent &= member.unsent >= attached.next();
        }
        match all_sent {
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
        let position = self.producer.committed();
        if let Some(attached) = self.attached.take() {
            self.show(&attached, position);
        }
        let messages = messages as u64;
        self.first.counters.messages(messages, len_bytes, position);
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
        self.members().for_each(Member::ring);
    }
}

/// What can stand before a message: a gap record, the definition of the longest topic, what is attached, a timestamp. They are committed
/// together, so a ring holds twice as much as the longest message *and* these.
pub const PRELUDE_BYTES: usize = record_bytes(DropCounts::BYTES)
    + record_bytes(MAX_NAME_BYTES)
    + record_bytes(ENTRY_BYTES)
    + Timestamp::BYTES;
