//! One reader of a ring, as the publisher has it.

use std::sync::{Arc, OnceLock};

use crate::counters::LaneSlot;
use crate::ring::{Position, Tail};
use crate::wire::LaneId;

use super::{CargoSender, OwnMedium, Peer, PeerArea, PeerCursor, Seat, Seats};

/// Where the subscriber of a lane says what it reads and holds, once it has answered. Told by whoever gets the answer: who wants to know
/// need not be the thread that publishes.
pub type Answer = Arc<OnceLock<Arc<PeerArea>>>;

/// One reader of a ring, as the publisher has it: the lane to one subscriber.
pub struct Member {
    pub(super) lane: LaneId,
    /// Name of the subscribing client.
    pub(super) name: Box<str>,
    /// Of a ring that others may come to.
    pub(super) seat: Option<Seat>,
    /// `None` until the subscriber has answered.
    pub(super) subscriber: Option<Subscriber>,
    pub(super) area: Answer,
    pub(super) counters: LaneSlot,
    /// By which descriptors go to the subscriber, where they can.
    pub(super) cargo: Option<Arc<CargoSender>>,
    /// Number of the next parcel to be sent.
    pub(super) unsent: u64,
    /// Messages that others had lost when this one came.
    pub(super) untold: u64,
    /// Rings that it has left, with where; oldest first. Those that it has read up to there may be among them.
    pub(super) before: Vec<(OwnMedium, Position)>,
    /// Whether nothing is written for it any more.
    pub(super) is_gone: bool,
}

pub(super) struct Subscriber {
    pub(super) cursor: PeerCursor,
    pub(super) peer: Peer,
}

impl Member {
    /// Of the client of this name, which has not answered yet.
    pub fn new(lane: LaneId, name: &str, counters: LaneSlot) -> Self {
        Self {
            lane,
            name: name.into(),
            seat: None,
            subscriber: None,
            area: Arc::default(),
            counters,
            cargo: None,
            unsent: 0,
            untold: 0,
            before: Vec::new(),
            is_gone: false,
        }
    }

    /// With a way for descriptors.
    pub fn with_cargo(mut self, cargo: Option<CargoSender>) -> Self {
        self.cargo = cargo.map(Arc::new);
        self
    }

    /// In a ring that others may come to.
    pub fn with_seat(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        self
    }

    /// The number of its lane on the bus.
    #[inline]
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// What the subscriber answers.
    pub fn answer(&self) -> Answer {
        self.area.clone()
    }

    /// Name of the subscribing client.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the subscriber has mapped the ring.
    #[inline]
    pub fn is_attached(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Whether the subscriber has said, by itself, that it reads no more.
    pub fn is_closed(&self) -> bool {
        let subscriber = self.subscriber.as_ref();
        subscriber.is_some_and(|subscriber| subscriber.cursor.is_closed())
    }

    /// Where the subscriber says how far it is.
    pub(super) fn cursor(&self) -> Option<&PeerCursor> {
        self.subscriber
            .as_ref()
            .map(|subscriber| &subscriber.cursor)
    }

    /// Goes on in another ring, in the seat of this number there; gives the seat in the one that it leaves at a position.
    pub(super) fn move_to(
        &mut self,
        seats: &Arc<Seats>,
        left: (OwnMedium, Position),
    ) -> Option<Seat> {
        self.before.push(left);
        let seat = seats.of_first(self.index());
        self.seat.replace(seat)
    }

    /// Its seat in the ring.
    pub(super) fn index(&self) -> u32 {
        self.seat.as_ref().map_or(0, Seat::index)
    }

    /// Rings the subscriber's bell if it sleeps.
    #[inline(always)]
    pub(super) fn wake(&mut self) {
        if let Some(Subscriber { cursor, peer }) = &mut self.subscriber
            && peer.wake_if_parked(cursor.parked())
        {
            self.counters.woke();
        }
    }

    /// Rings the subscriber's bell whether or not it sleeps.
    pub(super) fn ring(&self) {
        if let Some(Subscriber { peer, .. }) = &self.subscriber {
            peer.ring();
        }
    }

    /// Messages from a position on, in the rings that it has left.
    pub(super) fn unread_before(&mut self, from: Position) -> u64 {
        self.before.retain(|(_, end)| from < *end);
        let mut at = from;
        let mut messages = 0;
        for (ring, end) in &self.before {
            messages += Tail::count_messages(ring.clone(), at, *end);
            at = *end;
        }
        messages
    }
}
