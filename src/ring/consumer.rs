//! The reading end of a ring.

use super::{
    CELL_BYTES, Control, Cursor, DropCounts, Ending, Kind, Losses, Position, Read, Record, Switch,
    max_payload_bytes,
    record::{MORE, commit_word, parse_commit_word, record_bytes},
};
use crate::sync::{Ordering, Site};

/// The reading end of a ring. Everything that it finds is checked, for the producer may be anybody.
#[derive(Debug)]
pub struct Consumer<S, C> {
    storage: S,
    cursor: C,
    /// The next record to look at; all before it are released.
    position: Position,
    /// What the cursor word holds.
    published: Position,
    losses: Losses,
    /// How far, in bytes, the position may be ahead of what is published, once a record is released.
    publish_every: u64,
    /// The position from which on that is too far.
    publish_from: Position,
    /// The longest payload of a record, in bytes.
    max_payload: usize,
    /// By which a switch names this reader.
    seat: u32,
}

/// A message that [`Consumer::ready`] found. Small, for it goes through registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Offset of the header.
    offset: usize,
    len_bytes: usize,
}

/// What [`Consumer::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// A message, or something that has to be known before the next one. It stays where it is until [`Consumer::release`].
    Record(Record),
    /// Messages are missing here. Already released.
    Gap(DropCounts),
    /// This reader leaves the ring here: see [`Consumer::go_on_in`], and [`Consumer::pass_switch`].
    Switch(Switch),
    /// Nothing, so far.
    Empty,
}

/// How a producer broke the format. The lane cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No producer stores such a commit word.
    #[error("commit word {word:#018x} at position {position}")]
    CommitWord {
        /// The word.
        word: u64,
        /// Where it stands.
        position: u64,
    },
    /// The record is longer than a record can be, or crosses the ring's end.
    #[error("a record of {len} bytes at position {position}, {limit} are possible")]
    Length {
        /// What its header says.
        len: usize,
        /// Where it stands.
        position: u64,
        /// The longest that is possible there.
        limit: usize,
    },
    /// A pad that does not reach the ring's end, or the second in a row.
    #[error("a misplaced pad at position {position}")]
    Pad {
        /// Where it stands.
        position: u64,
    },
    /// More records without a message behind them than a producer ever puts.
    #[error("records without a message before position {position}")]
    Prelude {
        /// Behind them.
        position: u64,
    },
    /// A record where the producer knew of no room.
    #[error("a record at position {position}, before the reader had made room there")]
    Overrun {
        /// Where it stands.
        position: u64,
    },
    /// More records that belong together than a ring takes at once.
    #[error("a batch of too many records before position {position}")]
    Batch {
        /// Behind those that were looked at.
        position: u64,
    },
    /// A lossy ring whose oldest record is none that a reader could go on at.
    #[error("oldest record at position {oldest}, for a reader overtaken at {position}")]
    Oldest {
        /// Where it is said to stand.
        oldest: u64,
        /// Where the reader stands.
        position: u64,
    },
    /// A switch record with a payload, or that names nobody.
    #[error("a switch record at position {position} that cannot be")]
    Switch {
        /// Where it stands.
        position: u64,
    },
    /// A gap record of the wrong length, or with counts below those that were told before.
    #[error("a gap record at position {position} that cannot be")]
    Gap {
        /// Where it stands.
        position: u64,
    },
}

impl<S: Read, C: Cursor> Consumer<S, C> {
    /// The reading end of a ring, at its beginning.
    pub fn new(storage: S, cursor: C) -> Self {
        Self {
            max_payload: max_payload_bytes(storage.capacity()),
            publish_every: storage.capacity() as u64 / 8,
            publish_from: Position(storage.capacity() as u64 / 8),
            storage,
            cursor,
            position: Position(0),
            published: Position(0),
            losses: Losses::default(),
            seat: 0,
        }
    }

    /// Begins where its seat says: behind others, in a ring in use.
    pub fn begin(&mut self, seat: u32, from: Position, told: DropCounts) {
        self.seat = seat;
        self.position = from;
        self.losses = Losses::after(told);
    }

    /// Goes on in another ring, behind the switch that the last poll found. False, and nothing is done, if the other one is not
    /// of the same size.
    #[must_use]
    pub fn go_on_in(&mut self, storage: S) -> bool {
        let same = storage.capacity() == self.storage.capacity();
        if same {
            self.storage = storage;
            // Whoever waits for room in the ring that is left looks for it again and again.
            let _ = self.pass_switch();
        }
        same
    }

    /// Passes over the switch that the last poll found: the lane ends there.
    pub fn pass_switch(&mut self) -> Published {
        self.position.0 += CELL_BYTES as u64;
        // At once: until then the ring is kept for this reader.
        self.publish()
    }

    /// Goes on where another reader has stopped, at a position where a record begins, and that its cursor says already; losses
    /// that it was told are not told again. From now on each release is to be published.
    pub fn resume(&mut self, from: Position, told: DropCounts) {
        self.position = from;
        self.published = from;
        self.losses = Losses::after(told);
        self.publish_every = 0;
        self.publish_from = from;
    }

