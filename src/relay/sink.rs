//! A ring of this host that another host writes.

use crate::doorbell::Sleeper;
use crate::lane::{OwnMedium, Peer, PeerCursor};
use crate::ring::{Control, DropCounts, Ending, Position, Read, Replica, ReplicaError};
use crate::sync::Ordering;

/// A ring of this host that another host writes: records come in packets, the reader's cursor goes back.
pub struct Sink {
    replica: Replica<OwnMedium, PeerCursor>,
    /// `None` until the subscriber has mapped the ring.
    subscriber: Option<Subscriber>,
    sleeper: Sleeper,
    /// The cursor that the far side knows.
    told: Position,
    /// On more unread bytes than these, as the far side sees it, it is told of each move of the cursor.
    news_above: u64,
    /// The same until it has been told that all before this is read.
    asked: Position,
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

/// Records that do not go where they are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
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
}

struct Subscriber {
    cursor: PeerCursor,
    peer: Peer,
}

impl Sink {
    pub fn new(ring: OwnMedium, news_above: u64) -> Self {
        // Relaxed: the subscriber gets the ring by a message, which orders this before whatever it reads.
        ring.control(Control::Closed)
            .store(Ending::RELAYED, Ordering::Relaxed);
        Self {
            replica: Replica::new(ring),
            subscriber: None,
            sleeper: Sleeper::default(),
            told: Position(0),
            news_above,
            asked: Position(0),
        }
    }

    pub fn capacity(&self) -> usize {
        self.replica.storage().capacity()
    }

    /// The subscriber has mapped the ring.
    pub fn attach(&mut self, cursor: PeerCursor, peer: Peer) {
        self.replica.attach(cursor.clone());
        let subscriber = self.subscriber.insert(Subscriber { cursor, peer });
        // What was committed before its bell was known may have found it asleep.
        subscriber.peer.ring();
    }

    /// Writes records; nothing is written on an error. None at all: the far side waits for the reader.
    pub fn append(&mut self, position: u64, records: &[u8]) -> Result<(), RecordsError> {
        let due = self.replica.position().0;
        if position != due {
            return Err(RecordsError::Position {
                said: position,
                due,
            });
        }
        if records.is_empty() {
            self.ask();
            return Ok(());
        }
        self.replica.append(records)?;
        self.wake();
        Ok(())
    }

    /// The publisher waits until all that has come is read.
    fn ask(&mut self) {
        self.asked = self.replica.position();
        // By this a reader that is a relay knows that it has to ask, too; the next sleep retires it.
        let parked = self.replica.storage().control(Control::Parked);
        self.sleeper.announce(parked, || (), || false);
        if let Some(Subscriber { peer, .. }) = &self.subscriber {
            peer.ring();
        }
    }

    pub fn set_drops(&mut self, counts: DropCounts) {
        self.replica.set_drops(counts);
        self.wake();
    }

    /// Nothing comes any more.
    pub fn close(&mut self, ending: Ending) {
        self.replica.close(ending);
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
        if self.is_urgent() {
            let parked = self.replica.storage().control(Control::Parked);
            self.sleeper.announce(parked, || (), || false);
        }
    }

    pub fn retire(&mut self) {
        self.sleeper
            .retire(self.replica.storage().control(Control::Parked));
    }

    fn next_news(&mut self, eagerness: Eagerness) -> Option<News> {
        let reader = self.subscriber.as_ref();
        if reader.is_some_and(|reader| reader.cursor.is_closed()) {
            return Some(News::Left);
        }
        let position = self.replica.reader_position();
        let moved = position.0 - self.told.0;
        let is_due =
            eagerness == Eagerness::All || moved >= self.capacity() as u64 / 8 || self.is_urgent();
        (moved > 0 && is_due).then_some(News::Cursor(position))
    }

    /// Whether the far side may wait for room: its next message might not fit behind what it believes to be unread.
    fn is_urgent(&self) -> bool {
        self.replica.position().0 - self.told.0 > self.news_above || self.told < self.asked
    }

    fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber {
            peer.wake_if_parked(cursor.parked());
        }
    }
}
