//! Last values: a table of slots, each with the newest values of one topic; one writer, readers that never write it.
//!
//! # Protocol
//! A slot has two counters, `begun` and `writes`, and *cells*, each of which describes a value that lies in the arena. Write
//! `w` of a slot, counted from 0, goes to cell `w % cells`, so the newest cell is never touched: a writer that dies at any
//! instruction leaves the newest value readable.
//!
//! | writer, write `w` | reader |
//! |---|---|
//! | 1. `begun = w + 1`; release fence | a. `n = writes`, acquire: the newest write is `v = n - 1` |
//! | 2. description and value, relaxed | b. copies the description and the value of `v`, relaxed |
//! | 3. `writes = w + 1`, release | c. acquire fence; `begun` |
//! | 4. the slot's group word, release | |
//! | 5. the table's sequence, release | |
//!
//! What was copied is value `v` if, and only if, `begun <= v + cells`. The write that goes to the same cell is number
//! `v + cells`, and step 1 of it makes `begun` one more than that. A reader that has copied one word of a later write, or
//! anything stored into the memory after that write gave it up, sees that step 1 behind its fence (H. Boehm, "Can seqlocks
//! get along with programming language memory models?", MSPC 2012). So nobody waits for readers, and memory that a write
//! gives up in step 2 may be another slot's at once.
//!
//! A write in between, `v + 1` to `v + cells - 1`, spoils nothing. The values that can be read at any time are the newest
//! `cells - 1`: one to conflate, n for a history of n.
//!
//! # What is new
//! A *group word* counts the writes to 64 slots. A reader loads it with acquire, looks at the slots, and then takes that
//! count as seen: by step 4 each write in it is complete, and a later one makes it another. The table's sequence is loaded
//! before the groups in the same way. Slots behind the last one that was ever written are not looked at.
//!
//! # Accounts
//! Each value says how many messages were stored into its slot before it, and how many it consists of. So what a reader is
//! given, and told that it has missed, adds up to all that was stored, for each slot and for ever: the count goes on when a
//! slot passes to another topic.
//!
//! When slots or memory run out, the value written longest ago gives way: its slot is *vacated*, by as many writes as it has
//! cells, all without a value; each gives up the memory of its cell as any write does.

mod arena;
mod layout;
mod reader;
mod recency;
mod slot;
mod storage;
mod writer;

#[cfg(all(any(test, ring_heap), not(ring_loom)))]
mod heap;

#[cfg(all(test, not(ring_loom)))]
mod tests;

#[cfg(all(any(test, ring_heap), not(ring_loom)))]
pub use heap::HeapWords;
pub use layout::{Shape, ShapeError, bytes_for};
pub use reader::{Read, TableReader, Value, Violation};
pub use storage::{Words, WordsMut};
pub use writer::{Stamp, StoreAtError, TableWriter};

/// What values are copied into: aligned to 16 bytes, used again and again.
pub type Buf = rkyv::util::AlignedVec<16>;
