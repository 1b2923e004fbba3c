//! The subscriber's end of a lane, whatever that lies in.

use crate::message::Timestamp;
use crate::ring::{Ending, Position};
use crate::topic::Topic;

use super::{
    Apart, Attachments, CannotHold, CopyReader, HistoryReader, Hold, LaneError, MappedRegion, Next,
    Reader, Snapshot,
};

/// The subscriber's end of a lane, whatever that lies in.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rings, which are read without a detour"
)]
pub enum LaneReader {
    /// A ring whose records wait for the subscriber, and are read where they lie.
    Ring(Reader),
    /// A ring whose oldest records give way, or a table: copied from.
    Copy(Box<CopyReader>),
    /// What the publisher has kept, before either; always `Some`.
    Snapshot(Box<Snapshot>, Option<Box<LaneReader>>),
    /// What the publisher has kept, to be looked at; no messages come.
    History(Box<HistoryReader>),
    /// A ring that others read, and this one not yet, or no more.
    Apart(Box<Apart>),
}

/// Calls a method of whatever reads the lane itself.
macro_rules! lane {
    ($self:expr, $reader:ident => $call:expr) => {
        match $self {
            LaneReader::Ring($reader) => $call,
            LaneReader::Copy($reader) => $call,
            LaneReader::History($reader) => $call,
            LaneReader::Apart(apart) => {
                let $reader = apart.reader();
                $call
            }
            LaneReader::Snapshot(_, $reader) => {
                let $reader = $reader.as_deref().expect("a snapshot has its lane");
                $call
            }
        }
    };
    (mut $self:expr, $reader:ident => $call:expr) => {
        match $self {
            LaneReader::Ring($reader) => $call,
            LaneReader::Copy($reader) => $call,
            LaneReader::History($reader) => $call,
            LaneReader::Apart(apart) => {
                let $reader = apart.reader_mut();
                $call
            }
            LaneReader::Snapshot(_, $reader) => {
                let $reader = $reader.as_deref_mut().expect("a snapshot has its lane");
                $call
            }
        }
    };
}

/// Calls a method of whatever has given the message.
macro_rules! message {
    ($self:expr, $reader:ident => $call:expr, $none:expr) => {
        match $self {
            LaneReader::Ring($reader) => $call,
            LaneReader::Copy($reader) => $call,
            LaneReader::Snapshot($reader, _) => $call,
            LaneReader::History(_) | LaneReader::Apart(_) => $none,
        }
    };
}

impl LaneReader {
    /// The lane behind what its publisher has kept.
    pub fn behind(snapshot: Snapshot, lane: Self) -> Self {
        Self::Snapshot(Box::new(snapshot), Some(Box::new(lane)))
    }

    /// The regions that are attached to the message that was found last; once.
    pub fn take_regions(&mut self) -> Result<Vec<MappedRegion>, CannotHold> {
        match self {
            Self::Ring(reader) => reader.take_regions(),
            _ => Ok(Vec::new()),
        }
    }

    /// What is attached to the message that was found last.
    pub fn attachments(&mut self) -> Option<&mut Attachments> {
        match self {
            Self::Ring(reader) => reader.attachments(),
            _ => None,
        }
    }

    /// What stands next.
    #[inline]
    pub fn next(&mut self) -> Result<Next, LaneError> {
        match self {
            Self::Ring(reader) => {
                let next = reader.next()?;
                if next == Next::Empty && reader.has_ended {
                    self.part();
                }
                Ok(next)
            }
            _ => self.next_copy(),
        }
    }

    /// The reader has no ring any more.
    #[cold]
    fn part(&mut self) {
        let ended = Self::Apart(Box::new(Apart::ended()));
        let before = std::mem::replace(self, ended);
        if let (Self::Apart(apart), Self::Ring(reader)) = (self, before) {
            apart.keep(reader);
        }
    }

    /// Rings that the reader has left: what was known of the last one says nothing of the next.
    pub fn rings(&self) -> u64 {
        match self {
            Self::Ring(reader) => reader.rings,
            _ => 0,
        }
    }

