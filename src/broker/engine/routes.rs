//! The lanes that the broker decided on.

use std::collections::BTreeMap;

use super::event::SessionId;
use super::registry::{Handle, Registry};
use crate::topic::Pattern;
use crate::wire::{LaneId, Route};

/// How far the two ends of a lane have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The publisher's client knows, or will be told.
    Routed,
    /// The subscriber's client knows, or will be told.
    Offered,
    /// The subscriber has answered.
    Accepted,
}

/// One lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) publisher: Handle,
    pub(super) subscriber: Handle,
    pub(super) stage: Stage,
}

/// All lanes: at most one for each publisher with each subscriber.
#[derive(Default)]
pub(super) struct Lanes {
    last: LaneId,
    lanes: BTreeMap<LaneId, Lane>,
    /// Publisher, subscriber.
    by_publisher: BTreeMap<(Handle, Handle), LaneId>,
    /// Subscriber, publisher.
    by_subscriber: BTreeMap<(Handle, Handle), LaneId>,
    /// Ends of lanes at each session: two for a lane of a session with itself.
    ends: BTreeMap<SessionId, usize>,
}

impl Lanes {
    /// A number for a lane without a route.
    pub(super) fn number(&mut self) -> LaneId {
        self.last += 1;
        self.last
    }

    pub(super) fn add(&mut self, publisher: Handle, subscriber: Handle) -> LaneId {
        self.last += 1;
        self.lanes.insert(
            self.last,
            Lane {
                publisher,
                subscriber,
                stage: Stage::Routed,
            },
        );
        self.by_publisher.insert((publisher, subscriber), self.last);
        self.by_subscriber
            .insert((subscriber, publisher), self.last);
        *self.ends.entry(publisher.session).or_default() += 1;
        *self.ends.entry(subscriber.session).or_default() += 1;
        self.last
    }

    pub(super) fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.lanes.remove(&id)?;
        self.by_publisher.remove(&(lane.publisher, lane.subscriber));
        self.by_subscriber
            .remove(&(lane.subscriber, lane.publisher));
        for session in [lane.publisher.session, lane.subscriber.session] {
            let ends = self
                .ends
                .get_mut(&session)
                .expect("a lane counts at both its ends");
            *ends -= 1;
            if *ends == 0 {
                self.ends.remove(&session);
            }
        }
        Some(lane)
    }

    pub(super) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    pub(super) fn set_stage(&mut self, id: LaneId, stage: Stage) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.stage = stage;
        }
    }

    /// Ends of lanes at `session`.
    pub(super) fn ends(&self, session: SessionId) -> usize {
        self.ends.get(&session).copied().unwrap_or(0)
    }

    /// Lanes of a publisher, each with its subscriber.
    pub(super) fn of_publisher(&self, publisher: Handle) -> impl Iterator<Item = (Handle, LaneId)> {
        of(&self.by_publisher, publisher)
    }

    /// Lanes of a subscriber, each with its publisher.
    pub(super) fn of_subscriber(
        &self,
        subscriber: Handle,
    ) -> impl Iterator<Item = (Handle, LaneId)> {
        of(&self.by_subscriber, subscriber)
    }

    /// The lane as its publisher's client is to see it.
    pub(super) fn route(&self, id: LaneId, registry: &Registry) -> Option<Route> {
        let lane = self.lanes.get(&id)?;
        let publisher = registry.publisher(lane.publisher)?;
        let subscriber = registry.subscriber(lane.subscriber)?;
        Some(Route {
            lane: id,
            publisher: lane.publisher.id,
            subscriber_name: subscriber.owner.name.to_string(),
            patterns: texts(&subscriber.patterns),
            overflow: subscriber.overflow_under(&publisher.spec),
            ring_bytes: subscriber.ring_bytes,
            excludes: texts(&subscriber.excludes),
            queue: subscriber.queue.clone(),
            history: subscriber.history,
            far: publisher.owner.is_far || subscriber.owner.is_far,
        })
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values()
    }
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

fn of(
    map: &BTreeMap<(Handle, Handle), LaneId>,
    handle: Handle,
) -> impl Iterator<Item = (Handle, LaneId)> {
    map.range((handle, Handle::FIRST)..=(handle, Handle::LAST))
        .map(|(&(_, other), &lane)| (other, lane))
}
