//! What a publisher has kept, before what it publishes.
//!
//! A lane begins with a number of the publisher's history: all values below that are the snapshot, all others come in the
//! lane. So a topic that is overwritten while the snapshot is read comes live only, and nothing comes twice.

use crate::message::{Host, Timestamp};
use crate::ring::{Control, Read};
use crate::sync::load_acquire;
use crate::table::{self, TableReader};
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
    /// The slot that is looked at, and which of its values.
    slot: u32,
    back: u32,
    /// Number of the last value of the slot that was given; 0 if there is none.
    last: u64,
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
        let table = TableReader::open(history)?;
        Ok(Self {
            back: table.history(),
            table,
            lane,
            parcel: Unpacked::default(),
            given: false,
            slot: 0,
            last: 0,
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
        while self.slot < self.table.slots() {
            if self.back == 0 {
                self.slot += 1;
                self.back = self.table.history();
                self.last = 0;
                continue;
            }
            match self
                .table
                .read(self.slot, self.back - 1, self.parcel.buffer())?
            {
                table::Read::Busy => return Ok(Some(Next::Empty)),
                table::Read::None => self.back -= 1,
                table::Read::Value(value) => {
                    self.back -= 1;
                    // Those that come later come in the lane.
                    let is_news = value.sequence > self.last && value.sequence < start;
                    if is_news {
                        self.last = value.sequence;
                        self.parcel.open(self.host)?;
                        if self.advance()? {
                            self.given = true;
                            return Ok(Some(Next::Message));
                        }
                    }
                }
            }
        }
        Ok(None)
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
        self.last
    }

    /// Gives it back.
    pub fn release(&mut self) {
        self.given = false;
    }
}
