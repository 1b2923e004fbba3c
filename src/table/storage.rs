//! What a table lies in: shared memory, the heap, or loom's cells.

use crate::sync::AtomicU64;

/// A table as its readers have it: one run of words that somebody else may write at any time, so all of it, values too, is
/// only ever touched as atomics.
pub trait Words {
    /// The words; always the same ones.
    fn words(&self) -> &[AtomicU64];
}

/// A table as its writer has it: nobody else writes the words, and they may be written.
pub trait WordsMut: Words {}
