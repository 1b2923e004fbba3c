//! What a ring lies in: shared memory, the heap, or loom's cells.

use super::CELL_BYTES;
use crate::sync::{AtomicU64, Ordering};

/// Words of a ring's control page, which the producer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Control {
    /// Whether the publisher has closed the lane, and how ([`Ending`]).
    Closed = 0,
    /// The publisher's parked counter.
    Parked = 128,
    /// Messages dropped at once because the ring was full, cumulative.
    DroppedFull = 256,
    /// Messages dropped because the ring stayed full, cumulative.
    DroppedDeadline = 264,
    /// Of a lossy ring: positions below this, less the ring's size, may be overwritten at any time.
    Intent = 384,
    /// Of a lossy ring: where the oldest record stands that is not overwritten.
    Oldest = 392,
    /// With which number of the publisher's history the lane begins; 0 where there is none, or the lane has not begun.
    Start = 400,
    /// How often the fill has crossed a water mark: odd while it is high.
    Water = 408,
    /// Of a lane whose older messages give way: how many segments of the publisher's pool were given up that the
    /// subscriber was sent, as is told by the lane's courier.
    Retired = 416,
}

/// Words of a seat: a reader's place in a ring's control page, which says where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum SeatWord {
    /// The lane that has the seat; 0 if none has.
    Lane = 0,
    /// Where it begins, plus 1; 0 until that is known.
    Begin = 8,
    /// As [`Control::DroppedFull`], of what it is not to be told.
    DroppedFull = 16,
    /// As [`Control::DroppedDeadline`], likewise.
    DroppedDeadline = 24,
}

/// How a lane ended; a value of [`Control::Closed`], where 0 means that it is open.
///
/// A relay, which passes on what comes from another host, stores [`Ending::RELAYED`] before anybody else has the ring: if
/// its process exits without closing, readers know that there may have been more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Ending {
    /// The publisher has said that nothing more comes.
    Closed = 1,
    /// The transport between the publisher's host and this one broke.
    TransportLost = 3,
    /// There was no room, and the subscriber's policy is to end the lane then.
    Disconnected = 5,
}

impl Ending {
    /// A lane that is open, and passed on by a relay.
    pub const RELAYED: u64 = 2;
    /// A lane that was passed on by a relay, and that its publisher has closed.
    const RELAYED_CLOSED: u64 = 4;

    /// What a value says; `None` while the lane is open.
    #[inline]
    pub fn of(value: u64) -> Option<Self> {
        match value {
            0 | Self::RELAYED => None,
            3 => Some(Self::TransportLost),
            5 => Some(Self::Disconnected),
            _ => Some(Self::Closed),
        }
    }

    /// What a relay stores when the lane ends.
    pub fn relayed(self) -> u64 {
        match self {
            Self::Closed => Self::RELAYED_CLOSED,
            Self::TransportLost | Self::Disconnected => self as u64,
        }
    }

    /// Whether a value says that a relay writes the ring; it does so from the beginning, and for ever.
    pub fn is_relayed(value: u64) -> bool {
        matches!(value, Self::RELAYED | 3 | Self::RELAYED_CLOSED)
    }

    /// What a value says once the publisher's process has exited.
    pub fn by_exit(value: u64) -> Self {
        match value {
            Self::RELAYED | 3 => Self::TransportLost,
            5 => Self::Disconnected,
            _ => Self::Closed,
        }
    }
}

