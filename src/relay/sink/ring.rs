//! A ring whose records wait for the subscriber, and its publisher for that.

use crate::doorbell::Sleeper;
use crate::lane::{OwnMedium, PeerCursor};
use crate::ring::{Control, DropCounts, Ending, Position, Read, Replica};

use super::ContentsError;

pub struct RingSink {
    replica: Replica<OwnMedium, PeerCursor>,
    sleeper: Sleeper,
    /// On more unread bytes than these, as the far side sees it, it is told of each move of the cursor.
    news_above: u64,
    /// The same until it has been told that all before this is read.
    asked: Position,
}

impl RingSink {
    pub(super) fn new(ring: OwnMedium, news_above: u64) -> Self {
        Self {
            replica: Replica::new(ring),
            sleeper: Sleeper::default(),
            news_above,
            asked: Position(0),
        }
    }

    pub(super) fn attach(&mut self, cursor: PeerCursor) {
        self.replica.attach(cursor);
    }

    /// Writes records; nothing is written on an error. None at all: the far side waits for the reader, which is to be rung.
    pub(super) fn append(&mut self, position: u64, records: &[u8]) -> Result<(), ContentsError> {
        let due = self.replica.position().0;
        if position != due {
            return Err(ContentsError::Position {
                said: position,
                due,
            });
        }
        if records.is_empty() {
            self.asked = self.replica.position();
            // By this a reader that is a relay knows that it has to ask, too; the next sleep retires it.
            self.announce();
            return Ok(());
        }
        self.replica.append(records)?;
        Ok(())
    }

    pub(super) fn set_drops(&mut self, counts: DropCounts) {
        self.replica.set_drops(counts);
    }

    pub(super) fn close(&self, ending: Ending) {
        self.replica.close(ending);
    }

    pub(super) fn reader_position(&mut self) -> Position {
        self.replica.reader_position()
    }

    /// Whether the far side, which knows this cursor, may wait for room: its next message might not fit behind what it
    /// believes to be unread.
    pub(super) fn is_urgent(&self, told: Position) -> bool {
        self.replica.position().0 - told.0 > self.news_above || told < self.asked
    }

    pub(super) fn announce(&mut self) {
        let parked = self.replica.storage().control(Control::Parked);
        self.sleeper.announce(parked, || (), || false);
    }

    pub(super) fn retire(&mut self) {
        let parked = self.replica.storage().control(Control::Parked);
        self.sleeper.retire(parked);
    }
}
