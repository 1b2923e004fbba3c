//! One slot: its write, its read.

use super::{
    Buf, Stamp, Violation,
    layout::{GROUP_SLOTS, Layout, UNIT_BYTES},
};
use crate::sync::{AtomicU64, Ordering, Site, fence};

/// What a cell says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub stamp: Stamp,
    pub content: Content,
}

/// What a write leaves in its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A value in the arena.
    Value {
        /// Its length in bytes.
        len: u32,
        /// Bytes from the start of the arena.
        offset: u64,
    },
    /// Nothing: the slot was vacated.
    Vacated,
}

/// A slot of a table. Writing it takes a [`WordsMut`](super::WordsMut), which only the table's writer has.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotWords<'a> {
    pub words: &'a [AtomicU64],
    pub layout: &'a Layout,
    pub slot: u32,
}

impl SlotWords<'_> {
    /// Step 1 of write `write`. Behind it the memory of its cell may be given to anybody.
    #[inline]
    pub fn begin(self, write: u64) {
        if Site::TableBegunFirst.holds() {
            self.store_begun(write);
        }
    }

    /// Steps 2 to 4; `cell` is that of the write.
    #[inline(always)]
    pub fn complete(self, write: u64, cell: usize, description: Description, parts: &[&[u8]]) {
        let slot = self.layout.slot(self.slot);
        if let Content::Value { len, offset } = description.content
            && let Some(value) = self.layout.value(offset, len)
        {
            copy_in(&self.words[value], parts);
        }
        let cell = self.layout.cell(slot, cell);
        let words = description.to_words();
        for (index, word) in self.words[cell..][..4].iter().enumerate() {
            word.store(words[index], Ordering::Relaxed);
        }
        if !Site::TableBegunFirst.holds() {
            self.store_begun(write);
        }
        if !Site::TableGroupLast.holds() {
            self.count_in_group();
        }
        // Partner: the acquire in `SlotWords::writes`.
        self.words[slot + WRITES].store(write + 1, Site::TableWritesStore.order(Ordering::Release));
        if Site::TableGroupLast.holds() {
            self.count_in_group();
        }
    }

    #[inline]
    fn store_begun(self, write: u64) {
        let slot = self.layout.slot(self.slot);
        // Relaxed: the fence orders it before whatever is stored from here on.
        self.words[slot + BEGUN].store(write + 1, Ordering::Relaxed);
        if Site::TableBegunFence.holds() {
            // Keeps `begun` before the words of this write, and of later ones into memory that this one gives up. Partner:
            // the fence in `SlotWords::copy`.
            fence(Ordering::Release);
        }
    }

    #[inline]
    fn count_in_group(self) {
        let group = &self.words[self.layout.group(self.slot as usize / GROUP_SLOTS)];
        // Relaxed: this side alone writes it.
        let count = group.load(Ordering::Relaxed);
        // Partner: the acquire in `TableReader::load_group`; the slot's `writes` are visible to whoever sees the count.
        group.store(
            count.wrapping_add(1),
            Site::TableGroupStore.order(Ordering::Release),
        );
    }

    /// Step a: how many writes are complete.
    #[inline]
    pub fn writes(self) -> u64 {
        let slot = self.layout.slot(self.slot);
        // Partner: the release in `SlotWords::complete`.
        Site::TableWritesLoad.load_acquire(&self.words[slot + WRITES])
    }

    /// Whether write `write` is the newest that is complete. To be asked behind a store to a hold slot, or a copy, of what the value
    /// refers to.
    pub fn is_newest(self, write: u64) -> bool {
        // Between the store to the slot, or the loads of the copy, and the load below. Partner: the fence in `Ring::look` of the
        // pool, between the write that took the value's place and the look at the slots.
        if Site::TableHintFence.holds() {
            fence(Ordering::SeqCst);
        }
        self.writes() == write + 1 || !Site::TableHintLookAgain.holds()
    }

    /// Steps b and c: copies what write `write`, one of those that are complete, has left. `None` if it was overwritten.
    ///
    /// # Errors
    /// No writer leaves such a slot.
    pub fn copy(self, write: u64, out: &mut Buf) -> Result<Option<Description>, Violation> {
        let slot = self.layout.slot(self.slot);
        let cell = (write % u64::from(self.layout.shape.cells)) as usize;
        let cell = &self.words[self.layout.cell(slot, cell)..][..4];
        // Relaxed: torn words are found below, and not believed before.
        let words = std::array::from_fn(|word| cell[word].load(Ordering::Relaxed));
        let description = Description::from_words(words);
        let mut fits = true;
        match description.map(|description| description.content) {
            Some(Content::Value { len, offset }) => match self.layout.value(offset, len) {
                Some(value) => copy_out(&self.words[value], len as usize, out),
                None => fits = false,
            },
            Some(Content::Vacated) => out.clear(),
            None => fits = false,
        }
        if Site::TableCopyFence.holds() {
            // Keeps the copy before the look. Partner: the fence in `SlotWords::store_begun`.
            fence(Ordering::Acquire);
        }
        if Site::TableLookAgain.holds() {
            // Relaxed: the fence orders it.
            let begun = self.words[slot + BEGUN].load(Ordering::Relaxed);
            let spare = if Site::TableSpareCell.holds() { 0 } else { 1 };
            match begun.wrapping_sub(write) {
                0 => return Err(self.violation(begun, write)),
                ahead if ahead > u64::MAX / 2 => return Err(self.violation(begun, write)),
                ahead if ahead > u64::from(self.layout.shape.cells) - spare => return Ok(None),
                _ => {}
            }
        }
        match description {
            Some(description) if fits => Ok(Some(description)),
            _ => Err(Violation::Cell {
                slot: self.slot,
                words,
            }),
        }
    }

    fn violation(self, begun: u64, write: u64) -> Violation {
        Violation::Begun {
            slot: self.slot,
            begun,
            writes: write.wrapping_add(1),
        }
    }
}

