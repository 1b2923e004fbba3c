//! The writing end of a table.

use rustc_hash::FxHashMap;

use super::{
    Shape, ShapeError, WordsMut,
    arena::{Arena, Place},
    layout::{Header, Layout},
    recency::Recency,
    slot::{Content, Description, SlotWords},
};
use crate::sync::{Ordering, Site};

/// The writing end of a table. There is one for each table, for all of the table's life.
#[derive(Debug)]
pub struct TableWriter<S> {
    storage: S,
    layout: Layout,
    /// Of the next write; all below are complete.
    sequence: u64,
    slots: Box<[Slot]>,
    /// The memory of each cell, of all slots one behind the other.
    places: Box<[Option<Place>]>,
    arena: Arena,
    keys: FxHashMap<u64, u32>,
    recency: Recency,
    /// Slots below this one have been written.
    used: u32,
    /// Slots that hold no value, and perhaps some that [`TableWriter::store_at`] has taken since.
    vacant: Vec<u32>,
    /// Sequences of watched values that nobody finds any more.
    gone: Vec<u64>,
}

/// What the writer knows of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Writes completed.
    writes: u64,
    /// The cell of the next write.
    spare: usize,
    /// Of the last value.
    sequence: u64,
    /// Messages so far.
    number: u64,
    /// What that was when the slot passed to its present key.
    first: u64,
    key: Option<u64>,
    /// Whether somebody wants to know when its value is gone.
    watched: bool,
}

/// Where a value belongs in the stream of its slot, and of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the write within the table, from 1 on.
    pub sequence: u64,
    /// Messages that were stored into the slot before this value.
    pub number: u64,
    /// Messages that this value consists of.
    pub count: u32,
}

/// The value is longer than this table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {len} bytes in a table that takes {limit}")]
pub struct TooLarge {
    /// Its length in bytes.
    pub len: usize,
    /// The longest, in bytes.
    pub limit: usize,
}

/// Why a value of another table cannot be stored: its sender broke the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAtError {
    /// There is no such slot.
    #[error("slot {slot} of a table of {slots}")]
    Slot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: u32,
    },
    /// It is older than what the slot holds, or overlaps it.
    #[error("{stamp:?} for slot {slot}, which has sequence {sequence} and {number} messages")]
    Order {
        /// The slot.
        slot: u32,
        /// What was to be stored there.
        stamp: Stamp,
        /// Sequence of the slot's last value; 0 if it had none.
        sequence: u64,
        /// Messages stored into the slot so far.
        number: u64,
    },
    /// It has no room.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl Stamp {
    /// Messages in the slot with this value; `None` if that overflows.
    pub fn end(&self) -> Option<u64> {
        self.number.checked_add(self.count.into())
    }
}

impl<S: WordsMut> TableWriter<S> {
    /// An empty table in zeroed memory.
    ///
    /// # Errors
    /// `shape` does not fit into it.
    pub fn new(storage: S, shape: Shape) -> Result<Self, ShapeError> {
        let layout = Layout::new(shape, storage.words().len())?;
        layout.write(&storage);
        let slots = shape.slots as usize;
        let mut table = Self {
            arena: Arena::new(&layout),
            sequence: 0,
            slots: vec![Slot::default(); slots].into(),
            places: (0..slots * shape.cells as usize).map(|_| None).collect(),
            keys: FxHashMap::default(),
            recency: Recency::new(shape.slots),
            used: 0,
            vacant: (0..shape.slots).rev().collect(),
            storage,
            layout,
            gone: Vec::new(),
        };
        table.complete_below(1);
        Ok(table)
    }

    /// The memory.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Sequence of the next [`TableWriter::store`]; from 1 on, so 0 means never.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The longest value, in bytes.
    pub fn longest(&self) -> usize {
        self.layout.longest
    }

    /// How many messages were stored for `key` since it has its slot; 0 if it has none.
    #[inline]
    pub fn messages_of(&self, key: u64) -> u64 {
        self.keys.get(&key).map_or(0, |slot| {
            let held = &self.slots[*slot as usize];
            held.number - held.first
        })
    }

    /// Makes the parts, one behind the other, the newest value of the topic that the caller calls `key`: `count` messages.
    /// Each part but the last is a multiple of 8 bytes. Others, written longest ago, give way if there is no room. Gives its slot.
    ///
    /// # Errors
    /// The value is too long for this table; nothing has changed.
    pub fn store(&mut self, key: u64, count: u32, parts: &[&[u8]]) -> Result<u32, TooLarge> {
        let len = self.measure(parts)?;
        let slot = self.slot_of(key);
        let stamp = Stamp {
            sequence: self.sequence,
            number: self.slots[slot as usize].number,
            count,
        };
        if !Site::TableSequenceLast.holds() {
            self.complete_below(stamp.sequence + 1);
        }
        self.write(slot, stamp, len, parts);
        self.complete_below(stamp.sequence + 1);
        Ok(slot)
    }

