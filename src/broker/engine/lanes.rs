//! How the two ends of a lane are brought together, how they part.

use tracing::warn;

use super::Engine;
use super::estates::{PublishedHalf, ReadHalf};
use super::event::{CloseReason, Outgoing, SessionId};
use super::outbox::{News, Outbox};
use super::registry::Handle;
use super::routes::{Lane, Stage};
use crate::wire::{LaneId, LaneRefusal, Medium, SegmentSource, ToClient};

/// Why a lane ends; whoever ends it needs not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The publisher is gone.
    Publisher,
    /// The subscriber is gone.
    Subscriber,
    /// The subscriber has other patterns.
    Unmatched,
    /// One end does not take part; the reason says which.
    Refused(LaneRefusal),
}

/// What a publisher offers of a lane.
pub(super) struct OfferedHalf<D> {
    pub(super) medium: Medium,
    pub(super) segment: SegmentSource,
    pub(super) history: Option<SegmentSource>,
    pub(super) courier: bool,
    pub(super) begin: Option<u32>,
    pub(super) descriptors: Vec<D>,
}

/// The end of a lane that a frame may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Publisher,
    Subscriber,
}

impl Ending {
    /// The end that ends it.
    fn side(&self) -> Option<Side> {
        match self {
            Self::Publisher => Some(Side::Publisher),
            Self::Subscriber => Some(Side::Subscriber),
            Self::Refused(reason) => Some(side_of(reason)),
            Self::Unmatched => None,
        }
    }
}

impl Lane {
    fn end(&self, side: Side) -> Handle {
        match side {
            Side::Publisher => self.publisher,
            Side::Subscriber => self.subscriber,
        }
    }
}

impl<D: Clone> Engine<D> {
    pub(super) fn offer_lane(
        &mut self,
        session: SessionId,
        id: LaneId,
        half: OfferedHalf<D>,
    ) -> Result<(), CloseReason> {
        self.check_name(&half.segment)?;
        half.history
            .iter()
            .try_for_each(|source| self.check_name(source))?;
        let Some(lane) = self.own_lane(session, id, Side::Publisher, Stage::Routed)? else {
            return self.late_half(session, id, half);
        };
        let Some(publisher) = self.registry.publisher(lane.publisher) else {
            return Ok(());
        };
        let frame = ToClient::LaneOffered {
            lane: id,
            subscriber: lane.subscriber.id,
            publisher_client: publisher.owner.client,
            publisher_handle: lane.publisher.id,
            publisher_name: publisher.owner.name.to_string(),
            publisher: publisher.spec.clone(),
            medium: half.medium,
            segment: half.segment.clone(),
            history: half.history,
            courier: half.courier,
            begin: half.begin,
            inherited: None,
        };
        self.lanes.set_stage(id, Stage::Offered);
        let outgoing = self.with_process(session, frame, half.descriptors);
        let kept = PublishedHalf {
            segment: half.segment,
            descriptors: outgoing.descriptors.clone(),
        };
        self.keep_half(id, lane, kept);
        let queue = |outbox: &mut Outbox<D>| outbox.lane_news(id, News::Offered, outgoing);
        self.sessions
            .post(lane.subscriber.session, &mut self.effects, queue);
        Ok(())
    }

    pub(super) fn accept_lane(
        &mut self,
        session: SessionId,
        id: LaneId,
        segment: SegmentSource,
        area: u32,
        descriptors: Vec<D>,
    ) -> Result<(), CloseReason> {
        self.check_name(&segment)?;
        let lane = self.own_lane(session, id, Side::Subscriber, Stage::Offered)?;
        self.keep_page(session, id, ReadHalf::of(&segment, area, &descriptors))?;
        let Some(lane) = lane else {
            return Ok(());
        };
        self.lanes.set_stage(id, Stage::Accepted);
        let frame = ToClient::LaneAccepted {
            lane: id,
            segment,
            area,
        };
        let outgoing = self.with_process(session, frame, descriptors);
        let queue = |outbox: &mut Outbox<D>| outbox.lane_news(id, News::Accepted, outgoing);
        self.sessions
            .post(lane.publisher.session, &mut self.effects, queue);
        Ok(())
    }

    pub(super) fn refuse_lane(
        &mut self,
        session: SessionId,
        id: LaneId,
        reason: LaneRefusal,
    ) -> Result<(), CloseReason> {
        let Some(&lane) = self.lanes.lane(id) else {
            return self.refuse_estate(session, id, &shortened(reason));
        };
        let side = side_of(&reason);
        if lane.end(side).session != session {
            return Err(CloseReason::ForeignLane(id));
        }
        if side == Side::Subscriber && lane.stage == Stage::Routed {
            return Err(CloseReason::LaneOrder(id));
        }
        let reason = shortened(reason);
        warn!(lane = id, %reason, "a client does not take part in a lane");
        self.end_lane(id, Ending::Refused(reason));
        Ok(())
    }

