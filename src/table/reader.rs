//! The reading end of a table.

use super::{
    Buf, Shape, ShapeError, Words,
    layout::{GROUP_SLOTS, Header, Layout},
    slot::{Content, Description, SlotWords},
};
use crate::sync::{Ordering, Site};

/// A reading end of a table; any number may read one. Everything that it finds is checked, for the writer may be anybody.
#[derive(Debug)]
pub struct TableReader<S> {
    storage: S,
    layout: Layout,
    slots: Box<[Seen]>,
    /// The group words up to which all slots are seen.
    groups: Box<[u64]>,
    walk: Walk,
    pass: Pass,
    which: Which,
    /// Slots that could not be read for a writer in a hurry, in all.
    busy: u64,
    seen: u64,
}

/// What was given of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Writes that were complete.
    writes: u64,
    /// Of the last value.
    sequence: u64,
    /// Messages given and skipped.
    number: u64,
    /// Whether it is known to be vacated.
    vacated: bool,
}

/// Which values [`TableReader::poll`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// The newest of each slot.
    Newest,
    /// All that can be read, each slot's oldest first.
    All,
}

/// Where [`TableReader::poll`] goes on.
#[derive(Clone, Copy, Debug)]
struct Walk {
    group: usize,
    /// The next slot of the group, and the end of those that have been written.
    slot: u32,
    end: u32,
    /// Of a slot whose values are given one by one: how many of its writes are looked at before the next slot's turn; else 0.
    until: u64,
    /// Whether there may be something new in it.
    changed: bool,
    /// The group word before all its slots.
    word: u64,
    /// `busy` before all its slots.
    busy: u64,
}

/// One time round all groups, over several calls.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// The sequence before the first group.
    below: u64,
    groups_left: usize,
}

/// What there is to know of a value beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Where it stands.
    pub slot: u32,
    /// Number of its write within the table, from 1 on; of a vacated slot, that of its last value.
    pub sequence: u64,
    /// Messages that were stored into the slot before it.
    pub number: u64,
    /// Messages that it consists of.
    pub count: u32,
    /// Messages of this slot that were overwritten since the last value given of it; of the first one, all before it.
    pub skipped: u64,
    /// Its length in bytes, which is that of the buffer.
    pub len: usize,
    /// Whether there is no value any more: it had to give way. `count` and `len` are 0 then.
    pub vacated: bool,
}

/// What [`TableReader::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A value; it is in the buffer. `skipped` is 0.
    Value(Value),
    /// No such value: there were not so many, they had to give way, or the table does not keep them.
    None,
    /// The writer was faster each time; it has stored newer values meanwhile.
    Busy,
}

/// How a writer broke the format. The table cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Fewer writes begun than completed.
    #[error("slot {slot}: {begun} writes begun, {writes} completed")]
    Begun {
        /// The slot.
        slot: u32,
        /// Its word `begun`.
        begun: u64,
        /// Writes that were completed.
        writes: u64,
    },
    /// Fewer writes than before.
    #[error("slot {slot}: {writes} writes, {seen} were seen")]
    Writes {
        /// The slot.
        slot: u32,
        /// Its word `writes`.
        writes: u64,
        /// What that was.
        seen: u64,
    },
    /// A cell that describes no value in the arena.
    #[error("slot {slot}: a cell {words:#018x?}")]
    Cell {
        /// The slot.
        slot: u32,
        /// The cell's words.
        words: [u64; 4],
    },
    /// A value that does not follow upon the last one.
    #[error(
        "slot {slot}: sequence {sequence} behind {number} messages, {seen_number} were seen up to sequence {seen_sequence}"
    )]
    Order {
        /// The slot.
        slot: u32,
        /// Of the value.
        sequence: u64,
        /// Messages before the value.
        number: u64,
        /// Of the last one.
        seen_sequence: u64,
        /// Messages given and skipped.
        seen_number: u64,
    },
}

impl<S: Words> TableReader<S> {
    /// The reading end of a table. All that the table holds is new to it.
    ///
    /// # Errors
    /// The memory does not begin as a table does.
    pub fn open(storage: S) -> Result<Self, ShapeError> {
        let layout = Layout::read(&storage)?;
        Ok(Self {
            slots: vec![Seen::default(); layout.shape.slots as usize].into(),
            groups: vec![0; layout.groups].into(),
            walk: Walk {
                group: layout.groups - 1,
                slot: 0,
                end: 0,
                until: 0,
                changed: false,
                word: 0,
                busy: 0,
            },
            pass: Pass::default(),
            which: Which::Newest,
            busy: 0,
            seen: 0,
            storage,
            layout,
        })
    }

