//! The subscriber's end of a lane.

mod attached;
mod pooled;
mod run;
mod topics;

use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::doorbell::is_asleep;
use crate::message::{Host, Timestamp};
use crate::ring::{
    Consumer, Control, DropCounts, Ending, InPlace, Kind, Polled, Position, Published, Read,
    Record, Violation, is_high,
};
use crate::sync::Ordering;
use crate::table::{self, ShapeError};
use crate::topic::Topic;

use super::block::{Lent, Payload};
use super::pool_reader::PoolReader;
use super::{
    Account, Attachments, CargoError, CargoReceiver, CursorArea, MAX_TOPIC_IDS, Peer, PeerMedium,
};

/// The subscriber's end of a lane. Checks whatever it finds; an error ends the lane.
pub struct Reader {
    pub(super) consumer: Consumer<PeerMedium, Arc<CursorArea>>,
    /// By topic id.
    pub(super) topics: Vec<Option<Topic>>,
    /// Of the next message: messages and losses so far.
    sequence: u64,
    /// The message that was found last; checked.
    message: Found,
    /// Where its record ends.
    end: Position,
    /// A topic id that has a name.
    pub(super) known: Option<u64>,
    pub(super) publisher: Peer,
    counters: LaneSlot,
    /// Whether it tells how far it has come, for whoever reads on.
    keeps_account: bool,
    /// Whose clocks the publisher stamps with.
    host: Host,
    /// Crossings of the water marks when the ring was found empty last.
    drained: u64,
    told_high: bool,
    /// By which descriptors come, where they can.
    pub(super) cargo: Option<CargoReceiver>,
    /// What is attached to the message that ends here.
    attachments: Option<(Position, Attachments)>,
    /// Keeps what is held beyond its message, where something can be.
    pool: Option<PoolReader>,
    /// Rings that it has left in this look for a message.
    pub(super) moves: u32,
    /// Rings that it has left.
    pub(super) rings: u64,
    /// Whether it has left the last one.
    pub(super) has_ended: bool,
}

/// A message as it was found.
struct Found {
    kind: Kind,
    /// The publisher's number for its topic.
    topic: u64,
    /// Without the timestamp in front of it, wherever it lies.
    payload: Payload,
    /// Where there is one.
    stamp: Option<Timestamp>,
    /// Where the payload lies in a pool.
    lent: Option<Lent>,
}

/// What stands next in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message, which [`Reader::payload`] and others are about; it stays where it is until [`Reader::release`].
    Message,
    /// Messages are missing here: so many, the first of them had this sequence number.
    Gap {
        /// How many.
        counts: DropCounts,
        /// Sequence number of the first of them.
        first: u64,
    },
    /// The lane has ended because the transport to the publisher's host broke: messages may be missing, from this
    /// sequence number on. What ends a lane is its user's to look at; [`Reader::next`] does not give this.
    Lost {
        /// Sequence number of the first that may be missing.
        first: u64,
    },
    /// Nothing, so far.
    Empty,
}

