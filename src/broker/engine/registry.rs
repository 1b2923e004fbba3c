//! The open publishers, the open subscribers, found by handle or by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::SessionId;
use super::weight;
use crate::message::MessageType;
use crate::topic::{Pattern, PatternTrie, Topic};
use crate::wire::{HandleId, HistoryUse, Overflow, PublisherSpec, SubscriberSpec};

/// Names a publisher or a subscriber within the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle {
    pub(super) session: SessionId,
    pub(super) id: HandleId,
}

/// The client that a handle belongs to, as others are told.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) client: u64,
    pub(super) name: Arc<str>,
    /// Whether it is on another host.
    pub(super) is_far: bool,
}

/// An open publisher.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    pub(super) owner: Owner,
    pub(super) topic: Topic,
    /// As declared, but with the topic in canonical form.
    pub(super) spec: PublisherSpec,
    /// Upper bound of its encoded size in a list, without live topics.
    pub(super) weight: usize,
}

/// An open subscriber.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) owner: Owner,
    /// Sorted; at least one; no two equal.
    pub(super) patterns: Vec<Pattern>,
    pub(super) message_type: Option<MessageType>,
    pub(super) type_bytes: usize,
    pub(super) overflow: Overflow,
    pub(super) ring_bytes: u64,
    pub(super) self_delivery: bool,
    /// Sorted; no two equal.
    pub(super) excludes: Vec<Pattern>,
    pub(super) queue: Option<String>,
    pub(super) history: HistoryUse,
}

/// All publishers, all subscribers.
pub(super) struct Registry {
    publishers: BTreeMap<Handle, Arc<Publisher>>,
    subscribers: BTreeMap<Handle, Subscriber>,
    /// Topics of the publishers.
    topics: PatternTrie<Handle>,
    /// Patterns of the subscribers.
    patterns: PatternTrie<Handle>,
}

impl Handle {
    pub(super) const FIRST: Self = Self {
        session: SessionId(0),
        id: 0,
    };

    pub(super) const LAST: Self = Self {
        session: SessionId(u64::MAX),
        id: HandleId::MAX,
    };

    /// All handles that `session` can have.
    pub(super) fn all_of(session: SessionId) -> std::ops::RangeInclusive<Self> {
        Self { session, id: 0 }..=Self {
            session,
            id: HandleId::MAX,
        }
    }
}

impl Publisher {
    pub(super) fn new(
        owner: Owner,
        topic: Topic,
        mut spec: PublisherSpec,
        type_bytes: usize,
    ) -> Self {
        let weight =
            weight::ENTRY + weight::text(topic.as_str()) + weight::text(&owner.name) + type_bytes;
        spec.topic = topic.to_string();
        Self {
            owner,
            topic,
            spec,
            weight,
        }
    }
}

impl Subscriber {
    pub(super) fn new(
        owner: Owner,
        patterns: Vec<Pattern>,
        excludes: Vec<Pattern>,
        spec: SubscriberSpec,
        type_bytes: usize,
    ) -> Self {
        let SubscriberSpec {
            patterns: _,
            message_type,
            overflow,
            ring_bytes,
            self_delivery,
            excludes: _,
            queue,
            history,
        } = spec;
        Self {
            owner,
            patterns,
            message_type,
            type_bytes,
            overflow,
            ring_bytes,
            self_delivery,
            excludes,
            queue,
            history,
        }
    }

    /// Upper bound of its encoded size, in a list as well as in a route.
    pub(super) fn weight(&self) -> usize {
        weight::ENTRY
            + weight::patterns(&self.patterns)
            + weight::patterns(&self.excludes)
            + self.queue.as_deref().map_or(0, weight::text)
            + weight::text(&self.owner.name)
            + self.type_bytes
    }