    /// The release of the present record is to be published at once.
    pub fn publish_next(&mut self) {
        self.publish_from = self.position;
    }

    /// The next record to look at; all before it are released.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The losses that were told.
    pub fn told(&self) -> DropCounts {
        self.losses.told()
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where the position is published.
    pub fn cursor(&self) -> &C {
        &self.cursor
    }

    /// Looks at the next record. A gap or a pad is passed over by the call that finds it; the rest is released by
    /// [`Consumer::release`].
    #[inline]
    pub fn poll(&mut self) -> Result<Polled, Violation> {
        let word = self.load_commit_word();
        if word == 0 {
            return Ok(Polled::Empty);
        }
        match self.check(word)? {
            record if !record.kind.is_passed() => Ok(Polled::Record(record)),
            rare => self.pass(rare),
        }
    }

    /// The record that stands next, if that is a message, and of this length where one is given: it stays there until
    /// [`Consumer::release`]. Whatever else there is, [`Consumer::poll`] finds.
    #[inline(always)]
    pub fn ready(&self, len_bytes: Option<usize>) -> Option<Ready> {
        let capacity = self.storage.capacity();
        let offset = self.offset();
        // Partner: as in `load_commit_word`.
        let word = Site::RingPoll.load_acquire(self.storage.commit_word(offset)) & !MORE;
        // Where the length is a constant, the processor, which foresees the branch, knows where the next record is before
        // it has read the header of this one, and fetches both at a time.
        let len_bytes = match len_bytes {
            Some(len) if word == commit_word(Kind::Message, len as u32) => len,
            None if word as u32 == Kind::Message as u32 => (word >> 32) as usize,
            _ => return None,
        };
        let to_end = capacity - offset - CELL_BYTES;
        if len_bytes > self.max_payload || len_bytes > to_end {
            return None;
        }
        Some(Ready { offset, len_bytes })
    }

    /// Offset of the payload of the message that stands next, if that is of this kind, on this topic, and of so many bytes.
    #[inline(always)]
    pub fn ready_like(&self, kind: Kind, topic: u64, len_bytes: usize) -> Option<usize> {
        let capacity = self.storage.capacity();
        let offset = self.offset();
        // Partner: as in `load_commit_word`.
        let word = Site::RingPoll.load_acquire(self.storage.commit_word(offset)) & !MORE;
        let is_like = word == commit_word(kind, len_bytes as u32)
            && offset + CELL_BYTES + len_bytes <= capacity
            && self.storage.load_detail(offset) == topic;
        is_like.then_some(offset + CELL_BYTES)
    }

    /// The record of a message that was found with [`Consumer::ready`].
    #[inline(always)]
    pub fn record(&self, ready: Ready) -> Record {
        let Ready { offset, len_bytes } = ready;
        Record {
            kind: Kind::Message,
            offset: offset + CELL_BYTES,
            len_bytes,
            detail: self.storage.load_detail(offset),
        }
    }

    /// Whether no record stands next.
    #[inline(always)]
    pub fn is_dry(&self) -> bool {
        self.load_commit_word() == 0
    }

    /// Gives back the record that the last `poll` found. The producer learns it with the cursor: every eighth of the
    /// ring, or by [`Consumer::publish`].
    #[inline]
    pub fn release(&mut self, record: Record) -> Published {
        match self.advance_to(self.end(&record)) {
            true => self.publish(),
            false => Published::Unchanged,
        }
    }

    /// Where a record ends that the last `poll` found.
    #[inline(always)]
    pub fn end(&self, record: &Record) -> Position {
        self.end_of(record.len_bytes)
    }

    /// Where a record with a payload of so many bytes ends that stands next.
    #[inline(always)]
    pub fn end_of(&self, len_bytes: usize) -> Position {
        Position(self.position.0 + record_bytes(len_bytes) as u64)
    }

    /// Goes on behind the record that the last `poll` found, which ends here. Whether it is time to publish that.
    #[inline(always)]
    pub fn advance_to(&mut self, end: Position) -> bool {
        self.position = end;
        end >= self.publish_from
    }

    /// Tells the producer how far everything is read.
    #[inline]
    pub fn publish(&mut self) -> Published {
        self.publish_from = Position(self.position.0 + self.publish_every);
        publish_cursor(&self.cursor, &mut self.published, self.position)
    }

    /// Looks for drops that no gap record has announced. Only for a ring that was just found `Empty`.
    pub fn poll_losses(&mut self) -> Result<Polled, Violation> {
        let counts = DropCounts::load(&self.storage);
        if Site::GapLookAgain.holds() && self.load_commit_word() != 0 {
            return Ok(Polled::Empty);
        }
        self.tell(counts)
    }

    /// Whether there is a record, or a loss that was not told.
    pub fn has_something(&self) -> bool {
        self.load_commit_word() != 0 || self.losses.is_behind(DropCounts::load(&self.storage))
    }

    /// Whether the producer has said that nothing more will come. What it committed before is visible after this.
    pub fn is_closed(&self) -> bool {
        self.ending().is_some()
    }

    /// How the producer closed, if it has; like [`Consumer::is_closed`].
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(load_closed(&self.storage))
    }

