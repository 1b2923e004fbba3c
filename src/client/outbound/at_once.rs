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
        match self.publish_to_one_at_once(id, message) {
            Some(delivery) => Ok(delivery),
            None => self.publish_otherwise(id, message, patience),
        }
    }

    #[inline(never)]
    fn publish_otherwise<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
    ) -> Result<Delivery, PublishError> {
        match self.publish_to_several_at_once(id, message, patience) {
            Ok(delivery) => Ok(delivery),
            Err(served) => self.publish_to_all(id, message, patience, served),
        }
    }

    /// What is the case as a rule: nothing has changed, messages are not stamped, there is one lane, and it has room. `None` if not;
    /// nothing was done then.
    #[inline(always)]
    fn publish_to_one_at_once<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
    ) -> Option<Delivery> {
        if self.mark.is_forked() || self.is_disturbed() {
            return None;
        }
        let slot = self.topics.matched(id, self.routes.calm)?;
        let &[key] = &slot.lanes[..] else {
            return None;
        };
        let via = Via::Copies {
            up_to: self.copied_up_to,
        };
        let mut encoded = Encoded::new(message, &mut self.scratch, self.max_message_bytes, via);
        let lane = self.lanes.get_mut(key)?;
        let wrote = encoded.write_at_once(&mut lane.writer, slot.reference(id));
        wrote.then(|| Delivery {
            lanes: slot.readers,
            dropped: 0,
            route_unknown: self.is_route_unknown(),
            waiting: false,
        })
    }

    /// The same for several lanes. The error says how many of them have the message already: the first ones.
    #[inline(always)]
    fn publish_to_several_at_once<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
    ) -> Result<Delivery, u32> {
        if self.mark.is_forked() || self.is_disturbed() {
            return Err(0);
        }
        let slot = self.topics.matched(id, self.routes.calm).ok_or(0_u32)?;
        // Only if they need not be asked for room first, and to encode such a type is to copy it.
        let one_by_one = patience != Patience::None && T::ENCODED_LEN.is_some();
        if slot.lanes.len() < 2 || !one_by_one {
            return Err(0);
        }
        let via = Via::Copies {
            up_to: self.copied_up_to,
        };
        let mut encoded = Encoded::new(message, &mut self.scratch, self.max_message_bytes, via);
        for (served, key) in (0_u32..).zip(&slot.lanes) {
            let lane = self.lanes.get_mut(*key).ok_or(served)?;
            if !encoded.write_at_once(&mut lane.writer, slot.reference(id)) {
                return Err(served);
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
