//! Carries a ring over: its records leave as bytes, and become the same records at the same positions of another ring.
//!
//! The reader of the other ring has a cursor, which counts for the first ring as well, for positions are the same in both:
//! so all that is on its way fits behind it, and nobody needs a credit of another kind.
//!
//! # Orderings
//! None of its own, so the models of `loom-tests` speak for it. A [`Tail`] loads the commit word, the drop counters, then the
//! commit word again, as a `Consumer` does, at the same sites; its cursor is stored later, by the thread that has copied the
//! bytes out. A [`Replica`] is a [`Producer`], whose drops are counted with nothing staged, as `DropLog::count` has it.
//!
//! # Bytes
//! Records one behind the other, each a header and a payload padded to whole cells, as they lie in the ring; words are
//! little-endian. Pads are left out: where the ring's end demands one, the other ring has one too.

use super::consumer::checked;
use super::{
    CELL_BYTES, Cursor, DropCounts, Ending, Kind, NoRoom, Position, Producer, Read, Violation,
    Write,
    record::{MORE, parse_commit_word, record_bytes},
};
use crate::sync::Site;

/// Reads a ring from its beginning, to be carried over. What it finds is checked, for the producer may be anybody.
#[derive(Debug)]
pub struct Tail<S> {
    storage: S,
    /// The next record to take.
    position: Position,
    /// The drops that were taken.
    drops: DropCounts,
}

/// Writes what a [`Tail`] has read.
#[derive(Debug)]
pub struct Replica<S, C> {
    producer: Producer<S, C>,
}

/// How the sender of records broke the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The bytes are no whole records.
    #[error("{0} bytes that are no whole records")]
    Malformed(usize),
    /// More than there is room for: the sender did not wait for the reader.
    #[error("more records than the ring has room for")]
    Credit,
    /// A payload that is longer than a record of this ring can be.
    #[error("a record with a payload of more than {limit} bytes")]
    TooLarge {
        /// The longest payload, in bytes.
        limit: usize,
    },
}

impl<S: Read> Tail<S> {
    /// The beginning of a ring.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            position: Position(0),
            drops: DropCounts::default(),
        }
    }

    /// Messages that stand behind a position where a record begins, and before another one; as many as can be read.
    pub fn count_messages(storage: S, from: Position, end: Position) -> u64 {
        let mut tail = Self {
            position: from,
            ..Self::new(storage)
        };
        let mut messages = 0;
        while tail.position < end {
            let word = tail.load_commit_word();
            let Ok(record) = checked(&tail.storage, tail.position, word) else {
                break;
            };
            messages += u64::from(record.kind.is_message());
            tail.position.0 += record_bytes(record.len_bytes) as u64;
        }
        messages
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// All before it is taken.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Appends the bytes of the next records, until `enough` have come or there are no more. What stands before a message
    /// (its topic, a gap) is never parted from it, nor is a batch. `cursor` is what the producer was shown.
    ///
    /// # Errors
    /// No producer puts such records there. Whatever is taken goes into a [`Replica`] that stands at the same position and
    /// whose reader has come as far as `cursor`: what that would refuse is refused here, where it is known whose fault it is.
    pub fn take(
        &mut self,
        out: &mut Vec<u8>,
        enough: usize,
        cursor: Position,
    ) -> Result<(), Violation> {
        let start = out.len();
        // A batch takes half the ring at most, with what may stand before it.
        let longest = (self.storage.capacity() / 2 + LONGEST_PRELUDE_BYTES).saturating_add(enough);
        let mut before_message = 0;
        let mut pad_bytes = 0;
        let limit = cursor.0.saturating_add(self.storage.capacity() as u64);
        loop {
            let word = self.load_commit_word();
            let position = self.position.0;
            if word == 0 {
                // Committed with the record that it makes way for.
                return match pad_bytes {
                    0 => Ok(()),
                    _ => Err(Violation::Pad { position }),
                };
            }
            let record = checked(&self.storage, self.position, word)?;
            if !record.kind.is_contained() {
                // What it refers to is not in the ring.
                return Err(Violation::CommitWord { word, position });
            }
            let record_bytes = record_bytes(record.len_bytes);
            // The header behind the record must have room, too.
            if position + (record_bytes + CELL_BYTES) as u64 > limit {
                return Err(Violation::Overrun { position });
            }
            match record.kind {
                Kind::Pad if record.offset + record.len_bytes != self.storage.capacity() => {
                    return Err(Violation::Pad { position });
                }
                Kind::Pad => pad_bytes = record_bytes,
                // Nobody else reads a ring that is carried over.
                Kind::Switch => return Err(Violation::Switch { position }),
                // It would have fitted before the end.
                _ if record_bytes <= pad_bytes => return Err(Violation::Pad { position }),
                Kind::Topic | Kind::Gap if record.len_bytes > LONGEST_PRELUDE_BYTES => {
                    return Err(Violation::Prelude { position });
                }
                _ => {
                    pad_bytes = 0;
                    let at = out.len();
                    out.resize(at + record_bytes, 0);
                    let (header, payload) = out[at..].split_at_mut(CELL_BYTES);
                    header[..8].copy_from_slice(&word.to_le_bytes());
                    header[8..].copy_from_slice(&record.detail.to_le_bytes());
                    self.storage.copy_out(record.offset, payload);
                }
            }
            self.position.0 += record_bytes as u64;
            if record.kind.is_message() {
                before_message = 0;
                if out.len() - start >= enough && word & MORE == 0 {
                    return Ok(());
                }
            } else {
                before_message += 1;
            }
            if out.len() - start > longest {
                return Err(Violation::Batch {
                    position: self.position.0,
                });
            }
            // A gap, a topic, attachments and a pad before each of them are the most that a producer puts before a message.
            if before_message > 7 {
                return Err(Violation::Prelude {
                    position: self.position.0,
                });
            }
        }
    }

    /// The drops, if there are some that were not taken yet and all records before them are.
    pub fn take_drops(&mut self) -> Option<DropCounts> {
        let counts = DropCounts::load(&self.storage);
        // As in `Consumer::poll_losses`: a record committed before the drop is visible by now.
        if counts == self.drops || self.load_commit_word() != 0 {
            return None;
        }
        self.drops = counts;
        Some(counts)
    }

    /// Whether there are records, or drops, that were not taken yet.
    pub fn has_something(&self) -> bool {
        self.load_commit_word() != 0 || DropCounts::load(&self.storage) != self.drops
    }

    fn load_commit_word(&self) -> u64 {
        let offset = self.position.0 as usize & (self.storage.capacity() - 1);
        // Partner: the release in `Producer::commit`.
        Site::RingPoll.load_acquire(self.storage.commit_word(offset))
    }
}