    /// Ends a lane for both its clients, besides the one that ends it.
    pub(super) fn end_lane(&mut self, id: LaneId, ending: Ending) {
        let Some(lane) = self.lanes.remove(id) else {
            return;
        };
        let told = self.tell_publisher(id, lane, &ending);
        match &ending {
            // A publisher that knows of the lane may write before it knows of its end.
            _ if told && lane.stage == Stage::Routed => self.expect_half(id, lane),
            // Handed on with all that its subscriber leaves.
            Ending::Subscriber => {}
            Ending::Refused(LaneRefusal::Subscriber(_)) => drop(self.estates.remove(id)),
            _ => self.forget_if_remote(id, lane.subscriber),
        }
        self.tell_subscriber(id, lane, ending);
    }

    /// Whether it had been told that there is a lane, and does not end it itself.
    fn tell_publisher(&mut self, id: LaneId, lane: Lane, ending: &Ending) -> bool {
        let Handle {
            session,
            id: publisher,
        } = lane.publisher;
        if ending.side() == Some(Side::Publisher) {
            let forget = |outbox: &mut Outbox<D>| {
                outbox.route_forgotten(publisher, id);
                outbox.lane_forgotten(id, News::Accepted);
            };
            self.sessions.post(session, &mut self.effects, forget);
            false
        } else {
            let mut told = false;
            let remove = |outbox: &mut Outbox<D>| {
                outbox.lane_forgotten(id, News::Accepted);
                told = outbox.route_removed(publisher, id);
            };
            self.sessions.reroute(session, &mut self.effects, remove);
            told
        }
    }

    /// What is in the ring is still to be read: a queued offer stays in front of the news of the end, unless it is the
    /// subscriber that does not want it any more. A ring that could not be made is news, too.
    fn tell_subscriber(&mut self, id: LaneId, lane: Lane, ending: Ending) {
        let unknown = lane.stage == Stage::Routed && !matches!(ending, Ending::Refused(_));
        let Some(publisher) = self.registry.publisher(lane.publisher).filter(|_| !unknown) else {
            return;
        };
        let publisher_name = publisher.owner.name.to_string();
        // What lies in a lane of a queue group lies nowhere else.
        let shared = self.estates.get_mut(id).is_some();
        let ended = |refusal| ToClient::LaneEnded {
            lane: id,
            subscriber: lane.subscriber.id,
            publisher_name,
            refusal,
        };
        let end = |outbox: &mut Outbox<D>| match ending {
            Ending::Refused(LaneRefusal::Subscriber(_)) => {}
            Ending::Subscriber => {
                outbox.lane_forgotten(id, News::Offered);
            }
            Ending::Unmatched if !shared && outbox.lane_forgotten(id, News::Offered) => {}
            Ending::Publisher | Ending::Unmatched => outbox.lane_ended(id, ended(None)),
            Ending::Refused(reason) => outbox.lane_ended(id, ended(Some(reason))),
        };
        self.sessions
            .post(lane.subscriber.session, &mut self.effects, end);
    }

    /// The lane, if `session` may send this frame about it; `None` if it has ended, which its client may not know yet.
    fn own_lane(
        &self,
        session: SessionId,
        id: LaneId,
        side: Side,
        stage: Stage,
    ) -> Result<Option<Lane>, CloseReason> {
        let Some(&lane) = self.lanes.lane(id) else {
            return Ok(None);
        };
        if lane.end(side).session != session {
            return Err(CloseReason::ForeignLane(id));
        }
        if lane.stage != stage {
            return Err(CloseReason::LaneOrder(id));
        }
        Ok(Some(lane))
    }

    /// One end's half of a lane as the other end gets it: with the process that it comes from.
    fn with_process(&self, from: SessionId, frame: ToClient, descriptors: Vec<D>) -> Outgoing<D> {
        let process = self
            .sessions
            .session(from)
            .map(|session| session.process.clone());
        Outgoing {
            frame,
            descriptors: process.into_iter().chain(descriptors).collect(),
        }
    }

    /// The names of segments travel on in frames that must stay small.
    fn check_name(&self, segment: &SegmentSource) -> Result<(), CloseReason> {
        match segment {
            SegmentSource::Named(name) if name.len() > self.limits.name_bytes as usize => {
                Err(CloseReason::SegmentName {
                    len: name.len(),
                    limit: self.limits.name_bytes,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Whose refusal it is.
fn side_of(reason: &LaneRefusal) -> Side {
    match reason {
        LaneRefusal::Ring(_)
        | LaneRefusal::Cursor(_)
        | LaneRefusal::TransportLost
        | LaneRefusal::Overflow => Side::Publisher,
        LaneRefusal::Subscriber(_) => Side::Subscriber,
    }
}

/// The reason travels on in a frame that must stay small.
fn shortened(mut reason: LaneRefusal) -> LaneRefusal {
    match &mut reason {
        LaneRefusal::Ring(text) | LaneRefusal::Subscriber(text) | LaneRefusal::Cursor(text) => {
            text.truncate(text.floor_char_boundary(REASON_BYTES));
        }
        LaneRefusal::TransportLost | LaneRefusal::Overflow => {}
    }
    reason
}

const REASON_BYTES: usize = 1024;
