//! Messages that lie in the publisher's pool.

use crate::lane::block::Payload;
use crate::lane::pool_reader::{PoolReader, find};
use crate::lane::{CannotHold, CargoError, CargoReceiver, Hold, LaneError, Next, Reader};
use crate::message::Timestamp;
use crate::pool::Chunk;
use crate::ring::{Kind, Polled, Read, Record};
use crate::segment::fork::ProcessMark;

use super::cargo_error;

impl Reader {
    /// With a way for memory and descriptors; `mark` says in which process.
    pub fn with_cargo(mut self, cargo: Option<CargoReceiver>, mark: ProcessMark) -> Self {
        self.pool = cargo.as_ref().map(|cargo| {
            let area = self.consumer.cursor().clone();
            let ring = self.consumer.storage().clone();
            let bell = self.publisher.bell().clone();
            PoolReader::new(area, cargo.presence(), ring, bell, mark)
        });
        self.cargo = cargo;
        self
    }

    /// Keeps the message beyond its release; `None` if it does not lie in a pool.
    pub fn hold(&self) -> Result<Option<Hold>, CannotHold> {
        match (&self.pool, &self.message.lent) {
            (Some(pool), Some(lent)) if self.message.kind.is_pooled() => {
                pool.hold(lent.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A message that lies in the publisher's pool, perhaps behind a timestamp.
    pub(super) fn pooled(&mut self, record: Record) -> Result<Next, LaneError> {
        let mut name = record;
        if record.kind == Kind::StampedPooled {
            self.stamped(record)?;
            name.offset += Timestamp::BYTES;
            name.len_bytes -= Timestamp::BYTES;
        } else {
            self.message(record)?;
        }
        self.find(name).map_err(|error| cargo_error(&error))?;
        // Its publisher needs the memory more than that of a record.
        self.consumer.publish_next();
        Ok(Next::Message)
    }

    /// Whether a message stands next that lies in the same segment of the pool as the last one that did, and is on a topic that is
    /// known, as that of the last message: as [`pooled`](Self::pooled) finds it.
    #[inline(always)]
    pub fn ready_in_pool(&mut self) -> bool {
        self.message.lent.is_some() && self.is_in_same_segment()
    }

    #[inline(never)]
    fn is_in_same_segment(&mut self) -> bool {
        let (Some(topic), Some(lent)) = (self.known, &mut self.message.lent) else {
            return false;
        };
        let Some(offset) = (self.consumer).ready_like(Kind::Pooled, topic, Chunk::BYTES) else {
            return false;
        };
        let mut bytes = [0; Chunk::BYTES];
        self.consumer.storage().copy_out(offset, &mut bytes);
        if !Chunk::from_bytes(bytes).is_some_and(|chunk| lent.move_to(chunk)) {
            return false;
        }
        lent.fetch();
        self.message.payload = lent.payload;
        self.message.kind = Kind::Pooled;
        self.message.topic = topic;
        self.end = self.consumer.end_of(Chunk::BYTES);
        self.consumer.publish_next();
        true
    }

    /// Finds the payload that is named in the ring.
    fn find(&mut self, name: Record) -> Result<(), CargoError> {
        let len = name.len_bytes;
        let mut bytes = [0; Chunk::BYTES];
        if len != bytes.len() {
            return Err(CargoError::NoPayload { len });
        }
        self.consumer.storage().copy_out(name.offset, &mut bytes);
        let chunk = Chunk::from_bytes(bytes).ok_or(CargoError::NoPayload { len })?;
        let cargo = self.cargo.as_mut().ok_or(CargoError::NoCourier)?;
        let lent = find(chunk, self.message.lent.as_ref(), cargo)?;
        lent.fetch();
        self.message.payload = lent.payload;
        self.message.lent = Some(lent);
        Ok(())
    }

    /// A segment of the pool is referred to no more: goes on behind that.
    #[cold]
    pub(super) fn retire(&mut self, mut record: Record) -> Result<Next, LaneError> {
        // Each ends a segment that was sent, so this ends.
        while record.kind == Kind::Retire {
            self.message.lent = None;
            self.message.payload = Payload::empty();
            let cargo = self.cargo.as_mut().ok_or(CargoError::NoCourier);
            cargo
                .and_then(|cargo| cargo.retire(record.detail))
                .map_err(|error| cargo_error(&error))?;
            let published = self.consumer.release(record);
            self.wake(published);
            record = match self.consumer.poll()? {
                Polled::Record(record) => record,
                Polled::Gap(counts) => return Ok(self.gap(counts)),
                Polled::Switch(switch) => return self.leave_ring(switch),
                Polled::Empty => return Ok(Next::Empty),
            };
        }
        match record.kind {
            Kind::Message => self.message(record),
            _ => self.next_rare(record),
        }
    }
}
