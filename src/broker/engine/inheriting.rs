//! Who reads on when a member of a queue group goes.

use tracing::{debug, warn};

use super::Engine;
use super::estates::{Estate, PublishedHalf, ReadHalf};
use super::event::{CloseReason, SessionId};
use super::lanes::OfferedHalf;
use super::outbox::{News, Outbox};
use super::registry::{Handle, Subscriber};
use super::routes::Lane;
use super::rules::{self, Verdict};
use crate::topic::{Pattern, Topic};
use crate::wire::{LaneId, LaneRefusal, SegmentSource};

impl<D: Clone> Engine<D> {
    /// Keeps what it takes to read on in a lane, if that is a queue group's.
    pub(super) fn keep_half(&mut self, id: LaneId, lane: Lane, half: PublishedHalf<D>) {
        if let Some(estate) = self.new_estate(id, lane) {
            let half = Some(half);
            self.estates.insert(id, Estate { half, ..estate });
        }
    }

    /// A lane of a group has ended while its publisher is about to make its half, and may write into it.
    pub(super) fn expect_half(&mut self, id: LaneId, lane: Lane) {
        if let Some(estate) = self.new_estate(id, lane) {
            self.estates.insert(id, estate);
        }
    }

    fn new_estate(&self, origin: LaneId, lane: Lane) -> Option<Estate<D>> {
        let subscriber = self.registry.subscriber(lane.subscriber)?;
        subscriber.queue.as_ref()?;
        Some(Estate {
            origin,
            publisher: lane.publisher,
            declared: self.registry.publisher_to_keep(lane.publisher)?,
            member: lane.subscriber,
            half: None,
            page: None,
            answered: false,
            closed: false,
        })
    }

    /// The publisher's half of a lane that has ended, or that somebody else has inherited.
    pub(super) fn late_half(
        &mut self,
        session: SessionId,
        origin: LaneId,
        half: OfferedHalf<D>,
    ) -> Result<(), CloseReason> {
        let process = self
            .sessions
            .session(session)
            .map(|session| session.process.clone());
        let Some((lane, estate)) = self.estates.by_origin(origin) else {
            return Ok(());
        };
        if estate.publisher.session != session {
            return Err(CloseReason::ForeignLane(origin));
        }
        if estate.half.is_some() {
            return Err(CloseReason::LaneOrder(origin));
        }
        estate.half = Some(PublishedHalf {
            segment: half.segment,
            descriptors: process.into_iter().chain(half.descriptors).collect(),
        });
        self.offer_estate(lane);
        Ok(())
    }

    /// A member tells where its cursor is.
    pub(super) fn keep_page(
        &mut self,
        session: SessionId,
        lane: LaneId,
        page: ReadHalf<D>,
    ) -> Result<(), CloseReason> {
        let Some(estate) = self.estates.get_mut(lane) else {
            return Ok(());
        };
        if estate.member.session != session {
            return Err(CloseReason::ForeignLane(lane));
        }
        if estate.answered || estate.half.is_none() {
            return Err(CloseReason::LaneOrder(lane));
        }
        estate.page = Some(page);
        estate.answered = true;
        Ok(())
    }

