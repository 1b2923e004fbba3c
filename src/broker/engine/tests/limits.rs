//! What the engine does not take from a client.

use super::*;
use crate::wire::LimitKind;

fn kind(refusal: Option<Refusal>) -> LimitKind {
    match refusal {
        Some(Refusal::Limit { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

fn reason(actions: &[Action]) -> CloseReason {
    match actions {
        [.., Action::Close { reason, .. }] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_user_is_told_why_before_the_close() {
    let mut bus = Bus::new();
    let session = bus.connect(OWNER + 1);
    let actions = bus.send(session, ToBroker::Hello { name: "x".into() });
    let refusal = Refusal::OtherUser {
        owner: OWNER,
        user: OWNER + 1,
    };
    assert_eq!(
        actions,
        [Action::Close {
            session,
            reason: CloseReason::Refused(refusal.clone())
        }]
    );
    assert_eq!(
        bus.drain(session),
        [ToClient::Refused {
            request: 0,
            refusal
        }]
    );
    assert_eq!(bus.send(session, ToBroker::Hello { name: "x".into() }), []);
    bus.event(Event::Closed { session });
    assert_eq!(bus.engine.sessions.len(), 0);
}

#[test]
fn hello_comes_first_but_only_once() {
    let mut bus = Bus::new();
    let fresh = bus.connect(OWNER);
    assert_eq!(
        reason(&bus.send(fresh, ToBroker::Ping { request: 1 })),
        CloseReason::BeforeHello
    );
    assert_eq!(bus.drain(fresh), []);
    let joined = bus.join("x");
    assert_eq!(
        reason(&bus.send(joined, ToBroker::Hello { name: "x".into() })),
        CloseReason::SecondHello
    );
}

#[test]
fn descriptors_come_in_the_right_number() {
    let mut bus = Bus::new();
    let (p, _, lane) = bus.pair("x");
    let frame = ToBroker::OfferLane {
        lane,
        medium: Medium::Ring,
        segment: SegmentSource::Descriptor,
        history: None,
        courier: false,
        begin: None,
    };
    let actions = bus.event(Event::Frame {
        session: p,
        frame,
        descriptors: vec![1],
    });
    assert_eq!(
        reason(&actions),
        CloseReason::Descriptors {
            expected: 2,
            got: 1
        }
    );
    let c = bus.join("c");
    let frame = ToBroker::Ping { request: 1 };
    let actions = bus.event(Event::Frame {
        session: c,
        frame,
        descriptors: vec![1],
    });
    assert_eq!(
        reason(&actions),
        CloseReason::Descriptors {
            expected: 0,
            got: 1
        }
    );
}

#[test]
fn requests_without_reading_the_answers_end_in_a_close() {
    let mut bus = Bus::with(Limits {
        requests: 4,
        ..Limits::default()
    });
    let c = bus.join("c");
    for round in 0..2 {
        for request in 0..4 {
            assert_eq!(
                bus.send(c, ToBroker::Ping { request }),
                [Action::Flush(c)],
                "{round}"
            );
        }
        if round == 0 {
            assert_eq!(bus.drain(c).len(), 4);
        }
    }
    assert_eq!(
        reason(&bus.send(c, ToBroker::Ping { request: 9 })),
        CloseReason::Requests { limit: 4 }
    );
}

#[test]
fn counts_beyond_the_limits_are_refused() {
    let limits = Limits {
        clients: 2,
        publishers: 1,
        subscribers: 1,
        patterns: 2,
        lanes: 1,
        name_bytes: 4,
        ..Limits::default()
    };
    let mut bus = Bus::with(limits);
    let long = bus.connect(OWNER);
    bus.send(
        long,
        ToBroker::Hello {
            name: "12345".into(),
        },
    );
    assert_eq!(kind(refusal(&bus.drain(long))), LimitKind::NameBytes);

    let (a, b) = (bus.join("a"), bus.join("b"));
    let third = bus.connect(OWNER);
    bus.send(third, ToBroker::Hello { name: "c".into() });
    assert_eq!(kind(refusal(&bus.drain(third))), LimitKind::Clients);

    bus.publisher(a, 1, "x");
    bus.publisher(a, 2, "x");
    assert_eq!(kind(refusal(&bus.drain(a))), LimitKind::Publishers);
    bus.subscriber(a, 1, &["x", "y", "z"]);
    assert_eq!(kind(refusal(&bus.drain(a))), LimitKind::Patterns);
    // A lane with oneself has two ends.
    bus.subscriber(a, 1, &["x"]);
    assert_eq!(kind(refusal(&bus.drain(a))), LimitKind::Lanes);
    bus.subscriber(b, 1, &["x"]);
    bus.subscriber(b, 2, &["q"]);
    assert_eq!(kind(refusal(&bus.drain(b))), LimitKind::Subscribers);
    bus.publisher(b, 1, "x");
    assert_eq!(kind(refusal(&bus.drain(b))), LimitKind::Lanes);

    bus.event(Event::Closed { session: a });
    bus.event(Event::Closed { session: third });
    bus.join("d");
}

#[test]
fn types_or_patterns_that_are_too_long_are_refused() {
    let mut bus = Bus::with(Limits {
        type_bytes: 100,
        frame_bytes: 4096,
        ..Limits::default()
    });
    let c = bus.join("c");
    let message_type = typed(&"n".repeat(101), 1);
    let spec = PublisherSpec {
        message_type,
        ..publishing("x")
    };
    bus.send(
        c,
        ToBroker::OpenPublisher {
            request: 1,
            publisher: 1,
            spec,
        },
    );
    assert_eq!(kind(refusal(&bus.drain(c))), LimitKind::TypeBytes);
    let patterns: Vec<_> = (0..4).map(|i| format!("{i}{}", "x".repeat(1000))).collect();
    bus.subscriber(
        c,
        1,
        &patterns.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(kind(refusal(&bus.drain(c))), LimitKind::FrameBytes);
}

#[test]
fn a_type_that_contradicts_itself_is_refused() {
    let mut bus = Bus::new();
    let c = bus.join("c");
    let message_type = MessageType {
        fingerprint: 1,
        ..quote()
    };
    let spec = SubscriberSpec {
        message_type: Some(message_type),
        ..subscribing(&["x"])
    };
    bus.send(
        c,
        ToBroker::OpenSubscriber {
            request: 1,
            subscriber: 1,
            spec,
        },
    );
    assert!(matches!(refusal(&bus.drain(c)), Some(Refusal::Type(_))));
}

#[test]
fn an_open_handle_is_not_opened_again_nor_an_unknown_one_changed() {
    let mut bus = Bus::new();
    let c = bus.join("c");
    for _ in 0..2 {
        bus.publisher(c, 1, "x");
        bus.subscriber(c, 1, &["y"]);
    }
    let frames = bus.drain(c);
    assert_eq!(
        frames
            .iter()
            .filter(|frame| matches!(
                frame,
                ToClient::Refused {
                    refusal: Refusal::Handle(1),
                    ..
                }
            ))
            .count(),
        2
    );
    bus.send(
        c,
        ToBroker::ChangePatterns {
            request: 1,
            subscriber: 7,
            add: vec![],
            remove: vec![],
        },
    );
    assert_eq!(refusal(&bus.drain(c)), Some(Refusal::Handle(7)));
}

#[test]
fn connections_that_never_greet_are_bounded() {
    let mut bus = Bus::with(Limits {
        clients: 2,
        ..Limits::default()
    });
    for _ in 0..66 {
        bus.connect(OWNER);
    }
    let session = SessionId(9_999);
    let actions = bus.event(Event::Connected {
        session,
        peer: Peer {
            uid: OWNER,
            pid: 1,
            remote: None,
        },
        process: 0,
    });
    assert_eq!(reason(&actions), CloseReason::Crowded);
}