    /// What it means when the producer's process has exited: one that passes on for another host, and did not close, may
    /// have had more to pass on.
    pub fn ending_by_exit(&self) -> Ending {
        Ending::by_exit(load_closed(&self.storage))
    }

    #[inline(always)]
    fn load_commit_word(&self) -> u64 {
        // Partner: the release in `Producer::commit`; the record, and the 0 behind it, are visible after this.
        Site::RingPoll.load_acquire(self.storage.commit_word(self.offset()))
    }

    #[inline]
    fn check(&self, word: u64) -> Result<Record, Violation> {
        checked(&self.storage, self.position, word)
    }

    /// Passes over pads, gap records, and switches that others follow. A producer puts one pad at the ring's end, a message
    /// behind each gap record, so four in a row come from one that breaks the format and must not keep us busy; nor must more
    /// switches than there is room for.
    #[cold]
    fn pass(&mut self, mut record: Record) -> Result<Polled, Violation> {
        let mut most = 3;
        let mut switches = self.storage.capacity() / CELL_BYTES;
        while most > 0 {
            let position = self.position.0;
            match record.kind {
                Kind::Switch => {
                    let switch = Switch(record.detail);
                    switches -= 1;
                    if record.len_bytes != 0 || switch.seats() == 0 || switches == 0 {
                        return Err(Violation::Switch { position });
                    }
                    if switch.names(self.seat) {
                        return Ok(Polled::Switch(switch));
                    }
                    most += 1;
                }
                Kind::Pad if record.offset + record.len_bytes == self.storage.capacity() => {}
                Kind::Pad => return Err(Violation::Pad { position }),
                Kind::Gap if record.len_bytes == DropCounts::BYTES => {
                    let mut bytes = [0; DropCounts::BYTES];
                    self.storage.copy_out(record.offset, &mut bytes);
                    let told = self.tell(DropCounts::from_bytes(bytes))?;
                    if told != Polled::Empty {
                        self.position.0 += record_bytes(record.len_bytes) as u64;
                        return Ok(told);
                    }
                }
                Kind::Gap => return Err(Violation::Gap { position }),
                _ => return Ok(Polled::Record(record)),
            }
            self.position.0 += record_bytes(record.len_bytes) as u64;
            match self.load_commit_word() {
                0 => return Ok(Polled::Empty),
                word => record = self.check(word)?,
            }
            most -= 1;
        }
        let position = self.position.0;
        match record.kind {
            Kind::Pad => Err(Violation::Pad { position }),
            Kind::Gap => Err(Violation::Gap { position }),
            Kind::Switch => Err(Violation::Switch { position }),
            _ => Ok(Polled::Record(record)),
        }
    }

    fn tell(&mut self, counts: DropCounts) -> Result<Polled, Violation> {
        let news = self.losses.tell(counts).ok_or(Violation::Gap {
            position: self.position.0,
        })?;
        Ok(if news == DropCounts::default() {
            Polled::Empty
        } else {
            Polled::Gap(news)
        })
    }

    #[inline(always)]
    fn offset(&self) -> usize {
        self.position.0 as usize & (self.storage.capacity() - 1)
    }
}

/// The record with this commit word, if it is one that can stand at `position`.
#[inline]
pub(super) fn checked(
    storage: &impl Read,
    Position(position): Position,
    word: u64,
) -> Result<Record, Violation> {
    let Some((kind, len)) = parse_commit_word(word) else {
        return Err(Violation::CommitWord { word, position });
    };
    let capacity = storage.capacity();
    let (len, offset) = (len as usize, position as usize & (capacity - 1));
    let limit = longest_at(capacity, offset);
    if len > limit {
        return Err(Violation::Length {
            len,
            position,
            limit,
        });
    }
    Ok(Record {
        kind,
        offset: offset + CELL_BYTES,
        len_bytes: len,
        detail: storage.load_detail(offset),
    })
}

/// Stores how far everything is read, unless the cursor says that already.
#[inline]
pub(super) fn publish_cursor(
    cursor: &impl Cursor,
    published: &mut Position,
    position: Position,
) -> Published {
    if *published == position {
        return Published::Unchanged;
    }
    *published = position;
    // Partner: the acquire in `Producer::look_for_room`; our reads below the cursor are over.
    cursor
        .word()
        .store(position.0, Site::CursorStore.order(Ordering::Release));
    Published::Moved
}

/// The value of [`Control::Closed`]. What was committed before it was stored is visible after this.
pub(super) fn load_closed(storage: &impl Read) -> u64 {
    // Partner: the release in `store_closed`.
    Site::CloseLoad.load_acquire(storage.control(Control::Closed))
}

/// The longest payload, in bytes, that a record at an offset can have.
#[inline(always)]
fn longest_at(capacity: usize, offset: usize) -> usize {
    max_payload_bytes(capacity).min(capacity - offset - CELL_BYTES)
}

/// Whether the producer can know of more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a producer that waits for room has to be woken"]
pub enum Published {
    /// The cursor stands where it stood.
    Unchanged,
    /// The cursor has moved.
    Moved,
}
