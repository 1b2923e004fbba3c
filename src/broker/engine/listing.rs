//! Answers to those who ask what there is on the bus.
//!
//! An answer is made part by part while it is transmitted, from a cursor; so a long one costs no memory, however slowly it
//! is read. Live topics are collected beforehand.

use std::collections::BTreeMap;

use super::event::SessionId;
use super::registry::{Handle, Publisher, Registry, Subscriber};
use super::routes::Lanes;
use super::rules;
use super::sessions::Sessions;
use super::weight;
use crate::topic::{Pattern, intersects};
use crate::wire::{ClientInfo, Listing, PublisherInfo, RequestId, SubscriberInfo, ToClient};

/// Where an answer to `List` goes on.
#[derive(Debug)]
pub(super) struct ListingCursor {
    request: RequestId,
    pattern: Pattern,
    next: Next,
    /// Live topics, of the publishers that told theirs in time.
    live: BTreeMap<Handle, Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Publishers(Handle),
    Subscribers(Handle),
}

/// Where an answer to `ListClients` goes on.
#[derive(Debug)]
pub(super) struct ClientsCursor {
    request: RequestId,
    next: SessionId,
}

impl ListingCursor {
    pub(super) fn new(
        request: RequestId,
        pattern: Pattern,
        live: BTreeMap<Handle, Vec<String>>,
    ) -> Self {
        Self {
            request,
            pattern,
            next: Next::Publishers(Handle::FIRST),
            live,
        }
    }

    /// The next part, with at most `room` bytes of entries; the cursor, if there is more.
    pub(super) fn part(
        mut self,
        registry: &Registry,
        lanes: &Lanes,
        mut room: usize,
    ) -> (ToClient, Option<Self>) {
        let mut part = Listing::default();
        let complete = self.add_publishers(&mut part, registry, lanes, &mut room)
            && self.add_subscribers(&mut part, registry, lanes, &mut room);
        (
            ToClient::Listed {
                request: self.request,
                part,
                last: complete,
            },
            (!complete).then_some(self),
        )
    }

    /// Whether none is left.
    fn add_publishers(
        &mut self,
        part: &mut Listing,
        registry: &Registry,
        lanes: &Lanes,
        room: &mut usize,
    ) -> bool {
        let Next::Publishers(first) = self.next else {
            return true;
        };
        let whole = *room;
        for (handle, publisher) in registry.publishers_from(first) {
            if !self.pattern.intersects(&publisher.topic) {
                continue;
            }
            let topics = self
                .live
                .get(&handle)
                .map(|topics| fitting(topics, whole.saturating_sub(publisher.weight)));
            let weight = publisher.weight
                + topics
                    .unwrap_or_default()
                    .iter()
                    .map(|topic| weight::text(topic))
                    .sum::<usize>();
            if weight > *room && !part.publishers.is_empty() {
                self.next = Next::Publishers(handle);
                return false;
            }
            *room = room.saturating_sub(weight);
            part.publishers.push(publisher_info(
                handle,
                publisher,
                topics.map(<[_]>::to_vec),
                registry,
                lanes,
            ));
        }
        self.next = Next::Subscribers(Handle::FIRST);
        true
    }

    fn add_subscribers(
        &mut self,
        part: &mut Listing,
        registry: &Registry,
        lanes: &Lanes,
        room: &mut usize,
    ) -> bool {
        let Next::Subscribers(first) = self.next else {
            return true;
        };
        let wanted = |subscriber: &Subscriber| {
            subscriber
                .patterns
                .iter()
                .any(|pattern| intersects(self.pattern.as_str(), pattern.as_str()))
        };
        for (handle, subscriber) in registry
            .subscribers_from(first)
            .filter(|(_, subscriber)| wanted(subscriber))
        {
            let weight = subscriber.weight();
            if weight > *room && !(part.publishers.is_empty() && part.subscribers.is_empty()) {
                self.next = Next::Subscribers(handle);
                return false;
            }
            *room = room.saturating_sub(weight);
            part.subscribers
                .push(subscriber_info(handle, subscriber, lanes));
        }
        true
    }
}

impl ClientsCursor {
    pub(super) fn new(request: RequestId) -> Self {
        Self {
            request,
            next: SessionId(0),
        }
    }

    /// The next part, with at most `room` bytes of entries; the cursor, if there is more.
    pub(super) fn part<D>(
        self,
        sessions: &Sessions<D>,
        registry: &Registry,
        lanes: &Lanes,
        mut room: usize,
    ) -> (ToClient, Option<Self>) {
        let mut part: Vec<ClientInfo> = Vec::new();
        let mut rest = None;
        for (id, client, peer) in sessions.clients_from(self.next) {
            let weight = weight::ENTRY + weight::text(&client.owner.name) + ADDRESS_BYTES;
            if weight > room && !part.is_empty() {
                rest = Some(Self { next: id, ..self });
                break;
            }
            room = room.saturating_sub(weight);
            part.push(ClientInfo {
                client: client.owner.client,
                name: client.owner.name.to_string(),
                pid: peer.pid,
                uid: peer.uid,
                remote: peer.remote.map(|address| address.to_string()),
                publishers: registry.publishers_of(id).count() as u32,
                subscribers: registry.subscribers_of(id).count() as u32,
                lanes: lanes.ends(id) as u32,
            });
        }
        (
            ToClient::Clients {
                request: self.request,
                part,
                last: rest.is_none(),
            },
            rest,
        )
    }
}

/// As many topics as fit: one publisher's entry is never spread over frames.
fn fitting(topics: &[String], room: usize) -> &[String] {
    let mut used = 0;
    let fit = topics.iter().take_while(|topic| {
        used += weight::text(topic);
        used <= room
    });
    &topics[..fit.count()]
}

fn publisher_info(
    handle: Handle,
    publisher: &Publisher,
    live_topics: Option<Vec<String>>,
    registry: &Registry,
    lanes: &Lanes,
) -> PublisherInfo {
    let mismatched = |met: &Handle| {
        let subscriber = registry.subscriber(*met);
        subscriber.is_some_and(|subscriber| {
            rules::judge((handle, publisher), (*met, subscriber)) == rules::Verdict::Mismatched
        })
    };
    PublisherInfo {
        client: publisher.owner.client,
        client_name: publisher.owner.name.to_string(),
        topic: publisher.topic.to_string(),
        message_type: publisher.spec.message_type.clone(),
        lanes: lanes.of_publisher(handle).count() as u32,
        type_mismatches: registry
            .subscribers_meeting(&publisher.topic)
            .iter()
            .filter(|met| mismatched(met))
            .count() as u32,
        history: publisher.spec.history,
        live_topics,
    }
}

fn subscriber_info(handle: Handle, subscriber: &Subscriber, lanes: &Lanes) -> SubscriberInfo {
    SubscriberInfo {
        client: subscriber.owner.client,
        client_name: subscriber.owner.name.to_string(),
        patterns: names(&subscriber.patterns),
        excludes: names(&subscriber.excludes),
        message_type: subscriber.message_type.clone(),
        overflow: subscriber.overflow,
        queue: subscriber.queue.clone(),
        lanes: lanes.of_subscriber(handle).count() as u32,
    }
}

fn names(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

/// More than the text of a socket address takes.
const ADDRESS_BYTES: usize = 80;
