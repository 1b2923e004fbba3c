//! The publisher's end of a lane that never has it wait: what is written takes the place of something older.

use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::pool::SegmentId;
use crate::ring::lossy::{LossyProducer, max_payload_bytes};
use crate::ring::{Control, Ending, Position, Read};
use crate::sync::Ordering;
use crate::table::{Shape, ShapeError, TableWriter};

use super::{
    Block, CargoSender, OwnMedium, Parcel, Peer, PeerArea, PeerCursor, PoolLane, PoolWriter,
};

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

    /// From now on messages in this pool need not be copied, if the subscriber can get its segments.
    pub fn join_pool(&mut self, pool: &mut PoolWriter) {
        let cargo = self.cargo.as_ref();
        self.pool = cargo.map(|cargo| pool.add_lane(cargo.clone()));
    }

    /// Whether messages in the pool need not be copied.
    pub fn takes_blocks(&self) -> bool {
        self.pool.is_some()
    }

    /// The subscriber has said where its words are.
    pub fn watch(&mut self, area: Arc<PeerArea>, pool: &mut PoolWriter) {
        if let Some(lane) = &self.pool {
            pool.attach(lane, area);
        }
    }

    /// Writes a parcel that refers to a block of the pool; whether it did: the subscriber may hold too much, or cannot be sent
    /// the segment now. What has to give way for it does.
    pub fn write_block(&mut self, parcel: &Parcel, block: &Block, pool: &mut PoolWriter) -> bool {
        self.retire(&[]);
        let (Medium::Lossy(ring, number), Some(lane)) = (&mut self.medium, &mut self.pool) else {
            return false;
        };
        // What was sent before the record is there when that is found.
        if !pool.may_lend(lane, block.len()) || !pool.introduce(lane, block) {
            return false;
        }
        if ring.append(*number, &[parcel.bytes()]).is_err() {
            return false;
        }
        *number += 1;
        let Position(end) = ring.committed();
        pool.push(lane, block, end);
        pool.give_up(lane, ring.given_up().0);
        // As much lies in the pool as would lie in the ring.
        let budget = ring.storage().capacity();
        while let Some(oldest) = pool.excess(lane, budget) {
            ring.give_up(Position(oldest));
            pool.give_up(lane, ring.given_up().0);
        }
        self.counters.messages(1, block.len(), Position(end));
        true
    }

    /// Gives up the oldest messages that lie in the pool, so many, but not the newest; whether there was one.
    pub fn give_up(&mut self, messages: usize, pool: &mut PoolWriter) -> bool {
        let (Medium::Lossy(ring, _), Some(lane)) = (&mut self.medium, &self.pool) else {
            return false;
        };
        let oldest = pool.oldest(lane, messages);
        ring.give_up(Position(oldest.unwrap_or(0)));
        // Others may have taken the place of what lay there.
        pool.give_up(lane, ring.given_up().0);
        oldest.is_some()
    }

    /// Tells the subscriber of segments that were given up, as far as there is room. Those go by the courier, for a record
    /// could be lost; a word says that there is something.
    pub fn retire(&mut self, segments: &[SegmentId]) {
        let Some(lane) = &mut self.pool else {
            return;
        };
        lane.retire(segments);
        let told = lane.tell_retired();
        if told > 0 {
            let word = self.memory().control(Control::Retired);
            // Relaxed: our own word. Partner of the release: the acquire in `HintReader::take_news`, behind which it has come.
            let before = word.load(Ordering::Relaxed);
            word.store(before.wrapping_add(told), Ordering::Release);
            self.wake();
        }
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
