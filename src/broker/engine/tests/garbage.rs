//! Whatever clients send, in whatever order they read, the state stays whole.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::broker::engine::routes::Stage;
use crate::broker::engine::rules::{Verdict, judge};

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Close(u64),
    Frame(u64, ToBroker, usize),
    Read(u64, usize),
    /// The next half of some lane.
    Advance(proptest::sample::Index),
    Later,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "a", "a/b", "\\*", "\\*\\*", "a/\\*", "@x", "\\*\\*/b", "a//"
    ]
}

fn message_type() -> impl Strategy<Value = MessageType> {
    (1..3u32).prop_map(|version| typed("md.quote", version))
}

fn cap() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(Duration::from_millis(5)))]
}

fn open_publisher() -> impl Strategy<Value = ToBroker> {
    (0..4u32, name(), message_type(), cap()).prop_map(
        |(publisher, topic, message_type, block_cap)| {
            let spec = PublisherSpec {
                topic,
                message_type,
                max_message_bytes: 1,
                block_cap,
                history: 0,
                conflates: true,
            };
            ToBroker::OpenPublisher {
                request: 1,
                publisher,
                spec,
            }
        },
    )
}

fn open_subscriber() -> impl Strategy<Value = ToBroker> {
    let spec = (
        proptest::collection::vec(name(), 0..3),
        proptest::option::of(message_type()),
        any::<bool>(),
        any::<bool>(),
    );
    (0..4u32, spec).prop_map(
        |(subscriber, (patterns, message_type, block, self_delivery))| {
            let overflow = if block {
                Overflow::Block {
                    deadline: Duration::from_secs(1),
                }
            } else {
                Overflow::DropNewest
            };
            let spec = SubscriberSpec {
                patterns,
                message_type,
                overflow,
                ring_bytes: 0,
                self_delivery,
                excludes: Vec::new(),
                queue: None,
                history: HistoryUse::None,
            };
            ToBroker::OpenSubscriber {
                request: 2,
                subscriber,
                spec,
            }
        },
    )
}

fn segment() -> impl Strategy<Value = SegmentSource> {
    prop_oneof![
        Just(SegmentSource::Descriptor),
        Just(SegmentSource::Named("n".into()))
    ]
}

fn reason() -> impl Strategy<Value = LaneRefusal> {
    prop_oneof![
        Just(LaneRefusal::Ring(String::new())),
        Just(LaneRefusal::Subscriber(String::new())),
        Just(LaneRefusal::Cursor(String::new())),
    ]
}

/// Frames that a client may send at any time.
fn orderly_frame() -> impl Strategy<Value = ToBroker> {
    let names = || proptest::collection::vec(name(), 0..3);
    prop_oneof![
        8 => open_publisher(),
        8 => open_subscriber(),
        4 => (0..4u32, names(), names())
            .prop_map(|(subscriber, add, remove)| ToBroker::ChangePatterns { request: 3, subscriber, add, remove }),
        3 => (0..4u32).prop_map(|publisher| ToBroker::ClosePublisher { publisher }),
        3 => (0..4u32).prop_map(|subscriber| ToBroker::CloseSubscriber { subscriber }),
        6 => Just(ToBroker::Received),
        2 => Just(ToBroker::Ping { request: 4 }),
        3 => (name(), any::<bool>()).prop_map(|(pattern, live)| ToBroker::List { request: 5, pattern, live }),
        1 => Just(ToBroker::ListClients { request: 6 }),
    ]
}

fn hostile_frame() -> impl Strategy<Value = ToBroker> {
    let names = proptest::collection::vec(name(), 0..3);
    prop_oneof![
        1 => Just(ToBroker::Hello { name: "again".into() }),
        3 => (0..20u64, segment()).prop_map(|(lane, segment)| ToBroker::OfferLane { lane, medium: Medium::Ring, segment, history: None, courier: false, begin: None }),
        3 => (0..20u64, segment()).prop_map(|(lane, segment)| ToBroker::AcceptLane { lane, segment, area: 0 }),
        3 => (0..20u64, reason()).prop_map(|(lane, reason)| ToBroker::RefuseLane { lane, reason }),
        2 => (0..8u64, names).prop_map(|(query, topics)| ToBroker::LiveTopics { query, topics }),
    ]
}

fn orderly_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Connect),
        1 => (1..8u64).prop_map(Step::Close),
        40 => (1..8u64, orderly_frame()).prop_map(|(session, frame)| Step::Frame(session, frame, 0)),
        10 => any::<proptest::sample::Index>().prop_map(Step::Advance),
        16 => (1..8u64, 0..6usize).prop_map(|(session, frames)| Step::Read(session, frames)),
        1 => Just(Step::Later),
    ]
}

fn hostile_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => orderly_step(),
        2 => (1..8u64, hostile_frame()).prop_map(|(session, frame)| Step::Frame(session, frame, 0)),
        1 => (1..8u64, hostile_frame(), 1..3usize)
            .prop_map(|(session, frame, excess)| Step::Frame(session, frame, excess)),
    ]
}

/// The clients' own view, made from what they have read.
#[derive(Default)]
struct Clients {
    routes: BTreeMap<SessionId, BTreeMap<LaneId, Route>>,
    applied: BTreeMap<SessionId, u64>,
}

impl Clients {
    /// A client forgets the lanes of a publisher that it closes; nobody tells it.
    fn sent(&mut self, session: SessionId, frame: &ToBroker) {
        if let (ToBroker::ClosePublisher { publisher }, Some(routes)) =
            (frame, self.routes.get_mut(&session))
        {
            routes.retain(|_, route| route.publisher != *publisher);
        }
    }