    #[inline(never)]
    fn next_copy(&mut self) -> Result<Next, LaneError> {
        loop {
            let lane = match self {
                Self::Ring(reader) => return reader.next(),
                Self::Apart(apart) => match apart.begin()? {
                    None => return Ok(Next::Empty),
                    Some(reader) => Some(Box::new(Self::Ring(reader))),
                },
                Self::Copy(reader) => return reader.next(),
                Self::History(_) => return Ok(Next::Empty),
                Self::Snapshot(snapshot, lane) => {
                    let has_ended = lane.as_ref().is_none_or(|lane| lane.ending().is_some());
                    match snapshot.next(has_ended)? {
                        Some(next) => return Ok(next),
                        None => lane.take(),
                    }
                }
            };
            if let Some(lane) = lane {
                *self = *lane;
            }
        }
    }

    /// As [`Reader::ready`] and [`Reader::ready_in_pool`], where the lane is a ring.
    #[inline(always)]
    pub fn ready(&mut self, len_bytes: Option<usize>) -> bool {
        match self {
            Self::Ring(reader) => reader.ready(len_bytes) || reader.ready_in_pool(),
            _ => false,
        }
    }

    /// Whether nothing stands next.
    #[inline(always)]
    pub fn is_dry(&self) -> bool {
        match self {
            Self::Ring(reader) => reader.is_dry(),
            _ => self.is_dry_copy(),
        }
    }

    // Out of line, as all that is of copies: rings are not to pay for a choice between more than two.
    #[inline(never)]
    fn is_dry_copy(&self) -> bool {
        match self {
            Self::Ring(reader) => reader.is_dry(),
            Self::Copy(reader) => reader.is_dry(),
            Self::History(_) => true,
            Self::Apart(apart) => !apart.has_something(),
            Self::Snapshot(..) => !self.has_snapshot(),
        }
    }

    /// Looks for losses that are not announced in band. Only for a lane that was just found empty.
    pub fn next_loss(&mut self) -> Result<Next, LaneError> {
        match self {
            Self::Ring(reader) => reader.next_loss(),
            _ => Ok(Next::Empty),
        }
    }

