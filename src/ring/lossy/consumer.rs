//! The reading end of a lossy ring.

use crate::ring::{
    CELL_BYTES, Control, Cursor, Ending, Kind, MOST_POSITION, Position, Published, Read, Violation,
    consumer::{checked, load_closed, publish_cursor},
    record::record_bytes,
};
use crate::sync::{Ordering, Site, fence};

/// The reading end of a lossy ring. Everything that it finds is checked, for the producer may be anybody.
#[derive(Debug)]
pub struct LossyConsumer<S, C> {
    storage: S,
    cursor: C,
    /// The next record to look at.
    position: Position,
    /// The record that was found last.
    found: Position,
    /// What the cursor word holds.
    published: Position,
}

/// What payloads are copied to.
pub trait Buffer {
    /// Makes it this many bytes long and lends them, to be overwritten; what they hold has no meaning. 0 empties it. Keeps its
    /// capacity.
    fn lend(&mut self, len_bytes: usize) -> &mut [u8];
}

/// What stands next, as far as it can be believed.
#[derive(Clone, Copy, Debug)]
enum Found {
    Nothing,
    /// Up to the ring's end.
    Pad(Position),
    Message {
        number: u64,
        end: Position,
    },
}

impl<S: Read, C: Cursor> LossyConsumer<S, C> {
    /// The reading end of a ring, at its beginning.
    pub fn new(storage: S, cursor: C) -> Self {
        Self {
            storage,
            cursor,
            position: Position(0),
            found: Position(0),
            published: Position(0),
        }
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where the position is published.
    pub fn cursor(&self) -> &C {
        &self.cursor
    }

    /// Where the next record is looked for: everything before it is read or missed.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Copies the payload of the next record into `out`, in place of what is there, and passes over the record; gives its number.
    /// `None`, with `out` empty: there is nothing; or the producer has overtaken us several times meanwhile, and
    /// [`has_something`](Self::has_something) is true. Never blocks.
    ///
    /// # Errors
    /// [`Violation`]: the producer broke the format; the lane cannot be read further.
    #[inline]
    pub fn poll(&mut self, out: &mut impl Buffer) -> Result<Option<u64>, Violation> {
        // Not sooner: what the record before refers to is read, or in a hold slot, by now.
        self.publish_if_due();
        for _ in 0..MOST_LOOKS {
            let found = self.look(out);
            let look_again = match found {
                Ok(Found::Message { .. }) => Site::CopyLookAgain,
                Ok(Found::Nothing) => Site::EmptyLookAgain,
                Ok(Found::Pad(_)) | Err(_) => Site::HeaderLookAgain,
            };
            if look_again.holds() && self.is_overtaken() {
                self.resume()?;
                continue;
            }
            match found? {
                Found::Message { number, end } => {
                    self.found = self.position;
                    self.advance_to(end);
                    return Ok(Some(number));
                }
                Found::Pad(end) => self.advance_to(end),
                Found::Nothing => break,
            }
        }
        out.lend(0);
        Ok(None)
    }

    /// Whether the producer has not given up the record that the last [`poll`](Self::poll) has found. To be asked behind a store to a
    /// hold slot that names what the record refers to: if so, that is the reader's until it releases the slot. Or behind a copy
    /// of that: if so, the copy is whole.
    pub fn stands(&self) -> bool {
        // Between the store to the slot, or the loads of the copy, and the load below. Partner: the fence in `Ring::look` of the
        // pool, between raising `Intent` and looking at the slots: either the producer sees the slot, or we see `Intent`.
        if Site::HintFence.holds() {
            fence(Ordering::SeqCst);
        }
        let intent = self.storage.control(Control::Intent);
        // Relaxed: by the fence.
        let given_up = self.given_up(intent.load(Ordering::Relaxed));
        self.found.0 >= given_up || !Site::HintLookAgain.holds()
    }

    /// Whether a [`poll`](Self::poll) would find something.
    #[inline]
    pub fn has_something(&self) -> bool {
        !self.is_dry()
    }

    /// Whether no record stands next, and none was missed.
    #[inline]
    pub fn is_dry(&self) -> bool {
        self.load_commit_word() == 0 && !self.is_overtaken()
    }

    /// Tells the producer how far everything is read or missed. [`poll`](Self::poll) does it by itself each eighth of the ring, of
    /// what it has found before.
    #[inline]
    pub fn publish(&mut self) -> Published {
        publish_cursor(&self.cursor, &mut self.published, self.position)
    }

    /// How the producer closed, if it has. What it committed before is visible after this.
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(load_closed(&self.storage))
    }

