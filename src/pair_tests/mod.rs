//! The broker's engine wired to clients' sessions: no socket, no clock, no thread.
//!
//! Each link is two streams of bytes that a test delivers in pieces of any size, links among each other in any order. A
//! `Party` carries out its session's effects as the control thread does, with numbers for descriptors.

mod party;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::broker::engine::{Action, Engine, Event, Peer, SessionId};
use crate::topic::{Pattern, Topic};
use crate::wire::{HandleId, LaneId, Limits, SegmentSource};

use party::{Descriptor, Party};

struct Net {
    engine: Engine<Descriptor>,
    parties: Vec<Party>,
    words: BTreeMap<u32, u64>,
    now: Duration,
}

#[derive(Clone, Debug)]
enum Step {
    Publisher(usize, &'static str),
    Subscriber(usize, &'static str),
    ClosePublisher(usize),
    CloseSubscriber(usize),
    AddPattern(usize, &'static str),
    RemovePattern(usize, &'static str),
    Up(usize, usize),
    Down(usize, usize),
    Disconnect(usize),
}

impl Net {
    fn new(clients: usize) -> Self {
        let epochs = SegmentSource::Descriptor;
        let mut engine = Engine::new(Limits::default(), 7, 1, epochs, Some(1));
        let mut parties = Vec::new();
        for index in 0..clients {
            let session = SessionId(index as u64);
            let peer = Peer {
                uid: 7,
                pid: index as u32,
                remote: None,
            };
            let process = 1000 + index as u32;
            engine.handle(
                Duration::ZERO,
                Event::Connected {
                    session,
                    peer,
                    process,
                },
            );
            parties.push(Party::new(index));
        }
        let mut net = Self {
            engine,
            parties,
            words: BTreeMap::new(),
            now: Duration::ZERO,
        };
        net.settle();
        net
    }

    fn step(&mut self, step: Step) {
        let count = self.parties.len();
        match step {
            Step::Publisher(at, topic) => self.parties[at % count].open_publisher(topic),
            Step::Subscriber(at, pattern) => self.parties[at % count].open_subscriber(pattern),
            Step::ClosePublisher(at) => self.parties[at % count].close_publisher(),
            Step::CloseSubscriber(at) => self.parties[at % count].close_subscriber(),
            Step::AddPattern(at, pattern) => self.parties[at % count].change(Some(pattern), None),
            Step::RemovePattern(at, pattern) => {
                self.parties[at % count].change(None, Some(pattern))
            }
            Step::Up(at, bytes) => self.up(at % count, bytes),
            Step::Down(at, bytes) => self.down(at % count, bytes),
            Step::Disconnect(at) => self.disconnect(at % count),
        }
    }

    fn up(&mut self, at: usize, bytes: usize) {
        let party = &mut self.parties[at];
        if !party.connected {
            return;
        }
        party.transmit();
        for (frame, descriptors) in party.up.deliver(bytes) {
            let session = SessionId(at as u64);
            self.event(Event::Frame {
                session,
                frame,
                descriptors,
            });
        }
    }

    fn event(&mut self, event: Event<Descriptor>) {
        self.now += Duration::from_millis(1);
        for action in self.engine.handle(self.now, event) {
            match action {
                Action::Raise { epoch_index, value } => drop(self.words.insert(epoch_index, value)),
                // A socket takes up to four frames here, so that much stays in the engine.
                Action::Flush(session) => self.transmit(session.0 as usize, 4),
                Action::Close { session, reason } => panic!("{session:?} is closed: {reason}"),
            }
        }
    }

    fn transmit(&mut self, at: usize, most_bytes: usize) {
        let party = &mut self.parties[at];
        while party.connected && party.down.bytes.len() < most_bytes * 200 {
            let Some(outgoing) = self.engine.poll_transmit(SessionId(at as u64)) else {
                return;
            };
            party.down.send(&outgoing.frame, outgoing.descriptors);
        }
    }

    fn down(&mut self, at: usize, bytes: usize) {
        if !self.parties[at].connected {
            return;
        }
        self.transmit(at, 4);
        let frames = self.parties[at].down.deliver(bytes);
        for (frame, descriptors) in frames {
            let opened = self.parties[at].receive(frame, descriptors);
            for subscriber in opened {
                self.check_barrier(at, subscriber);
            }
        }
    }

    fn disconnect(&mut self, at: usize) {
        if !self.parties[at].connected {
            return;
        }
        // What is on the way still arrives at the broker, nothing arrives at the client.
        self.up(at, usize::MAX);
        self.parties[at].leave();
        self.event(Event::Closed {
            session: SessionId(at as u64),
        });
    }

    /// Delivers everything, until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..self.parties.len() {
                if !self.parties[at].connected {
                    continue;
                }
                self.parties[at].transmit();
                moved |= !self.parties[at].up.bytes.is_empty();
                self.up(at, usize::MAX);
                self.transmit(at, usize::MAX / 200);
                moved |= !self.parties[at].down.bytes.is_empty();
                self.down(at, usize::MAX);
            }
            if !moved {
                self.close_rings();
                return;
            }
        }
    }

    /// A ring whose writer is gone says so: its reader leaves when it has read all.
    fn close_rings(&mut self) {
        let writers: BTreeSet<LaneId> = self
            .parties
            .iter()
            .flat_map(|party| party.writers.keys().copied())
            .collect();
        for party in &mut self.parties {
            party.readers.retain(|lane, _| writers.contains(lane));
        }
    }

    /// Guarantee 1: whoever publishes to the subscriber that has just been told `Opened` has its lane, or sees from its
    /// word that it must wait for it.
    fn check_barrier(&self, at: usize, subscriber: HandleId) {
        let Some(patterns) = self.parties[at].subscribers.get(&subscriber) else {
            return;
        };
        let added_later = self.parties[at].added_later.get(&subscriber);
        let added_later =
            |pattern: &String| added_later.is_some_and(|later| later.contains(pattern));
        let patterns: Vec<_> = patterns
            .iter()
            .filter(|pattern| !added_later(pattern))
            .cloned()
            .collect();
        for party in self.parties.iter().filter(|party| party.connected) {
            let behind = party
                .epoch_index
                .is_some_and(|index| self.words[&index] > party.applied);
            for (publisher, topic) in &party.publishers {
                if party.opening.values().any(|opening| opening == publisher) || behind {
                    continue;
                }
                let lanes = party
                    .writers
                    .values()
                    .filter(|(owner, _)| owner == publisher)
                    .count();
                assert!(
                    lanes > 0 || !meet(topic, &patterns),
                    "{topic} misses {patterns:?}"
                );
            }
        }
    }

    /// When nothing is on the way: one lane for each pair that meets, known to both, and no other.
    fn check_settled(&self) {
        let mut expected = Vec::new();
        for (from, publishing) in self.parties.iter().enumerate() {
            for (publisher, topic) in &publishing.publishers {
                for (to, subscribing) in self.parties.iter().enumerate() {
                    for (subscriber, patterns) in &subscribing.subscribers {
                        if meet(topic, patterns) {
                            expected.push((from, *publisher, to, *subscriber));
                        }
                    }
                }
            }
        }
        let mut found = Vec::new();
        for (from, publishing) in self.parties.iter().enumerate() {
            for (lane, (publisher, answered)) in &publishing.writers {
                assert!(answered, "lane {lane} has no answer");
                let readers = self.parties.iter().enumerate();
                let mut readers =
                    readers.filter_map(|(to, party)| Some((to, *party.readers.get(lane)?)));
                let (to, subscriber) = readers.next().expect("a lane has a reader");
                found.push((from, *publisher, to, subscriber));
            }
        }
        let read: usize = self.parties.iter().map(|party| party.readers.len()).sum();
        assert_eq!(read, found.len(), "a reader has no writer");
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        for party in self.parties.iter().filter(|party| party.connected) {
            assert_eq!(
                party.epoch_index.map(|index| self.words[&index]),
                Some(party.applied)
            );
        }
    }
}

fn meet(topic: &str, patterns: &[String]) -> bool {
    let topic = Topic::try_from(topic).unwrap();
    patterns.iter().any(|pattern| {
        Pattern::try_from(pattern.as_str())
            .unwrap()
            .intersects(&topic)
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(vec!["a", "b", "a/b", "a/*", "*", "**", "b/**"]);
    let at = || 0..4_usize;
    let step = prop_oneof![
        2 => (at(), name()).prop_map(|(at, name)| Step::Publisher(at, name)),
        2 => (at(), name()).prop_map(|(at, name)| Step::Subscriber(at, name)),
        1 => at().prop_map(Step::ClosePublisher),
        1 => at().prop_map(Step::CloseSubscriber),
        1 => (at(), name()).prop_map(|(at, name)| Step::AddPattern(at, name)),
        1 => (at(), name()).prop_map(|(at, name)| Step::RemovePattern(at, name)),
        6 => (at(), 1..400_usize).prop_map(|(at, bytes)| Step::Up(at, bytes)),
        6 => (at(), 1..400_usize).prop_map(|(at, bytes)| Step::Down(at, bytes)),
        1 => at().prop_map(Step::Disconnect),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn whatever_is_late_or_cut_the_lanes_are_those_that_meet(steps in steps()) {
        let mut net = Net::new(4);
        for step in steps {
            net.step(step);
        }
        net.settle();
        net.check_settled();
    }
}

#[test]
fn a_subscription_is_answered_while_the_publisher_reads_nothing() {
    let mut net = Net::new(2);
    net.step(Step::Publisher(0, "a/*"));
    net.settle();
    net.step(Step::Subscriber(1, "**"));
    net.up(1, usize::MAX);
    net.down(1, usize::MAX);
    assert!(
        net.parties[1].opening.is_empty(),
        "the subscriber waits for the publisher"
    );
    let publisher = &net.parties[0];
    assert!(net.words[&publisher.epoch_index.unwrap()] > publisher.applied);
    assert!(publisher.writers.is_empty());
    net.settle();
    net.check_settled();
    assert_eq!(net.parties[1].readers.len(), 1);
}

#[test]
fn a_subscriber_that_closes_while_its_own_client_offers_leaves_no_writer() {
    let mut net = Net::new(4);
    for step in [
        Step::Publisher(2, "*"),
        Step::Subscriber(2, "*"),
        Step::Up(2, 272),
        Step::Down(2, 352),
        Step::CloseSubscriber(2),
    ] {
        net.step(step);
    }
    net.settle();
    net.check_settled();
}
