//! Several messages that become visible together.

use crate::message::Message;
use crate::ring::record_bytes;

use super::{Delivery, Outbound, Patience, PublishError, taking};

impl Outbound {
    /// Publishes messages to a topic of the table: each subscriber gets all of them or, if they find no room, none.
    pub(in crate::client) fn publish_batch<T: Message>(
        &mut self,
        id: u32,
        messages: &[T],
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        self.check_batch(messages)?;
        self.sync();
        let mut delivery = Delivery {
            route_unknown: self.is_route_unknown(),
            ..Delivery::default()
        };
        if messages.is_empty() {
            return Ok(delivery);
        }
        self.full.clear();
        let slot = self.topics.slot(id, self.routes, taking(&self.lanes));
        let topic = slot.reference(id);
        let mut unattached = false;
        for &key in &slot.lanes {
            let lane = &mut self.lanes[key];
            let written = lane.writer.write_batch(topic, messages, &mut self.scratch);
            unattached |= !lane.writer.is_attached();
            if written? {
                lane.writer.wake();
                delivery.lanes += 1;
            } else {
                self.full.push((key, lane.lane));
            }
        }
        let count = messages.len() as u64;
        if !self.full.is_empty() && self.triage(unattached, Patience::Policy, count, &mut delivery)
        {
            let mut scratch = std::mem::take(&mut self.scratch);
            self.serve_waiting(id, count, &mut delivery, |writer, topic| {
                // What could be encoded for the first lane can be for all others.
                let written = writer.write_batch(topic, messages, &mut scratch);
                written.is_ok_and(|written| written)
            });
            self.scratch = scratch;
        }
        if unattached && self.mailbox.has_news_after_commit(self.seen) {
            self.take_commands();
        }
        Ok(delivery)
    }

    /// Refuses messages that are too long, one by one or all together: before anybody has got some of them.
    fn check_batch<T: Message>(&mut self, messages: &[T]) -> Result<(), PublishError> {
        let (mut sum, limit) = (0_usize, self.max_message_bytes);
        for message in messages {
            let len = match T::ENCODED_LEN {
                Some(len) => len,
                None => message.encoded_len(&mut self.scratch)?,
            };
            if len > limit {
                return Err(PublishError::TooLarge { len, limit });
            }
            sum = sum.saturating_add(record_bytes(len));
        }
        match self.max_batch_bytes {
            limit if sum > limit => Err(PublishError::BatchTooLarge { len: sum, limit }),
            _ => Ok(()),
        }
    }
}
