//! What a publisher has kept, before what it publishes.
//!
//! A lane begins with a number of the publisher's history: all values below that are the snapshot, all others come in the
//! lane. So a topic that is overwritten while the snapshot is read comes live only, and nothing comes twice.

use crate::message::{Host, Timestamp};
use crate::ring::{Control, Read};
use crate::sync::load_acquire;
use crate::table::TableReader;
use crate::topic::{Selection, Topic};

use super::copy_reader::host;
use super::{LaneError, Next, PeerMedium, Unpacked};

/// Reads the values that were written before a lane began, each topic's oldest first.
pub struct Snapshot {
    table: TableReader<PeerMedium>,
    /// Says with which number the lane begins.
    lane: PeerMedium,
    parcel: Unpacked,
    given: bool,
    /// Of the value that is given, within the history.
    number: u64,
    /// What the subscriber takes of it.
    selection: Selection,
    host: Host,
}

impl Snapshot {
    /// Of this history, before what comes in this lane.
    ///
    /// # Errors
    /// The history is no table.
    pub fn new(
        history: PeerMedium,
        lane: PeerMedium,
        selection: Selection,
    ) -> Result<Self, LaneError> {
        let host = host(&lane);
        Ok(Self {
            table: TableReader::open_for_all(history)?,
            lane,
            parcel: Unpacked::default(),
            given: false,
            number: 0,
            selection,
            host,
        })
    }

    /// Whether it is said what belongs to the snapshot.
    pub fn has_begun(&self) -> bool {
        self.start() != 0
    }

    /// With which number the lane begins; 0 if it has not begun.
    fn start(&self) -> u64 {
        // Acquire: whatever was kept by then is visible after this.
        load_acquire(self.lane.control(Control::Start))
    }

    /// What stands next; `None` once all was given. [`Next::Empty`] where it has to be asked again. A lane that has ended
    /// does not begin any more.
    pub fn next(&mut self, has_ended: bool) -> Result<Option<Next>, LaneError> {
        if self.given || self.advance()? {
            self.given = true;
            return Ok(Some(Next::Message));
        }
        let start = match self.start() {
            0 if has_ended => u64::MAX,
            0 => return Ok(Some(Next::Empty)),
            start => start,
        };
        let looks = match has_ended {
            // Whoever finds an ended lane empty parts from it; there is no more than this to look at.
            true => MOST_LOOKS
                .saturating_add(self.table.slots().saturating_mul(self.table.history() + 1)),
            false => MOST_LOOKS,
        };
        for _ in 0..looks {
            // All that was written before is given then; what was not had to give way to something that comes in the lane.
            if self.table.seen() >= start {
                return Ok(None);
            }
            match self.table.poll(self.parcel.buffer())? {
                Some(value) if value.vacated || value.sequence >= start => {}
                Some(value) => {
                    self.number = value.sequence;
                    self.parcel.open(self.host)?;
                    if self.advance()? {
                        self.given = true;
                        return Ok(Some(Next::Message));
                    }
                }
                None if has_ended && !self.table.has_something() => return Ok(None),
                // Done, or the publisher has written to a topic faster than it could be read.
                None => {}
            }
        }
        Ok(Some(Next::Empty))
    }

    /// Goes on to the next message of the parcel that is wanted.
    fn advance(&mut self) -> Result<bool, LaneError> {
        while self.parcel.advance()? {
            let topic = self.parcel.topic();
            if topic.is_some_and(|topic| self.selection.takes(topic)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The message.
    pub fn payload(&self) -> &[u8] {
        self.parcel.message()
    }

    /// When it was published, where its publisher tells that.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.parcel.timestamp()
    }

    /// Its topic.
    pub fn topic(&self) -> Option<&Topic> {
        self.parcel.topic()
    }

    /// The publisher's number for that.
    pub fn topic_id(&self) -> u32 {
        self.parcel.topic_id()
    }

    /// Its number among all that the publisher has kept.
    pub fn sequence(&self) -> u64 {
        self.number
    }

    /// Gives it back.
    pub fn release(&mut self) {
        self.given = false;
    }
}

/// Values that are passed over before the caller has its turn again.
const MOST_LOOKS: u32 = 256;