    /// The policy that holds against a publisher which may accept less than the subscriber asks for.
    pub(super) fn overflow_under(&self, publisher: &PublisherSpec) -> Overflow {
        match (self.overflow, publisher.block_cap) {
            // Nothing can be left out of it in silence: the losses become gaps.
            (Overflow::Conflate, _) if !publisher.conflates => Overflow::DropOldest,
            (Overflow::Block { deadline }, Some(cap)) => Overflow::Block {
                deadline: deadline.min(cap),
            },
            (overflow, _) => overflow,
        }
    }
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            publishers: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            topics: PatternTrie::new(),
            patterns: PatternTrie::new(),
        }
    }

    pub(super) fn publisher(&self, handle: Handle) -> Option<&Publisher> {
        self.publishers.get(&handle).map(|publisher| &**publisher)
    }

    /// The same, for whoever needs it beyond its end.
    pub(super) fn publisher_to_keep(&self, handle: Handle) -> Option<Arc<Publisher>> {
        self.publishers.get(&handle).cloned()
    }

    /// Members of a queue group.
    pub(super) fn members(&self, queue: &str) -> Vec<Handle> {
        let members = self
            .subscribers
            .iter()
            .filter(|(_, subscriber)| subscriber.queue.as_deref() == Some(queue));
        members.map(|(&handle, _)| handle).collect()
    }

    pub(super) fn subscriber(&self, handle: Handle) -> Option<&Subscriber> {
        self.subscribers.get(&handle)
    }

    pub(super) fn publishers_of(&self, session: SessionId) -> impl Iterator<Item = Handle> {
        self.publishers
            .range(Handle::all_of(session))
            .map(|(&handle, _)| handle)
    }

    pub(super) fn subscribers_of(&self, session: SessionId) -> impl Iterator<Item = Handle> {
        self.subscribers
            .range(Handle::all_of(session))
            .map(|(&handle, _)| handle)
    }

    /// Publishers from `first` on.
    pub(super) fn publishers_from(
        &self,
        first: Handle,
    ) -> impl Iterator<Item = (Handle, &Publisher)> {
        self.publishers
            .range(first..)
            .map(|(&handle, publisher)| (handle, &**publisher))
    }

    /// Subscribers from `first` on.
    pub(super) fn subscribers_from(
        &self,
        first: Handle,
    ) -> impl Iterator<Item = (Handle, &Subscriber)> {
        self.subscribers
            .range(first..)
            .map(|(&handle, subscriber)| (handle, subscriber))
    }

    /// Publishers that may publish to some topic that one of the patterns selects.
    pub(super) fn publishers_meeting(&self, patterns: &[Pattern]) -> BTreeSet<Handle> {
        let mut met = BTreeSet::new();
        for pattern in patterns {
            self.topics
                .for_each_intersecting(pattern.as_str(), |&handle| {
                    met.insert(handle);
                });
        }
        met
    }

    /// Subscribers that select some topic of `topic`.
    pub(super) fn subscribers_meeting(&self, topic: &Topic) -> BTreeSet<Handle> {
        let mut met = BTreeSet::new();
        self.patterns
            .for_each_intersecting(topic.as_str(), |&handle| {
                met.insert(handle);
            });
        met
    }

    pub(super) fn add_publisher(&mut self, handle: Handle, publisher: Publisher) {
        self.topics.insert(&publisher.topic.clone().into(), handle);
        self.publishers.insert(handle, Arc::new(publisher));
    }

    pub(super) fn remove_publisher(&mut self, handle: Handle) {
        if let Some(publisher) = self.publishers.remove(&handle) {
            self.topics.remove(&publisher.topic.clone().into(), &handle);
        }
    }

    /// Adds a subscriber, or replaces it by one with other patterns.
    pub(super) fn put_subscriber(&mut self, handle: Handle, subscriber: Subscriber) {
        self.remove_subscriber(handle);
        for pattern in &subscriber.patterns {
            self.patterns.insert(pattern, handle);
        }
        self.subscribers.insert(handle, subscriber);
    }

    pub(super) fn remove_subscriber(&mut self, handle: Handle) -> Option<Subscriber> {
        let subscriber = self.subscribers.remove(&handle)?;
        for pattern in &subscriber.patterns {
            self.patterns.remove(pattern, &handle);
        }
        Some(subscriber)
    }
}
