//! The subscriber's end of a lane that it copies from.

use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::doorbell::is_asleep;
use crate::message::{Host, Timestamp};
use crate::ring::lossy::LossyConsumer;
use crate::ring::{Control, Cursor, DropCause, DropCounts, Ending, Position, Read};
use crate::segment::fork::ProcessMark;
use crate::sync::{Ordering, load_acquire};
use crate::table::{TableReader, Value};
use crate::topic::Topic;

use super::hint_reader::HintReader;
use super::parcel::{chunk_in, is_pooled};
use super::pool_reader::PoolReader;
use super::{CargoReceiver, CursorArea, Hold, LaneError, Next, Peer, PeerMedium, Unpacked};

/// The subscriber's end of a lane that it copies from. Checks whatever it finds; an error ends the lane.
pub struct CopyReader {
    medium: Medium,
    /// What was copied last.
    parcel: Unpacked,
    /// Of messages that lie in the publisher's pool, where there is a way for them.
    hints: Option<HintReader>,
    /// Whether `parcel` has a message that is given out and not released.
    given: bool,
    /// Messages that the one that is given, or the next one, takes the place of.
    skipped: u64,
    /// Of the next message: messages, skipped ones and losses so far.
    sequence: u64,
    publisher: Peer,
    counters: LaneSlot,
    /// Whose clocks the publisher stamps with.
    host: Host,
}

enum Medium {
    Lossy(LossyConsumer<PeerMedium, Arc<CursorArea>>),
    Table(Box<TableReader<PeerMedium>>, Arc<CursorArea>),
}

impl CopyReader {
    /// In a ring whose oldest messages give way.
    pub fn lossy(ring: PeerMedium, area: CursorArea, publisher: Peer, counters: LaneSlot) -> Self {
        let host = host(&ring);
        let medium = Medium::Lossy(LossyConsumer::new(ring, Arc::new(area)));
        Self::new(medium, publisher, counters, host)
    }

    /// In a table with the last message of each topic.
    ///
    /// # Errors
    /// It is no table.
    pub fn table(
        memory: PeerMedium,
        area: CursorArea,
        publisher: Peer,
        counters: LaneSlot,
    ) -> Result<Self, LaneError> {
        let host = host(&memory);
        let table = TableReader::open(memory)?;
        let medium = Medium::Table(Box::new(table), Arc::new(area));
        Ok(Self::new(medium, publisher, counters, host))
    }

    fn new(medium: Medium, publisher: Peer, counters: LaneSlot, host: Host) -> Self {
        Self {
            medium,
            parcel: Unpacked::default(),
            hints: None,
            given: false,
            skipped: 0,
            sequence: 0,
            publisher,
            counters,
            host,
        }
    }

    /// With a way for memory; `mark` says in which process.
    pub fn with_cargo(mut self, cargo: Option<CargoReceiver>, mark: ProcessMark) -> Self {
        if let Some(cargo) = cargo {
            let (area, memory) = (self.area().clone(), self.memory().clone());
            let bell = self.publisher.bell().clone();
            let pool = PoolReader::new(area, cargo.presence(), memory, bell, mark);
            self.hints = Some(HintReader::new(pool, cargo));
            self.parcel = Unpacked::default().taking_chunks();
        }
        self
    }

    /// What stands next. Of a publisher who has closed nothing is left when this is [`Next::Empty`].
    pub fn next(&mut self) -> Result<Next, LaneError> {
        if self.given || self.parcel.advance()? {
            return Ok(self.give());
        }
        self.skipped = 0;
        let Some(lost) = self.open_next()? else {
            return Ok(Next::Empty);
        };
        if lost > 0 {
            // The parcel, if there is one, comes with the next call.
            return Ok(self.lose(lost));
        }
        match self.parcel.advance()? {
            true => Ok(self.give()),
            false => Ok(Next::Empty),
        }
    }

