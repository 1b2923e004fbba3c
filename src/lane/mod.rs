//! The data path from one publisher to one subscriber: floor 0 in segments of two processes.
//!
//! A lane is a ring, owned by the publisher, and an area of a cursor page, owned by the subscriber; either side maps the
//! other's read-only. `Writer` and `Reader` are its ends. They never wait: `client` does.

mod account;
mod apart;
mod attached;
mod block;
mod cargo;
mod copy_reader;
mod copy_writer;
mod cursor_page;
mod hint_reader;
#[cfg(test)]
mod hint_tests;
mod history_reader;
mod lane_reader;
mod medium;
mod member;
mod moving;
mod pages;
mod parcel;
mod peer;
mod pool_reader;
#[cfg(test)]
mod pool_tests;
mod pool_writer;
mod reader;
mod region;
mod seats;
mod sharing;
mod snapshot;
mod stamping;
mod writer;

pub use account::Account;
pub use apart::Apart;
pub use attached::{Attached, Attachments, FoundRegion, MOST_REGIONS};
pub use block::{Block, RawLoan};
pub use cargo::{CargoError, CargoReceiver, CargoSender};
pub use copy_reader::CopyReader;
pub use copy_writer::{CopyWriter, table};
pub use cursor_page::{CursorArea, CursorPage, PeerArea, PeerCursor, PeerPage};
pub use history_reader::HistoryReader;
pub use lane_reader::LaneReader;
pub use medium::{OwnMedium, PeerMedium};
pub use member::{Answer, Member};
pub use pages::CursorPages;
pub use parcel::{Parcel, Unpacked, longest_parcel};
pub use peer::Peer;
pub use pool_reader::{CannotHold, Hold};
pub use pool_writer::{PoolError, PoolLane, PoolWriter};
pub use reader::{LaneError, Next, Reader};
pub use region::{Body, Home, MappedRegion, Onlooker, Region, RegionError, SharedRegion};
pub use seats::{Seat, Seats};
pub use sharing::{Parted, ReadsOn, Split};
pub use snapshot::Snapshot;
pub use stamping::{Stamp, Unstamped};
pub use writer::{PRELUDE_BYTES, TopicRef, WriteError, Writer};

/// Smallest ring, in bytes.
pub const MIN_RING_BYTES: usize = 4 * 1024;
/// Size of a ring, in bytes, unless a message or a subscriber needs more. It fits the second-level cache of current
/// processors together with the working set: a bare ring carries 120 million 64-byte messages per second at this size,
/// 20 million at 16 MiB (`docs/performance.md`).
pub const DEFAULT_RING_BYTES: usize = 512 * 1024;
/// Largest ring, in bytes, that a side makes or maps: bounds what a peer can make it spend.
pub const MAX_RING_BYTES: usize = 1 << 30;
/// Topic ids are below this: bounds the table that a publisher can make a subscriber keep.
pub const MAX_TOPIC_IDS: u32 = 64 * 1024;