    /// What it means when the producer's process has exited: one that passes on for another host, and did not close, may
    /// have had more to pass on.
    pub fn ending_by_exit(&self) -> Ending {
        Ending::by_exit(load_closed(&self.storage))
    }

    /// Looks at the header at our position, copies what is behind it. Nothing of that counts if we are overtaken.
    #[inline(always)]
    fn look(&self, out: &mut impl Buffer) -> Result<Found, Violation> {
        let Position(position) = self.position;
        let word = self.load_commit_word();
        if word == 0 {
            return Ok(Found::Nothing);
        }
        let record = checked(&self.storage, self.position, word)?;
        let end = Position(position + record_bytes(record.len_bytes) as u64);
        match record.kind {
            Kind::Message => {
                let out = out.lend(record.len_bytes);
                self.storage.copy_out_words(record.offset, out);
                let number = record.detail;
                Ok(Found::Message { number, end })
            }
            // No two in a row: a record is never as long as the ring.
            Kind::Pad if record.offset + record.len_bytes == self.storage.capacity() => {
                Ok(Found::Pad(end))
            }
            Kind::Pad => Err(Violation::Pad { position }),
            _ => Err(Violation::CommitWord { word, position }),
        }
    }

    /// Whether what we have just seen at our position may be of a later lap.
    #[inline(always)]
    fn is_overtaken(&self) -> bool {
        // Between what was seen and the load. Partner: the fence in `LossyProducer::raise`; if anything that we saw was stored
        // behind that, the load gives an `Intent` of then or later.
        if Site::CopyFence.holds() {
            fence(Ordering::Acquire);
        }
        let intent = self
            .storage
            .control(Control::Intent)
            .load(Ordering::Relaxed);
        self.position.0 < self.given_up(intent)
    }

    /// Goes on at the oldest record.
    #[cold]
    fn resume(&mut self) -> Result<(), Violation> {
        let Position(position) = self.position;
        // Partner: the release in `LossyProducer::raise`; `Oldest` is not below this after it.
        let intent = Site::IntentLoad.load_acquire(self.storage.control(Control::Intent));
        // Partner: the release in `LossyProducer::store_oldest`; the record there is visible after this.
        let oldest = Site::OldestLoad.load_acquire(self.storage.control(Control::Oldest));
        let is_possible = oldest > position
            && oldest >= self.given_up(intent)
            && oldest.is_multiple_of(CELL_BYTES as u64)
            && oldest <= MOST_POSITION;
        if !is_possible {
            return Err(Violation::Oldest { oldest, position });
        }
        self.advance_to(Position(oldest));
        Ok(())
    }

    /// Positions below this are overwritten where the control page holds this intent.
    #[inline(always)]
    fn given_up(&self, intent: u64) -> u64 {
        intent.saturating_sub(self.storage.capacity() as u64)
    }

    #[inline(always)]
    fn advance_to(&mut self, end: Position) {
        self.position = end;
        if !Site::HintBeforeCursor.holds() {
            self.publish_if_due();
        }
    }

    #[inline(always)]
    fn publish_if_due(&mut self) {
        if self.position.0 - self.published.0 >= self.storage.capacity() as u64 / 8 {
            let _ = self.publish();
        }
    }

    #[inline(always)]
    fn load_commit_word(&self) -> u64 {
        let offset = self.position.0 as usize & (self.storage.capacity() - 1);
        // Partner: the release in `LossyProducer::reveal`; the record, and the 0 behind it, are visible after this.
        Site::RingPoll.load_acquire(self.storage.commit_word(offset))
    }
}

impl Buffer for Vec<u8> {
    #[inline]
    fn lend(&mut self, len_bytes: usize) -> &mut [u8] {
        self.resize(len_bytes, 0);
        self
    }
}

/// What one poll looks at, at most: a pad, a record, and that again each time that it was overtaken.
const MOST_LOOKS: usize = 8;