impl Description {
    /// As a cell has it.
    fn to_words(self) -> [u64; 4] {
        let Stamp {
            sequence,
            number,
            count,
        } = self.stamp;
        let (len, place) = match self.content {
            Content::Value { len, offset } => (len, offset),
            Content::Vacated => (0, VACATED),
        };
        let lengths = u64::from(len) << 32 | u64::from(count);
        [sequence, number, lengths, place]
    }

    /// What a cell says; `None` if it says what no writer does.
    fn from_words([sequence, number, lengths, place]: [u64; 4]) -> Option<Self> {
        let (len, count) = ((lengths >> 32) as u32, lengths as u32);
        let content = match place {
            VACATED if lengths == 0 => Content::Vacated,
            offset if offset.is_multiple_of(UNIT_BYTES as u64) => Content::Value { len, offset },
            _ => return None,
        };
        let stamp = Stamp {
            sequence,
            number,
            count,
        };
        // Sequences begin at 1, and the account of a slot never overflows.
        (sequence > 0 && stamp.end().is_some()).then_some(Self { stamp, content })
    }
}

/// The parts one behind the other, each but the last a multiple of 8 bytes; the last word filled up with zeros.
#[inline]
fn copy_in(mut words: &[AtomicU64], parts: &[&[u8]]) {
    for part in parts {
        let (whole, rest) = part.as_chunks::<8>();
        let (these, others) = words.split_at(whole.len().min(words.len()));
        for (word, bytes) in these.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        words = others;
        if !rest.is_empty()
            && let [word, others @ ..] = words
        {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
            words = others;
        }
    }
}

#[inline]
fn copy_out(words: &[AtomicU64], len: usize, out: &mut Buf) {
    out.resize(words.len() * 8, 0);
    let (whole, _) = out.as_chunks_mut::<8>();
    for (bytes, word) in whole.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    out.resize(len, 0);
}

/// Word of a slot: writes begun.
const BEGUN: usize = 0;
/// Word of a slot: writes completed.
const WRITES: usize = 1;
/// The place of a value that there is not; no offset, for those are multiples of 16.
const VACATED: u64 = 1;