    /// Finds out what is new: messages that are lost, a parcel, or both. `None` if nothing is.
    fn open_next(&mut self) -> Result<Option<u64>, LaneError> {
        if let Some(hints) = &mut self.hints {
            let memory = match &self.medium {
                Medium::Lossy(ring) => ring.storage(),
                Medium::Table(table, _) => table.storage(),
            };
            if hints.has_news(memory) {
                hints.take_news(memory)?;
            }
        }
        match &mut self.medium {
            Medium::Lossy(_) => self.open_record(),
            Medium::Table(table, _) => {
                let Some(value) = next_of(table, &mut self.parcel, self.hints.as_mut())? else {
                    return Ok(None);
                };
                // It had to give way to another topic.
                if value.vacated {
                    return Ok(Some(value.skipped));
                }
                self.parcel.open(self.host)?;
                // The others were on topics that the slot had before.
                self.skipped = value.skipped.min(self.parcel.before());
                Ok(Some(value.skipped - self.skipped))
            }
        }
    }

    /// The same in a ring.
    fn open_record(&mut self) -> Result<Option<u64>, LaneError> {
        let Medium::Lossy(ring) = &mut self.medium else {
            return Ok(None);
        };
        for _ in 0..MOST_LOOKS {
            let Some(number) = ring.poll(self.parcel.buffer())? else {
                return Ok(None);
            };
            self.parcel.open(self.host)?;
            if let (Some(chunk), Some(hints)) = (self.parcel.chunk(), &mut self.hints)
                && !hints.take(chunk, || ring.stands())?
            {
                // As if it had been overtaken before it was found.
                continue;
            }
            let due = self.sequence;
            let lost = number.checked_sub(due);
            return lost.map(Some).ok_or(LaneError::Number { number, due });
        }
        // There is more, but the caller is to have its turn.
        self.parcel.buffer();
        Ok(None)
    }

    fn give(&mut self) -> Next {
        if !self.given {
            self.sequence = self.sequence.wrapping_add(self.skipped);
            self.counters.conflated(self.skipped);
            if let Some(latency) = self.timestamp().and_then(|stamp| stamp.elapsed()) {
                self.counters.latency(latency);
            }
        }
        self.given = true;
        Next::Message
    }

    fn lose(&mut self, lost: u64) -> Next {
        let first = self.sequence;
        self.sequence = self.sequence.wrapping_add(lost);
        let counts = DropCounts::of(DropCause::Full, lost);
        match lost {
            0 => Next::Empty,
            _ => {
                self.counters.lost(&counts);
                Next::Gap { counts, first }
            }
        }
    }

    /// Whether nothing stands next.
    pub fn is_dry(&self) -> bool {
        !self.given && self.parcel.left() == 0 && self.is_medium_dry()
    }

    fn is_medium_dry(&self) -> bool {
        let hints = self.hints.as_ref();
        if hints.is_some_and(|hints| hints.has_news(self.memory())) {
            return false;
        }
        match &self.medium {
            Medium::Lossy(ring) => !ring.has_something(),
            Medium::Table(table, _) => !table.has_something(),
        }
    }

    /// The message.
    pub fn payload(&self) -> &[u8] {
        let hints = self.hints.as_ref();
        let found = hints.and_then(HintReader::payload);
        found.unwrap_or_else(|| self.parcel.message())
    }

    /// Keeps the message beyond its release; `None` if it does not lie in a pool.
    pub fn hold(&self) -> Option<Hold> {
        self.hints.as_ref()?.hold()
    }