    /// One end of a lane without a route does not take part.
    pub(super) fn refuse_estate(
        &mut self,
        session: SessionId,
        id: LaneId,
        reason: &LaneRefusal,
    ) -> Result<(), CloseReason> {
        let lane = if let LaneRefusal::Subscriber(_) = reason {
            let estate = self.estates.get_mut(id);
            estate.map(|estate| (id, estate.member.session))
        } else {
            let estate = self.estates.by_origin(id);
            // What was offered is still to be read.
            let without_half = estate.filter(|(_, estate)| estate.half.is_none());
            without_half.map(|(lane, estate)| (lane, estate.publisher.session))
        };
        match lane {
            Some((_, owner)) if owner != session => Err(CloseReason::ForeignLane(id)),
            Some((lane, _)) => {
                warn!(lane = id, %reason, "a client does not take part in a lane of a queue group");
                self.estates.remove(lane);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The publisher has closed the ring of a lane: whoever reads it may sleep, and is unknown to the publisher.
    pub(super) fn lane_closed(
        &mut self,
        session: SessionId,
        origin: LaneId,
    ) -> Result<(), CloseReason> {
        if let Some(lane) = self.lanes.lane(origin) {
            // It knows of the end before this side does, and has rung its subscriber.
            return match lane.publisher.session == session {
                true => Ok(()),
                false => Err(CloseReason::ForeignLane(origin)),
            };
        }
        let Some((lane, estate)) = self.estates.by_origin(origin) else {
            return Ok(());
        };
        if estate.publisher.session != session {
            return Err(CloseReason::ForeignLane(origin));
        }
        self.tell_closed(lane);
        Ok(())
    }

    /// A member has read a lane to its end.
    pub(super) fn lane_finished(
        &mut self,
        session: SessionId,
        lane: LaneId,
    ) -> Result<(), CloseReason> {
        match self.estates.get_mut(lane) {
            Some(estate) if estate.member.session != session => Err(CloseReason::ForeignLane(lane)),
            Some(_) => {
                self.estates.remove(lane);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The publisher is gone: its rings are closed, or its process has exited.
    pub(super) fn close_estates(&mut self, publisher: Handle) {
        for lane in self.estates.of_publisher(publisher) {
            let awaited = self
                .estates
                .get_mut(lane)
                .is_some_and(|estate| estate.half.is_none());
            if awaited {
                // Only a publisher that is open makes a ring.
                self.estates.remove(lane);
            } else if self.lanes.lane(lane).is_none() {
                self.tell_closed(lane);
            }
        }
    }

    /// A lane has lost its route, but its member reads on. A relay does not keep the place of what it has sent.
    pub(super) fn forget_if_remote(&mut self, id: LaneId, member: Handle) {
        if self.is_remote(member.session) {
            self.estates.remove(id);
        }
    }

    /// Hands on what a member has left. It is not registered any more.
    pub(super) fn hand_on(&mut self, leaver: Handle, left: &Subscriber) {
        let Some(queue) = &left.queue else {
            return;
        };
        let members = self.registry.members(queue);
        let lanes: Vec<_> = self.estates.of_member(leaver).collect();
        for old in lanes {
            let Some(estate) = self.estates.remove(old) else {
                continue;
            };
            let forget = |outbox: &mut Outbox<D>| {
                outbox.lane_forgotten(old, News::Offered);
            };
            self.sessions
                .post(leaver.session, &mut self.effects, forget);
            let Some(heir) = self.heir(&estate, left, &members) else {
                debug!(lane = old, queue, "nobody is left in the group to read on");
                continue;
            };
            let lane = self.lanes.number();
            let estate = Estate {
                member: heir,
                answered: false,
                ..estate
            };
            self.estates.insert(lane, estate);
            self.offer_estate(lane);
        }
    }

    /// Of those that take all that the member took, the one with the fewest lanes.
    fn heir(&self, estate: &Estate<D>, left: &Subscriber, members: &[Handle]) -> Option<Handle> {
        let publisher = (estate.publisher, &*estate.declared);
        let can = |member: &&Handle| {
            let Some(subscriber) = self.registry.subscriber(**member) else {
                return false;
            };
            let session = member.session;
            self.sessions.client(session).is_some()
                && !self.is_remote(session)
                && rules::judge(publisher, (**member, subscriber)) == Verdict::Joined
                && takes_all(subscriber, left, &publisher.1.topic)
                && self.lanes_of(session) < self.limits.lanes as usize
        };
        let load = |member: &&Handle| {
            let estates = self.estates.of_member(**member);
            let without_route = estates.filter(|&lane| self.lanes.lane(lane).is_none());
            self.lanes.of_subscriber(**member).count() + without_route.count()
        };
        members.iter().filter(can).min_by_key(load).copied()
    }

    fn offer_estate(&mut self, lane: LaneId) {
        let Some(estate) = self.estates.get_mut(lane) else {
            return;
        };
        let session = estate.member.session;
        if let Some(outgoing) = estate.offer(lane) {
            let queue = |outbox: &mut Outbox<D>| outbox.lane_news(lane, News::Offered, outgoing);
            self.sessions.post(session, &mut self.effects, queue);
        }
    }

    fn tell_closed(&mut self, lane: LaneId) {
        let Some(estate) = self.estates.get_mut(lane).filter(|estate| !estate.closed) else {
            return;
        };
        estate.closed = true;
        let (session, ended) = (estate.member.session, estate.ended(lane));
        let queue = |outbox: &mut Outbox<D>| outbox.lane_ended(lane, ended);
        self.sessions.post(session, &mut self.effects, queue);
    }

    fn is_remote(&self, session: SessionId) -> bool {
        let session = self.sessions.session(session);
        session.is_some_and(|session| session.peer.remote.is_some())
    }
}

impl<D> ReadHalf<D> {
    /// The page of an `AcceptLane` with these descriptors.
    pub(super) fn of(segment: &SegmentSource, area: u32, descriptors: &[D]) -> Self
    where
        D: Clone,
    {
        let descriptor = match segment {
            SegmentSource::Descriptor => descriptors.first().cloned(),
            SegmentSource::Named(_) => None,
        };
        Self {
            segment: segment.clone(),
            descriptor,
            area,
        }
    }
}

/// Whether a member takes all that another one did of what a publisher may publish.
fn takes_all(heir: &Subscriber, left: &Subscriber, topic: &Topic) -> bool {
    let as_topic = |pattern: &Pattern| Topic::try_from(pattern.as_str()).ok();
    let takes = |pattern: &Pattern| {
        let includes = |own: &Pattern| {
            own.includes(topic) || as_topic(pattern).is_some_and(|pattern| own.includes(&pattern))
        };
        !pattern.intersects(topic) || heir.patterns.iter().any(includes)
    };
    let leaves_too = |exclude: &Pattern| {
        let includes = |other: &Pattern| as_topic(exclude).is_some_and(|own| other.includes(&own));
        !exclude.intersects(topic) || left.excludes.iter().any(includes)
    };
    left.patterns.iter().all(takes) && heir.excludes.iter().all(leaves_too)
}
