//! A lane of this host that another host reads.
//!
//! # A lane with a history
//! The lane states the number of the publisher's history with which it begins, [`Control::Start`]: what the history holds
//! below that comes first, all else in the lane. The other host's reader walks its copy of the history once, when it finds
//! that word. So the copy must be complete by then:
//!
//! 1. Values of the history are sent, as they are found.
//! 2. [`Packet::Start`] is sent when all values below that number have been, or others in their place: a value that took the
//!    place of one below has a higher number, so it comes in the lane as well. The word is looked at before the history is,
//!    and all values below it are in the history by the time that it is set.
//! 3. Nothing of the lane itself is sent before. Behind it nothing is sent of the history any more: the snapshot is taken.
//!
//! So the other side tells values of the history from those of a table that is the lane by what has come before. A lane that
//! ends without having begun has no messages: then all of the history is sent, and `Ended`.

mod lossy;
mod ring;
mod table;

#[cfg(test)]
mod tests;

use crate::lane::{CursorArea, Peer, PeerMedium};
use crate::ring::{Control, Cursor, Ending, Position, Read, Violation};
use crate::sync::{Ordering, load_acquire};
use crate::wire::{LaneId, Medium};

use super::packet::{Packet, Sizes};
use lossy::LossySource;
use ring::RingSource;
use table::TableSource;

/// A lane of this host that another host reads: what is in it leaves in packets, the far reader's cursor comes back.
pub struct Source {
    memory: PeerMedium,
    /// What the publisher has kept, until all of it is sent.
    history: Option<TableSource>,
    flow: Box<dyn Flow>,
    /// Where the far reader's cursor is shown to the publisher.
    area: CursorArea,
    publisher: Peer,
    /// Whether the publisher's process has exited.
    exited: bool,
    /// Whether the memory is not this lane's alone: what it says of its end is none of the lane.
    shared: bool,
}

/// What a lane lies in, as it is sent.
trait Flow: Send {
    /// Appends what there is to be sent, about [`super::RECORDS_AT_ONCE`] bytes at most; whether there was something.
    /// `cursor` is what the publisher is shown.
    ///
    /// # Errors
    /// The publisher broke the format.
    fn pump(
        &mut self,
        lane: LaneId,
        cursor: Position,
        out: &mut Vec<u8>,
    ) -> Result<bool, BrokenLane>;
    /// Whether there is something to send.
    fn has_something(&self) -> bool;
    /// How far everything is sent: no cursor is beyond.
    fn sent(&self) -> Position;
}

/// How far a source has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// There was nothing.
    Nothing,
    /// Some packets.
    Some,
    /// The last packet: the lane has ended.
    Last,
}

/// A far reader that says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer says that it has read up to position {said}, {sent} was sent")]
pub struct CursorError {
    /// The position.
    pub said: u64,
    /// The end of what was sent.
    pub sent: u64,
}

