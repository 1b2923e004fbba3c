//! The writing end of a ring.

use super::{
    CELL_BYTES, Control, Cursor, DropCause, DropLog, Ending, Kind, Position, Write,
    max_payload_bytes, readers::Readers, record, water::Water,
};
use crate::sync::{Ordering, Site};

/// The writing end of a ring, over the cursors of its readers.
#[derive(Debug)]
pub struct Producer<S, C> {
    pub(super) storage: S,
    /// The longest payload of a record, in bytes.
    pub(super) max_payload: usize,
    /// A ring without a reader is never full.
    pub(super) readers: Readers<C>,
    /// Where the readers find the next record; its commit word holds 0.
    pub(super) committed: Position,
    /// End of what is written; beyond `committed` only while a batch is staged.
    pub(super) staged: Position,
    /// Whether the readers were close behind when their cursors were looked at last: then messages go one at a time.
    is_followed: bool,
    /// A header ahead that holds 0 already; nothing was written at or behind it since. Position 0 is none.
    pub(super) cleared: Position,
    /// Commit word of the first staged record, which is stored last.
    first_word: u64,
    /// Where the last staged record stands, its commit word.
    last: (usize, u64),
    /// The slowest cursor, as far as known.
    pub(super) slowest: Position,
    /// Up to here can be written without a look at the cursors: slowest known cursor plus capacity, or plus the high water
    /// mark while that is not reached. May be stale, never too high.
    pub(super) limit: Position,
    water: Water,
    pub(super) drops: DropLog,
    /// Whether what is staged announces them.
    gap_staged: bool,
}

/// Room for one record, found by [`Producer::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Offset of the payload in the ring.
    pub offset: usize,
    /// Bytes of payload that fit.
    pub len_bytes: usize,
    /// Bytes of pad before the record, 0 if there is none.
    pad_bytes: usize,
}

/// Why a record was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// Not before a reader has moved on.
    Full,
    /// Never in this ring: the payload limit is this many bytes.
    TooLarge(usize),
}

impl<S: Write, C: Cursor> Producer<S, C> {
    /// The writing end of a fresh, zeroed ring with one reader, in seat 0, whose cursor is not known yet.
    pub fn new(storage: S) -> Self {
        let mut readers = Readers::new();
        readers.add(0, None, Position(0));
        Self::beginning(storage, readers, Position(0), DropLog::default())
    }

    /// Behind a position where nothing was written yet.
    pub(super) fn beginning(
        storage: S,
        readers: Readers<C>,
        from: Position,
        drops: DropLog,
    ) -> Self {
        let (water, capacity) = (Water::default(), storage.capacity() as u64);
        Self {
            max_payload: max_payload_bytes(storage.capacity()),
            storage,
            readers,
            committed: from,
            staged: from,
            is_followed: true,
            cleared: Position(0),
            first_word: 0,
            last: (0, 0),
            slowest: from,
            limit: Position(from.0 + water.room(capacity)),
            water,
            drops,
            gap_staged: false,
        }
    }

    /// Tells where the cursor of the reader in a seat is found.
    pub fn attach(&mut self, seat: u32, cursor: C) {
        self.readers.attach(seat, cursor);
    }

    /// The ring.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where the readers find what is committed next: all bytes that were ever committed.
    #[inline]
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Finds room for a payload of `len` bytes behind what is staged.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<Slot, NoRoom> {
        let capacity = self.storage.capacity();
        if len > self.max_payload {
            return Err(NoRoom::TooLarge(self.max_payload));
        }
        let offset = self.offset(self.staged);
        let record = record::record_bytes(len);
        let to_end = capacity - offset;
        let (pad_bytes, offset) = if record > to_end {
            (to_end, 0)
        } else {
            (0, offset)
        };
        let behind = if Site::ReserveNextHeader.holds() {
            CELL_BYTES
        } else {
            0
        };
        let end = self.staged.0 + (pad_bytes + record) as u64;
        if end + behind as u64 > self.limit.0 && !self.look_for_room(end + behind as u64) {
            return Err(NoRoom::Full);
        }
        if end > self.cleared.0 {
            self.cleared = Position(0);
        }
        Ok(Slot {
            offset: offset + CELL_BYTES,
            len_bytes: len,
            pad_bytes,
        })
    }

