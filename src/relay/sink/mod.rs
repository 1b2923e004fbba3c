//! A lane of this host that another host writes.
//!
//! What its publisher has kept comes first, and goes into a table of its own, until [`Packet::Start`] says that it is
//! complete; only then that is told to the subscriber, which waits for it (`relay/source` has why). Nothing else of such a
//! lane may come before, nothing more of the history behind.

mod lossy;
mod ring;

use crate::lane::{OwnMedium, Peer, PeerCursor};
use crate::ring::{Control, Cursor, Ending, Position, Read, ReplicaError};
use crate::sync::{Ordering, load_acquire};
use crate::table::{StoreAtError, TableWriter};

use super::halves;
use super::packet::Packet;
use lossy::LossySink;
use ring::RingSink;

/// A lane of this host that another host writes: its contents come in packets, the reader's cursor goes back.
pub struct Sink {
    memory: OwnMedium,
    /// What the publisher has kept, while it comes.
    history: Option<TableWriter<OwnMedium>>,
    flow: Flow,
    /// `None` until the subscriber has mapped the memory.
    subscriber: Option<Subscriber>,
    /// The cursor that the far side knows.
    told: Position,
    /// Bytes that the lane takes here.
    cost: usize,
}

/// What the lane lies in.
pub enum Flow {
    Ring(Box<RingSink>),
    Lossy(LossySink),
    Table(Box<TableWriter<OwnMedium>>),
}

/// What the far side is to be told of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has read up to here.
    Cursor(Position),
    /// It reads no more.
    Left,
}

/// Which news are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// Those that the far side may need to go on, and a cursor that has moved by an eighth of the ring.
    Due,
    /// All, since something is sent anyway.
    All,
}

