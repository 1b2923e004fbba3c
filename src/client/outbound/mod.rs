//! The lanes of a publisher: serving those with room, then waiting for the others.

mod at_once;
mod attaching;
mod batch;
mod copies;
mod encoded;
mod flush;
mod groups;
mod lane;
mod lasting;
mod news;
mod one;
mod retry;
mod routes;
mod waiting;
mod waitlist;

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::lane::{Attached, Stamp, Unstamped};
use crate::message::{Clock, Message, Scratch, Timestamp};
use crate::ring::max_payload_bytes;
use crate::segment::SegmentWord;
use crate::segment::fork::ProcessMark;
use crate::topic::Topic;
use crate::wake::BellReceiver;
use crate::wire::LaneId;

use super::bell::HandleBell;
use super::error::PublishError;
use super::mailbox::Mailbox;
use super::shared::Shared;
use super::topics::{Slot, TopicTable};

pub(super) use copies::{CopyLane, Gate, History};
#[cfg(feature = "async")]
pub(super) use flush::FlushDeadline;
pub(super) use groups::Membership;
pub use retry::Retry;
pub(super) use waitlist::Waitlist;

pub(super) use lane::{Change, OutLane, WriterCommand};

use attaching::attach_to_next;
use copies::Copies;
use encoded::{Encoded, copy};
use flush::Departed;
use groups::{Full, Turns};
use routes::Routes;
use waiting::{Waits, check_room};

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Subscribers that it was written for; a queue group counts as one.
    pub lanes: u32,
    /// Subscribers that it was dropped for, by their policy or after their deadline; each is told of it as a gap.
    pub dropped: u32,
    /// The broker has changed the routes and the change could not be learned within a second, or its link is closed:
    /// a subscriber that is new since then may have missed the message.
    pub route_unknown: bool,
    /// Nobody took it, so it waits for a subscriber: see [`Publisher::publish_with_ttl`](super::Publisher::publish_with_ttl).
    pub waiting: bool,
}

/// Whether `publish` may wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As the subscriber's policy says.
    Policy,
    /// As the policy says, but no longer than this.
    AtMost(Duration),
    /// No: nothing is published if somebody would have to be waited for.
    None,
}

/// Which of the lanes that take a topic get a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// All but the first ones, so many, which have it already.
    Rest(u32),
    /// The one with this key.
    One(usize),
    /// The one of this number, of those whose older messages give way.
    Copy(LaneId),
}

/// How far a message has come.
pub(super) enum Written {
    /// This has become of it.
    Served(Delivery),
    /// Some lanes are to be waited for.
    Waits,
}

/// How a publisher was opened.
pub(super) struct Settings {
    /// Of the longest message.
    pub(super) max_message_bytes: usize,
    /// Of each ring, at least.
    pub(super) ring_bytes: usize,
    pub(super) clock: Option<Clock>,
    pub(super) retry: Retry,
    /// How long every message waits for a subscriber.
    pub(super) time_to_live: Option<Duration>,
}

/// The lanes of a publisher.
pub(super) struct Outbound {
    mark: ProcessMark,
    /// The route epoch as the broker has it.
    epoch_word: SegmentWord,
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox<WriterCommand>>,
    pub(super) bell: HandleBell,
    lanes: Slab<OutLane>,
    pub(super) topics: TopicTable,
    routes: Routes,
    /// Version of the mailbox that is carried out.
    seen: u64,
    /// The route epoch that is carried out.
    epoch: u64,
    /// The route epoch that could not be learned in time, not to be waited for again.
    given_up: u64,
    /// Whether `epoch` is behind the broker's.
    behind: bool,
    /// Messages that were on their way when the connection to another host was lost, to be told.
    unconfirmed: Option<u64>,
    scratch: Scratch,
    max_message_bytes: usize,
    /// Of records that are committed together.
    max_batch_bytes: usize,
    /// What messages are stamped with.
    clock: Option<Clock>,
    retry: Retry,
    /// The stamp of the message under way; none without a clock.
    stamp: Option<Timestamp>,
    /// Lanes that had no room for a message; empty once it is served.
    full: Vec<Full>,
    /// Of the members of queue groups.
    turns: Turns,
    /// Of those, the ones that are waited for.
    waits: Waits,
    departed: Departed,
    copies: Copies,
    time_to_live: Option<Duration>,
    /// Messages that wait for a subscriber.
    waitlist: Arc<Waitlist>,
    /// Whether there may be some.
    has_waiting: bool,
    /// The routes by which nobody takes any of them.
    waiting_routes: u64,
    /// Number of the next parcel of descriptors.
    next_parcel: u64,
    /// What is attached to the message under way.
    attached: Option<Arc<Attached>>,
}