    /// As [`reserve_rest`](Self::reserve_rest), where nothing is staged.
    #[inline]
    pub fn reserve_rest_at_once(&mut self) -> Option<Slot> {
        match self.staged == self.committed {
            true => self.reserve_rest(),
            false => None,
        }
    }

    /// All room that lies in one piece behind what is staged, for a payload whose length is not known yet; 0 bytes are
    /// possible. Does not look at the cursors.
    #[inline]
    pub fn reserve_rest(&mut self) -> Option<Slot> {
        self.cleared = Position(0);
        let capacity = self.storage.capacity();
        let offset = self.offset(self.staged);
        let below_limit = self
            .limit
            .0
            .checked_sub(self.staged.0 + 2 * CELL_BYTES as u64)?;
        let to_end = capacity - offset - CELL_BYTES;
        let len_bytes = to_end.min(below_limit as usize).min(self.max_payload);
        Some(Slot {
            offset: offset + CELL_BYTES,
            len_bytes,
            pad_bytes: 0,
        })
    }

    /// Appends a record to the staged ones; its payload, `len` bytes, lies in `slot`, which was reserved since the last
    /// record and is not shorter.
    #[inline]
    pub fn stage(&mut self, slot: Slot, kind: Kind, len: usize, detail: u64) {
        debug_assert!(len <= slot.len_bytes);
        if slot.pad_bytes != 0 {
            let offset = self.offset(self.staged);
            self.put(offset, Kind::Pad, slot.pad_bytes - CELL_BYTES, 0);
        }
        self.put(slot.offset - CELL_BYTES, kind, len, detail);
    }

    /// Appends a record to the committed ones, as [`stage`](Self::stage) and [`commit`](Self::commit) do where nothing else
    /// is staged.
    #[inline(always)]
    pub fn append(&mut self, slot: Slot, kind: Kind, len: usize, detail: u64) {
        debug_assert!(self.staged == self.committed);
        if slot.pad_bytes != 0 {
            self.stage(slot, kind, len, detail);
            return self.commit();
        }
        let offset = slot.offset - CELL_BYTES;
        let record = record::record_bytes(len) as u64;
        let end = self.committed.0 + record;
        self.storage.store_detail(offset, detail);
        let word = record::commit_word(kind, len as u32);
        self.reveal(offset, word, Position(end), record);
        Self::fetch_ahead(&self.storage, Position(end), record);
    }

    /// Stages a record with a copy of `payload`.
    pub fn stage_copy(&mut self, kind: Kind, payload: &[u8], detail: u64) -> Result<(), NoRoom> {
        let slot = self.reserve(payload.len())?;
        self.storage.copy_in(slot.offset, payload);
        self.stage(slot, kind, payload.len(), detail);
        Ok(())
    }

    /// Stages a record whose payload is these parts, one behind the other; each but the last is a multiple of 16 bytes
    /// long.
    pub fn stage_copies<const N: usize>(
        &mut self,
        kind: Kind,
        parts: &[&[u8]; N],
        detail: u64,
    ) -> Result<(), NoRoom> {
        let len = parts.iter().map(|part| part.len()).sum();
        let slot = self.reserve(len)?;
        let mut offset = slot.offset;
        for part in parts {
            self.storage.copy_in(offset, part);
            offset += part.len();
        }
        self.stage(slot, kind, len, detail);
        Ok(())
    }

    /// Makes everything staged visible, at once.
    #[inline]
    pub fn commit(&mut self) {
        if self.staged == self.committed {
            return;
        }
        let first = self.offset(self.committed);
        let len = self.staged.0 - self.committed.0;
        let end = self.staged;
        self.reveal(first, self.first_word, end, len);
        let (_, last) = self.last;
        if last >> 32 <= SHORT_BYTES {
            Self::fetch_ahead(&self.storage, end, len);
        }
        if self.gap_staged {
            self.gap_staged = false;
            self.drops.announced();
        }
    }

    /// Stores the commit word at the offset `first`, up to which all is committed: what lies from there to `end`, so many
    /// bytes, becomes visible.
    #[inline(always)]
    fn reveal(&mut self, first: usize, word: u64, end: Position, len: u64) {
        Self::reveal_in(&self.storage, (first, word), end, self.cleared == end);
        self.committed = end;
        self.staged = end;
        self.clear_next(end, len);
    }

