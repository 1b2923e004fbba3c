//! The byte ring of a lane: one producer, commits in band, readers that never write it.
//!
//! # Protocol
//! A ring is a power of two of bytes in cells of 16. A [`Position`] counts bytes since the ring was made; it never
//! wraps, its low bits are the offset in the ring. A record is a 16-byte header (see [`record`]) with a payload behind it,
//! 16-byte aligned. The first word of the header is the *commit word*: never 0 in a committed record.
//!
//! The producer appends at its position `p`:
//! 1. It makes sure that record *and* following header lie below `slowest cursor + capacity`.
//! 2. It writes the payload and the header's second word; nobody looks at them yet.
//! 3. It stores 0 into the following header's commit word, unless it has cleared that ahead, after the record before.
//! 4. It stores the commit word at `p` with release.
//!
//! The consumer polls the commit word at its own position with acquire. 0 means: nothing yet. Anything else means that
//! 2 and 3 are visible, so it may read the payload, and the header behind it holds 0 until it is committed in turn. By
//! 1 nothing between the cursor that it published and its position is written meanwhile.
//!
//! A batch is appended likewise, all words stored but the first, which comes last. So either all of it is visible or
//! nothing. A record is never split at the ring's end: a *pad* fills the rest.
//!
//! A ring can have several readers, which come and leave while it is in use: see [`seat`].
//!
//! A producer that dies leaves a half-written record behind a 0: invisible. A consumer that dies leaves nothing at all.

mod company;
mod consumer;
mod drops;
pub mod lossy;
#[cfg(not(ring_loom))]
mod mirror;
mod producer;
mod readers;
mod record;
mod seat;
mod storage;
mod water;

#[cfg(all(any(test, ring_heap), not(ring_loom)))]
mod heap;
#[cfg(not(ring_loom))]
mod in_place;

#[cfg(all(test, not(ring_loom)))]
mod tests;

pub use consumer::{Consumer, Polled, Published, Violation};
pub use drops::{DropCause, DropCounts, DropLog, Losses};
#[cfg(all(any(test, ring_heap), not(ring_loom)))]
pub use heap::HeapRing;
#[cfg(not(ring_loom))]
pub use in_place::{Fill, Room, Staged};
#[cfg(not(ring_loom))]
pub use mirror::{Replica, ReplicaError, Tail};
pub use producer::{NoRoom, Producer};
pub use record::{CELL_BYTES, Kind, Record, record_bytes};
pub use seat::{SEATS, Seated, Switch, bit, give_seat, seated, take_seat_back};
pub use storage::{Cells, Control, Cursor, Ending, InPlace, Read, SeatWord, Write};
pub use water::is_high;

/// A place in the stream of a ring's bytes: bytes since the ring was made. Its low bits are the offset in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// The highest position that is believed of a peer. No honest one gets here, in centuries; additions to it do not overflow.
pub const MOST_POSITION: u64 = 1 << 62;

/// Largest payload, in bytes, of a record in a ring of `capacity` bytes: half the ring, less two headers; never more
/// than the 32 bits of length in a commit word can say.
///
/// With that, gap record, pad, record and the header behind it fit into an empty ring wherever its position stands.
pub const fn max_payload_bytes(capacity: usize) -> usize {
    let half = capacity / 2 - 2 * CELL_BYTES;
    if half < MAX_RECORD_PAYLOAD_BYTES {
        half
    } else {
        MAX_RECORD_PAYLOAD_BYTES
    }
}

/// Smallest ring, in bytes, in which payloads of `payload` bytes fit twice; a power of two, at least
/// [`MIN_CAPACITY_BYTES`]. `None` if no record can be that long.
pub const fn capacity_for(payload: usize) -> Option<usize> {
    if payload > MAX_RECORD_PAYLOAD_BYTES {
        return None;
    }
    let Some(both) = (payload + 3 * CELL_BYTES).checked_mul(2) else {
        return None;
    };
    match both.checked_next_power_of_two() {
        Some(capacity) if capacity < MIN_CAPACITY_BYTES => Some(MIN_CAPACITY_BYTES),
        capacity => capacity,
    }
}

/// Bytes of the smallest ring.
pub const MIN_CAPACITY_BYTES: usize = 256;

/// The largest length of whole cells that a commit word can say.
const MAX_RECORD_PAYLOAD_BYTES: usize = u32::MAX as usize & !(CELL_BYTES - 1);