/// A ring as its reader has it.
///
/// Offsets are below `capacity()`. Everything here may be written by the producer at the same time, so an
/// implementation for real memory reads words atomically.
pub trait Read {
    /// Bytes of the ring: a power of two, at least 256.
    fn capacity(&self) -> usize;
    /// The commit word of the cell at `offset`, a multiple of 16.
    fn commit_word(&self, offset: usize) -> &AtomicU64;
    /// The second word of the header at `offset`, a multiple of 16, of a committed record.
    fn load_detail(&self, offset: usize) -> u64;
    /// Copies out what lies at `offset`, a multiple of 16, within a committed record.
    fn copy_out(&self, offset: usize, out: &mut [u8]);
    /// As [`copy_out`](Self::copy_out), of a record that the producer may be overwriting: whole atomic words, so that what
    /// comes out is some bytes, whose worth is known only later.
    #[inline]
    fn copy_out_words(&self, offset: usize, out: &mut [u8]) {
        assert_in_ring(self.capacity(), offset, out.len());
        // Relaxed: the fences of the lossy ring order it.
        let cell = |index: usize| {
            let offset = offset + index * CELL_BYTES;
            let first = self.commit_word(offset).load(Ordering::Relaxed);
            cell_of([first, self.load_detail(offset)])
        };
        let behind = out.len() / CELL_BYTES;
        let (cells, rest) = out.as_chunks_mut();
        for (index, bytes) in cells.iter_mut().enumerate() {
            *bytes = cell(index);
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&cell(behind)[..rest.len()]);
        }
    }
    /// A word of the control page.
    fn control(&self, word: Control) -> &AtomicU64;
    /// A word of seat `seat`, below [`SEATS`](super::SEATS).
    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64;
}

/// A ring as its producer has it.
pub trait Write: Read {
    /// Sets the second word of the header at `offset`, a multiple of 16, of a record that is not committed.
    fn store_detail(&self, offset: usize, detail: u64);
    /// Copies `bytes` to `offset`, a multiple of 16, within a record that is not committed.
    fn copy_in(&self, offset: usize, bytes: &[u8]);
    /// As [`copy_in`](Self::copy_in), to where readers may be looking: whole atomic words, the last cell filled up with zeros.
    #[inline]
    fn copy_in_words(&self, offset: usize, bytes: &[u8]) {
        assert_in_ring(self.capacity(), offset, bytes.len());
        // Relaxed: the fences of the lossy ring order it.
        let store = |index: usize, cell: &[u8; CELL_BYTES]| {
            let (offset, [first, second]) = (offset + index * CELL_BYTES, words_of(cell));
            self.commit_word(offset).store(first, Ordering::Relaxed);
            self.store_detail(offset, second);
        };
        let (cells, rest) = bytes.as_chunks();
        for (index, cell) in cells.iter().enumerate() {
            store(index, cell);
        }
        if !rest.is_empty() {
            let mut cell = [0; CELL_BYTES];
            cell[..rest.len()].copy_from_slice(rest);
            store(cells.len(), &cell);
        }
    }
    /// Says that the line at `offset`, which may lie behind the ring's end, is about to be written. Changes nothing but the
    /// time that takes.
    #[inline(always)]
    fn prefetch(&self, _offset: usize) {}
}

/// A ring whose payloads can be pointed at.
///
/// # Safety
/// `address` gives pointers into one allocation of `capacity()` bytes, aligned as `offset` is up to 16 bytes, that
/// lives as long as the implementor and began as zeros; it is readable, and writable where the implementor is [`Write`].
#[expect(unsafe_code, reason = "implementing it is a promise about memory")]
pub unsafe trait InPlace {
    /// Address of the byte at `offset`, below `capacity()`.
    fn address(&self, offset: usize) -> *mut u8;
}

/// A ring of which a writer takes all that it needs for a record into registers, once: behind a store to the ring the compiler would
/// look up again where that lies.
pub trait Cells: Write + InPlace {
    /// The same ring.
    type Cells<'a>: Write + InPlace
    where
        Self: 'a;
    /// The same ring.
    fn cells(&self) -> Self::Cells<'_>;
}

/// Where a reader's position is published.
pub trait Cursor {
    /// The word, written by the reader, read by the producer.
    fn word(&self) -> &AtomicU64;
}

/// What is copied word by word begins a cell, and ends in the ring.
#[inline(always)]
fn assert_in_ring(capacity: usize, offset: usize, len: usize) {
    assert!(offset.is_multiple_of(CELL_BYTES) && offset <= capacity && len <= capacity - offset);
}

#[inline(always)]
fn words_of(cell: &[u8; CELL_BYTES]) -> [u64; 2] {
    let (words, _) = cell.as_chunks();
    [u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])]
}

#[inline(always)]
fn cell_of(words: [u64; 2]) -> [u8; CELL_BYTES] {
    let mut cell = [0; CELL_BYTES];
    let (halves, _) = cell.as_chunks_mut();
    halves[0] = words[0].to_ne_bytes();
    halves[1] = words[1].to_ne_bytes();
    cell
}
