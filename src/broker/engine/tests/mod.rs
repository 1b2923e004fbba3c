//! A bus under test: the engine, a virtual clock, clients that are played by the test.

mod barrier;
mod exclusions;
mod garbage;
mod held;
mod lanes;
mod limits;
mod lists;
mod matching;
mod queue_bounds;
mod queues;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::message::MessageType;
use crate::wire::{
    HandleId, HistoryUse, LaneId, LaneRefusal, Medium, Overflow, PublisherSpec, Refusal, Route,
    RouteChange, SubscriberSpec,
};

pub(super) struct Bus {
    pub(super) engine: Engine<u32>,
    pub(super) now: Duration,
    /// The epoch segment.
    pub(super) words: BTreeMap<u32, u64>,
    sessions: u64,
}

pub(super) const OWNER: u32 = 1000;
const EPOCH_DESCRIPTOR: u32 = 1;

impl Bus {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let engine = Engine::new(
            limits,
            OWNER,
            7,
            SegmentSource::Descriptor,
            Some(EPOCH_DESCRIPTOR),
        );
        Self {
            engine,
            now: Duration::ZERO,
            words: BTreeMap::new(),
            sessions: 0,
        }
    }

    pub(super) fn event(&mut self, event: Event<u32>) -> Vec<Action> {
        let actions = self.engine.handle(self.now, event);
        for action in &actions {
            if let Action::Raise { epoch_index, value } = action {
                self.words.insert(*epoch_index, *value);
            }
        }
        actions
    }

    /// A connection of a process whose descriptor is 1000 + session.
    pub(super) fn connect(&mut self, uid: u32) -> SessionId {
        self.connect_from(uid, None)
    }

    fn connect_from(&mut self, uid: u32, remote: Option<SocketAddr>) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.event(Event::Connected {
            session,
            peer: Peer {
                uid,
                pid: 1,
                remote,
            },
            process: 1000 + self.sessions as u32,
        });
        session
    }

    /// A client that has read its welcome.
    pub(super) fn join(&mut self, name: &str) -> SessionId {
        let session = self.connect(OWNER);
        self.greet(session, name);
        session
    }

    /// A client on another host that has read its welcome.
    pub(super) fn join_remote(&mut self, name: &str) -> SessionId {
        let session = self.connect_from(OWNER, Some(([192, 0, 2, 1], 40_000).into()));
        self.greet(session, name);
        session
    }

    fn greet(&mut self, session: SessionId, name: &str) {
        self.send(session, ToBroker::Hello { name: name.into() });
        let welcome = self.engine.poll_transmit(session).unwrap();
        assert!(matches!(welcome.frame, ToClient::Welcome(_)));
        assert_eq!(welcome.descriptors, [EPOCH_DESCRIPTOR]);
    }

    pub(super) fn send(&mut self, session: SessionId, frame: ToBroker) -> Vec<Action> {
        self.event(Event::Frame {
            session,
            frame,
            descriptors: Vec::new(),
        })
    }

    /// Everything that may leave at the moment.
    pub(super) fn drain(&mut self, session: SessionId) -> Vec<ToClient> {
        std::iter::from_fn(|| self.engine.poll_transmit(session))
            .map(|outgoing| outgoing.frame)
            .collect()
    }

    pub(super) fn publisher(
        &mut self,
        session: SessionId,
        id: HandleId,
        topic: &str,
    ) -> Vec<Action> {
        self.send(
            session,
            ToBroker::OpenPublisher {
                request: id.into(),
                publisher: id,
                spec: publishing(topic),
            },
        )
    }

    pub(super) fn subscriber(
        &mut self,
        session: SessionId,
        id: HandleId,
        patterns: &[&str],
    ) -> Vec<Action> {
        let spec = subscribing(patterns);
        self.send(
            session,
            ToBroker::OpenSubscriber {
                request: id.into(),
                subscriber: id,
                spec,
            },
        )
    }

    pub(super) fn offer(&mut self, session: SessionId, lane: LaneId) -> Vec<Action> {
        let frame = ToBroker::OfferLane {
            lane,
            medium: Medium::Ring,
            segment: SegmentSource::Descriptor,
            history: None,
            courier: false,
            begin: None,
        };
        self.event(Event::Frame {
            session,
            frame,
            descriptors: vec![50, 51],
        })
    }

    pub(super) fn accept(&mut self, session: SessionId, lane: LaneId) -> Vec<Action> {
        let frame = ToBroker::AcceptLane {
            lane,
            segment: SegmentSource::Descriptor,
            area: 3,
        };
        self.event(Event::Frame {
            session,
            frame,
            descriptors: vec![60, 61],
        })
    }

    /// One publisher, one subscriber, each with a client of its own, and the lane between them.
    pub(super) fn pair(&mut self, topic: &str) -> (SessionId, SessionId, LaneId) {
        let (p, s) = (self.join("p"), self.join("s"));
        self.publisher(p, 1, topic);
        self.subscriber(s, 1, &[topic]);
        let lane = set_lanes(&self.drain(p))[0];
        self.drain(s);
        (p, s, lane)
    }

    pub(super) fn epoch_of(&self, session: SessionId) -> u64 {
        self.words[&self.engine.sessions.client(session).unwrap().epoch_index]
    }
}

pub(super) fn quote() -> MessageType {
    typed("md.quote", 1)
}

pub(super) fn typed(name: &str, version: u32) -> MessageType {
    MessageType::of::<f64>(name, version)
}

pub(super) fn ended(lane: LaneId, refusal: Option<LaneRefusal>) -> ToClient {
    ToClient::LaneEnded {
        lane,
        subscriber: 1,
        publisher_name: "p".into(),
        refusal,
    }
}

pub(super) fn publishing(topic: &str) -> PublisherSpec {
    PublisherSpec {
        topic: topic.into(),
        message_type: quote(),
        max_message_bytes: 1024,
        block_cap: None,
        history: 0,
        conflates: true,
    }
}

pub(super) fn subscribing(patterns: &[&str]) -> SubscriberSpec {
    SubscriberSpec {
        patterns: patterns.iter().map(ToString::to_string).collect(),
        message_type: Some(quote()),
        overflow: Overflow::Block {
            deadline: Duration::from_secs(1),
        },
        ring_bytes: 0,
        self_delivery: true,
        excludes: Vec::new(),
        queue: None,
        history: HistoryUse::None,
    }
}

pub(super) fn changes(frames: &[ToClient]) -> Vec<RouteChange> {
    let routes = frames.iter().filter_map(|frame| match frame {
        ToClient::Routes { changes, .. } => Some(changes.clone()),
        _ => None,
    });
    routes.flatten().collect()
}

pub(super) fn set_routes(frames: &[ToClient]) -> Vec<Route> {
    let set = changes(frames)
        .into_iter()
        .filter_map(|change| match change {
            RouteChange::Set(route) => Some(route),
            RouteChange::Remove { .. } => None,
        });
    set.collect()
}

pub(super) fn set_lanes(frames: &[ToClient]) -> Vec<LaneId> {
    set_routes(frames).iter().map(|route| route.lane).collect()
}

pub(super) fn refusal(frames: &[ToClient]) -> Option<Refusal> {
    frames.iter().find_map(|frame| match frame {
        ToClient::Refused { refusal, .. } => Some(refusal.clone()),
        _ => None,
    })
}

pub(super) fn encoded_bytes(frame: &ToClient) -> usize {
    rkyv::to_bytes::<rkyv::rancor::Error>(frame).unwrap().len()
}
