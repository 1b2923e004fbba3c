//! Messages that lie in the publisher's pool.

use std::sync::Arc;

use crate::lane::block::Block;
use crate::lane::{PeerArea, PoolWriter, Stamp, TopicRef, Writer};
use crate::pool::SegmentId;
use crate::ring::{Kind, NoRoom, Position};

impl Writer {
    /// From now on messages in this pool need not be copied, if the subscriber can get its segments. A ring that others may come
    /// to is for short messages alone.
    pub fn join_pool(&mut self, pool: &mut PoolWriter) {
        if let (Some(cargo), None) = (&self.first.cargo, &self.first.seat) {
            self.pool = Some(pool.add_lane(cargo.clone()));
        }
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

    /// Whether the subscriber may pin so many bytes of the pool more. One that needs a copy pins none.
    pub fn has_share(&self, bytes: usize, pool: &mut PoolWriter) -> bool {
        let lane = self.pool.as_ref();
        lane.is_none_or(|lane| pool.has_share(lane, bytes))
    }

    /// Appends a message that lies in the pool; a copy of it where it has to be.
    ///
    /// # Errors
    /// The ring has no room, the subscriber has used up its share of the pool, or cannot be sent the segment now.
    pub fn write_block<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        block: &Block,
        pool: &mut PoolWriter,
    ) -> Result<(), NoRoom> {
        self.last = None;
        self.retire(&[]);
        let Some(lane) = &mut self.pool else {
            return self.write_copy(topic, block);
        };
        // What was sent before the record is there when that is found.
        if !pool.has_share(lane, block.len()) || !pool.introduce(lane, block) {
            return Err(NoRoom::Full);
        }
        let staged = self
            .stage_prelude(topic)
            .and_then(|()| topic.stage_chunk(&mut self.producer, block.chunk()));
        if staged.is_err() {
            self.producer.abort();
            return staged;
        }
        self.commit(topic, 1, block.len());
        let Position(end) = self.producer.committed();
        if let Some(lane) = &self.pool {
            pool.push(lane, block, end);
        }
        Ok(())
    }

    /// Tells the subscriber of segments that were given up, as far as there is room.
    pub fn retire(&mut self, segments: &[SegmentId]) {
        self.producer.abort();
        let Some(lane) = &mut self.pool else {
            return;
        };
        lane.retire(segments);
        while let Some(segment) = lane.next_retired() {
            let id = u64::from(segment);
            if self.producer.stage_copy(Kind::Retire, &[], id).is_err() {
                return;
            }
            self.producer.commit();
            lane.told_retired();
            self.first.wake();
        }
    }
}