/// How a publisher of this host broke the format of its lane. What an honest relay on the other side would refuse is found
/// here, where it is known whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLane {
    /// Of a ring.
    #[error(transparent)]
    Ring(#[from] Violation),
    /// Of a table.
    #[error(transparent)]
    Table(#[from] crate::table::Violation),
    /// Longer than such a lane takes.
    #[error("a message of {len} bytes, {limit} are the most")]
    TooLarge {
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// The number of a record that is not above the one before.
    #[error("a record with number {number}, {due} or more is due")]
    Number {
        /// The number.
        number: u64,
        /// The least.
        due: u64,
    },
    /// The lane begins with a number that its history has not come to.
    #[error("a lane that begins with number {start} of a history that has come to {sequence}")]
    Start {
        /// The number.
        start: u64,
        /// The next one of the history.
        sequence: u64,
    },
}

impl Source {
    /// A lane in this memory, behind a history. Gives what the other side has to know to make the same.
    ///
    /// # Errors
    /// Why it cannot be carried over, for the publisher.
    pub fn new(
        medium: Medium,
        memory: PeerMedium,
        history: Option<PeerMedium>,
        area: CursorArea,
        publisher: Peer,
    ) -> Result<(Self, Sizes), String> {
        let mut sizes = Sizes {
            bytes: memory.capacity() as u64,
            ..Sizes::default()
        };
        let flow: Box<dyn Flow> = match medium {
            Medium::Ring => Box::new(RingSource::new(memory.clone())),
            Medium::LossyRing => Box::new(LossySource::new(memory.clone())),
            Medium::Table => Box::new(TableSource::new(memory.clone(), Some(1))?),
            Medium::History => {
                let table = TableSource::new(memory.clone(), None)?;
                sizes.bytes = 0;
                (sizes.history_bytes, sizes.kept) = table.sizes();
                Box::new(table)
            }
        };
        let history = history.map(|history| TableSource::new(history, None));
        let history = history.transpose()?;
        if let Some(history) = &history {
            (sizes.history_bytes, sizes.kept) = history.sizes();
        }
        let source = Self {
            memory,
            history,
            flow,
            area,
            publisher,
            exited: false,
            shared: medium == Medium::History,
        };
        Ok((source, sizes))
    }

    /// Where the far reader's cursor is shown: what the publisher is told.
    pub fn area(&self) -> &CursorArea {
        &self.area
    }

    /// Whether the lane lies in what others read as well, so that its end is not told there.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The publisher's process has exited: what it has committed is still to be sent.
    pub fn set_exited(&mut self) {
        self.exited = true;
    }

    /// Appends what there is to be sent, about [`super::RECORDS_AT_ONCE`] bytes at most.
    ///
    /// # Errors
    /// The publisher broke the format.
    pub fn pump(&mut self, lane: LaneId, out: &mut Vec<u8>) -> Result<Pumped, BrokenLane> {
        // Before the look at the memory: what the publisher did before it closed is visible then.
        let ending = self.ending();
        if self.history.is_some() {
            let start = self.start();
            let did = self.pump_history(lane, start, out)?;
            if !self.is_history_sent(start, ending)? {
                return Ok(Pumped::of(did));
            }
            if start != 0 {
                Packet::Start {
                    lane,
                    number: start,
                }
                .encode(out);
            }
            self.history = None;
            return Ok(Pumped::Some);
        }
        // Relaxed: nobody else writes it.
        let cursor = Position(self.area.word().load(Ordering::Relaxed));
        let did = self.flow.pump(lane, cursor, out)?;
        if let Some(ending) = ending
            && !self.flow.has_something()
        {
            Packet::Ended { lane, ending }.encode(out);
            return Ok(Pumped::Last);
        }
        Ok(Pumped::of(did))
    }

    /// Sends what has come into the history.
    fn pump_history(
        &mut self,
        lane: LaneId,
        start: u64,
        out: &mut Vec<u8>,
    ) -> Result<bool, BrokenLane> {
        let Some(history) = &mut self.history else {
            return Ok(false);
        };
        let did = history.pump(lane, Position(0), out)?;
        let sequence = history.sent().0;
        // All was found that was there when it was said where the lane begins.
        if !did && !history.has_something() && start > sequence {
            return Err(BrokenLane::Start { start, sequence });
        }
        Ok(did)
    }

    /// Whether all of the history is sent that belongs before the lane, which is said to begin, or to have ended.
    fn is_history_sent(&self, start: u64, ending: Option<Ending>) -> Result<bool, BrokenLane> {
        Ok(match (&self.history, start) {
            (None, _) => true,
            (Some(history), 0) => ending.is_some() && !history.has_something(),
            (Some(history), start) => history.sent().0 >= start,
        })
    }

    /// Whether there is something to send.
    pub fn has_something(&self) -> bool {
        let has_something = match &self.history {
            Some(history) => history.has_something() || self.start() != 0,
            None => self.flow.has_something(),
        };
        has_something || self.has_ended()
    }

    /// Whether the publisher writes, and looks at the cursor, no more.
    pub fn has_ended(&self) -> bool {
        self.ending().is_some()
    }

    /// The far reader has read up to here.
    ///
    /// # Errors
    /// It cannot have.
    pub fn set_cursor(&mut self, position: u64) -> Result<(), CursorError> {
        let sent = self.flow.sent().0;
        // Relaxed: nobody else writes it.
        if position > sent || position < self.area.word().load(Ordering::Relaxed) {
            return Err(CursorError {
                said: position,
                sent,
            });
        }
        // Partner: the acquire in `Producer::look_for_room`; all reads below it are over, for the bytes have left.
        self.area.word().store(position, Ordering::Release);
        let parked = self.memory.control(Control::Parked);
        self.publisher.wake_if_parked(parked);
        Ok(())
    }

    /// Tells the publisher that nobody reads any more.
    pub fn leave(&self) {
        self.area.leave();
        self.publisher.ring();
    }

    /// With which number of the history the lane begins; 0 if that is not said yet.
    fn start(&self) -> u64 {
        // Acquire: whatever was kept by then is visible after this. Partner: the release in `Gate::begin`, or in
        // `Sink::begin`.
        load_acquire(self.memory.control(Control::Start))
    }

    /// How the lane ended, if it has.
    fn ending(&self) -> Option<Ending> {
        let closed = load_acquire(self.memory.control(Control::Closed));
        match self.exited {
            true => Some(Ending::by_exit(closed)),
            false => Ending::of(closed),
        }
    }
}

impl Pumped {
    fn of(did: bool) -> Self {
        match did {
            true => Self::Some,
            false => Self::Nothing,
        }
    }
}
