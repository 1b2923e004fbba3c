//! Publishers, subscribers, patterns: how they come, change, go.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::event::SessionId;
use super::lanes::Ending;
use super::outbox::Outbox;
use super::registry::{Handle, Owner, Publisher, Subscriber};
use super::{Engine, rules, weight};
use crate::message::MessageType;
use crate::topic::{Pattern, Topic};
use crate::wire::{
    HandleId, LaneId, LimitKind, PublisherSpec, Refusal, RequestId, SubscriberSpec, ToClient,
};

/// Publisher, subscriber.
pub(super) type Pair = (Handle, Handle);

impl<D: Clone> Engine<D> {
    /// Puts the answer to an opening request into the requester's queue.
    pub(super) fn answer(
        &mut self,
        session: SessionId,
        request: RequestId,
        outcome: Result<u32, Refusal>,
    ) {
        let frame = match outcome {
            Ok(lanes) => ToClient::Opened { request, lanes },
            Err(refusal) => ToClient::Refused { request, refusal },
        };
        self.sessions
            .post(session, &mut self.effects, |outbox: &mut Outbox<D>| {
                outbox.reply(frame)
            });
    }

    pub(super) fn open_publisher(
        &mut self,
        handle: Handle,
        spec: PublisherSpec,
    ) -> Result<u32, Refusal> {
        if self.registry.publisher(handle).is_some() {
            return Err(Refusal::Handle(handle.id));
        }
        let open = self.registry.publishers_of(handle.session).count();
        weight::within(LimitKind::Publishers, open + 1, self.limits.publishers)?;
        let topic = Topic::try_from(spec.topic.as_str())
            .map_err(|error| Refusal::Name(error.to_string()))?;
        let type_bytes = self.type_bytes(Some(&spec.message_type))?;
        let owner = self.owner(handle)?;
        let publisher = Publisher::new(owner, topic, spec, type_bytes);
        weight::within(
            LimitKind::FrameBytes,
            weight::FRAME + publisher.weight,
            self.limits.frame_bytes,
        )?;

        let mut joined = Vec::new();
        for met in self.registry.subscribers_meeting(&publisher.topic) {
            let Some(subscriber) = self.registry.subscriber(met) else {
                continue;
            };
            match rules::judge((handle, &publisher), (met, subscriber)) {
                rules::Verdict::Joined => joined.push((handle, met)),
                rules::Verdict::Apart => {}
                rules::Verdict::Mismatched if rules::same_single_topic(&publisher, subscriber) => {
                    return Err(rules::mismatch_for_publisher(&publisher, subscriber));
                }
                rules::Verdict::Mismatched => warn_mismatch(&publisher, subscriber),
            }
        }
        self.lanes_fit(&joined)?;
        let lanes = joined.len() as u32;
        self.registry.add_publisher(handle, publisher);
        for (publisher, subscriber) in joined {
            let lane = self.lanes.add(publisher, subscriber);
            // No epoch: the handle is of no use before the answer, which comes behind the routes.
            let queue = |outbox: &mut Outbox<D>| outbox.route_new(publisher.id, lane);
            self.sessions
                .post(publisher.session, &mut self.effects, queue);
        }
        Ok(lanes)
    }

    pub(super) fn open_subscriber(
        &mut self,
        handle: Handle,
        spec: SubscriberSpec,
    ) -> Result<u32, Refusal> {
        if self.registry.subscriber(handle).is_some() {
            return Err(Refusal::Handle(handle.id));
        }
        let open = self.registry.subscribers_of(handle.session).count();
        weight::within(LimitKind::Subscribers, open + 1, self.limits.subscribers)?;
        let names = spec.patterns.len() + spec.excludes.len();
        weight::within(LimitKind::Patterns, names, self.limits.patterns)?;
        let group_bytes = spec.queue.as_ref().map_or(0, String::len);
        weight::within(LimitKind::NameBytes, group_bytes, self.limits.name_bytes)?;
        if let Some(queue) = &spec.queue {
            Refusal::check_queue(queue, spec.overflow, spec.history)?;
        }
        let sorted = |patterns: &[String]| -> Result<Vec<_>, Refusal> {
            Ok(BTreeSet::from_iter(parse(patterns)?).into_iter().collect())
        };
        let type_bytes = self.type_bytes(spec.message_type.as_ref())?;
        let subscriber = Subscriber::new(
            self.owner(handle)?,
            sorted(&spec.patterns)?,
            sorted(&spec.excludes)?,
            spec,
            type_bytes,
        );
        self.put_subscriber(handle, subscriber)
    }