/// How a publisher broke the format of a lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The ring does not hold what a ring holds.
    #[error("the publisher's ring is broken: {0}")]
    Ring(#[from] Violation),
    /// A topic definition without a topic in it, or with an id that is too high.
    #[error(
        "the publisher gave topic id {id} a name of {len} bytes that is no topic; ids end at {MAX_TOPIC_IDS}"
    )]
    Topic {
        /// The id.
        id: u64,
        /// Bytes of the name.
        len: usize,
    },
    /// A timestamp that is cut off, or of no clock that there is.
    #[error("the publisher sent a message of {len} bytes that does not begin with a timestamp")]
    Timestamp {
        /// Bytes of the record.
        len: usize,
    },
    /// A table that is none.
    #[error("the publisher's table is broken: {0}")]
    TableShape(#[from] ShapeError),
    /// A table that does not hold what a table holds.
    #[error("the publisher's table is broken: {0}")]
    Table(#[from] table::Violation),
    /// A value that is written again and again, so that it could not be read.
    #[error("the publisher never let slot {slot} of its table be read")]
    Busy {
        /// The slot.
        slot: u32,
    },
    /// Bytes that are no messages.
    #[error("the publisher sent {len} bytes that are no messages")]
    Parcel {
        /// How many.
        len: usize,
    },
    /// Messages that came before, by their number.
    #[error("the publisher sent message {number} where {due} was due")]
    Number {
        /// What it says.
        number: u64,
        /// What comes next.
        due: u64,
    },
    /// What a record refers to beside the ring is not there.
    #[error("{0}")]
    Cargo(String),
    /// A place in a ring where no reader can begin.
    #[error("the publisher has this lane begin where none can: {word}")]
    Begin {
        /// What it says.
        word: u64,
    },
    /// A switch to a ring of another size.
    #[error("the publisher goes on in a ring of another size at position {position}")]
    Switch {
        /// Where it says so.
        position: u64,
    },
    /// One ring after the other, and nothing in them.
    #[error("the publisher goes on in one ring after the other")]
    Switches,
    /// A message on a topic that was not defined.
    #[error("the publisher sent a message on topic id {id}, which it has not named")]
    UnknownTopic {
        /// The id.
        id: u64,
    },
}

impl Reader {
    /// The subscriber's end of a ring that was not read yet.
    pub fn new(ring: PeerMedium, area: CursorArea, publisher: Peer, counters: LaneSlot) -> Self {
        // Relaxed: it is so from before this side has got the ring.
        let host = match Ending::is_relayed(ring.control(Control::Closed).load(Ordering::Relaxed)) {
            true => Host::Other,
            false => Host::This,
        };
        Self {
            consumer: Consumer::new(ring, Arc::new(area)),
            topics: Vec::new(),
            sequence: 0,
            message: Found {
                kind: Kind::Message,
                topic: u64::MAX,
                payload: Payload::empty(),
                stamp: None,
                lent: None,
            },
            end: Position(0),
            known: None,
            publisher,
            counters,
            keeps_account: false,
            host,
            drained: 0,
            told_high: false,
            cargo: None,
            attachments: None,
            pool: None,
            moves: 0,
            rings: 0,
            has_ended: false,
        }
    }

    /// Begins where another reader has stopped, or at the beginning, and tells how far it has come after each message, for
    /// whoever reads on.
    pub fn keep_account(&mut self, from: Account) {
        self.consumer.cursor().begin(from);
        self.consumer.resume(from.position, from.told);
        self.sequence = from.sequence;
        self.keeps_account = true;
    }

    /// Begins where its seat says, in a ring that others read, too.
    pub(super) fn begin(&mut self, seat: u32, from: Position, told: DropCounts) {
        self.consumer.begin(seat, from, told);
    }

    /// The ring.
    pub(super) fn ring(&self) -> &PeerMedium {
        self.consumer.storage()
    }

    /// What stands next.
    #[inline]
    pub fn next(&mut self) -> Result<Next, LaneError> {
        let polled = self.consumer.poll()?;
        self.found(polled)
    }

    #[inline(always)]
    pub(super) fn found(&mut self, polled: Polled) -> Result<Next, LaneError> {
        match polled {
            Polled::Record(record) if record.kind == Kind::Message => self.message(record),
            Polled::Empty => Ok(Next::Empty),
            Polled::Gap(counts) => Ok(self.gap(counts)),
            Polled::Switch(switch) => {
                self.moves = 0;
                self.leave_ring(switch)
            }
            Polled::Record(record) => {
                self.moves = 0;
                self.next_rare(record)
            }
        }
    }

    /// Whether a message stands next, of this length where one is given: as [`next`](Self::next) finds it. What else may stand
    /// there `next` finds.
    #[inline(always)]
    pub fn ready(&mut self, len_bytes: Option<usize>) -> bool {
        let Some(ready) = self.consumer.ready(len_bytes) else {
            return false;
        };
        let record = self.consumer.record(ready);
        if self.known != Some(record.detail) && !self.knows(record.detail) {
            return false;
        }
        self.end = self.consumer.end(&record);
        self.message.kind = Kind::Message;
        self.message.topic = record.detail;
        self.message.payload = self.payload_of(&record);
        true
    }

    /// Whether nothing stands in the ring.
    #[inline(always)]
    pub fn is_dry(&self) -> bool {
        self.consumer.is_dry()
    }

    /// Looks for losses that are not announced in band. Only for a lane that was just found empty.
    pub fn next_loss(&mut self) -> Result<Next, LaneError> {
        match self.consumer.poll_losses()? {
            Polled::Gap(counts) => Ok(self.gap(counts)),
            _ => Ok(Next::Empty),
        }
    }

    /// The payload of the message.
    ///
    /// # Safety
    /// The last call of `next` or `ready` has found it, and it is not released while the slice lives.
    #[expect(unsafe_code, reason = "passes on a promise")]
    #[inline(always)]
    pub unsafe fn payload(&self) -> &[u8] {
        // SAFETY: the caller's promise.
        unsafe { self.message.payload.bytes() }
    }

    /// Bytes of the payload.
    #[inline(always)]
    pub fn len_bytes(&self) -> usize {
        self.message.payload.len_bytes()
    }

    /// When the message was published, where its publisher tells that.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self.message.kind {
            Kind::Stamped | Kind::StampedPooled => self.message.stamp,
            _ => None,
        }
    }

    /// The topic of the message; `None` before the first one.
    #[inline]
    pub fn topic(&self) -> Option<&Topic> {
        self.topics.get(self.message.topic as usize)?.as_ref()
    }

    /// The publisher's number for that topic.
    #[inline]
    pub fn topic_id(&self) -> u32 {
        self.message.topic as u32
    }

    /// Sequence number of the message.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Gives the message back, which the last call of `next` or `ready` has found.
    #[inline(always)]
    pub fn release(&mut self) {
        let len_bytes = self.message.payload.len_bytes();
        self.counters.message(len_bytes, self.end);
        if self.step(self.end) {
            self.publish_cursor();
        }
    }

    /// Goes on behind the message, which ends here. Whether to tell the publisher now.
    #[inline(always)]
    fn step(&mut self, end: Position) -> bool {
        // Wrapping: a gap record may have claimed any number.
        self.sequence = self.sequence.wrapping_add(1);
        self.consumer.advance_to(end) || self.publisher_sleeps()
    }

    /// Whether the publisher waits for room: then it is told at once of every bit, or a slow reader of small messages would
    /// not show any progress before the deadline. Seen too late, it is seen at the next release.
    #[inline]
    fn publisher_sleeps(&self) -> bool {
        let parked = self.consumer.storage().control(Control::Parked);
        is_asleep(parked.load(Ordering::Relaxed))
    }

    /// What the lane counts.
    pub fn counters(&self) -> &LaneSlot {
        &self.counters
    }

    /// Tells the publisher how far everything is read.
    #[inline(never)]
    pub fn publish_cursor(&mut self) {
        // Those of messages that were given back.
        let position = self.consumer.position();
        self.attachments.take_if(|(end, _)| *end <= position);
        if self.keeps_account {
            self.consumer.cursor().tell(Account {
                position: self.consumer.position(),
                sequence: self.sequence,
                told: self.consumer.told(),
            });
        }
        let published = self.consumer.publish();
        self.wake(published);
    }

    /// Whether the next `next` or `next_loss` finds something, or the publisher has closed.
    pub fn has_something(&mut self) -> bool {
        self.consumer.has_something() || self.is_closed()
    }

    /// Whether the ring is filled beyond the high water mark, and not back below the low one, if that has changed since
    /// this was asked last. The publisher tells it; a lane that is empty is low whatever was told.
    pub fn water_news(&mut self) -> Option<bool> {
        let water = self.consumer.storage().control(Control::Water);
        // Relaxed: it orders nothing.
        let crossings = water.load(Ordering::Relaxed);
        if self.is_dry() {
            self.drained = crossings;
        }
        let is_high = is_high(crossings) && crossings != self.drained;
        let changed = is_high != self.told_high;
        self.told_high = is_high;
        changed.then_some(is_high)
    }

    /// Whether the publisher has said that nothing more will come; what it sent before is visible after this.
    pub fn is_closed(&self) -> bool {
        self.consumer.is_closed()
    }

    /// How the publisher has ended the lane, if it has; like [`Reader::is_closed`].
    pub fn ending(&self) -> Option<Ending> {
        self.consumer.ending()
    }

    /// How the lane ends by the exit of its publisher's process.
    pub fn ending_by_exit(&self) -> Ending {
        self.consumer.ending_by_exit()
    }

    /// Says that this lane is read no more.
    pub fn leave(&mut self) {
        // The publisher counts what was not read. It is woken below.
        let _ = self.consumer.publish();
        self.consumer.cursor().leave();
        self.publisher.ring();
    }

    /// Whether a topic has this id; remembers it then.
    #[inline]
    fn knows(&mut self, id: u64) -> bool {
        let knows = matches!(self.topics.get(id as usize), Some(Some(_)));
        if knows {
            self.known = Some(id);
        }
        knows
    }

    #[inline]
    fn message(&mut self, record: Record) -> Result<Next, LaneError> {
        if !self.knows(record.detail) {
            return Err(LaneError::UnknownTopic { id: record.detail });
        }
        self.end = self.consumer.end(&record);
        self.message.kind = record.kind;
        self.message.topic = record.detail;
        self.message.payload = self.payload_of(&record);
        Ok(Next::Message)
    }

    /// Where the payload of a record lies that was checked.
    #[inline(always)]
    fn payload_of(&self, record: &Record) -> Payload {
        let start = self.consumer.storage().address(record.offset);
        Payload::at(start, record.len_bytes)
    }

    /// What is not the rule.
    #[cold]
    fn next_rare(&mut self, record: Record) -> Result<Next, LaneError> {
        match record.kind {
            Kind::Topic => self.define(record),
            Kind::Retire => self.retire(record),
            Kind::Attachments => self.attach(record),
            _ => self.any_message(record),
        }
    }

    /// A message of any kind.
    fn any_message(&mut self, record: Record) -> Result<Next, LaneError> {
        match record.kind {
            Kind::Message => self.message(record),
            Kind::Stamped => self.stamped(record),
            _ => self.pooled(record),
        }
    }

    /// A message behind a timestamp, given as if the timestamp were not there.
    fn stamped(&mut self, record: Record) -> Result<Next, LaneError> {
        self.message(record)?;
        let len = record.len_bytes;
        let cut = LaneError::Timestamp { len };
        let behind = self.message.payload.behind(Timestamp::BYTES);
        self.message.payload = behind.ok_or(cut.clone())?;
        let mut bytes = [0; Timestamp::BYTES];
        let storage = self.consumer.storage();
        storage.copy_out(record.offset, &mut bytes);
        let stamp = Timestamp::from_bytes(bytes, self.host).ok_or(cut)?;
        self.message.stamp = Some(stamp);
        if let Some(latency) = stamp.elapsed() {
            self.counters.latency(latency);
        }
        Ok(Next::Message)
    }

    fn gap(&mut self, counts: DropCounts) -> Next {
        let first = self.sequence;
        self.sequence = self.sequence.wrapping_add(counts.total());
        self.counters.lost(&counts);
        Next::Gap { counts, first }
    }

    #[inline]
    pub(super) fn wake(&mut self, published: Published) {
        if published == Published::Moved {
            let parked = self.consumer.storage().control(Control::Parked);
            if self.publisher.wake_if_parked(parked) {
                self.counters.woke();
            }
        }
    }
}

pub(super) fn cargo_error(error: &CargoError) -> LaneError {
    LaneError::Cargo(crate::wire::reason(error))
}