    /// The same, as far as readers see it. Whether the header behind the end holds 0 already, the caller knows.
    #[inline(always)]
    pub(super) fn reveal_in(
        cells: &impl Write,
        (first, word): (usize, u64),
        end: Position,
        is_cleared: bool,
    ) {
        let next = end.0 as usize & (cells.capacity() - 1);
        let (first, next) = (cells.commit_word(first), cells.commit_word(next));
        // Relaxed: the release below carries it. The reader gets here only past the record before it.
        if !is_cleared && Site::ZeroNextHeader.holds() && Site::ZeroBeforeCommit.holds() {
            next.store(0, Ordering::Relaxed);
        }
        // Partner: the acquire in `Consumer::poll`, which then sees every staged record and the 0 behind them.
        first.store(word, Site::RingCommit.order(Ordering::Release));
        if !Site::ZeroBeforeCommit.holds() {
            next.store(0, Ordering::Relaxed);
        }
    }

    /// Behind a record of so many bytes that ends here, and where readers may be close.
    #[inline(always)]
    pub(super) fn clear_next(&mut self, end: Position, len: u64) {
        if self.is_followed {
            self.clear_ahead(Position(end.0 + len));
        }
    }

    /// Clears the header behind the next record, if that will be as long as the last one. Were it cleared only then, the
    /// record would wait until the line comes here, which a reader's processor may have fetched ahead. In a stream there is
    /// no time in between that could be used.
    #[inline]
    fn clear_ahead(&mut self, ahead: Position) {
        let is_free = ahead.0 + CELL_BYTES as u64 <= self.limit.0;
        if is_free && Site::ZeroNextHeader.holds() && Site::ZeroBeforeCommit.holds() {
            let header = self.storage.commit_word(self.offset(ahead));
            // Relaxed: free memory, until the release of that record carries it.
            header.store(0, Ordering::Relaxed);
            self.cleared = ahead;
        }
    }

    /// Has the processor fetch the lines that are written soon. A reader has had them, so each store would wait for its line to
    /// come back, and few stores can wait at a time.
    #[inline(always)]
    pub(super) fn fetch_ahead(cells: &impl Write, end: Position, len: u64) {
        let ahead = (end.0 + FETCH_AHEAD_BYTES) as usize & (cells.capacity() - 1);
        cells.prefetch(ahead);
        // As many lines as what was written last has. Behind the ring's end, once a lap, it fetches nothing of use.
        let mut line = LINE_BYTES;
        while line < len.min(MOST_FETCHED_BYTES) {
            cells.prefetch(ahead + line as usize);
            line += LINE_BYTES;
        }
    }

    /// Takes back everything staged.
    pub fn abort(&mut self) {
        self.staged = self.committed;
        self.gap_staged = false;
    }

    /// The slowest cursor as it is now.
    pub fn slowest(&mut self) -> Position {
        self.look_for_room(u64::MAX);
        self.slowest
    }

    /// Whether a payload of `len` bytes has room now.
    pub fn has_room(&mut self, len: usize) -> bool {
        self.reserve(len).is_ok()
    }

    /// Counts messages that find no room. They are announced in band with [`Producer::stage_gap`], and readers find
    /// the counts by themselves when the ring has run dry.
    pub fn count_drop(&mut self, cause: DropCause, messages: u64) {
        debug_assert!(
            self.staged == self.committed,
            "a drop is counted where it happens, not inside a batch"
        );
        self.drops.count(&self.storage, cause, messages);
    }

    /// Messages that were ever dropped.
    pub fn dropped(&self) -> u64 {
        self.drops.counts().total()
    }

    /// Whether there are drops that have not been announced yet.
    #[inline]
    pub fn has_drops(&self) -> bool {
        self.drops.is_pending()
    }

    /// Stages a gap record if drops have not been announced yet; to be committed together with the message behind it.
    #[inline]
    pub fn stage_gap(&mut self) -> Result<(), NoRoom> {
        if !self.drops.is_pending() {
            return Ok(());
        }
        let payload = self.drops.counts().to_bytes();
        self.stage_copy(Kind::Gap, &payload, 0)?;
        self.gap_staged = true;
        Ok(())
    }

