//! The only door to atomics, fences, spin hints.
//!
//! Under `cfg(ring_loom)` the types are loom's, so that floor 0 (`sync`, `ring`, `doorbell`, `table`, `pool`) is model-checked as it is
//! compiled for use. [`Site`] is the table of everything that a proof rests on: `loom-tests` weakens one site at a time
//! and demands that some model then fails, so an ordering that is stronger than needed, or a model that checks nothing,
//! is found.

#[cfg(not(ring_loom))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(ring_loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
};

/// Keeps the compiler, not the processor, from moving what follows before what precedes. Loom's compiler moves nothing.
#[inline(always)]
pub fn keep_program_order() {
    #[cfg(not(ring_loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// A place at which an ordering, or a step, carries a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Site {
    /// Producer, commit word: release, so that payload and following zero are visible to whoever sees the word.
    RingCommit,
    /// Consumer, commit word: acquire, partner of `RingCommit`.
    RingPoll,
    /// Consumer, cursor: release, so that its reads of the payload are over before the producer writes there.
    CursorStore,
    /// Producer, cursor: acquire, partner of `CursorStore`.
    CursorLoad,
    /// Producer, drop counters: release, so that the records committed before the drop are seen with it.
    DropStore,
    /// Consumer, drop counters: acquire, partner of `DropStore`.
    DropLoad,
    /// Producer, closed word: release, so that every record and every drop before it are seen with it.
    CloseStore,
    /// Consumer, closed word: acquire, partner of `CloseStore`.
    CloseLoad,
    /// Producer: the header behind a record is zeroed at all.
    ZeroNextHeader,
    /// Producer: that happens before the record is committed.
    ZeroBeforeCommit,
    /// Producer: the header behind a record is part of the room that the record needs.
    ReserveNextHeader,
    /// Producer: of a batch, the first word is stored last.
    BatchFirstWordLast,
    /// Consumer: the header is looked at again between the drop counters and the report of a gap.
    GapLookAgain,
    /// Producer, where the reader of a seat begins: release, so that the header there holds 0, or a record, to whoever sees it.
    SeatStore,
    /// Consumer, where it begins: an acquire fence behind what it found in its seat, partner of `SeatStore`.
    SeatLoad,
    /// Producer: who has left the ring is looked after until it has read what was before.
    LeaverKept,
    /// Lossy producer, `Oldest`: release, so that the record there is visible to whoever sees the word.
    OldestStore,
    /// Lossy consumer, `Oldest`: acquire, partner of `OldestStore`.
    OldestLoad,
    /// Lossy producer: `Oldest` is raised before `Intent`.
    OldestFirst,
    /// Lossy producer, `Intent`: release, so that `Oldest` is not older to whoever sees the word.
    IntentStore,
    /// Lossy consumer, overtaken, `Intent`: acquire, partner of `IntentStore`.
    IntentLoad,
    /// Lossy producer: `Intent` is raised before anything is overwritten.
    IntentFirst,
    /// Lossy producer: a fence between raising `Intent` and overwriting.
    OverwriteFence,
    /// Lossy consumer: a fence between its copies and its look at `Intent`, partner of `OverwriteFence`.
    CopyFence,
    /// Lossy consumer: it looks at `Intent` before it gives a copy.
    CopyLookAgain,
    /// Lossy consumer: it looks at `Intent` before it believes that there is nothing.
    EmptyLookAgain,
    /// Lossy consumer: it looks at `Intent` before it believes a pad, or calls a header wrong.
    HeaderLookAgain,
    /// Waker: a fence between its commit and its look at the parked counter.
    WakerFence,
    /// Waker: it looks at the parked counter once more behind that fence.
    WakerLookAgain,
    /// Sleeper: a fence between raising its parked counter and its last look.
    SleeperFence,
    /// Sleeper: that last look.
    SleeperLookAgain,
    /// Sleeper: the parked counter rises again after each sleep, so that the next sleep has a value of its own.
    SleeperRetire,
    /// Waker: it remembers the value that it rang for only when it has rung.
    WakerRemember,
    /// Waker: it does not ring again for that value, so a sleep costs one system call.
    WakerOnce,
    /// Table writer: a slot's `begun` rises before anything else of a write.
    TableBegunFirst,
    /// Table writer: a release fence keeps it there.
    TableBegunFence,
    /// Table writer, `writes`: release, so that the value is visible to whoever sees it counted.
    TableWritesStore,
    /// Table reader, `writes`: acquire, partner of `TableWritesStore`.
    TableWritesLoad,
    /// Table reader: an acquire fence between the copy and the second look, partner of `TableBegunFence`.
    TableCopyFence,
    /// Table reader: that second look, at `begun`.
    TableLookAgain,
    /// Table reader: a write that has begun in the spare cell spoils no other.
    TableSpareCell,
    /// Table writer: the group word rises after the slot's `writes`.
    TableGroupLast,
    /// Table writer, group word: release, so that the slot's `writes` are seen with it.
    TableGroupStore,
    /// Table reader, group word: acquire, partner of `TableGroupStore`.
    TableGroupLoad,
    /// Table reader: what it takes as seen of a group is the word from before its look at the slots.
    TableGroupFirst,
    /// Table writer: a slot counts as used before the group word tells of it.
    TableUsedFirst,
    /// Table writer: the table's sequence rises after the group word.
    TableSequenceLast,
    /// Table writer, sequence: release, so that all writes below are seen with it.
    TableSequenceStore,
    /// Table reader, sequence: acquire, partner of `TableSequenceStore`.
    TableSequenceLoad,
    /// Table reader: what it takes as seen of the table is the sequence from before its look at the groups.
    TableSequenceFirst,
    /// Publisher of chunks, cursor: acquire, partner of `CursorStore`; what was read is read, what is held is in its slot.
    ChunkCursorLoad,
    /// Publisher of chunks: it looks at the hold slots after the cursors.
    SlotsLast,
    /// Reader, hold slot: release, so that what the slot held before is read for whoever sees the new hold.
    HoldStore,
    /// Reader, hold slot: release, so that its reads of the chunk are over.
    HoldRelease,
    /// Publisher of chunks, hold slot: acquire, partner of `HoldStore` and `HoldRelease`.
    HoldLoad,
    /// Reader, free slots: release, so that whoever takes the slot passes on that what it held is read.
    HoldGiveBack,
    /// Reader that leaves: release, so that its holds are seen with it, and its reads are over.
    LeftStore,
    /// Publisher of chunks: acquire, partner of `LeftStore`.
    LeftLoad,
    /// Publisher of chunks in a lossy ring: a full fence between giving records up and its look at the hold slots.
    GivenUpFence,
    /// Lossy consumer: a full fence between its store to a hold slot and its look at `Intent`, partner of `GivenUpFence`.
    HintFence,
    /// Lossy consumer: it looks at `Intent` before it believes that what a record refers to is its own.
    HintLookAgain,
    /// Lossy consumer: its cursor does not pass a record before what that refers to can be in a hold slot.
    HintBeforeCursor,
    /// Table reader: a full fence between its store to a hold slot and its look at `writes`, partner of `GivenUpFence`.
    TableHintFence,
    /// Table reader: it looks at `writes` before it believes that what a value refers to is its own.
    TableHintLookAgain,
}