    /// Has [`TableWriter::take_gone`] tell when the value that this slot holds now is gone.
    pub fn watch(&mut self, slot: u32) {
        self.slots[slot as usize].watched = true;
    }

    /// Sequences of watched values that others have taken the place of, or that had to give way, since this was asked last.
    pub fn take_gone(&mut self) -> impl Iterator<Item = u64> {
        self.gone.drain(..)
    }

    /// Takes away the value of this slot, as if there were no memory for it; whether it is the one with this sequence.
    pub fn take_away(&mut self, slot: u32, sequence: u64) -> bool {
        let held = self.slots.get(slot as usize);
        let is_there = held.is_some_and(|held| held.sequence == sequence && held.key.is_some());
        if is_there {
            self.vacate(slot);
        }
        is_there
    }

    /// For the copy of a table of another host: stores what a reader there was given, into the same slot. A table that is
    /// written by this is not written by [`TableWriter::store`].
    ///
    /// Values come in the order of their slots, so the table's sequence does not follow from theirs; it is set by
    /// [`TableWriter::complete_below`].
    ///
    /// # Errors
    /// The slot does not exist, the value does not follow upon what the slot holds, or is too long; nothing has changed.
    pub fn store_at(
        &mut self,
        slot: u32,
        stamp: Stamp,
        parts: &[&[u8]],
    ) -> Result<(), StoreAtError> {
        let held = self.check_stamp(slot, stamp)?;
        if stamp.sequence == held.sequence {
            return Err(out_of_order(slot, stamp, held));
        }
        let len = self.measure(parts)?;
        self.write(slot, stamp, len, parts);
        Ok(())
    }

    /// For the copy of a table of another host: vacates a slot, as a reader there was told.
    ///
    /// # Errors
    /// The slot does not exist, or holds something newer; nothing has changed.
    pub fn vacate_at(&mut self, slot: u32, stamp: Stamp) -> Result<(), StoreAtError> {
        self.check_stamp(slot, stamp)?;
        let held = &mut self.slots[slot as usize];
        let is_news = stamp.sequence > held.sequence;
        held.sequence = stamp.sequence;
        held.number = stamp.end().unwrap_or(held.number);
        if is_news || self.recency.contains(slot) {
            self.vacate(slot);
        }
        Ok(())
    }

    /// Says that all writes with a sequence below `next` are in the table. [`TableWriter::store`] does so by itself; the copy
    /// of a table of another host does when a reader there has [seen](super::TableReader::seen) as much. Never falls.
    pub fn complete_below(&mut self, next: u64) {
        if next > self.sequence {
            self.sequence = next;
            // Partner: the acquire in `TableReader::sequence`.
            self.storage.words()[Header::Sequence as usize]
                .store(next, Site::TableSequenceStore.order(Ordering::Release));
        }
    }

    fn measure(&self, parts: &[&[u8]]) -> Result<u32, TooLarge> {
        debug_assert!(
            parts
                .split_last()
                .is_none_or(|(_, before)| before.iter().all(|part| part.len().is_multiple_of(8))),
            "parts before the last are whole words"
        );
        let len = parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let limit = self.layout.longest;
        match u32::try_from(len) {
            Ok(short) if len <= limit => Ok(short),
            _ => Err(TooLarge { len, limit }),
        }
    }

    fn check_stamp(&self, slot: u32, stamp: Stamp) -> Result<Slot, StoreAtError> {
        let held = *self.slots.get(slot as usize).ok_or(StoreAtError::Slot {
            slot,
            slots: self.layout.shape.slots,
        })?;
        let follows = stamp.sequence >= held.sequence.max(1)
            && stamp.number >= held.number
            && stamp.end().is_some();
        match follows {
            true => Ok(held),
            false => Err(out_of_order(slot, stamp, held)),
        }
    }

    /// The slot that holds `key`, or will.
    fn slot_of(&mut self, key: u64) -> u32 {
        if let Some(slot) = self.keys.get(&key) {
            return *slot;
        }
        let slot = loop {
            match self.vacant.pop() {
                Some(slot) if self.recency.contains(slot) => {}
                Some(slot) => break slot,
                None => {
                    let oldest = self.recency.oldest();
                    let oldest = oldest.expect("a slot that is not vacant holds a value");
                    self.vacate(oldest);
                }
            }
        };
        let held = &mut self.slots[slot as usize];
        held.key = Some(key);
        held.first = held.number;
        self.keys.insert(key, slot);
        slot
    }

