//! The writing end of a lossy ring.

use super::max_payload_bytes;
use crate::ring::{
    CELL_BYTES, Control, Ending, Kind, Position, Write,
    producer::store_closed,
    record::{commit_word, parse_commit_word, record_bytes},
};
use crate::sync::{AtomicU64, Ordering, Site, fence};

/// The writing end of a lossy ring. It never waits, for it knows nobody.
#[derive(Debug)]
pub struct LossyProducer<S> {
    storage: S,
    /// The longest payload of a record, in bytes.
    max_payload: usize,
    /// Where readers find the next record; its commit word holds 0.
    committed: Position,
    /// Where the last record stands; never overwritten before there is another one.
    newest: Position,
    /// What [`Control::Oldest`] holds.
    oldest: Position,
    /// What [`Control::Intent`] means: as long as nothing was overwritten, the capacity. What ends below it may be written.
    intent: Position,
}

/// The record is longer than the ring ever takes: the payload limit is this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub usize);

impl<S: Write> LossyProducer<S> {
    /// The writing end of a fresh, zeroed ring.
    pub fn new(storage: S) -> Self {
        let capacity = storage.capacity();
        Self {
            storage,
            max_payload: max_payload_bytes(capacity),
            committed: Position(0),
            newest: Position(0),
            oldest: Position(0),
            intent: Position(capacity as u64),
        }
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where readers find what is committed next: all bytes that were ever committed.
    #[inline]
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Appends a message, whose payload is these parts, one behind the other; each but the last is a multiple of 16 bytes long
    /// (or is filled up with zeros to one). Overwrites as many of the oldest records as it needs room. Never blocks.
    ///
    /// Numbers are the caller's; each is above the one before.
    ///
    /// # Errors
    /// [`TooLarge`]: nothing was written, nothing overwritten.
    #[inline]
    pub fn append(&mut self, number: u64, parts: &[&[u8]]) -> Result<(), TooLarge> {
        let len = parts.iter().fold(0, |len: usize, part| {
            len.next_multiple_of(CELL_BYTES) + part.len()
        });
        if len > self.max_payload {
            return Err(TooLarge(self.max_payload));
        }
        let record = record_bytes(len);
        let to_end = self.storage.capacity() - self.offset(self.committed);
        let pad_bytes = if record > to_end { to_end } else { 0 };
        let start = Position(self.committed.0 + pad_bytes as u64);
        let end = Position(start.0 + record as u64);
        let needed = Position(end.0 + CELL_BYTES as u64);

        if needed > self.intent && Site::IntentFirst.holds() {
            self.raise(needed);
        }
        let header = self.offset(start);
        let mut offset = header + CELL_BYTES;
        for part in parts {
            self.storage.copy_in_words(offset, part);
            offset += part.len().next_multiple_of(CELL_BYTES);
        }
        self.storage.store_detail(header, number);
        self.reveal(
            start,
            pad_bytes,
            commit_word(Kind::Message, len as u32),
            end,
        );
        if needed > self.intent && !Site::IntentFirst.holds() {
            self.raise(needed);
        }
        Ok(())
    }

    /// Records that begin below this are given up: whoever looks at them finds that out.
    pub fn given_up(&self) -> Position {
        Position(self.intent.0 - self.storage.capacity() as u64)
    }

    /// Gives up all records that end at `end`, which is where one does, or before; never the newest one.
    pub fn give_up(&mut self, end: Position) {
        let end = end.min(self.newest);
        if end > self.given_up() {
            self.raise_to(Position(end.0 + self.storage.capacity() as u64));
        }
    }

    /// Says that nothing more will come, and why. Of a ring that a relay writes, that it does so stays known.
    pub fn close(&self, ending: Ending) {
        // Relaxed: our own word.
        let open = self
            .storage
            .control(Control::Closed)
            .load(Ordering::Relaxed);
        let ending = match Ending::is_relayed(open) {
            true => ending.relayed(),
            false => ending as u64,
        };
        store_closed(&self.storage, ending);
    }

    /// Makes what lies from `committed` to `end` visible, at once: so many bytes of pad, then a record.
    #[inline(always)]
    fn reveal(&mut self, start: Position, pad_bytes: usize, word: u64, end: Position) {
        // Relaxed: the release below carries it. The reader gets here only past the record before it.
        let clear = || self.word_at(end).store(0, Ordering::Relaxed);
        // Partner: the acquire in `LossyConsumer::load_commit_word`, which then sees the record and the 0 behind it.
        let release = Site::RingCommit.order(Ordering::Release);
        let commit = |word| self.word_at(self.committed).store(word, release);

        if Site::ZeroNextHeader.holds() && Site::ZeroBeforeCommit.holds() {
            clear();
        }
        if pad_bytes == 0 {
            commit(word);
        } else {
            let pad = commit_word(Kind::Pad, (pad_bytes - CELL_BYTES) as u32);
            if !Site::BatchFirstWordLast.holds() {
                commit(pad);
            }
            self.storage.store_detail(self.offset(self.committed), 0);
            // Relaxed: no reader gets here before it has seen the pad.
            self.word_at(start).store(word, Ordering::Relaxed);
            if Site::BatchFirstWordLast.holds() {
                commit(pad);
            }
        }
        if !Site::ZeroBeforeCommit.holds() {
            clear();
        }
        self.newest = start;
        self.committed = end;
    }

    /// Gives up the oldest records, so that all below `needed` may be written. Not the newest one: the limit of payloads sees
    /// to it that this is never necessary.
    #[cold]
    fn raise(&mut self, needed: Position) {
        let capacity = self.storage.capacity();
        let ahead = (capacity / AHEAD_PARTS) as u64;
        let most = self.newest.0 + capacity as u64;
        debug_assert!(needed.0 <= most);
        self.raise_to(Position(most.min(needed.0 + ahead)));
    }

    fn raise_to(&mut self, intent: Position) {
        let capacity = self.storage.capacity();
        self.intent = intent;
        while self.oldest.0 + (capacity as u64) < self.intent.0 {
            // Relaxed: our own word, of a record that is still whole.
            let word = self.word_at(self.oldest).load(Ordering::Relaxed);
            let bytes =
                parse_commit_word(word).map_or(CELL_BYTES, |(_, len)| record_bytes(len as usize));
            self.oldest.0 += bytes as u64;
        }
        if Site::OldestFirst.holds() {
            self.store_oldest();
        }
        // Partner: the acquire in `LossyConsumer::resume`, which then sees this `Oldest` or a later one.
        self.storage
            .control(Control::Intent)
            .store(self.intent.0, Site::IntentStore.order(Ordering::Release));
        if !Site::OldestFirst.holds() {
            self.store_oldest();
        }
        // Between the store above and all that overwrites. Partner: the fence in `LossyConsumer::is_overtaken`.
        if Site::OverwriteFence.holds() {
            fence(Ordering::Release);
        }
    }

    fn store_oldest(&self) {
        // Partner: the acquire in `LossyConsumer::resume`, which then sees the record there.
        self.storage
            .control(Control::Oldest)
            .store(self.oldest.0, Site::OldestStore.order(Ordering::Release));
    }

    #[inline(always)]
    fn word_at(&self, position: Position) -> &AtomicU64 {
        self.storage.commit_word(self.offset(position))
    }

    #[inline(always)]
    fn offset(&self, position: Position) -> usize {
        position.0 as usize & (self.storage.capacity() - 1)
    }
}

/// This part of the ring is given up at a time, beyond what the next record needs: the line of the two control words, which
/// readers look at all the time, then changes hands once for many records.
const AHEAD_PARTS: usize = 16;
