//! A ring that is never full: its producer overwrites what is oldest, its reader finds out.
//!
//! # Protocol
//! Cells, headers, commit words, pads and the 0 behind the last record are those of every ring (see [`super`]). A record is a
//! message whose detail is its number; numbers only rise, so what is missing between two records tells itself. The
//! producer never waits for a reader. Two more words of the control page say what it overwrites:
//!
//! * [`Control::Intent`](super::Control::Intent), `i`: bytes at positions below `i - capacity` may be overwritten at any
//!   time; those at and above it, up to the last record, are whole. At most the capacity, 0 too, means: none yet.
//! * [`Control::Oldest`](super::Control::Oldest): the position of a whole record, the oldest one as a rule. It is never
//!   below `i - capacity` by the time that `i` can be seen.
//!
//! The producer appends at its position `p` a record that ends at `e`, with the following header at `e + 16`:
//! 1. Unless `e + 16 <= i` already: it stores `Oldest` with release, then `Intent` with release, then passes a release fence.
//!    It raises them by a sixteenth of the ring more than it needs, so that the line of the two changes hands seldom.
//! 2. It writes payload and header and clears the following header, all with relaxed stores.
//! 3. It stores the commit word at `p` with release.
//!
//! The consumer at position `q` loads the commit word with acquire. Be it 0, a header that cannot be, a pad, or a message, which it
//! copies together with its number, with relaxed loads: it then passes an acquire fence and loads `Intent`. If
//! `q < i - capacity`, what it saw is worth nothing, and it goes on at `Oldest`. Else all that it saw was whole.
//!
//! # Why that holds
//! *What was overwritten is not believed.* A load that saw a store of step 2 of a later lap, and the fence behind it, see what was
//! stored before the fence in step 1: an `Intent` above `q + capacity`. (Boehm, "Can seqlocks get along with programming
//! language memory models?", MSPC 2012.) All stores of step 2 are atomic words, so seeing them is no race.
//!
//! *Whoever goes on at `Oldest` finds a record.* Release and acquire of `Intent` make an `Oldest` visible that is not below it;
//! release and acquire of `Oldest`, the record there. So `Oldest` is above `q`, and a reader only moves forward.
//!
//! *The newest record stays.* A record takes at most a third of the ring ([`max_payload_bytes`]), so it, the record being
//! written, a pad between them and the following header fit together. A reader that was overtaken always finds a record,
//! whose number tells what it has missed.
//!
//! *A producer may die anywhere.* Before `Intent` is stored, at most `Oldest` is too high, which costs an overtaken reader
//! records that it could have read. After it, records below are given up, the rest is whole, and the half-written one lies behind
//! a 0. The reader never waits for the producer: what it finds is a record, nothing, or that it was overtaken.
//!
//! *No producer keeps a reader busy.* One poll looks a bounded number of times, then says that there is nothing, while
//! [`LossyConsumer::has_something`] says otherwise.

mod consumer;
mod producer;

#[cfg(all(test, not(ring_loom)))]
mod tests;

pub use consumer::{Buffer, LossyConsumer};
pub use producer::LossyProducer;
#[cfg(test)]
pub use producer::TooLarge;

use super::{CELL_BYTES, MAX_RECORD_PAYLOAD_BYTES, MIN_CAPACITY_BYTES};

/// Largest payload, in bytes, of a record in a lossy ring of `capacity` bytes: a third of the ring, less a header; never more
/// than the 32 bits of length in a commit word can say.
///
/// Less than in other rings. There a record that needs a pad waits until it has the ring for itself; here it would
/// overwrite the newest one, and an overtaken reader would find nothing.
pub const fn max_payload_bytes(capacity: usize) -> usize {
    let third = capacity / 3 / CELL_BYTES * CELL_BYTES - CELL_BYTES;
    if third < MAX_RECORD_PAYLOAD_BYTES {
        third
    } else {
        MAX_RECORD_PAYLOAD_BYTES
    }
}

/// Smallest lossy ring, in bytes, that takes payloads of `payload` bytes; a power of two, at least
/// [`MIN_CAPACITY_BYTES`]. `None` if no record can be that long.
pub const fn capacity_for(payload: usize) -> Option<usize> {
    if payload > MAX_RECORD_PAYLOAD_BYTES {
        return None;
    }
    let Some(three) = super::record_bytes(payload).checked_mul(3) else {
        return None;
    };
    match three.checked_next_power_of_two() {
        Some(capacity) if capacity < MIN_CAPACITY_BYTES => Some(MIN_CAPACITY_BYTES),
        capacity => capacity,
    }
}
