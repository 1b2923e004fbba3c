//! The publisher's end of a lane that never has it wait: what is written takes the place of something older.

mod pooled;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::counters::LaneSlot;
use crate::ring::lossy::{LossyProducer, max_payload_bytes};
use crate::ring::{Control, Ending, Position, Read};
use crate::sync::Ordering;
use crate::table::{Shape, ShapeError, TableWriter};

use super::{CargoSender, OwnMedium, Parcel, Peer, PeerCursor, PoolLane};

/// The publisher's end of a lane that never has it wait.
pub struct CopyWriter {
    medium: Medium,
    /// `None` until the subscriber has answered.
    subscriber: Option<Subscriber>,
    counters: LaneSlot,
    /// What the subscriber gets segments of the pool by, where it can.
    cargo: Option<Arc<CargoSender>>,
    /// Where messages may lie that are not copied.
    pool: Option<PoolLane>,
    /// Slots of the values of a table that lie there, by sequence.
    lent: FxHashMap<u64, u32>,
}

enum Medium {
    /// With the number of messages so far.
    Lossy(LossyProducer<OwnMedium>, u64),
    Table(Box<TableWriter<OwnMedium>>),
}

struct Subscriber {
    cursor: PeerCursor,
    peer: Peer,
}

/// The parcel is longer than any that the lane was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl CopyWriter {
    /// In a fresh ring, whose oldest messages give way.
    pub fn lossy(ring: OwnMedium, counters: LaneSlot) -> Self {
        Self::new(Medium::Lossy(LossyProducer::new(ring), 0), counters)
    }

    /// In fresh memory for a table with the last message of each topic.
    ///
    /// # Errors
    /// It is too small for a table.
    pub fn table(memory: OwnMedium, counters: LaneSlot) -> Result<Self, ShapeError> {
        let table = table(memory, 1)?;
        Ok(Self::new(Medium::Table(Box::new(table)), counters))
    }

    fn new(medium: Medium, counters: LaneSlot) -> Self {
        Self {
            medium,
            subscriber: None,
            counters,
            cargo: None,
            pool: None,
            lent: FxHashMap::default(),
        }
    }

    /// With a way for memory.
    pub fn with_cargo(mut self, cargo: Option<CargoSender>) -> Self {
        self.cargo = cargo.map(Arc::new);
        self
    }

    /// The subscriber has mapped the memory.
    pub fn attach(&mut self, cursor: PeerCursor, peer: Peer) {
        self.subscriber = Some(Subscriber { cursor, peer });
        self.wake();
    }

    /// Whether the subscriber has mapped the memory.
    pub fn is_attached(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Writes a parcel; `key` stands for its topic. Never waits.
    ///
    /// # Errors
    /// [`TooLong`]: nothing was written.
    pub fn write(&mut self, key: u64, parcel: &Parcel) -> Result<(), TooLong> {
        let count = parcel.messages();
        let position = match &mut self.medium {
            Medium::Lossy(ring, number) => {
                ring.append(*number, &[parcel.bytes()])
                    .map_err(|_| TooLong)?;
                *number += u64::from(count);
                ring.committed()
            }
            Medium::Table(table) => {
                let before = table.messages_of(key).to_le_bytes();
                let (head, rest) = parcel.around_before();
                let parts = [head, &before, rest];
                table.store(key, count, &parts).map_err(|_| TooLong)?;
                Position(table.sequence() - 1)
            }
        };
        self.counters
            .messages(count.into(), parcel.message_bytes(), position);
        Ok(())
    }

    /// The longest parcel, in bytes.
    pub fn longest(&self) -> usize {
        match &self.medium {
            Medium::Lossy(ring, _) => max_payload_bytes(ring.storage().capacity()),
            Medium::Table(table) => table.longest(),
        }
    }

    /// Rings the subscriber's bell if it sleeps.
    pub fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber
            && peer.wake_if_parked(cursor.parked())
        {
            self.counters.woke();
        }
    }

    /// Whether the subscriber has said, by itself, that it reads no more.
    pub fn is_closed(&self) -> bool {
        let subscriber = self.subscriber.as_ref();
        subscriber.is_some_and(|subscriber| subscriber.cursor.is_closed())
    }

    /// What the lane counts.
    pub fn counters(&self) -> &LaneSlot {
        &self.counters
    }

    /// The memory.
    pub fn memory(&self) -> &OwnMedium {
        match &self.medium {
            Medium::Lossy(ring, _) => ring.storage(),
            Medium::Table(table) => table.storage(),
        }
    }
}

impl Drop for CopyWriter {
    /// Says that nothing more will come.
    fn drop(&mut self) {
        match &self.medium {
            Medium::Lossy(ring, _) => ring.close(Ending::Closed),
            Medium::Table(table) => table.storage().close(),
        }
        if let Some(Subscriber { peer, .. }) = &self.subscriber {
            peer.ring();
        }
    }
}

/// A table in fresh memory that keeps so many values of each topic.
///
/// # Errors
/// The memory is too small for a table.
pub fn table(memory: OwnMedium, history: u32) -> Result<TableWriter<OwnMedium>, ShapeError> {
    let shape = Shape::for_bytes(memory.capacity(), history + 1);
    TableWriter::new(memory, shape)
}

impl OwnMedium {
    /// Says that nothing more will come.
    pub fn close(&self) {
        // Release: a reader that sees it sees everything before it.
        self.control(Control::Closed)
            .store(Ending::Closed as u64, Ordering::Release);
    }
}
