//! Writing a message to the lanes that have room for it.

use std::slice;

use slab::Slab;

use crate::lane::{Stamp, Unstamped};
use crate::message::{Clock, Message};

use super::attaching::attach_to_next;
use super::encoded::{Encoded, Via, Wrote, copy};
use super::groups::Full;
use super::room::{Need, check_room};
use super::{
    Delivery, OutLane, Outbound, Patience, PublishError, To, Way, Written, check_transport, taking,
};

impl Outbound {
    /// Writes a message to the lanes with room; does with the others what their policies say, but for waiting.
    #[cfg(feature = "async")]
    pub(in crate::client) fn write<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
    ) -> Result<Written, PublishError> {
        self.write_by(id, message, patience, to, Way::Any)
    }

    #[inline]
    pub(super) fn write_by<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
        way: Way<'_>,
    ) -> Result<Written, PublishError> {
        let patience = self.retry.patience(patience);
        match (self.clock, self.copies.gate()) {
            (None, None) => self.write_with(id, message, patience, to, Unstamped, way),
            (Some(clock), None) => self.write_stamped(id, message, patience, to, clock, way),
            (clock, Some(gate)) => {
                let mut next = gate.lock();
                // With a message for one lane that was found nothing changes.
                if let To::Rest(_) = to {
                    self.take_news();
                }
                let written = match clock {
                    None => self.write_with(id, message, patience, to, Unstamped, way),
                    Some(clock) => self.write_stamped(id, message, patience, to, clock, way),
                };
                *next = self.copies.next();
                written
            }
        }
    }

    #[inline(never)]
    fn write_stamped<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
        clock: Clock,
        way: Way<'_>,
    ) -> Result<Written, PublishError> {
        let stamp = clock.now();
        self.stamp = Some(stamp);
        self.write_with(id, message, patience, to, &stamp, way)
    }

    #[inline]
    pub(super) fn write_with<T: Message + ?Sized, S: Stamp>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
        stamp: S,
        way: Way<'_>,
    ) -> Result<Written, PublishError> {
        if !self.full.is_empty() {
            self.give_up();
        }
        self.waits.forget();
        let route_unknown = self.is_route_unknown();
        let slot = self
            .topics
            .slot(id, self.routes.version, taking(&self.lanes));
        check_transport(slot, &mut self.unconfirmed)?;
        let topic = slot.reference(id).stamped(stamp);
        let (keys, groups, served) = match &to {
            To::Rest(served) => {
                let (served, keys) = slot.lanes.split_at(*served as usize);
                let readers = served.iter().map(|key| self.lanes[*key].readers());
                (keys, &slot.groups[..], readers.sum())
            }
            To::One(key) => (slice::from_ref(key), &[][..], 0),
            To::Copy(_) => (&[][..], &[][..], 0),
        };
        let limit = self.max_message_bytes;
        let up_to = match way {
            Way::Any if !keys.is_empty() || self.copies.lends() => self.copied_up_to,
            _ => limit,
        };
        let asks_first = patience == Patience::None && !(keys.is_empty() && groups.is_empty());
        if asks_first || up_to < limit && !self.copies.is_empty() {
            let len = match T::ENCODED_LEN {
                Some(len) => len,
                None => message.encoded_len(&mut self.scratch)?,
            };
            if len > up_to {
                return self.write_long(id, message, len, patience, to, stamp);
            }
            if asks_first {
                // Whoever waits for room now waits for this message, until the next one.
                let need = Need::new(len, way, &mut self.pool);
                check_room(&mut self.waits, &mut self.lanes, (keys, groups), need)
                    .inspect_err(|_| self.routes.disturb())?;
            }
        }
        if let Some(attached) = &self.attached {
            let keys = keys.iter().chain(groups.iter().flatten());
            let copies = self.copies.any(slot.topic());
            let scratch = &mut self.scratch;
            let len = || message.encoded_len(scratch);
            let limits = (self.copied_up_to, limit);
            attach_to_next(attached, &mut self.lanes, keys, copies, len, limits)?;
        }
        let mut delivery = Delivery {
            lanes: served,
            dropped: 0,
            route_unknown,
            waiting: false,
        };
        let mut unattached = false;
        let only = match to {
            To::Copy(lane) => Some(lane),
            To::Rest(_) | To::One(_) => None,
        };
        if !self.copies.is_empty() && !matches!(to, To::One(_)) {
            let topic = (id, slot.generation(), slot.topic());
            let room = (&mut self.scratch, limit);
            let messages = std::iter::once(message);
            let pooled = match way {
                Way::Pool(block) => Some((block, &mut self.pool)),
                Way::Any | Way::Copies => None,
            };
            let copied =
                self.copies
                    .write(topic, only, stamp.timestamp(), messages, room, pooled)?;
            delivery.lanes += copied.lanes;
            unattached = copied.unattached;
        }
        let via = match way {
            Way::Pool(block) => Via::Pool(block, &mut self.pool),
            Way::Any | Way::Copies => Via::Copies { up_to },
        };
        let mut encoded = Encoded::new(message, &mut self.scratch, limit, via);
        let mut source = None;
        for &key in keys {
            // Without a stamp that was tried.
            if S::PREFIX_BYTES > 0
                && T::ENCODED_LEN.is_some()
                && encoded.write_at_once(&mut self.lanes[key].writer, topic)
            {
                delivery.lanes += self.lanes[key].readers();
                continue;
            }
            let wrote = match source {
                None => encoded
                    .write(&mut self.lanes[key].writer, topic)
                    .inspect_err(|_| self.full.clear())?,
                Some(source) => copy(&mut self.lanes, source, key, topic),
            };
            let lane = &mut self.lanes[key];
            unattached |= !lane.writer.is_attached();
            match wrote {
                Wrote::Yes => {
                    lane.writer.wake();
                    source = source.or((!encoded.is_pooled()).then_some(key));
                    delivery.lanes += lane.readers();
                }
                Wrote::NoRoom => self.full.push(Full::alone(key, lane.ring)),
                // Nobody has it: the first one would have it otherwise.
                Wrote::TooLong(len) => {
                    self.full.clear();
                    return self.write_long(id, message, len, patience, to, stamp);
                }
            }
        }
        for (group, members) in groups.iter().enumerate() {
            let write = |lanes: &mut Slab<OutLane>, key: usize| {
                let wrote = match source {
                    None => encoded.write(&mut lanes[key].writer, topic)?,
                    Some(source) => copy(lanes, source, key, topic),
                };
                Ok(wrote == Wrote::Yes)
            };
            let lanes = (&mut self.lanes, &mut self.full);
            let turn = self.turns.serve(group, members, lanes, write)?;
            unattached |= turn.unattached;
            delivery.lanes += u32::from(turn.served.is_some());
            source = source.or(turn.served.filter(|_| !encoded.is_pooled()));
        }
        if !self.full.is_empty() {
            if self.triage(unattached, patience, 1, &mut delivery) {
                self.routes.disturb();
                match way {
                    Way::Pool(block) => {
                        let block = self.pool.duplicate(block);
                        self.waits.keep_block(block);
                    }
                    Way::Any | Way::Copies => self.keep(source, message)?,
                }
                self.waits.start(id, delivery);
                return Ok(Written::Waits);
            }
            self.full.clear();
        }
        if unattached && self.mailbox.has_news_after_commit(self.seen) {
            self.take_commands();
        }
        Ok(Written::Served(delivery))
    }

    /// Copies the message to where no lane's end can take it away, to wait with it.
    #[cold]
    fn keep<T: Message + ?Sized>(
        &mut self,
        source: Option<usize>,
        message: &T,
    ) -> Result<(), PublishError> {
        let [kept] = self.waits.keep(1) else {
            return Ok(());
        };
        if let Some(bytes) = source.and_then(|source| self.lanes[source].writer.last_written()) {
            kept.copy_from(bytes);
        } else if let Err(error) = kept.encode(message, &mut self.scratch) {
            self.full.clear();
            return Err(error.into());
        }
        Ok(())
    }
}