    /// Says that nothing more will come, if nothing else was said.
    pub fn close(&self) {
        // Relaxed: this side alone writes it.
        let said = self
            .storage
            .control(Control::Closed)
            .load(Ordering::Relaxed);
        if Ending::of(said).is_none() {
            self.close_with(Ending::Closed as u64);
        }
    }

    /// Says that nothing more will come, and why, by a value of [`Control::Closed`].
    pub fn close_with(&self, ending: u64) {
        store_closed(&self.storage, ending);
    }

    #[inline]
    pub(super) fn put(&mut self, offset: usize, kind: Kind, len: usize, detail: u64) {
        let word = record::commit_word(kind, len as u32);
        self.storage.store_detail(offset, detail);
        let first = self.staged == self.committed;
        if first {
            self.first_word = word;
        } else {
            self.mark_followed();
        }
        self.last = (offset, word);
        if !first || !Site::BatchFirstWordLast.holds() {
            // Relaxed: no reader gets here before `commit` stores the first word with release. (The mutant stores that
            // one here, with release, so that nothing but the order of words is wrong.)
            let order = if first {
                Ordering::Release
            } else {
                Ordering::Relaxed
            };
            self.storage.commit_word(offset).store(word, order);
        }
        let record = record::record_bytes(len) as u64;
        self.staged.0 += record;
        if record > SHORT_BYTES {
            Self::fetch_ahead(&self.storage, self.staged, record);
        }
    }

    /// Says in the last staged record that more of its batch follows.
    #[inline]
    fn mark_followed(&mut self) {
        let (offset, word) = self.last;
        if offset == self.offset(self.committed) {
            self.first_word |= record::MORE;
        } else {
            // Relaxed: as in `put`.
            let followed = self.storage.commit_word(offset);
            followed.store(word | record::MORE, Ordering::Relaxed);
        }
    }

    /// Looks at the cursors until `end` lies below the limit.
    #[cold]
    fn look_for_room(&mut self, end: u64) -> bool {
        let capacity = self.storage.capacity() as u64;
        let Position(slowest) = self.readers.slowest(self.committed);
        self.slowest = Position(slowest);
        self.is_followed = self.committed.0 - slowest <= CLOSE_BYTES;
        // Whoever asks for all there is asks how things are.
        let fill = if end == u64::MAX { self.staged.0 } else { end } - slowest;
        if self.water.is_crossed(fill, capacity) {
            // Relaxed: it orders nothing; a reader learns it by and by.
            let word = self.storage.control(Control::Water);
            word.store(self.water.crossings(), Ordering::Relaxed);
        }
        let shared_room = capacity - self.readers.kept_bytes();
        let room = match slowest == self.committed.0 {
            true => capacity,
            false => shared_room,
        };
        // What needs more asks each time.
        self.limit = Position(slowest + self.water.room(capacity).min(shared_room));
        end <= slowest + room
    }

    #[inline(always)]
    pub(super) fn offset(&self, position: Position) -> usize {
        position.0 as usize & (self.storage.capacity() - 1)
    }
}

/// Says that nothing more will come, and why, by a value of [`Control::Closed`].
pub(super) fn store_closed(storage: &impl Write, ending: u64) {
    // Release: a reader that sees it sees every record and every drop before it. Partner: the acquire in `load_closed`.
    storage
        .control(Control::Closed)
        .store(ending, Site::CloseStore.order(Ordering::Release));
}

/// Measured, in a stream of 64 bytes between two threads that do nothing else, medians of ten runs in turn: without 37 million messages a second; 58
/// at 0, 66 at 256, 68 at 512; beyond, some runs fall back to 34.
///
/// Of 1,024 bytes, between two processes: 7 million with two lines fetched, 13 million with all.
const FETCH_AHEAD_BYTES: u64 = 512;
/// At a time; as many lines as a core has on their way to its second cache, about.
const MOST_FETCHED_BYTES: u64 = 2048;
const LINE_BYTES: u64 = 64;
/// Of a batch, what is ahead of short records is fetched for all of them together.
const SHORT_BYTES: u64 = 256;
/// A few short records: what a reader can be behind that takes them one by one.
const CLOSE_BYTES: u64 = 512;
