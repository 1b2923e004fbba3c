//! A page of counters as it lies in a segment; `docs/segment-format.md` has the table.

use std::mem::offset_of;

use crate::segment::PAGE_BYTES;
use crate::sync::AtomicU64;

/// One page: a client, a handle or a lane. All of it is words that one process writes.
#[repr(C)]
pub(crate) struct Page {
    /// Odd while the page is in use; another value for each use.
    pub generation: AtomicU64,
    /// A [`Kind`].
    pub kind: AtomicU64,
    /// The handle's number within the client; 0 for the client itself, and for its closed handles.
    pub handle: AtomicU64,
    /// The lane's number on the bus; 0 where the page is none of a lane.
    pub lane: AtomicU64,
    /// Size of the lane's ring.
    pub ring_bytes: AtomicU64,
    /// When the page was taken, nanoseconds since 1970.
    pub opened_ns: AtomicU64,
    /// Incarnation of the broker that the client joined, the lower half first.
    pub bus: [AtomicU64; 2],
    /// The client's number on the bus.
    pub client: AtomicU64,
    /// Of a client's page: how many segments came before this one.
    pub segment: AtomicU64,
    /// Of a client's first page: odd while pages are taken, given back, added up.
    pub changes: AtomicU64,
    /// Of a lane: 0, or the lane of the same handle that counts messages for this one, too.
    pub follows: AtomicU64,
    _reserved: [AtomicU64; 4],
    /// By [`Counter`]. The first line holds what each message changes.
    pub counts: [AtomicU64; COUNTS],
    /// Of the client; of the lane, its peer's.
    pub name: Text<32>,
    /// Topic or patterns.
    pub topics: Text<128>,
    /// The type of messages.
    pub message_type: Text<34>,
    _reserved_too: [AtomicU64; 27],
    /// Messages by the time that they took; see `histogram.rs`.
    pub latency: [AtomicU64; BUCKETS],
}

/// A text, cut off where there is no more room.
#[repr(C)]
pub(crate) struct Text<const WORDS: usize> {
    pub len_bytes: AtomicU64,
    pub words: [AtomicU64; WORDS],
}

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Kind {
    Client = 1,
    Publisher = 2,
    Subscriber = 3,
    PublisherLane = 4,
    SubscriberLane = 5,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Counter {
    Messages = 0,
    Bytes = 1,
    /// A position in the ring: no count, so nothing is added to it.
    Position = 2,
    Wakes = 3,
    DroppedFull = 4,
    DroppedDeadline = 5,
    Parks = 6,
    BlockedNs = 7,
    Stalls = 8,
    Conflated = 9,
    Undecodable = 10,
    Expired = 11,
}

impl Kind {
    pub(super) fn from_word(word: u64) -> Option<Self> {
        let kinds = [
            Self::Client,
            Self::Publisher,
            Self::Subscriber,
            Self::PublisherLane,
            Self::SubscriberLane,
        ];
        kinds.into_iter().find(|kind| *kind as u64 == word)
    }
}

/// Words of counters in a page.
pub(super) const COUNTS: usize = 16;
/// Buckets of a page's histogram.
pub(super) const BUCKETS: usize = 256;

const _: () = {
    assert!(size_of::<Page>() == PAGE_BYTES);
    assert!(offset_of!(Page, generation) == 0);
    assert!(offset_of!(Page, bus) == 48);
    assert!(offset_of!(Page, changes) == 80);
    assert!(offset_of!(Page, follows) == 88);
    assert!(offset_of!(Page, counts) == 128);
    assert!(offset_of!(Page, name) == 256);
    assert!(offset_of!(Page, topics) == 520);
    assert!(offset_of!(Page, message_type) == 1552);
    assert!(offset_of!(Page, latency) == 2048);
};