    /// The payload of the message.
    ///
    /// # Safety
    /// The last call of `next` or `ready` has found it, and it is not released while the slice lives.
    #[expect(unsafe_code, reason = "passes on a promise to the ring")]
    #[inline(always)]
    pub unsafe fn payload(&self) -> &[u8] {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(reader) => unsafe { reader.payload() },
            _ => self.payload_copy(),
        }
    }

    /// As [`Reader::ready_payload`], where the lane is a ring.
    ///
    /// # Safety
    /// As [`payload`](Self::payload).
    #[expect(unsafe_code, reason = "passes on a promise to the ring")]
    #[inline(always)]
    pub unsafe fn ready_payload(&mut self, len_bytes: Option<usize>) -> Option<&[u8]> {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(reader) => unsafe { reader.ready_payload(len_bytes) },
            _ => None,
        }
    }

    /// As [`Reader::next_payload`], where the lane is a ring.
    ///
    /// # Safety
    /// As [`payload`](Self::payload).
    #[expect(unsafe_code, reason = "passes on a promise to the ring")]
    #[inline(always)]
    pub unsafe fn next_payload(&mut self, len_bytes: Option<usize>) -> Option<&[u8]> {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(reader) => unsafe { reader.next_payload(len_bytes) },
            _ => None,
        }
    }

    #[inline(never)]
    fn payload_copy(&self) -> &[u8] {
        match self {
            Self::Ring(_) | Self::History(_) | Self::Apart(_) => &[],
            Self::Copy(reader) => reader.payload(),
            Self::Snapshot(snapshot, _) => snapshot.payload(),
        }
    }

    /// Bytes of the payload, where the lane is a ring.
    #[inline(always)]
    pub fn len_in_ring(&self) -> Option<usize> {
        match self {
            Self::Ring(reader) => Some(reader.len_bytes()),
            _ => None,
        }
    }

    /// Keeps the message beyond its release, if it lies in a pool.
    pub fn hold(&self) -> Result<Option<Hold>, CannotHold> {
        match self {
            Self::Ring(reader) => reader.hold(),
            Self::Copy(reader) => Ok(reader.hold()),
            _ => Ok(None),
        }
    }

    /// When the message was published, where its publisher tells that.
    pub fn timestamp(&self) -> Option<Timestamp> {
        message!(self, reader => reader.timestamp(), None)
    }

    /// The topic of the message; `None` before the first one.
    #[inline]
    pub fn topic(&self) -> Option<&Topic> {
        message!(self, reader => reader.topic(), None)
    }

    /// The publisher's number for that topic.
    #[inline]
    pub fn topic_id(&self) -> u32 {
        message!(self, reader => reader.topic_id(), 0)
    }

    /// Sequence number of the message.
    #[inline]
    pub fn sequence(&self) -> u64 {
        message!(self, reader => reader.sequence(), 0)
    }

    /// Messages that this one takes the place of.
    pub fn skipped(&self) -> u64 {
        match self {
            Self::Copy(reader) => reader.skipped(),
            _ => 0,
        }
    }

    /// Whether the message was published before the subscription.
    pub fn is_snapshot(&self) -> bool {
        matches!(self, Self::Snapshot(..))
    }

    /// Gives the message back, which the last call of `next` or `ready` has found.
    #[inline(always)]
    pub fn release(&mut self) {
        match self {
            Self::Ring(reader) => reader.release(),
            _ => self.release_copy(),
        }
    }

    #[inline(never)]
    fn release_copy(&mut self) {
        match self {
            Self::Ring(reader) => reader.release(),
            Self::Copy(reader) => reader.release(),
            Self::History(_) | Self::Apart(_) => {}
            Self::Snapshot(snapshot, _) => {
                let len_bytes = snapshot.payload().len();
                snapshot.release();
                self.counters().message(len_bytes, Position(0));
            }
        }
    }

    /// As [`Reader::pass`], where the lane is a ring.
    #[inline(always)]
    pub fn pass(&mut self, len_bytes: Option<usize>) -> bool {
        match self {
            Self::Ring(reader) => reader.pass(len_bytes),
            _ => false,
        }
    }

    /// As [`Reader::end_run`], where the lane is a ring.
    #[inline]
    pub fn end_run(&mut self, messages: u64, len_bytes: usize, is_due: bool) {
        if let Self::Ring(reader) = self {
            reader.end_run(messages, len_bytes, is_due);
        }
    }

    /// Whether the lane is what the publisher has kept, to be looked at.
    pub fn is_history(&self) -> bool {
        matches!(self, Self::History(_))
    }

    /// What the publisher has kept, where that is to be looked at.
    pub fn history(&mut self) -> Option<&mut HistoryReader> {
        match self {
            Self::History(reader) => Some(reader),
            _ => None,
        }
    }

    /// What the lane counts.
    pub fn counters(&self) -> &crate::counters::LaneSlot {
        lane!(self, reader => reader.counters())
    }

    /// Tells the publisher how far everything is read.
    pub fn publish_cursor(&mut self) {
        match self {
            Self::History(_) | Self::Apart(_) => {}
            Self::Ring(reader) => reader.publish_cursor(),
            Self::Copy(reader) => reader.publish_cursor(),
            Self::Snapshot(_, lane) => {
                if let Some(lane) = lane {
                    lane.publish_cursor();
                }
            }
        }
    }

    /// Whether the next `next` or `next_loss` finds something, or the publisher has closed.
    pub fn has_something(&mut self) -> bool {
        match self {
            Self::Ring(reader) => reader.has_something(),
            Self::Copy(reader) => reader.has_something(),
            Self::History(reader) => reader.ending().is_some(),
            Self::Snapshot(..) => self.has_snapshot(),
            Self::Apart(apart) => apart.has_something(),
        }
    }

    /// Whether it can be said what belongs to the snapshot.
    fn has_snapshot(&self) -> bool {
        match self {
            Self::Snapshot(snapshot, _) => snapshot.has_begun() || self.ending().is_some(),
            _ => false,
        }
    }

    /// The news of [`Reader::water_news`], where the lane is a ring.
    pub fn water_news(&mut self) -> Option<bool> {
        match self {
            Self::Ring(reader) => reader.water_news(),
            _ => None,
        }
    }

    /// Whether the publisher has said that nothing more will come; what it sent before is visible after this.
    pub fn is_closed(&self) -> bool {
        self.ending().is_some()
    }

    /// How the publisher has ended the lane, if it has; like [`LaneReader::is_closed`].
    pub fn ending(&self) -> Option<Ending> {
        match self {
            Self::Apart(apart) => apart.ending(),
            lane => lane!(lane, reader => reader.ending()),
        }
    }

    /// How the lane ends by the exit of its publisher's process.
    pub fn ending_by_exit(&self) -> Ending {
        lane!(self, reader => reader.ending_by_exit())
    }

    /// Says that this lane is read no more.
    pub fn leave(&mut self) {
        lane!(mut self, reader => reader.leave());
    }
}