    pub(super) fn change_patterns(
        &mut self,
        handle: Handle,
        add: &[String],
        remove: &[String],
    ) -> Result<u32, Refusal> {
        let old = self
            .registry
            .subscriber(handle)
            .ok_or(Refusal::Handle(handle.id))?;
        let mut patterns: BTreeSet<_> = old.patterns.iter().cloned().collect();
        for pattern in parse(remove)? {
            patterns.remove(&pattern);
        }
        patterns.extend(parse(add)?);
        let patterns: Vec<_> = patterns.into_iter().collect();
        if patterns == old.patterns {
            return Ok(self.lanes.of_subscriber(handle).count() as u32);
        }
        self.put_subscriber(
            handle,
            Subscriber {
                patterns,
                ..old.clone()
            },
        )
    }

    /// Adds a subscriber, or replaces it by one with other patterns: all or nothing.
    fn put_subscriber(&mut self, handle: Handle, subscriber: Subscriber) -> Result<u32, Refusal> {
        if subscriber.patterns.is_empty() {
            return Err(Refusal::NoPattern);
        }
        let names = subscriber.patterns.len() + subscriber.excludes.len();
        weight::within(LimitKind::Patterns, names, self.limits.patterns)?;
        weight::within(
            LimitKind::FrameBytes,
            weight::FRAME + subscriber.weight(),
            self.limits.frame_bytes,
        )?;
        let mut had: BTreeMap<Handle, LaneId> = self.lanes.of_subscriber(handle).collect();
        let (kept, new) = self.judge_publishers(handle, &subscriber, &had)?;
        self.lanes_fit(&new)?;
        let lanes = (kept.len() + new.len()) as u32;

        self.registry.put_subscriber(handle, subscriber);
        for publisher in kept {
            if let Some(lane) = had.remove(&publisher) {
                let queue = |outbox: &mut Outbox<D>| outbox.route_changed(publisher.id, lane);
                self.sessions
                    .reroute(publisher.session, &mut self.effects, queue);
            }
        }
        for (publisher, subscriber) in new {
            let lane = self.lanes.add(publisher, subscriber);
            let queue = |outbox: &mut Outbox<D>| outbox.route_new(publisher.id, lane);
            self.sessions
                .reroute(publisher.session, &mut self.effects, queue);
        }
        had.into_values()
            .for_each(|lane| self.end_lane(lane, Ending::Unmatched));
        Ok(lanes)
    }

    /// The publishers that a subscriber is to have lanes from: those that it has one from, those that it has none from.
    fn judge_publishers(
        &self,
        handle: Handle,
        subscriber: &Subscriber,
        had: &BTreeMap<Handle, LaneId>,
    ) -> Result<(Vec<Handle>, Vec<Pair>), Refusal> {
        let known = self
            .registry
            .subscriber(handle)
            .map(|old| self.registry.publishers_meeting(&old.patterns));
        let (mut kept, mut new) = (Vec::new(), Vec::new());
        for met in self.registry.publishers_meeting(&subscriber.patterns) {
            let Some(publisher) = self.registry.publisher(met) else {
                continue;
            };
            match rules::judge((met, publisher), (handle, subscriber)) {
                rules::Verdict::Joined if had.contains_key(&met) => kept.push(met),
                rules::Verdict::Joined => {
                    rules::check_overflow(publisher, subscriber)?;
                    new.push((met, handle));
                }
                rules::Verdict::Apart => {}
                rules::Verdict::Mismatched if rules::same_single_topic(publisher, subscriber) => {
                    return Err(rules::mismatch_for_subscriber(publisher, subscriber));
                }
                rules::Verdict::Mismatched
                    if known.as_ref().is_some_and(|known| known.contains(&met)) => {}
                rules::Verdict::Mismatched => warn_mismatch(publisher, subscriber),
            }
        }
        Ok((kept, new))
    }

