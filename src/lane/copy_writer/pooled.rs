//! Messages that lie in the publisher's pool.

use std::sync::Arc;

use crate::lane::{Block, Parcel, PeerArea, PoolWriter};
use crate::pool::SegmentId;
use crate::ring::{Control, Position, Read};
use crate::sync::Ordering;

use super::{CopyWriter, Medium};

impl CopyWriter {
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

    /// Writes a parcel that refers to a block of the pool; `key` stands for its topic. Whether it did: the subscriber may hold too
    /// much, or cannot be sent the segment now. What has to give way for it does.
    pub fn write_block(
        &mut self,
        key: u64,
        parcel: &Parcel,
        block: &Block,
        pool: &mut PoolWriter,
    ) -> bool {
        self.retire(&[]);
        let Some(lane) = &mut self.pool else {
            return false;
        };
        // What was sent before the record is there when that is found.
        if !pool.may_lend(lane, block.len()) || !pool.introduce(lane, block) {
            return false;
        }
        let (position, end) = match &mut self.medium {
            Medium::Lossy(ring, number) => {
                if ring.append(*number, &[parcel.bytes()]).is_err() {
                    return false;
                }
                *number += 1;
                (ring.committed(), ring.committed().0)
            }
            Medium::Table(table) => {
                let before = table.messages_of(key).to_le_bytes();
                let (head, rest) = parcel.around_before();
                let Ok(slot) = table.store(key, 1, &[head, &before, rest]) else {
                    return false;
                };
                table.watch(slot);
                let end = table.sequence();
                self.lent.insert(end - 1, slot);
                (Position(end - 1), end)
            }
        };
        pool.push(lane, block, end);
        self.counters.messages(1, block.len(), position);
        self.tell_given_up(pool);
        // As much lies in the pool as would lie in the lane.
        let budget = self.memory().capacity();
        while let Some(lane) = &self.pool
            && let Some(oldest) = pool.excess(lane, budget)
            && self.give_up_to(oldest, pool)
        {}
        true
    }

    /// Gives up the oldest messages that lie in the pool, so many, but not the newest; whether there was one.
    pub fn give_up(&mut self, messages: usize, pool: &mut PoolWriter) -> bool {
        self.tell_given_up(pool);
        for given_up in 0..messages {
            let lane = self.pool.as_ref();
            let oldest = lane.and_then(|lane| pool.oldest(lane));
            if !oldest.is_some_and(|oldest| self.give_up_to(oldest, pool)) {
                return given_up > 0;
            }
        }
        true
    }

    /// Gives up the oldest message that lies in the pool, whose record ends here; whether it is there.
    fn give_up_to(&mut self, end: u64, pool: &mut PoolWriter) -> bool {
        let is_there = match &mut self.medium {
            Medium::Lossy(ring, _) => {
                ring.give_up(Position(end));
                ring.given_up().0 >= end
            }
            Medium::Table(table) => {
                let slot = self.lent.get(&(end - 1));
                slot.is_some_and(|slot| table.take_away(*slot, end - 1))
            }
        };
        self.tell_given_up(pool);
        is_there
    }

    /// Tells the pool what was given up since it was told last.
    fn tell_given_up(&mut self, pool: &mut PoolWriter) {
        let Some(lane) = &self.pool else { return };
        match &mut self.medium {
            Medium::Lossy(ring, _) => pool.give_up(lane, ring.given_up().0),
            Medium::Table(table) => {
                for sequence in table.take_gone() {
                    self.lent.remove(&sequence);
                    pool.give_up_one(lane, sequence + 1);
                }
            }
        }
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
}