impl Site {
    /// Every site, in the order of declaration.
    #[cfg_attr(
        not(ring_loom),
        allow(dead_code, reason = "read by the model checks only")
    )]
    pub const ALL: [Site; 64] = [
        Site::RingCommit,
        Site::RingPoll,
        Site::CursorStore,
        Site::CursorLoad,
        Site::DropStore,
        Site::DropLoad,
        Site::CloseStore,
        Site::CloseLoad,
        Site::ZeroNextHeader,
        Site::ZeroBeforeCommit,
        Site::ReserveNextHeader,
        Site::BatchFirstWordLast,
        Site::GapLookAgain,
        Site::SeatStore,
        Site::SeatLoad,
        Site::LeaverKept,
        Site::OldestStore,
        Site::OldestLoad,
        Site::OldestFirst,
        Site::IntentStore,
        Site::IntentLoad,
        Site::IntentFirst,
        Site::OverwriteFence,
        Site::CopyFence,
        Site::CopyLookAgain,
        Site::EmptyLookAgain,
        Site::HeaderLookAgain,
        Site::WakerFence,
        Site::WakerLookAgain,
        Site::SleeperFence,
        Site::SleeperLookAgain,
        Site::SleeperRetire,
        Site::WakerRemember,
        Site::WakerOnce,
        Site::TableBegunFirst,
        Site::TableBegunFence,
        Site::TableWritesStore,
        Site::TableWritesLoad,
        Site::TableCopyFence,
        Site::TableLookAgain,
        Site::TableSpareCell,
        Site::TableGroupLast,
        Site::TableGroupStore,
        Site::TableGroupLoad,
        Site::TableGroupFirst,
        Site::TableUsedFirst,
        Site::TableSequenceLast,
        Site::TableSequenceStore,
        Site::TableSequenceLoad,
        Site::TableSequenceFirst,
        Site::ChunkCursorLoad,
        Site::SlotsLast,
        Site::HoldStore,
        Site::HoldRelease,
        Site::HoldLoad,
        Site::HoldGiveBack,
        Site::LeftStore,
        Site::LeftLoad,
        Site::GivenUpFence,
        Site::HintFence,
        Site::HintLookAgain,
        Site::HintBeforeCursor,
        Site::TableHintFence,
        Site::TableHintLookAgain,
    ];

    /// The ordering at this site: `strong`, unless a model check has weakened the site.
    #[inline(always)]
    pub fn order(self, strong: Ordering) -> Ordering {
        if self.holds() {
            strong
        } else {
            Ordering::Relaxed
        }
    }

    /// [`load_acquire`], unless a model check has weakened the site.
    #[inline(always)]
    pub fn load_acquire(self, word: &AtomicU64) -> u64 {
        if self.holds() {
            load_acquire(word)
        } else {
            word.load(Ordering::Relaxed)
        }
    }

    /// Whether the step at this site is taken; false only while a model check has taken it out.
    #[cfg(not(ring_loom))]
    #[inline(always)]
    pub const fn holds(self) -> bool {
        true
    }

    /// Whether the step at this site is taken; false only while a model check has taken it out.
    #[cfg(ring_loom)]
    pub fn holds(self) -> bool {
        weakened() != Some(self)
    }
}

/// Loads a word with acquire that may lie in memory which this process has mapped read-only.
///
/// Of such memory the standard library promises relaxed loads only (`std::sync::atomic`, "Atomic accesses to read-only
/// memory"), so the ordering comes from a fence, which costs nothing on x86-64.
#[inline(always)]
pub fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// Name of the environment variable that names the one weakened site.
#[cfg(ring_loom)]
pub const WEAKEN: &str = "RINGMAIN_WEAKEN";

#[cfg(ring_loom)]
fn weakened() -> Option<Site> {
    static WEAKENED: std::sync::OnceLock<Option<Site>> = std::sync::OnceLock::new();
    *WEAKENED.get_or_init(|| {
        let name = std::env::var(WEAKEN).ok()?;
        let site = Site::ALL
            .into_iter()
            .find(|site| format!("{site:?}") == name);
        Some(site.unwrap_or_else(|| panic!("{WEAKEN}={name} names no site")))
    })
}