impl Outbound {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox<WriterCommand>>,
        bell: BellReceiver,
        topics: TopicTable,
        settings: Settings,
        history: Option<History>,
        waitlist: Arc<Waitlist>,
    ) -> Self {
        let Settings {
            max_message_bytes,
            ring_bytes,
            clock,
            retry,
            time_to_live,
        } = settings;
        Self {
            mark: shared.mark(),
            epoch_word: shared.joined().epoch.clone(),
            bell: HandleBell::new(bell, shared.mark()),
            shared,
            mailbox,
            lanes: Slab::new(),
            topics,
            routes: Routes::default(),
            seen: 0,
            epoch: 0,
            given_up: 0,
            behind: false,
            unconfirmed: None,
            scratch: Scratch::new(),
            max_message_bytes,
            // With what has to stand before it, that is what every ring holds.
            max_batch_bytes: max_payload_bytes(ring_bytes),
            clock,
            retry,
            stamp: None,
            full: Vec::new(),
            turns: Turns::default(),
            waits: Waits::new(),
            departed: Departed::default(),
            copies: Copies::with_history(history),
            time_to_live,
            waitlist,
            has_waiting: false,
            waiting_routes: 0,
            next_parcel: 1,
            attached: None,
        }
    }

    #[inline(never)]
    fn publish_to_all<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        served: u32,
    ) -> Result<Delivery, PublishError> {
        self.publish_lasting(id, message, patience, served, None)
    }

    /// Publishes to lanes that are known.
    fn serve<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
    ) -> Result<Delivery, PublishError> {
        let delivery = match self.write(id, message, patience, to)? {
            Written::Served(delivery) => delivery,
            Written::Waits => self.wait(),
        };
        // Who refuses to wait asks all lanes for room before it writes to one.
        let asks_first = self.retry == Retry::Never && self.lanes.len() > 1;
        // A lane that was closed takes nothing: whose messages wait then looks for that first.
        let may_wait = self.has_waiting || self.time_to_live.is_some();
        let is_calm = self.full.is_empty() && !asks_first && !may_wait;
        if is_calm && self.clock.is_none() && self.copies.is_empty() {
            self.routes.calm_down();
        }
        Ok(delivery)
    }

    /// Writes a message to the lanes with room; does with the others what their policies say, but for waiting.
    #[inline]
    pub(super) fn write<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
    ) -> Result<Written, PublishError> {
        let patience = self.retry.patience(patience);
        match (self.clock, self.copies.gate()) {
            (None, None) => self.write_with(id, message, patience, to, Unstamped),
            (Some(clock), None) => self.write_stamped(id, message, patience, to, clock),
            (clock, Some(gate)) => {
                let mut next = gate.lock();
                // With a message for one lane that was found nothing changes.
                if let To::Rest(_) = to {
                    self.take_news();
                }
                let written = match clock {
                    None => self.write_with(id, message, patience, to, Unstamped),
                    Some(clock) => self.write_stamped(id, message, patience, to, clock),
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
    ) -> Result<Written, PublishError> {
        let stamp = clock.now();
        self.stamp = Some(stamp);
        self.write_with(id, message, patience, to, &stamp)
    }

    #[inline]
    fn write_with<T: Message + ?Sized, S: Stamp>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
        stamp: S,
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
            To::Rest(served) => (&slot.lanes[*served as usize..], &slot.groups[..], *served),
            To::One(key) => (slice::from_ref(key), &[][..], 0),
            To::Copy(_) => (&[][..], &[][..], 0),
        };
        if patience == Patience::None && !(keys.is_empty() && groups.is_empty()) {
            let (len, limit) = (
                message.encoded_len(&mut self.scratch)?,
                self.max_message_bytes,
            );
            if len > limit {
                return Err(PublishError::TooLarge { len, limit });
            }
            // Whoever waits for room now waits for this message, until the next one.
            check_room(&mut self.waits, &mut self.lanes, (keys, groups), len)
                .inspect_err(|_| self.routes.disturb())?;
        }
        if let Some(attached) = &self.attached {
            let keys = keys.iter().chain(groups.iter().flatten());
            let copies = self.copies.any(slot.topic());
            let (scratch, limit) = (&mut self.scratch, self.max_message_bytes);
            let len = || message.encoded_len(scratch);
            attach_to_next(attached, &mut self.lanes, keys, copies, len, limit)?;
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
            let room = (&mut self.scratch, self.max_message_bytes);
            let messages = std::iter::once(message);
            let copied = self
                .copies
                .write(topic, only, stamp.timestamp(), messages, room)?;
            delivery.lanes += copied.lanes;
            unattached = copied.unattached;
        }
        let mut encoded = Encoded::new(message, &mut self.scratch, self.max_message_bytes);
        let mut source = None;
        for &key in keys {
            // Without a stamp that was tried.
            if S::PREFIX_BYTES > 0
                && T::ENCODED_LEN.is_some()
                && encoded.write_at_once(&mut self.lanes[key].writer, topic)
            {
                delivery.lanes += 1;
                continue;
            }
            let written = match source {
                None => encoded
                    .write(&mut self.lanes[key].writer, topic)
                    .inspect_err(|_| self.full.clear())?,
                Some(source) => copy(&mut self.lanes, source, key, topic),
            };
            let lane = &mut self.lanes[key];
            unattached |= !lane.writer.is_attached();
            if written {
                lane.writer.wake();
                source.get_or_insert(key);
                delivery.lanes += 1;
            } else {
                self.full.push(Full::alone(key, lane.lane));
            }
        }
        for (group, members) in groups.iter().enumerate() {
            let write = |lanes: &mut Slab<OutLane>, key: usize| match source {
                None => encoded.write(&mut lanes[key].writer, topic),
                Some(source) => Ok(copy(lanes, source, key, topic)),
            };
            let lanes = (&mut self.lanes, &mut self.full);
            let turn = self.turns.serve(group, members, lanes, write)?;
            unattached |= turn.unattached;
            delivery.lanes += u32::from(turn.served.is_some());
            source = source.or(turn.served);
        }
        if !self.full.is_empty() {
            if self.triage(unattached, patience, 1, &mut delivery) {
                self.routes.disturb();
                self.keep(id, source, message, delivery)?;
                return Ok(Written::Waits);
            }
            self.full.clear();
        }
        if unattached && self.mailbox.has_news_after_commit(self.seen) {
            self.take_commands();
        }
        Ok(Written::Served(delivery))
    }

    #[inline]
    fn is_route_unknown(&self) -> bool {
        self.behind || self.shared.is_gone()
    }

    /// Says to all subscribers that nothing more will come.
    pub(super) fn close(&mut self) {
        self.give_up();
        // With the bells of those who have answered since.
        self.take_commands();
        self.lanes.clear();
        self.copies.close();
    }

    /// For a forked child: what is left here must not touch what its parent has.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.lanes));
        self.copies.abandon();
        std::mem::forget(self.mailbox.clone());
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Copies the message to where no lane's end can take it away, to wait with it.
    #[cold]
    fn keep<T: Message + ?Sized>(
        &mut self,
        id: u32,
        source: Option<usize>,
        message: &T,
        delivery: Delivery,
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
        self.waits.start(id, delivery);
        Ok(())
    }
}

/// Tells once what may be lost with a connection to another host, which takes all lanes of a topic with it.
#[inline]
fn check_transport(slot: &Slot, unconfirmed: &mut Option<u64>) -> Result<(), PublishError> {
    if slot.is_empty()
        && let Some(unconfirmed) = unconfirmed.take()
    {
        return Err(PublishError::TransportLost { unconfirmed });
    }
    Ok(())
}

/// Finds the lanes that take a topic, and the groups of those that share it.
fn taking(lanes: &Slab<OutLane>) -> impl FnOnce(&Topic, &mut Vec<usize>, &mut Vec<Vec<usize>>) {
    |topic, keys, groups| {
        for (key, lane) in lanes.iter().filter(|(_, lane)| lane.takes(topic)) {
            match lane.queue() {
                None => keys.push(key),
                Some(_) => groups::join(groups, lanes, key),
            }
        }
    }
}

/// How long a publish waits for a route that the broker has announced.
pub(super) const ROUTE_PATIENCE: Duration = Duration::from_secs(1);
