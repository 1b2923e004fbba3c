//! Publishing what waits for a subscriber if there is none.

use std::iter;
use std::time::{Duration, Instant};

use crate::client::unclaimed::Unclaimed;
use crate::lane::PoolWriter;
use crate::message::{EncodedBytes, Message};

use super::flush::FlushDeadline;
use super::groups::Full;
use super::waiting::Waiting;
use super::waitlist::Lasting;
use super::{Delivery, OutLane, Outbound, Patience, PublishError, To, Way, taking};

impl Outbound {
    /// Publishes to a topic of the table; what nobody takes waits so long for somebody.
    pub(in crate::client) fn publish_with_ttl<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        ttl: Duration,
    ) -> Result<Delivery, PublishError> {
        self.publish_lasting(id, message, Patience::Policy, 0, Some(ttl), Way::Any)
    }

    /// Publishes to a topic of the table, but for the first lanes, so many, that have the message already.
    pub(super) fn publish_lasting<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        served: u32,
        ttl: Option<Duration>,
        way: Way<'_>,
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        let mut patience = self.retry.patience(patience);
        // With a message that is on its way nothing changes.
        if served == 0 {
            self.sync();
            patience = self.serve_older(id, patience)?;
        }
        if ttl.is_some() {
            self.part_from_closed();
        }
        let delivery = self.serve(id, message, patience, To::Rest(served), way)?;
        let delivery = self.let_wait(id, iter::once(message), delivery, ttl)?;
        self.serve_waiting(patience);
        Ok(delivery)
    }

    /// Has messages wait that nobody has taken, if they are to; what has become of them then. Somebody may have come meanwhile:
    /// what waits has to be served next.
    pub(in crate::client) fn let_wait<'a, T: Message + ?Sized + 'a>(
        &mut self,
        id: u32,
        messages: impl Iterator<Item = &'a T>,
        delivery: Delivery,
        ttl: Option<Duration>,
    ) -> Result<Delivery, PublishError> {
        let Some(ttl) = ttl.or(self.time_to_live) else {
            return Ok(delivery);
        };
        if delivery.lanes + delivery.dropped > 0 {
            return Ok(delivery);
        }
        let published = Instant::now();
        let stamp = self.clock.map(|clock| clock.now());
        let mut waiting = Vec::new();
        for message in messages {
            let mut bytes = EncodedBytes::default();
            bytes.encode(message, &mut self.scratch)?;
            let (len, limit) = (bytes.len(), self.max_message_bytes);
            if len > limit {
                return Err(PublishError::TooLarge { len, limit });
            }
            let (topic, generation, pin) = self.topics.pinned(id);
            waiting.push(Lasting {
                id,
                generation,
                _pin: pin,
                topic,
                bytes,
                stamp,
                published,
                ttl,
            });
        }
        if waiting.is_empty() {
            return Ok(delivery);
        }
        self.waitlist.put(waiting)?;
        self.has_waiting = true;
        // Each operation looks for what expires.
        self.routes.disturb();
        // A lane that was posted before this was there has not got it.
        self.take_news();
        Ok(Delivery {
            waiting: true,
            ..delivery
        })
    }

    /// Writes what waits for present subscribers before a message on this topic; what is left of the patience then. Who waits for
    /// a limited time waits for those only that are to get the message, and what has found no room by then goes on waiting.
    fn serve_older(&mut self, id: u32, patience: Patience) -> Result<Patience, PublishError> {
        self.serve_waiting(patience);
        let Patience::AtMost(timeout) = patience else {
            return Ok(patience);
        };
        if !self.has_waiting {
            return Ok(patience);
        }
        let deadline = FlushDeadline::after(timeout);
        loop {
            let owed = self.wait_for_owed(id);
            let Some(left) = deadline.left() else {
                return match owed {
                    true => Err(PublishError::WouldBlock),
                    false => Ok(Patience::AtMost(Duration::ZERO)),
                };
            };
            if !owed {
                return Ok(Patience::AtMost(left));
            }
            if self.announce() {
                self.sleep(left);
            }
            self.retire();
            self.take_news();
            self.serve_waiting(patience);
        }
    }

    /// Has those lanes waited for that take the topic and are owed older messages; whether there are any.
    fn wait_for_owed(&mut self, id: u32) -> bool {
        self.waits.forget();
        let lanes = &self.lanes;
        let slot = self.topics.slot(id, self.routes.version, taking(lanes));
        for &key in slot.lanes.iter().chain(slot.groups.iter().flatten()) {
            let lane = &lanes[key];
            if let Some(seen) = lane.owed_at {
                self.waits.add(Waiting::for_reader(key, lane.ring, seen));
            }
        }
        !self.waits.is_empty()
    }

    /// Writes what waits for present subscribers, before anything newer.
    #[inline]
    pub(super) fn serve_waiting(&mut self, patience: Patience) {
        while self.next_waiting(patience) {
            self.wait();
        }
    }

    /// Writes what waits for present subscribers, oldest first, until lanes are to be waited for with a message; whether they are. With
    /// limited patience none are: what finds no room goes on waiting, and nothing newer is written to its lane before.
    #[inline]
    pub(in crate::client) fn next_waiting(&mut self, patience: Patience) -> bool {
        if self.time_to_live.is_some() {
            self.part_from_closed();
        }
        self.has_waiting && self.write_waiting(self.retry.patience(patience))
    }

    #[cold]
    fn write_waiting(&mut self, patience: Patience) -> bool {
        if !self.full.is_empty() {
            self.give_up();
        }
        for (_, lane) in &mut self.lanes {
            lane.owed_at = None;
        }
        while self.waiting_routes != self.routes.version {
            let (lanes, pool) = (&mut self.lanes, &mut self.pool);
            let mut owed = false;
            let mut apart = None;
            let (next, has_waiting) = self.waitlist.next(|message| {
                let taking = lanes.iter_mut();
                let taking = taking.filter(|(_, lane)| lane.claims(&message.topic));
                // The broker numbers lanes as they come.
                let (key, lane) = taking.min_by_key(|(_, lane)| lane.oldest())?;
                if lane.writer.is_shared() {
                    apart = apart.or(lane.oldest());
                    return None;
                }
                let offered = lane.offer(message, patience, pool);
                owed |= offered.is_none();
                offered.map(|written| (key, written))
            });
            if let Some(lane) = apart {
                // For one only, of those that read this ring.
                self.set_apart(lane);
                if next.is_none() {
                    continue;
                }
            }
            let Some(((key, written), message)) = next else {
                self.has_waiting = has_waiting;
                if !owed {
                    // Nobody has come for any of them.
                    self.waiting_routes = self.routes.version;
                }
                return false;
            };
            if !written && self.wait_with(key, message, patience) {
                return true;
            }
        }
        self.has_waiting = !self.waitlist.is_empty();
        false
    }

    /// Does with a lane without room for a message that has waited for it what its policy says. Whether it is to be waited for.
    fn wait_with(&mut self, key: usize, message: Lasting, patience: Patience) -> bool {
        let lane = &self.lanes[key];
        self.full.push(Full::alone(key, lane.ring));
        let unattached = !lane.writer.is_attached();
        let mut delivery = Delivery::default();
        let waits = self.triage(unattached, patience, 1, &mut delivery);
        if waits {
            self.stamp = message.stamp;
            for kept in self.waits.keep(1) {
                kept.copy_from(&message.bytes);
            }
            self.waits.start(message.id, delivery);
        } else {
            self.full.clear();
        }
        waits
    }

    pub(in crate::client) fn take_expired(&mut self) -> Vec<Unclaimed> {
        // Another thread of the parent may have held the lock at the fork.
        match self.mark.is_forked() {
            true => Vec::new(),
            false => self.waitlist.take_expired(),
        }
    }

    pub(in crate::client) fn expired(&mut self) -> u64 {
        match self.mark.is_forked() {
            true => 0,
            false => self.waitlist.expired(),
        }
    }
}

impl OutLane {
    /// Writes a message that has waited for this lane. Whether it had room; `None` if the message has to go on waiting.
    fn offer(
        &mut self,
        message: &Lasting,
        patience: Patience,
        pool: &mut PoolWriter,
    ) -> Option<bool> {
        if self.owed_at.is_some() {
            return None;
        }
        let seen = self.writer.reader_position();
        if self.write_lasting(message, Some(pool)) {
            self.writer.wake();
            return Some(true);
        }
        let may_wait = patience == Patience::Policy || self.deadline().is_none();
        if may_wait && !self.writer.has_closed() {
            return Some(false);
        }
        self.owed_at = Some(seen);
        None
    }
}