    /// Messages that it takes the place of.
    pub fn skipped(&self) -> u64 {
        self.skipped
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

    /// Its number among all that was published for this lane, as far as told.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Gives it back.
    pub fn release(&mut self) {
        self.given = false;
        self.skipped = 0;
        self.sequence = self.sequence.wrapping_add(1);
        self.counters.message(self.payload().len(), self.position());
        let is_pooled = self.hints.as_mut().is_some_and(HintReader::release);
        let is_asleep = || is_asleep(self.parked().load(Ordering::Relaxed));
        // Its publisher needs the memory more than that of a record.
        if is_pooled || self.parcel.left() == 0 && is_asleep() {
            self.publish_cursor();
        }
    }

    /// What the lane counts.
    pub fn counters(&self) -> &LaneSlot {
        &self.counters
    }

    /// Tells the publisher how far everything is read.
    pub fn publish_cursor(&mut self) {
        match &mut self.medium {
            Medium::Lossy(ring) => drop(ring.publish()),
            // Release: as a ring's cursor.
            Medium::Table(table, area) => area.word().store(table.seen(), Ordering::Release),
        }
        let control = match &self.medium {
            Medium::Lossy(ring) => ring.storage(),
            Medium::Table(table, _) => table.storage(),
        };
        if self
            .publisher
            .wake_if_parked(control.control(Control::Parked))
        {
            self.counters.woke();
        }
    }

    /// Whether something stands next, or the publisher has closed.
    pub fn has_something(&self) -> bool {
        !self.is_dry() || self.ending().is_some()
    }

    /// How the publisher has ended the lane, if it has; what it sent before is visible after this.
    pub fn ending(&self) -> Option<Ending> {
        match &self.medium {
            Medium::Lossy(ring) => ring.ending(),
            Medium::Table(table, _) => {
                Ending::of(load_acquire(table.storage().control(Control::Closed)))
            }
        }
    }

    /// How the lane ends by the exit of its publisher's process.
    pub fn ending_by_exit(&self) -> Ending {
        match &self.medium {
            Medium::Lossy(ring) => ring.ending_by_exit(),
            Medium::Table(table, _) => {
                Ending::by_exit(load_acquire(table.storage().control(Control::Closed)))
            }
        }
    }

    /// Says that this lane is read no more.
    pub fn leave(&mut self) {
        self.area().leave();
        self.publisher.ring();
    }

    fn parked(&self) -> &crate::sync::AtomicU64 {
        self.memory().control(Control::Parked)
    }

    fn memory(&self) -> &PeerMedium {
        match &self.medium {
            Medium::Lossy(ring) => ring.storage(),
            Medium::Table(table, _) => table.storage(),
        }
    }

    fn area(&self) -> &Arc<CursorArea> {
        match &self.medium {
            Medium::Lossy(ring) => ring.cursor(),
            Medium::Table(_, area) => area,
        }
    }

    /// As far as the publisher is told.
    fn position(&self) -> Position {
        // Relaxed: nobody else writes it.
        Position(self.area().word().load(Ordering::Relaxed))
    }
}

/// The next value of a table that says something: not that a slot was vacated of which all was given before.
fn next_of(
    table: &mut TableReader<PeerMedium>,
    parcel: &mut Unpacked,
    mut hints: Option<&mut HintReader>,
) -> Result<Option<Value>, LaneError> {
    let mut broken = None;
    // Of a publisher who has closed, each slot is such a one once at most; one who goes on has other lanes wait meanwhile.
    for _ in 0..=table.slots() {
        let found = table.poll_with(parcel.buffer(), |value, stands| {
            !is_pooled(value) || keep(value, hints.as_deref_mut(), stands, &mut broken)
        })?;
        if let Some(error) = broken {
            return Err(error);
        }
        match found {
            Some(value) if value.vacated && value.skipped == 0 => {}
            found => return Ok(found),
        }
    }
    Ok(None)
}

/// Takes a message that lies in the pool; whether it still stood there. What is broken does: it is not looked at again.
#[cold]
fn keep(
    value: &[u8],
    hints: Option<&mut HintReader>,
    stands: &dyn Fn() -> bool,
    broken: &mut Option<LaneError>,
) -> bool {
    // What names no chunk is refused when it is opened.
    let (Some(hints), Some(chunk)) = (hints, chunk_in(value)) else {
        return true;
    };
    hints.take(chunk, stands).unwrap_or_else(|error| {
        *broken = Some(error);
        true
    })
}

/// On whose host the clocks of a lane's publisher are.
pub(super) fn host(memory: &PeerMedium) -> Host {
    // Relaxed: it is so from before this side has got the memory.
    match Ending::is_relayed(memory.control(Control::Closed).load(Ordering::Relaxed)) {
        true => Host::Other,
        false => Host::This,
    }
}

/// Records that are looked at at a time, if each is given up meanwhile.
const MOST_LOOKS: usize = 8;