    pub(super) fn remove_publisher(&mut self, handle: Handle) {
        self.close_estates(handle);
        let lanes: Vec<_> = self.lanes.of_publisher(handle).collect();
        lanes
            .into_iter()
            .for_each(|(_, lane)| self.end_lane(lane, Ending::Publisher));
        let forget = |outbox: &mut Outbox<D>| outbox.routes_forgotten(handle.id);
        self.sessions
            .post(handle.session, &mut self.effects, forget);
        self.registry.remove_publisher(handle);
        self.forget_queries_to(handle);
    }

    pub(super) fn remove_subscriber(&mut self, handle: Handle) {
        let lanes: Vec<_> = self.lanes.of_subscriber(handle).collect();
        lanes
            .into_iter()
            .for_each(|(_, lane)| self.end_lane(lane, Ending::Subscriber));
        if let Some(subscriber) = self.registry.remove_subscriber(handle) {
            self.hand_on(handle, &subscriber);
        }
    }

    fn owner(&self, Handle { session, id }: Handle) -> Result<Owner, Refusal> {
        self.sessions
            .client(session)
            .map(|client| client.owner.clone())
            .ok_or(Refusal::Handle(id))
    }

    /// Bytes of the encoded type, which is one.
    fn type_bytes(&self, message_type: Option<&MessageType>) -> Result<usize, Refusal> {
        let Some(message_type) = message_type else {
            return Ok(0);
        };
        let bytes = weight::of_type(message_type);
        weight::within(LimitKind::TypeBytes, bytes, self.limits.type_bytes)?;
        message_type
            .validate()
            .map_err(|error| Refusal::Type(error.to_string()))?;
        Ok(bytes)
    }

    /// Refuses lanes that one of the clients at their ends has no place for. A lane that has ended has its place until the
    /// subscriber's client is told, so that the queue of a client that does not read stays bounded.
    fn lanes_fit(&self, pairs: &[Pair]) -> Result<(), Refusal> {
        let mut more: BTreeMap<SessionId, usize> = BTreeMap::new();
        for (publisher, subscriber) in pairs {
            *more.entry(publisher.session).or_default() += 1;
            *more.entry(subscriber.session).or_default() += 1;
        }
        more.into_iter().try_for_each(|(session, more)| {
            let lanes = self.lanes_of(session);
            weight::within(LimitKind::Lanes, lanes + more, self.limits.lanes)
        })
    }

    /// Places of a session's lanes that are taken.
    pub(super) fn lanes_of(&self, session: SessionId) -> usize {
        let ended = self
            .sessions
            .session(session)
            .map_or(0, |session| session.outbox.ended());
        let left = self.estates.of_session(session);
        let left = left.filter(|&lane| self.lanes.lane(lane).is_none());
        self.lanes.ends(session) + ended + left.count()
    }
}

fn parse(patterns: &[String]) -> Result<Vec<Pattern>, Refusal> {
    let parse = |text: &String| {
        Pattern::try_from(text.as_str()).map_err(|error| Refusal::Name(error.to_string()))
    };
    patterns.iter().map(parse).collect()
}

fn warn_mismatch(publisher: &Publisher, subscriber: &Subscriber) {
    warn!(
        topic = %publisher.topic,
        publisher = &*publisher.owner.name,
        subscriber = &*subscriber.owner.name,
        difference = rules::difference(Some(&publisher.spec.message_type), subscriber.message_type.as_ref()),
        "no route: the types differ",
    );
}

/// The handle `id` of `session`.
pub(super) fn handle(session: SessionId, id: HandleId) -> Handle {
    Handle { session, id }
}