/// Contents of a lane that do not go where they are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentsError {
    /// They are no records, or more than there is room for.
    #[error("the peer sent {0}")]
    Replica(#[from] ReplicaError),
    /// They belong elsewhere: some are missing, or came twice.
    #[error("the peer sent records for position {said}, {due} is due")]
    Position {
        /// Where they are to go.
        said: u64,
        /// Where the next record goes.
        due: u64,
    },
    /// They are older than what is there.
    #[error(
        "the peer sent a record with number {number} up to position {position}, behind number {last} up to {end}"
    )]
    Number {
        /// The number.
        number: u64,
        /// Where it ends.
        position: u64,
        /// The number of the last one.
        last: u64,
        /// Where that ends.
        end: u64,
    },
    /// They are longer than the lane takes.
    #[error("the peer sent a record of {len} bytes, {limit} are the most")]
    TooLarge {
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// They belong into no slot of the table, or are older than what is there.
    #[error("the peer sent a value for {0}")]
    Value(#[from] StoreAtError),
    /// The lane is none of those that have such contents, or it is too early or too late for them.
    #[error("the peer sent what has no place in the lane now")]
    Misplaced,
}

struct Subscriber {
    cursor: PeerCursor,
    peer: Peer,
}

impl Flow {
    /// A fresh ring; on more unread bytes than these, as the far side sees it, that is told of each move of the cursor.
    pub fn ring(ring: OwnMedium, news_above: u64) -> Self {
        Self::Ring(Box::new(RingSink::new(ring, news_above)))
    }

    /// A fresh lossy ring.
    pub fn lossy(ring: OwnMedium) -> Self {
        Self::Lossy(LossySink::new(ring))
    }
}

impl Sink {
    /// A lane in this fresh memory, which `flow` writes, behind a history that is to come.
    pub fn new(
        memory: OwnMedium,
        flow: Flow,
        history: Option<TableWriter<OwnMedium>>,
        cost: usize,
    ) -> Self {
        let histories = history.iter().map(TableWriter::storage);
        for memory in histories.chain([&memory]) {
            // Relaxed: the subscriber gets the memory by a message, which orders this before whatever it reads.
            let closed = memory.control(Control::Closed);
            closed.store(Ending::RELAYED, Ordering::Relaxed);
        }
        Self {
            memory,
            history,
            flow,
            subscriber: None,
            told: Position(0),
            cost,
        }
    }

    /// Bytes that it takes: fewer once its history has come.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// The subscriber has mapped the memory.
    pub fn attach(&mut self, cursor: PeerCursor, peer: Peer) {
        if let Flow::Ring(ring) = &mut self.flow {
            ring.attach(cursor.clone());
        }
        let subscriber = self.subscriber.insert(Subscriber { cursor, peer });
        // What was committed before its bell was known may have found it asleep.
        subscriber.peer.ring();
    }

    /// Writes what a packet about this lane brings.
    ///
    /// # Errors
    /// It cannot be of an honest relay; nothing is written then, or of several records the first ones.
    pub fn take(&mut self, packet: Packet<'_>) -> Result<(), ContentsError> {
        match (packet, &mut self.history, &mut self.flow) {
            (Packet::Start { number, .. }, Some(_), _) if number != 0 => self.begin(number),
            (packet, Some(history), _) => return store(history, packet),
            (Packet::Complete { sequence, .. }, None, Flow::Table(table)) => {
                table.complete_below(sequence);
                return Ok(());
            }
            (packet, None, Flow::Table(table)) => store(table, packet)?,
            (
                Packet::Parcel {
                    number,
                    position,
                    bytes,
                    ..
                },
                None,
                Flow::Lossy(ring),
            ) => ring.append(number, Position(position), bytes)?,
            (
                Packet::Records {
                    position, records, ..
                },
                None,
                Flow::Ring(ring),
            ) => {
                ring.append(position, records)?;
                if records.is_empty()
                    && let Some(Subscriber { peer, .. }) = &self.subscriber
                {
                    peer.ring();
                }
            }
            (Packet::Drops { counts, .. }, None, Flow::Ring(ring)) => ring.set_drops(counts),
            _ => return Err(ContentsError::Misplaced),
        }
        self.wake();
        Ok(())
    }

    /// All that belongs before the lane has come.
    fn begin(&mut self, number: u64) {
        if let Some(mut history) = self.history.take() {
            history.complete_below(number);
            // The subscriber alone has it now.
            self.cost -= halves::table_cost(history.storage().capacity());
        }
        // Release: whoever sees it sees all values. Partners: the acquire in `Snapshot::start`, in `Source::start`.
        let start = self.memory.control(Control::Start);
        start.store(number, Ordering::Release);
    }

    /// Nothing comes any more.
    pub fn close(&mut self, ending: Ending) {
        match &self.flow {
            Flow::Ring(ring) => ring.close(ending),
            Flow::Lossy(ring) => ring.close(ending),
            Flow::Table(_) => {
                // Release: a reader that sees it sees everything before it.
                let closed = self.memory.control(Control::Closed);
                closed.store(ending.relayed(), Ordering::Release);
            }
        }
        if let Some(subscriber) = &self.subscriber {
            subscriber.peer.ring();
        }
    }

    /// What the far side is to be told now, if anything; then it knows. After [`News::Left`] the sink is of no use.
    pub fn news(&mut self, eagerness: Eagerness) -> Option<News> {
        let news = self.next_news(eagerness)?;
        if let News::Cursor(position) = news {
            self.told = position;
        }
        Some(news)
    }

    /// Whether the far side is to be told something.
    pub fn has_news(&mut self) -> bool {
        self.next_news(Eagerness::Due).is_some()
    }

    /// Says that this side is about to sleep, if the far side waits for each move; the fence is up to the caller.
    pub fn announce(&mut self) {
        if let Flow::Ring(ring) = &mut self.flow
            && ring.is_urgent(self.told)
        {
            ring.announce();
        }
    }

    pub fn retire(&mut self) {
        if let Flow::Ring(ring) = &mut self.flow {
            ring.retire();
        }
    }

    fn next_news(&mut self, eagerness: Eagerness) -> Option<News> {
        let reader = &self.subscriber.as_ref()?.cursor;
        if reader.is_closed() {
            return Some(News::Left);
        }
        let position = match &mut self.flow {
            Flow::Ring(ring) => ring.reader_position(),
            Flow::Lossy(ring) => ring.far_position(Position(load_acquire(reader.word()))),
            // Whatever a reader says beyond is not believed.
            Flow::Table(table) => Position(load_acquire(reader.word()).min(table.sequence())),
        };
        let moved = position.0.saturating_sub(self.told.0);
        let is_due = eagerness == Eagerness::All
            || match &self.flow {
                Flow::Ring(ring) => moved >= self.an_eighth() || ring.is_urgent(self.told),
                Flow::Lossy(_) => moved >= self.an_eighth(),
                // Sequences are no bytes, and nobody waits.
                Flow::Table(_) => false,
            };
        (moved > 0 && is_due).then_some(News::Cursor(position))
    }

    fn an_eighth(&self) -> u64 {
        self.memory.capacity() as u64 / 8
    }

    fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber {
            peer.wake_if_parked(cursor.parked());
        }
    }
}

/// Writes into a table what a packet brings for it.
fn store(table: &mut TableWriter<OwnMedium>, packet: Packet<'_>) -> Result<(), ContentsError> {
    match packet {
        Packet::Value {
            slot, stamp, bytes, ..
        } => table.store_at(slot, stamp, &[bytes])?,
        Packet::Vacated { slot, stamp, .. } => table.vacate_at(slot, stamp)?,
        Packet::Complete { sequence, .. } => table.complete_below(sequence),
        _ => return Err(ContentsError::Misplaced),
    }
    Ok(())
}
