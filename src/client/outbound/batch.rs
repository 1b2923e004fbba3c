//! Several messages that become visible together.

use crate::lane::{PRELUDE_BYTES, Stamp, Unstamped};
use crate::message::Message;
use crate::ring::record_bytes;

use super::copies::Copied;
use super::groups::Full;
use super::room::{Need, check_room};
use super::{Delivery, Outbound, Patience, PublishError, Written, check_transport, taking};

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
        let len = self.check_batch(messages, 0)?;
        self.sync();
        self.serve_waiting(Patience::Policy);
        if !self.full.is_empty() {
            self.give_up();
        }
        let delivery = Delivery {
            route_unknown: self.is_route_unknown(),
            ..Delivery::default()
        };
        if messages.is_empty() {
            return Ok(delivery);
        }
        let gate = self.copies.gate();
        let written = {
            let mut next = gate.as_ref().map(|gate| gate.lock());
            if next.is_some() {
                self.take_news();
            }
            let written = match self.clock {
                None => self.write_batch(id, messages, len, delivery, Unstamped),
                Some(clock) => {
                    let stamp = clock.now();
                    self.stamp = Some(stamp);
                    self.write_batch(id, messages, len, delivery, &stamp)
                }
            };
            if let Some(next) = &mut next {
                **next = self.copies.next();
            }
            written?
        };
        let delivery = match written {
            Written::Served(delivery) => delivery,
            Written::Waits => self.wait(),
        };
        let delivery = self.let_wait(id, messages.iter(), delivery, None)?;
        self.serve_waiting(Patience::Policy);
        Ok(delivery)
    }

    fn write_batch<T: Message, S: Stamp>(
        &mut self,
        id: u32,
        messages: &[T],
        len: usize,
        mut delivery: Delivery,
        stamp: S,
    ) -> Result<Written, PublishError> {
        let slot = self
            .topics
            .slot(id, self.routes.version, taking(&self.lanes));
        check_transport(slot, &mut self.unconfirmed)?;
        let named_bytes = slot.named_bytes();
        let (slot, len) = match named_bytes {
            0 => (slot, len),
            _ => {
                let len = self.check_batch(messages, named_bytes)?;
                let taking = taking(&self.lanes);
                (self.topics.slot(id, self.routes.version, taking), len)
            }
        };
        let patience = self.retry.patience(Patience::Policy);
        if patience == Patience::None {
            // As if it were one record, which takes more where the ring ends. A ring that has been read to its end has room for
            // the longest.
            let stamps = messages.len() * S::PREFIX_BYTES;
            let len = (len + stamps).min(self.max_batch_bytes - PRELUDE_BYTES);
            let keys = (&slot.lanes[..], &slot.groups[..]);
            check_room(&mut self.waits, &mut self.lanes, keys, Need::copy(len))
                .inspect_err(|_| self.routes.disturb())?;
        }
        let topic = slot.reference(id).stamped(stamp);
        let copied = match self.copies.is_empty() {
            true => Copied::default(),
            false => {
                let topic = (id, slot.generation(), slot.topic());
                let room = (&mut self.scratch, self.max_message_bytes);
                let messages = messages.iter();
                self.copies
                    .write(topic, None, stamp.timestamp(), messages, room, None)?
            }
        };
        delivery.lanes += copied.lanes;
        let mut unattached = copied.unattached;
        for &key in &slot.lanes {
            let lane = &mut self.lanes[key];
            let written = lane.writer.write_batch(topic, messages, &mut self.scratch);
            unattached |= !lane.writer.is_attached();
            if written.inspect_err(|_| self.full.clear())? {
                lane.writer.wake();
                delivery.lanes += lane.readers();
            } else {
                self.full.push(Full::alone(key, lane.ring));
            }
        }
        for (group, members) in slot.groups.iter().enumerate() {
            let scratch = &mut self.scratch;
            let lanes = (&mut self.lanes, &mut self.full);
            let turn = self.turns.serve(group, members, lanes, |lanes, key| {
                Ok(lanes[key].writer.write_batch(topic, messages, scratch)?)
            })?;
            unattached |= turn.unattached;
            delivery.lanes += u32::from(turn.served.is_some());
        }
        if !self.full.is_empty() {
            let count = messages.len() as u64;
            if self.triage(unattached, patience, count, &mut delivery) {
                self.routes.disturb();
                self.keep_batch(id, messages, delivery)?;
                return Ok(Written::Waits);
            }
            self.full.clear();
        }
        if unattached && self.mailbox.has_news_after_commit(self.seen) {
            self.take_commands();
        }
        Ok(Written::Served(delivery))
    }

    /// Encodes the messages to where no lane's end can take them away, to wait with them.
    #[cold]
    fn keep_batch<T: Message>(
        &mut self,
        id: u32,
        messages: &[T],
        delivery: Delivery,
    ) -> Result<(), PublishError> {
        for (kept, message) in self.waits.keep(messages.len()).iter_mut().zip(messages) {
            if let Err(error) = kept.encode(message, &mut self.scratch) {
                self.full.clear();
                return Err(error.into());
            }
        }
        self.waits.start(id, delivery);
        Ok(())
    }

    /// Refuses messages that are too long, one by one or all together, with so many bytes more for each: before anybody has got
    /// some of them. What they take in a ring.
    fn check_batch<T: Message>(
        &mut self,
        messages: &[T],
        more: usize,
    ) -> Result<usize, PublishError> {
        let (mut sum, limit) = (0_usize, self.max_message_bytes);
        for message in messages {
            let len = match T::ENCODED_LEN {
                Some(len) => len,
                None => message.encoded_len(&mut self.scratch)?,
            };
            if len > limit {
                return Err(PublishError::TooLarge { len, limit });
            }
            sum = sum.saturating_add(record_bytes(len) + more);
        }
        match self.max_batch_bytes {
            limit if sum > limit => Err(PublishError::BatchTooLarge { len: sum, limit }),
            _ => Ok(sum),
        }
    }
}