    /// The same, but for [`TableReader::poll`], which gives all values that the table keeps, not only the newest of each
    /// slot: those of a slot one behind the other, the oldest first.
    ///
    /// # Errors
    /// As [`TableReader::open`].
    pub fn open_for_all(storage: S) -> Result<Self, ShapeError> {
        let reader = Self::open(storage)?;
        Ok(Self {
            which: Which::All,
            ..reader
        })
    }

    /// The memory.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// How the table is cut up.
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }

    /// The longest value, in bytes, that an honest writer stores.
    pub fn longest(&self) -> usize {
        self.layout.longest
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.layout.shape.slots
    }

    /// How many values of a slot can be read.
    pub fn history(&self) -> u32 {
        self.layout.shape.cells - 1
    }

    /// Copies a value that was not given yet into `out`, or tells of a slot that was vacated; slots take turns. `None`: all
    /// that was complete when this was called is given or accounted for, but for slots that a hurried writer did not let
    /// read: then [`TableReader::has_something`] stays true.
    ///
    /// Takes time for each slot of groups that have changed, never more than for all slots; allocates nothing but `out`,
    /// which grows to the longest value at most.
    ///
    /// # Errors
    /// The writer broke the format.
    pub fn poll(&mut self, out: &mut Buf) -> Result<Option<Value>, Violation> {
        self.poll_with(out, |_, _| true)
    }

    /// The same, of a reader for the newest values; `keep` is shown each value before it is given, or accounted for. If the value
    /// refers to something, `keep` names that in a hold slot, or copies it, and asks behind that whether the value still stands:
    /// whether it is the newest one. If not, it returns false, and the slot is looked at again.
    ///
    /// # Errors
    /// As [`TableReader::poll`].
    pub fn poll_with(
        &mut self,
        out: &mut Buf,
        mut keep: impl FnMut(&[u8], &dyn Fn() -> bool) -> bool,
    ) -> Result<Option<Value>, Violation> {
        let (below, busy) = (self.sequence(), self.busy);
        if let Some(value) = self.walk(out, &mut keep)? {
            return Ok(Some(value));
        }
        for _ in 0..self.layout.groups {
            self.enter_next_group();
            // As a rule it has not, and there are many.
            if self.walk.changed
                && let Some(value) = self.walk(out, &mut keep)?
            {
                return Ok(Some(value));
            }
        }
        if self.busy == busy {
            self.seen = match Site::TableSequenceFirst.holds() {
                true => self.seen.max(below),
                false => self.sequence(),
            };
        }
        Ok(None)
    }

    /// Whether something was written since it was last looked at: costs a load for each 64 slots.
    pub fn has_something(&self) -> bool {
        (0..self.layout.groups).any(|group| self.load_group(group) != self.groups[group])
    }

    /// Copies the newest value but `back` of a slot into `out`; 0 is the newest. Changes nothing of what
    /// [`TableReader::poll`] gives.
    ///
    /// # Errors
    /// The writer broke the format.
    pub fn read(&self, slot: u32, back: u32, out: &mut Buf) -> Result<Read, Violation> {
        if slot >= self.slots() || back >= self.history() {
            return Ok(Read::None);
        }
        for _ in 0..TRIES {
            let words = self.words_of(slot);
            let Some(write) = words.writes().checked_sub(u64::from(back) + 1) else {
                return Ok(Read::None);
            };
            if let Some(Description { stamp, content }) = words.copy(write, out)? {
                return Ok(match content {
                    Content::Vacated => Read::None,
                    Content::Value { len, .. } => Read::Value(Value {
                        slot,
                        sequence: stamp.sequence,
                        number: stamp.number,
                        count: stamp.count,
                        skipped: 0,
                        len: len as usize,
                        vacated: false,
                    }),
                });
            }
        }
        Ok(Read::Busy)
    }

    /// Sequence of the next write: all below are complete, and visible after this.
    pub fn sequence(&self) -> u64 {
        let word = &self.storage.words()[Header::Sequence as usize];
        // Partner: the release in `TableWriter::complete_below`.
        Site::TableSequenceLoad.load_acquire(word)
    }

    /// Everything with a sequence below this is given or accounted for.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Looks at the rest of the group.
    fn walk(
        &mut self,
        out: &mut Buf,
        keep: &mut impl FnMut(&[u8], &dyn Fn() -> bool) -> bool,
    ) -> Result<Option<Value>, Violation> {
        if !self.walk.changed {
            return Ok(None);
        }
        let group = self.walk.group;
        while self.walk.slot < self.walk.end {
            let slot = self.walk.slot;
            let found = self.visit(slot, out, keep)?;
            if self.slots[slot as usize].writes >= self.walk.until {
                self.walk.slot += 1;
                self.walk.until = 0;
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        self.walk.changed = false;
        if self.walk.busy == self.busy {
            self.groups[group] = match Site::TableGroupFirst.holds() {
                true => self.walk.word,
                false => self.load_group(group),
            };
        }
        Ok(None)
    }

    /// Goes on to the next group.
    fn enter_next_group(&mut self) {
        self.count_group();
        let group = (self.walk.group + 1) % self.layout.groups;
        let word = self.load_group(group);
        // Relaxed: all slots that the group's word tells of are below it.
        let used = self.storage.words()[Header::Used as usize].load(Ordering::Relaxed);
        let end = ((group + 1) * GROUP_SLOTS).min(self.slots() as usize) as u32;
        self.walk = Walk {
            group,
            slot: (group * GROUP_SLOTS) as u32,
            end: u32::try_from(used).map_or(end, |used| end.min(used)),
            until: 0,
            changed: word != self.groups[group],
            word,
            busy: self.busy,
        };
    }

    /// Counts the group that ends here towards the pass, and begins another pass when that is over or came to nothing.
    fn count_group(&mut self) {
        if self.walk.busy != self.busy {
            self.pass.groups_left = 0;
        } else if self.pass.groups_left > 0 {
            self.pass.groups_left -= 1;
            if self.pass.groups_left == 0 {
                self.seen = self.seen.max(self.pass.below);
            }
        }
        if self.pass.groups_left == 0 {
            self.pass = Pass {
                below: self.sequence(),
                groups_left: self.layout.groups,
            };
        }
    }

    /// What is new of a slot.
    #[inline]
    fn visit(
        &mut self,
        slot: u32,
        out: &mut Buf,
        keep: &mut impl FnMut(&[u8], &dyn Fn() -> bool) -> bool,
    ) -> Result<Option<Value>, Violation> {
        for _ in 0..TRIES {
            let seen = self.slots[slot as usize].writes;
            let writes = self.words_of(slot).writes();
            if writes == seen {
                return Ok(None);
            }
            if writes < seen {
                return Err(Violation::Writes { slot, writes, seen });
            }
            let write = match self.which {
                Which::Newest => writes - 1,
                Which::All => {
                    if self.walk.until == 0 {
                        self.walk.until = writes;
                    }
                    seen.max(writes.saturating_sub(self.history().into()))
                }
            };
            let words = self.words_of(slot);
            if let Some(description) = words.copy(write, out)?
                && keep(out, &|| words.is_newest(write))
            {
                return self.take(slot, write + 1, description);
            }
        }
        self.busy += 1;
        self.walk.until = 0;
        Ok(None)
    }

    /// Takes the newest value of a slot into the account.
    fn take(
        &mut self,
        slot: u32,
        writes: u64,
        Description { stamp, content }: Description,
    ) -> Result<Option<Value>, Violation> {
        let seen = &mut self.slots[slot as usize];
        let (vacated, len) = match content {
            Content::Vacated => (true, 0),
            Content::Value { len, .. } => (false, len as usize),
        };
        let repeats = stamp.sequence == seen.sequence && vacated;
        let skipped = stamp.number.checked_sub(seen.number);
        let (Some(skipped), Some(number)) = (skipped, stamp.end()) else {
            return Err(out_of_order(slot, &stamp, seen));
        };
        if stamp.sequence <= seen.sequence && !(repeats && skipped == 0) {
            return Err(out_of_order(slot, &stamp, seen));
        }
        let is_news = !(repeats && seen.vacated);
        *seen = Seen {
            writes,
            sequence: stamp.sequence,
            number,
            vacated,
        };
        Ok(is_news.then_some(Value {
            slot,
            sequence: stamp.sequence,
            number: stamp.number,
            count: stamp.count,
            skipped,
            len,
            vacated,
        }))
    }

    #[inline]
    fn load_group(&self, group: usize) -> u64 {
        let word = &self.storage.words()[self.layout.group(group)];
        // Partner: the release in `SlotWords::count_in_group`.
        Site::TableGroupLoad.load_acquire(word)
    }

    #[inline]
    fn words_of(&self, slot: u32) -> SlotWords<'_> {
        SlotWords {
            words: self.storage.words(),
            layout: &self.layout,
            slot,
        }
    }
}

fn out_of_order(slot: u32, stamp: &super::Stamp, seen: &Seen) -> Violation {
    Violation::Order {
        slot,
        sequence: stamp.sequence,
        number: stamp.number,
        seen_sequence: seen.sequence,
        seen_number: seen.number,
    }
}

/// How often a copy is tried; each failure is a write that took place meanwhile.
const TRIES: usize = if cfg!(ring_loom) { 3 } else { 16 };
