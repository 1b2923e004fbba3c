//! Messages that lie in the pool.

use crate::lane::{Block, PRELUDE_BYTES, PoolError, PoolWriter, RawLoan, Stamp, TopicRef};
use crate::message::{Bytes, EncodeError, EncodedBytes, Message, Scratch};
use crate::pool::Idle;
use crate::ring::NoRoom;
use crate::segment::PAGE_BYTES;

use super::{Delivery, OutLane, Outbound, Patience, PublishError, To, Way, Written, taking};
use crate::client::loan::LoanError;

/// Where a message of this type wants to begin; a hand-written `Message` may claim anything.
fn align_of_payload<T: Message + ?Sized>() -> u64 {
    let claimed = T::ALIGN_BYTES.clamp(1, PAGE_BYTES);
    claimed.next_power_of_two() as u64
}

impl Outbound {
    /// Memory in the pool for a message of so many bytes, at a multiple of `align`, a power of two up to 4,096. To be given to
    /// [`publish_raw`](Self::publish_raw) or [`abort_raw`](Self::abort_raw).
    pub(in crate::client) fn loan_raw(
        &mut self,
        len: usize,
        align: u64,
    ) -> Result<RawLoan, LoanError> {
        if self.mark.is_forked() {
            return Err(LoanError::Forked);
        }
        let limit = self.max_message_bytes;
        if len > limit {
            return Err(LoanError::TooLarge { len, limit });
        }
        // Somebody may have told how far he has read for the first time.
        self.take_news();
        Ok(self.lend(len, align)?)
    }

    fn lend(&mut self, len: usize, align: u64) -> Result<RawLoan, PoolError> {
        let mut loan = self.pool.loan(len, align);
        let mut messages = 1;
        // More and more: one by one would take long where many lie in the way.
        while matches!(loan, Err(PoolError::Limit { .. } | PoolError::Segments(_)))
            && self.copies.give_up(messages, &mut self.pool)
        {
            loan = self.pool.loan(len, align);
            messages *= 2;
        }
        self.tell_retired();
        loan
    }

    /// What encoders work in.
    pub(in crate::client) fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// Gives a loan back.
    pub(in crate::client) fn abort_raw(&mut self, loan: RawLoan) {
        if !self.mark.is_forked() {
            self.pool.settle(loan.seal());
        }
    }

    /// Publishes an encoded message that was written where it lies. Otherwise as [`publish`](Self::publish).
    pub(in crate::client) fn publish_raw(
        &mut self,
        id: u32,
        loan: RawLoan,
        patience: Patience,
    ) -> Result<Delivery, PublishError> {
        let block = loan.seal();
        let delivery = match self.publish_block_at_once(id, &block) {
            Some(delivery) => Ok(delivery),
            None => {
                let message = Bytes::new(&block);
                self.publish_lasting(id, message, patience, 0, None, Way::Pool(&block))
            }
        };
        if !self.mark.is_forked() {
            self.pool.settle(block);
            self.pool.prepare();
        }
        delivery
    }

    /// Gives memory of the pool back in which nothing lies; how many bytes it still has.
    pub(in crate::client) fn shrink_pool(&mut self) -> u64 {
        if !self.mark.is_forked() {
            self.take_news();
            // Nothing, but what was given up is told.
            self.copies.give_up(0, &mut self.pool);
            self.pool.shrink(Idle::All);
            self.tell_retired();
        }
        self.pool.bytes()
    }

    /// Bytes of memory that the pool has.
    pub(in crate::client) fn pool_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Writes a message that is too long to be copied for each lane.
    #[cold]
    pub(super) fn write_long<T: Message + ?Sized, S: Stamp>(
        &mut self,
        id: u32,
        message: &T,
        len: usize,
        patience: Patience,
        to: To,
        stamp: S,
    ) -> Result<Written, PublishError> {
        let limit = self.max_message_bytes;
        if len > limit {
            return Err(PublishError::TooLarge { len, limit });
        }
        let copies = |outbound: &mut Self| {
            outbound.write_with(id, message, patience, to, stamp, Way::Copies)
        };
        let slot = self
            .topics
            .slot(id, self.routes.version, taking(&self.lanes));
        let takes = |key: &usize| self.lanes[*key].writer.takes_blocks();
        let topic = (id, slot.generation(), slot.topic());
        let (keeps, gives_way) = match to {
            To::Rest(served) => (
                slot.lanes[served as usize..].iter().any(takes),
                self.copies.lends_on(topic, None),
            ),
            To::One(key) => (takes(&key), false),
            To::Copy(lane) => (false, self.copies.lends_on(topic, Some(lane))),
        };
        if !keeps && !gives_way {
            return copies(self);
        }
        let mut loan = match self.lend(len, align_of_payload::<T>()) {
            Ok(loan) => loan,
            // As long as every ring can take it, as those do in which older messages give way.
            Err(_) if !keeps || len + PRELUDE_BYTES <= self.max_batch_bytes => return copies(self),
            Err(error) => return Err(PublishError::Pool(error)),
        };
        match message.encode(&mut loan, &mut self.scratch) {
            Ok(written) if written == len => {}
            encoded => {
                self.abort_raw(loan);
                return Err(match encoded {
                    Err(error) => error,
                    // A hand-written `Message` may claim anything.
                    Ok(written) => EncodeError::Failed(format!(
                        "{written} bytes were encoded, {len} announced"
                    )),
                }
                .into());
            }
        }
        let block = loan.seal();
        let bytes = Bytes::new(&block);
        let written = self.write_with(id, bytes, patience, to, stamp, Way::Pool(&block));
        self.pool.settle(block);
        self.pool.prepare();
        written
    }

    /// What was waited with is served.
    pub(super) fn settle_waiting(&mut self) {
        if let Some(block) = self.waits.block.take() {
            self.pool.settle(block);
        }
    }

    /// A new lane takes part in the pool if its subscriber can.
    pub(super) fn share_pool(&mut self, lane: &mut OutLane) {
        lane.writer.join_pool(&mut self.pool);
    }

    /// Tells subscribers of memory that was given up.
    fn tell_retired(&mut self) {
        let segments = self.pool.take_retired();
        if !segments.is_empty() {
            for (_, lane) in &mut self.lanes {
                lane.writer.retire(&segments);
            }
            self.copies.retire(&segments);
        }
    }
}

impl OutLane {
    /// Writes what was waited with; whether there was room.
    pub(super) fn write_kept<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        kept: &[EncodedBytes],
        block: Option<&Block>,
        pool: &mut PoolWriter,
    ) -> bool {
        match block {
            Some(block) => self.writer.write_block(topic, block, pool).is_ok(),
            None => self.write_copies(topic, kept, Some(pool)),
        }
    }

    /// Writes encoded messages; one that no ring of this lane can take goes through the pool. Whether there was room.
    pub(super) fn write_copies<S: Stamp>(
        &mut self,
        topic: TopicRef<'_, S>,
        messages: &[EncodedBytes],
        pool: Option<&mut PoolWriter>,
    ) -> bool {
        match (self.writer.write_copies(topic, messages), messages, pool) {
            (Ok(()), ..) => true,
            (Err(NoRoom::TooLarge(_)), [message], Some(pool)) if self.writer.takes_blocks() => {
                let Ok(mut loan) = pool.loan(message.len(), 1) else {
                    return false;
                };
                loan.copy_from_slice(message);
                let block = loan.seal();
                let written = self.writer.write_block(topic, &block, pool);
                pool.settle(block);
                written.is_ok()
            }
            _ => false,
        }
    }
}