    #[inline(always)]
    fn write(&mut self, slot: u32, stamp: Stamp, len: u32, parts: &[&[u8]]) {
        self.recency.touch(slot);
        let offset = self.begin(slot, len);
        let content = Content::Value { len, offset };
        let held = &mut self.slots[slot as usize];
        if held.watched {
            held.watched = false;
            self.gone.push(held.sequence);
        }
        held.sequence = stamp.sequence;
        held.number = stamp.end().unwrap_or(u64::MAX);
        self.complete(slot, Description { stamp, content }, parts);
    }

    /// Begins a write, and finds memory for it. Returns where, in bytes from the start of the arena.
    #[inline(always)]
    fn begin(&mut self, slot: u32, len: u32) -> u64 {
        self.words_of(slot).begin(self.slots[slot as usize].writes);
        let place = self.spare(slot);
        if let Some(place) = &self.places[place]
            && place.suits(len as usize)
        {
            return place.offset();
        }
        self.relocate(slot, len)
    }

    #[cold]
    fn relocate(&mut self, slot: u32, len: u32) -> u64 {
        self.release_spare(slot);
        let place = loop {
            if let Some(place) = self.arena.allocate(len as usize) {
                break place;
            }
            match self.recency.oldest() {
                Some(oldest) if oldest != slot => self.vacate(oldest),
                // What is free lies in pieces between the values of this very slot.
                _ => {
                    self.empty_cells(slot);
                    self.words_of(slot).begin(self.slots[slot as usize].writes);
                    let place = self.arena.allocate(len as usize);
                    break place.expect("an empty arena takes all that `measure` lets pass");
                }
            }
        };
        let offset = place.offset();
        let spare = self.spare(slot);
        self.places[spare] = Some(place);
        offset
    }

    /// Takes a slot's value away, and its topic.
    fn vacate(&mut self, slot: u32) {
        self.empty_cells(slot);
        self.recency.remove(slot);
        let held = &mut self.slots[slot as usize];
        if std::mem::take(&mut held.watched) {
            self.gone.push(held.sequence);
        }
        if let Some(key) = held.key.take() {
            self.keys.remove(&key);
            self.vacant.push(slot);
        }
    }

    /// Writes that the slot is vacated into each of its cells; the account stays.
    fn empty_cells(&mut self, slot: u32) {
        for _ in 0..self.layout.shape.cells {
            let held = self.slots[slot as usize];
            self.words_of(slot).begin(held.writes);
            self.release_spare(slot);
            let description = Description {
                stamp: Stamp {
                    sequence: held.sequence,
                    number: held.number,
                    count: 0,
                },
                content: Content::Vacated,
            };
            self.complete(slot, description, &[]);
        }
    }

    #[inline(always)]
    fn complete(&mut self, slot: u32, description: Description, parts: &[&[u8]]) {
        let Slot { writes, spare, .. } = self.slots[slot as usize];
        if Site::TableUsedFirst.holds() {
            self.use_slot(slot);
        }
        self.words_of(slot)
            .complete(writes, spare, description, parts);
        if !Site::TableUsedFirst.holds() {
            self.use_slot(slot);
        }
        let held = &mut self.slots[slot as usize];
        held.writes += 1;
        held.spare = if spare + 1 < self.layout.shape.cells as usize {
            spare + 1
        } else {
            0
        };
    }

    /// Says that readers have to look at this slot, too.
    fn use_slot(&mut self, slot: u32) {
        if slot >= self.used {
            self.used = slot + 1;
            // Relaxed: whoever sees this write counted in the group word sees this as well.
            self.storage.words()[Header::Used as usize].store(self.used.into(), Ordering::Relaxed);
        }
    }

    /// Gives up the memory of the cell that is written next; only once that write has begun.
    fn release_spare(&mut self, slot: u32) {
        let spare = self.spare(slot);
        if let Some(place) = self.places[spare].take() {
            self.arena.free(place);
        }
    }

    /// Index in `places` of the cell that is written next.
    fn spare(&self, slot: u32) -> usize {
        slot as usize * self.layout.shape.cells as usize + self.slots[slot as usize].spare
    }

    #[inline(always)]
    fn words_of(&self, slot: u32) -> SlotWords<'_> {
        SlotWords {
            words: self.storage.words(),
            layout: &self.layout,
            slot,
        }
    }
}

fn out_of_order(slot: u32, stamp: Stamp, held: Slot) -> StoreAtError {
    StoreAtError::Order {
        slot,
        stamp,
        sequence: held.sequence,
        number: held.number,
    }
}