    fn read(&mut self, session: SessionId, frame: &ToClient) {
        let ToClient::Routes { epoch, changes } = frame else {
            return;
        };
        let routes = self.routes.entry(session).or_default();
        for change in changes {
            match change {
                RouteChange::Set(route) => drop(routes.insert(route.lane, route.clone())),
                RouteChange::Remove { lane, .. } => {
                    assert!(routes.remove(lane).is_some(), "a lane that was never told")
                }
            }
        }
        let applied = self.applied.entry(session).or_default();
        assert!(*applied <= *epoch, "epochs go forward");
        *applied = *epoch;
    }
}

fn run(bus: &mut Bus, clients: &mut Clients, steps: Vec<Step>) {
    for _ in 0..3 {
        bus.join("first");
    }
    for step in steps {
        match step {
            Step::Connect => {
                bus.join("later");
            }
            Step::Close(session) => drop(bus.event(Event::Closed {
                session: SessionId(session),
            })),
            Step::Frame(session, frame, excess) => {
                let descriptors = vec![0; descriptors_of(&frame) + excess];
                clients.sent(SessionId(session), &frame);
                bus.event(Event::Frame {
                    session: SessionId(session),
                    frame,
                    descriptors,
                });
            }
            Step::Read(session, frames) => {
                for _ in 0..frames {
                    let Some(outgoing) = bus.engine.poll_transmit(SessionId(session)) else {
                        break;
                    };
                    clients.read(SessionId(session), &outgoing.frame);
                }
            }
            Step::Advance(index) => advance(bus, index),
            Step::Later => {
                bus.now += Duration::from_millis(300);
                bus.event(Event::Tick);
            }
        }
        check_whole(bus);
    }
}

fn advance(bus: &mut Bus, index: proptest::sample::Index) {
    let lanes: Vec<_> = (0..200)
        .filter_map(|id| Some((id, *bus.engine.lanes.lane(id)?)))
        .collect();
    if lanes.is_empty() {
        return;
    }
    let (id, lane) = *index.get(&lanes);
    match lane.stage {
        Stage::Routed => drop(bus.offer(lane.publisher.session, id)),
        Stage::Offered => drop(bus.accept(lane.subscriber.session, id)),
        Stage::Accepted => {}
    }
}

fn check_whole(bus: &Bus) {
    let engine = &bus.engine;
    let mut in_flight = 0;
    for id in (0..40).map(SessionId) {
        let Some(session) = engine.sessions.session(id) else {
            continue;
        };
        in_flight += usize::from(session.outbox.unacknowledged);
        assert!(session.outbox.len() < 1000);
    }
    assert_eq!(engine.sessions.in_flight(), in_flight);
    for lane in engine.lanes.all() {
        for end in [lane.publisher, lane.subscriber] {
            assert!(
                engine.sessions.client(end.session).is_some(),
                "the lane of a session that is gone"
            );
        }
        let (publisher, subscriber) = (
            engine.registry.publisher(lane.publisher),
            engine.registry.subscriber(lane.subscriber),
        );
        assert!(
            publisher.is_some() && subscriber.is_some(),
            "the lane of a handle that is gone"
        );
    }
}

/// All pairs that should have a lane, found by looking at all pairs.
fn wanted(engine: &Engine<u32>) -> BTreeSet<(registry::Handle, registry::Handle)> {
    let mut pairs = BTreeSet::new();
    for (p, publisher) in engine.registry.publishers_from(registry::Handle::FIRST) {
        for (s, subscriber) in engine.registry.subscribers_from(registry::Handle::FIRST) {
            let meet = subscriber
                .patterns
                .iter()
                .any(|pattern| pattern.intersects(&publisher.topic));
            if meet && judge((p, publisher), (s, subscriber)) == Verdict::Joined {
                pairs.insert((p, s));
            }
        }
    }
    pairs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]
    #[test]
    fn no_sequence_panics_or_leaves_a_lane_of_a_session_that_is_gone(steps in proptest::collection::vec(hostile_step(), 1..120)) {
        run(&mut Bus::new(), &mut Clients::default(), steps);
    }

    #[test]
    fn lanes_are_what_a_look_at_all_pairs_gives_as_clients_see_it(steps in proptest::collection::vec(orderly_step(), 1..120)) {
        let (mut bus, mut clients) = (Bus::new(), Clients::default());
        run(&mut bus, &mut clients, steps);
        let lanes: BTreeSet<_> = bus.engine.lanes.all().map(|lane| (lane.publisher, lane.subscriber)).collect();
        prop_assert_eq!(&lanes, &wanted(&bus.engine));
        for session in (1..40).map(SessionId).filter(|&session| bus.engine.sessions.client(session).is_some()).collect::<Vec<_>>() {
            for frame in bus.drain(session) {
                clients.read(session, &frame);
            }
            let told: BTreeMap<_, _> = clients.routes.remove(&session).unwrap_or_default();
            let publishers = bus.engine.registry.publishers_of(session);
            let true_ones: BTreeMap<_, _> = publishers
                .flat_map(|publisher| bus.engine.lanes.of_publisher(publisher))
                .map(|(_, lane)| (lane, bus.engine.lanes.route(lane, &bus.engine.registry).unwrap()))
                .collect();
            prop_assert_eq!(told, true_ones);
            prop_assert_eq!(clients.applied.get(&session).copied().unwrap_or(0), bus.epoch_of(session));
        }
    }
}
