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
mod pooling;
mod retry;
mod room;
mod routes;
mod sharing;
mod sleeping;
mod waiting;
mod waitlist;
mod write;

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::lane::{Attached, Block, PoolWriter};
use crate::message::{Clock, Message, Scratch, Timestamp};
use crate::ring::max_payload_bytes;
use crate::segment::SegmentWord;
use crate::segment::fork::ProcessMark;
use crate::wake::BellReceiver;
use crate::wire::LaneId;

use super::bell::HandleBell;
use super::error::PublishError;
use super::mailbox::Mailbox;
use super::open_rings::OpenRings;
use super::second_look::SecondLook;
use super::shared::Shared;
use super::topics::{Slot, TopicTable};

pub(super) use copies::{CopyLane, Gate, History};
#[cfg(feature = "async")]
pub(super) use flush::FlushDeadline;
pub(super) use groups::Membership;
pub use retry::Retry;
pub(super) use waitlist::Waitlist;

pub(super) use lane::{Change, Newcomer, OutLane, WriterCommand};

use copies::Copies;
use flush::Departed;
use groups::{Full, Turns};
use routes::{Routes, taking};
use waiting::Waits;

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

/// By which way a message goes.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// Through the pool if it is long, and somebody has that.
    Any,
    /// A copy for each lane.
    Copies,
    /// It lies in the pool already.
    Pool(&'a Block),
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
    /// Those that others can come to.
    pub(super) rings: Arc<OpenRings>,
    pub(super) pool: PoolWriter,
    /// Messages that are so long are copied into each ring; longer ones go through the pool.
    pub(super) copied_up_to: usize,
}

/// The lanes of a publisher.
pub(super) struct Outbound {
    mark: ProcessMark,
    /// The route epoch as the broker has it.
    epoch_word: SegmentWord,
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox<WriterCommand>>,
    pub(super) bell: HandleBell,
    /// Whether its lanes' parked counters say that it looks twice.
    second_look: SecondLook,
    lanes: Slab<OutLane>,
    /// Those that others can come to.
    rings: Arc<OpenRings>,
    /// By which the last ring is known that was made to part subscribers; falling, so that it is no lane's number.
    last_ring: u64,
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
    pool: PoolWriter,
    /// See [`Settings`].
    copied_up_to: usize,
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
            rings,
            pool,
            copied_up_to,
        } = settings;
        Self {
            mark: shared.mark(),
            epoch_word: shared.joined().epoch.clone(),
            bell: HandleBell::new(bell, shared.mark()),
            second_look: SecondLook::begun(),
            shared,
            mailbox,
            lanes: Slab::new(),
            rings,
            last_ring: u64::MAX,
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
            pool,
            copied_up_to,
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
        self.publish_lasting(id, message, patience, served, None, Way::Any)
    }

    /// Publishes to lanes that are known.
    fn serve<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        patience: Patience,
        to: To,
        way: Way<'_>,
    ) -> Result<Delivery, PublishError> {
        let delivery = match self.write_by(id, message, patience, to, way)? {
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
        self.pool.abandon();
        std::mem::forget(self.mailbox.clone());
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
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

/// How long a publish waits for a route that the broker has announced.
pub(super) const ROUTE_PATIENCE: Duration = Duration::from_secs(1);
