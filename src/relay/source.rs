//! A ring of this host that another host reads.

use crate::doorbell::is_asleep;
use crate::lane::{CursorArea, Peer, PeerMedium};
use crate::ring::{Control, Cursor, Ending, Position, Read, Tail, Violation};
use crate::sync::{Ordering, load_acquire};
use crate::wire::LaneId;

use super::RECORDS_AT_ONCE;
use super::packet::{self, Packet};

/// A ring of this host that another host reads: its records leave in packets, the far reader's cursor comes back.
pub struct Source {
    tail: Tail<PeerMedium>,
    /// Where the far reader's cursor is shown to the publisher.
    area: CursorArea,
    publisher: Peer,
    /// Whether the publisher's process has exited.
    exited: bool,
    /// The publisher's parked counter when all had been sent.
    parked: u64,
    /// Up to here the other host was asked to tell of each move of the reader.
    asked: Position,
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

impl Source {
    pub fn new(ring: PeerMedium, area: CursorArea, publisher: Peer) -> Self {
        Self {
            tail: Tail::new(ring),
            area,
            publisher,
            exited: false,
            parked: 0,
            asked: Position(0),
        }
    }

    /// Where the far reader's cursor is shown: what the publisher is told.
    pub fn area(&self) -> &CursorArea {
        &self.area
    }

    /// The publisher's process has exited: what it has committed is still to be sent.
    pub fn set_exited(&mut self) {
        self.exited = true;
    }

    /// Appends what there is to be sent, about [`RECORDS_AT_ONCE`] bytes at most.
    ///
    /// # Errors
    /// The publisher broke the format.
    pub fn pump(&mut self, lane: LaneId, out: &mut Vec<u8>) -> Result<Pumped, Violation> {
        // Before the look at the ring: what the publisher did before it closed is visible then.
        let ending = self.ending();
        let begun = packet::begin_records(out, lane, self.tail.position().0);
        // Relaxed: nobody else writes it.
        let cursor = Position(self.area.word().load(Ordering::Relaxed));
        let taken = self.tail.take(out, RECORDS_AT_ONCE, cursor);
        let mut pumped = if packet::finish_records(begun, out) {
            Pumped::Some
        } else {
            Pumped::Nothing
        };
        taken?;
        if let Some(counts) = self.tail.take_drops() {
            Packet::Drops { lane, counts }.encode(out);
            pumped = Pumped::Some;
        }
        if let Some(ending) = ending {
            if !self.tail.has_something() {
                Packet::Ended { lane, ending }.encode(out);
                pumped = Pumped::Last;
            }
        } else if pumped == Pumped::Nothing && self.must_ask(cursor) {
            Packet::ask(lane, self.tail.position().0).encode(out);
            pumped = Pumped::Some;
        }
        Ok(pumped)
    }

    /// Whether the publisher waits for its reader, or has since this was asked last, and the other host does not know yet.
    /// For a ring of which everything is sent.
    fn must_ask(&mut self, cursor: Position) -> bool {
        // Relaxed: the publisher rings behind it.
        let parked = self.tail.storage().control(Control::Parked);
        let parked = parked.load(Ordering::Relaxed);
        let waits = is_asleep(parked) || parked != self.parked;
        self.parked = parked;
        let sent = self.tail.position();
        let asks = waits && self.asked < sent && cursor < sent;
        if asks {
            self.asked = sent;
        }
        asks
    }

    /// Whether there is something to send.
    pub fn has_something(&self) -> bool {
        self.tail.has_something() || self.has_ended()
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
        let sent = self.tail.position().0;
        // Relaxed: nobody else writes it.
        if position > sent || position < self.area.word().load(Ordering::Relaxed) {
            return Err(CursorError {
                said: position,
                sent,
            });
        }
        // Partner: the acquire in `Producer::look_for_room`; all reads below it are over, for the bytes have left.
        self.area.word().store(position, Ordering::Release);
        let parked = self.tail.storage().control(Control::Parked);
        self.publisher.wake_if_parked(parked);
        Ok(())
    }

    /// Tells the publisher that nobody reads any more.
    pub fn leave(&self) {
        self.area.leave();
        self.publisher.ring();
    }

    /// How the lane ended, if it has.
    fn ending(&self) -> Option<Ending> {
        let ring = self.tail.storage();
        if self.exited {
            return Some(Ending::by_exit(load_acquire(ring.control(Control::Closed))));
        }
        self.tail.ending()
    }
}
