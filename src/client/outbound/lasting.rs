//! Publishing what waits for a subscriber if there is none.

use std::iter;
use std::time::{Duration, Instant};

use crate::client::unclaimed::Unclaimed;
use crate::message::{EncodedBytes, Message};

use super::groups::Full;
use super::waitlist::Lasting;
use super::{Delivery, Outbound, Patience, PublishError, To, Written};

impl Outbound {
    /// Publishes to a topic of the table; what nobody takes waits so long for somebody.
    pub(in crate::client) fn publish_with_ttl<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        ttl: Duration,
    ) -> Result<Delivery, PublishError> {
        self.publish_lasting(id, message, Patience::Policy, 0, Some(ttl))
    }

    /// Publishes to a topic of the table, but for the first lanes, so many, that have the message already.
    pub(super) fn publish_lasting<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        served: u32,
        ttl: Option<Duration>,
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        // With a message that is on its way nothing changes.
        if served == 0 {
            self.sync();
            self.serve_waiting();
        }
        let delivery = self.serve(id, message, patience, To::Rest(served))?;
        let delivery = self.let_wait(id, iter::once(message), delivery, ttl)?;
        self.serve_waiting();
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

    /// Writes what waits for present subscribers, before anything newer.
    #[inline]
    pub(super) fn serve_waiting(&mut self) {
        while let Some(written) = self.next_waiting() {
            if let Written::Waits = written {
                self.wait();
            }
        }
    }

    /// Writes the oldest message that waits for a present subscriber; `None` if there is none.
    #[inline]
    pub(in crate::client) fn next_waiting(&mut self) -> Option<Written> {
        match self.has_waiting {
            true => self.write_waiting(),
            false => None,
        }
    }

    #[cold]
    fn write_waiting(&mut self) -> Option<Written> {
        if !self.full.is_empty() {
            self.give_up();
        }
        if self.waiting_routes == self.routes.version {
            // Nobody has come for any of them.
            self.has_waiting = !self.waitlist.is_empty();
            return None;
        }
        let lanes = &self.lanes;
        let (next, has_waiting) = self.waitlist.next(|topic| {
            let taking = lanes.iter().filter(|(_, lane)| lane.claims(topic));
            // The broker numbers lanes as they come.
            let first = taking.min_by_key(|(_, lane)| lane.lane);
            first.map(|(key, _)| key)
        });
        let Some((key, message)) = next else {
            self.has_waiting = has_waiting;
            self.waiting_routes = self.routes.version;
            return None;
        };
        let lane = &mut self.lanes[key];
        let mut delivery = Delivery::default();
        if lane.write_lasting(&message) {
            lane.writer.wake();
            return Some(Written::Served(delivery));
        }
        self.full.push(Full::alone(key, lane.lane));
        let unattached = !lane.writer.is_attached();
        let patience = self.retry.patience(Patience::Policy);
        if self.triage(unattached, patience, 1, &mut delivery) {
            self.stamp = message.stamp;
            for kept in self.waits.keep(1) {
                kept.copy_from(&message.bytes);
            }
            self.waits.start(message.id, delivery);
            return Some(Written::Waits);
        }
        self.full.clear();
        Some(Written::Served(delivery))
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
