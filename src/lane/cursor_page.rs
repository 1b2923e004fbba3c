//! The subscriber's segment: cursors, parked counter, holds.
//!
//! | bytes of the data | what |
//! |---|---|
//! | 0..8 | 1 once the subscriber is closed |
//! | 64..72 | parked counter |
//! | 512 a .. 512 a + 8 | area a, from 1 on: cursor of one lane, a position in its ring |
//! | 512 a + 8 .. 512 a + 40 | an account, see [`account`](super::account) |
//! | 512 a + 64 .. 512 a + 72 | 1 once the subscriber has left that lane |
//! | 512 a + 72 .. 512 a + 104 | the other account |
//! | 512 a + 128 .. 512 a + 512 | 48 hold slots, see [`pool`](crate::pool) |
//!
//! Lines that different processes poll lie 128 bytes apart, for processors fetch them in pairs.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::{HOLDS, Slots, Watch, leave};
use crate::ring::Cursor;
use crate::segment::{
    ForeignSegment, Kind, MemoryOptions, PAGE_BYTES, Segment, SegmentError, SegmentHandle,
    SegmentOptions, SegmentWord,
};
use crate::sync::{AtomicU64, Ordering, Site, load_acquire};

use super::account::WORDS;

/// A cursor page of this process.
pub struct CursorPage {
    segment: Segment,
    /// Areas in use, a bit for each.
    used: Mutex<u64>,
}

/// One lane's area of an own page; given back when dropped.
pub struct CursorArea {
    page: Arc<CursorPage>,
    index: u32,
}

/// A cursor page of another process.
pub struct PeerPage {
    segment: ForeignSegment,
}

/// One lane's cursor, in a page of another process.
#[derive(Clone)]
pub struct PeerCursor {
    word: SegmentWord,
    parked: SegmentWord,
    closed: SegmentWord,
    left: SegmentWord,
}

/// All words of one lane's reader, in a page of another process.
pub struct PeerArea {
    cursor: PeerCursor,
    page: Arc<PeerPage>,
    index: u32,
}

impl CursorPage {
    /// A fresh page, no area used.
    pub fn create(options: &SegmentOptions) -> Result<Self, SegmentError> {
        let segment = Segment::create(Kind::CursorPage, DATA_BYTES, options)?;
        Ok(Self {
            segment,
            used: Mutex::new(1),
        })
    }

    /// Takes a free area, its cursor at 0; `None` if all are in use.
    pub fn area(self: &Arc<Self>) -> Option<CursorArea> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let index = used.trailing_ones();
        if index >= AREAS {
            return None;
        }
        *used |= 1 << index;
        let area = CursorArea {
            page: self.clone(),
            index,
        };
        // Relaxed: publishers learn of the area by a message, which orders this before whatever they read. A publisher that had the area before has closed its ring or is dead.
        area.word().store(0, Ordering::Relaxed);
        area.left().store(0, Ordering::Relaxed);
        let accounts = [0, 1].into_iter().flat_map(|place| area.account(place));
        let holds = (0..HOLDS).map(|index| area.hold(index));
        for word in accounts.chain(holds) {
            word.store(0, Ordering::Relaxed);
        }
        Some(area)
    }

    /// The parked counter.
    pub fn parked(&self) -> &AtomicU64 {
        self.segment.word(PARKED)
    }

    /// What a publisher needs to map the page.
    pub fn handle(&self) -> Result<SegmentHandle, SegmentError> {
        self.segment.handle()
    }

    /// Says that the subscriber reads no more.
    pub fn close(&self) {
        leave(self.segment.word(CLOSED));
    }
}

impl CursorArea {
    /// Its index in the page.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The page that it is in.
    pub fn page(&self) -> &Arc<CursorPage> {
        &self.page
    }

    fn hold(&self, index: usize) -> &AtomicU64 {
        self.page.segment.word(hold_word(self.index, index))
    }

    fn left(&self) -> &AtomicU64 {
        self.page
            .segment
            .word(self.index as usize * AREA_BYTES + LEFT)
    }

    /// The words of an account.
    pub(super) fn account(&self, place: usize) -> [&AtomicU64; WORDS] {
        std::array::from_fn(|index| {
            self.page
                .segment
                .word(account_word(self.index, place, index))
        })
    }

    /// Says that the subscriber reads this lane no more.
    pub fn leave(&self) {
        leave(self.left());
    }
}

impl Drop for CursorArea {
    fn drop(&mut self) {
        *self
            .page
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner) &= !(1 << self.index);
    }
}

impl Cursor for CursorArea {
    #[inline]
    fn word(&self) -> &AtomicU64 {
        self.page.segment.word(self.index as usize * AREA_BYTES)
    }
}