impl<S: Write, C: Cursor> Replica<S, C> {
    /// The beginning of a fresh ring, of the same capacity as the one that is carried over.
    pub fn new(storage: S) -> Self {
        Self {
            producer: Producer::new(storage),
        }
    }

    /// Tells where the reader's cursor is found.
    pub fn attach(&mut self, cursor: C) {
        self.producer.attach(0, cursor);
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        self.producer.storage()
    }

    /// How far the reader has read, as far as it has told.
    pub fn reader_position(&mut self) -> Position {
        self.producer.slowest()
    }

    /// Where the next record goes.
    pub fn position(&self) -> Position {
        self.producer.committed()
    }

    /// Writes records, which become visible at once, but for those before a gap: they do before the gap is counted, or a
    /// reader that has run dry would find the counters first. On an error, those behind the last gap are not written.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), ReplicaError> {
        while !bytes.is_empty() {
            match self.stage_one(bytes) {
                Ok(rest) => bytes = rest,
                Err(error) => {
                    self.producer.abort();
                    return Err(error);
                }
            }
        }
        self.producer.commit();
        Ok(())
    }

    /// Takes over the drops, which belong behind all records so far.
    pub fn set_drops(&self, counts: DropCounts) {
        counts.store(self.producer.storage());
    }

    /// Says that nothing more will come; with `TransportLost`, that there may have been more.
    pub fn close(&self, ending: Ending) {
        self.producer.close_with(ending.relayed());
    }

    fn stage_one<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplicaError> {
        let malformed = ReplicaError::Malformed(bytes.len());
        let (header, rest) = bytes.split_first_chunk::<CELL_BYTES>().ok_or(malformed)?;
        let (word, detail) = header.split_at(8);
        let word = word.try_into().map(u64::from_le_bytes);
        let detail = detail.try_into().map(u64::from_le_bytes);
        let (Ok(word), Ok(detail)) = (word, detail) else {
            return Err(malformed);
        };
        let (kind, len) = parse_commit_word(word)
            .filter(|(kind, _)| *kind != Kind::Pad && kind.is_contained())
            .ok_or(malformed)?;
        let len = len as usize;
        let padded = record_bytes(len) - CELL_BYTES;
        let (payload, rest) = rest.split_at_checked(padded).ok_or(malformed)?;
        let payload = &payload[..len];
        if let (Kind::Gap, Ok(counts)) = (kind, payload.try_into()) {
            // The reader demands that the counters are never behind a gap record, nor ahead of what comes before it.
            self.producer.commit();
            self.set_drops(DropCounts::from_bytes(counts));
        }
        match self.producer.stage_copy(kind, payload, detail) {
            Ok(()) => Ok(rest),
            Err(NoRoom::Full) => Err(ReplicaError::Credit),
            Err(NoRoom::TooLarge(limit)) => Err(ReplicaError::TooLarge { limit }),
        }
    }
}

/// More than a topic definition, or a gap, has.
const LONGEST_PRELUDE_BYTES: usize = 4096;
