//! Publishing where nothing has to be found out first.

use super::encoded::{Encoded, Via};
use super::{Delivery, Outbound, Patience, PublishError};
use crate::client::shared::load_epoch;
use crate::lane::Block;
use crate::message::Message;

impl Outbound {
    /// Publishes to a topic of the table.
    #[inline(always)]
    pub(in crate::client) fn publish<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
    ) -> Result<Delivery, PublishError> {
        match self.publish_at_once(id, message, patience) {
            Ok(delivery) => Ok(delivery),
            Err(served) => self.publish_to_all(id, message, patience, served),
        }
    }

    /// What is the case as a rule: nothing has changed, messages are not stamped, all lanes have room. If not, the error says
    /// how many lanes have the message already: the first ones.
    #[inline(always)]
    fn publish_at_once<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
    ) -> Result<Delivery, u32> {
        if self.mark.is_forked() || self.is_disturbed() {
            return Err(0);
        }
        let slot = self.topics.matched(id, self.routes.calm).ok_or(0_u32)?;
        // Several lanes: only if they need not be asked for room first, and to encode such a type is to copy it.
        let one_by_one = patience != Patience::None && T::ENCODED_LEN.is_some();
        let mut keys = slot.lanes.iter();
        let mut key = keys.next().ok_or(0_u32)?;
        if slot.lanes.len() > 1 && !one_by_one {
            return Err(0);
        }
        let via = Via::Copies {
            up_to: self.copied_up_to,
        };
        let mut encoded = Encoded::new(message, &mut self.scratch, self.max_message_bytes, via);
        let mut served = 0;
        // Not a `for` loop: as a rule there is one lane, and all stays in registers.
        loop {
            let lane = self.lanes.get_mut(*key).ok_or(served)?;
            if !encoded.write_at_once(&mut lane.writer, slot.reference(id)) {
                return Err(served);
            }
            served += 1;
            match keys.next() {
                Some(next) => key = next,
                None => break,
            }
        }
        Ok(Delivery {
            lanes: slot.readers,
            dropped: 0,
            route_unknown: self.is_route_unknown(),
            waiting: false,
        })
    }

    /// The same for a message that lies in the pool, and one lane. `None` if that is not all there is to do, or there is no room;
    /// nothing was done then.
    pub(super) fn publish_block_at_once(&mut self, id: u32, block: &Block) -> Option<Delivery> {
        if self.mark.is_forked() || self.is_disturbed() || self.attached.is_some() {
            return None;
        }
        let slot = self.topics.matched(id, self.routes.calm)?;
        let &[key] = &slot.lanes[..] else {
            return None;
        };
        let writer = &mut self.lanes.get_mut(key)?.writer;
        if !writer.is_attached() {
            return None;
        }
        let topic = slot.reference(id);
        writer.write_block(topic, block, &mut self.pool).ok()?;
        writer.wake();
        Some(Delivery {
            lanes: slot.readers,
            dropped: 0,
            route_unknown: self.is_route_unknown(),
            waiting: false,
        })
    }

    /// Whether the broker or a peer has changed something.
    #[inline]
    fn is_disturbed(&self) -> bool {
        load_epoch(&self.epoch_word) != self.epoch || self.mailbox.has_news(self.seen)
    }
}