impl Cursor for Arc<CursorArea> {
    #[inline]
    fn word(&self) -> &AtomicU64 {
        self.page.segment.word(self.index as usize * AREA_BYTES)
    }
}

impl Slots for Arc<CursorArea> {
    fn slot(&self, index: usize) -> &AtomicU64 {
        self.hold(index)
    }
}

impl PeerPage {
    /// Maps the page that a subscriber sends.
    pub fn open(handle: SegmentHandle) -> Result<Self, SegmentError> {
        let segment =
            ForeignSegment::open(handle, Kind::CursorPage, (PAGE_BYTES + DATA_BYTES) as u64)?;
        if segment.data_len() != DATA_BYTES {
            return Err(SegmentError::Shape {
                kind: Kind::CursorPage,
                data_len: segment.data_len() as u64,
            });
        }
        Ok(Self { segment })
    }

    /// Has the memory as this process wants it.
    pub fn settle(&self, memory: MemoryOptions) -> Result<(), SegmentError> {
        self.segment.settle(memory)
    }

    /// The cursor and the accounts of area `index`; `None` if there is no such area.
    pub(super) fn come_to(&self, index: u32) -> Option<(&AtomicU64, [[&AtomicU64; WORDS]; 2])> {
        if !(1..AREAS).contains(&index) {
            return None;
        }
        let cursor = self.segment.try_word(index as usize * AREA_BYTES)?;
        let mut accounts = [[cursor; WORDS]; 2];
        for (place, words) in accounts.iter_mut().enumerate() {
            for (at, word) in words.iter_mut().enumerate() {
                *word = self.segment.try_word(account_word(index, place, at))?;
            }
        }
        Some((cursor, accounts))
    }

    /// The cursor of area `index`; `None` if there is no such area.
    pub fn cursor(&self, index: u32) -> Option<PeerCursor> {
        if !(1..AREAS).contains(&index) {
            return None;
        }
        let offset = index as usize * AREA_BYTES;
        Some(PeerCursor {
            word: self.segment.kept_word(offset)?,
            parked: self.segment.kept_word(PARKED)?,
            closed: self.segment.kept_word(CLOSED)?,
            left: self.segment.kept_word(offset + LEFT)?,
        })
    }

    /// All words of area `index`; `None` if there is no such area.
    pub fn area(self: &Arc<Self>, index: u32) -> Option<PeerArea> {
        Some(PeerArea {
            cursor: self.cursor(index)?,
            page: self.clone(),
            index,
        })
    }
}

impl Watch for PeerArea {
    fn cursor(&self) -> &AtomicU64 {
        &self.cursor.word
    }

    fn left(&self) -> [&AtomicU64; 2] {
        [&self.cursor.left, &self.cursor.closed]
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        let word = self.page.segment.try_word(hold_word(self.index, index));
        word.expect("the area is in the page, and has so many slots")
    }

    fn holds_any(&self) -> bool {
        let slots = self.page.segment.words(hold_word(self.index, 0), HOLDS);
        // All of them, without a branch for each. As a rule all hold 0.
        let any = |any: u64, slot: &AtomicU64| any | Site::HoldLoad.load_acquire(slot);
        slots.iter().fold(0, any) != 0
    }
}

impl PeerArea {
    /// The cursor alone.
    pub fn cursor(&self) -> PeerCursor {
        self.cursor.clone()
    }
}

impl PeerCursor {
    /// The parked counter of the subscriber.
    #[inline]
    pub fn parked(&self) -> &AtomicU64 {
        &self.parked
    }

    /// Whether the subscriber reads this lane no more.
    pub fn is_closed(&self) -> bool {
        load_acquire(&self.closed) != 0 || load_acquire(&self.left) != 0
    }
}

impl Cursor for PeerCursor {
    #[inline]
    fn word(&self) -> &AtomicU64 {
        &self.word
    }
}

const DATA_BYTES: usize = 8 * PAGE_BYTES;
const CLOSED: usize = 0;
const PARKED: usize = 64;
const AREA_BYTES: usize = 512;
const LEFT: usize = 64;
const SLOTS: usize = 128;
const AREAS: u32 = (DATA_BYTES / AREA_BYTES) as u32;
/// Of the accounts in the two lines of an area, behind the word that each has.
const ACCOUNTS: [usize; 2] = [8, LEFT + 8];
const _: () = assert!(ACCOUNTS[0] + 8 * WORDS <= LEFT && ACCOUNTS[1] + 8 * WORDS <= SLOTS);
const _: () = assert!(SLOTS + 8 * HOLDS <= AREA_BYTES);

fn account_word(area: u32, place: usize, index: usize) -> usize {
    area as usize * AREA_BYTES + ACCOUNTS[place] + 8 * index
}

fn hold_word(area: u32, index: usize) -> usize {
    area as usize * AREA_BYTES + SLOTS + 8 * index
}
