//! Subscribing is a barrier, whatever the publishers do.

use super::*;

#[test]
fn words_are_raised_behind_others_frames_but_before_the_answer() {
    let mut bus = Bus::new();
    let (a, b, idle, s) = (
        bus.join("a"),
        bus.join("b"),
        bus.join("idle"),
        bus.join("s"),
    );
    bus.publisher(a, 1, "md/quote/*");
    bus.publisher(b, 1, "**");
    bus.publisher(idle, 1, "other");
    for session in [a, b, idle] {
        bus.drain(session);
    }

    let actions = bus.subscriber(s, 1, &["md/*/eurusd"]);
    assert_eq!(
        actions,
        [
            Action::Flush(a),
            Action::Flush(b),
            Action::Raise {
                epoch_index: 0,
                value: 1
            },
            Action::Raise {
                epoch_index: 1,
                value: 1
            },
            Action::Flush(s),
        ]
    );
    assert_eq!(
        bus.drain(s),
        [ToClient::Opened {
            request: 1,
            lanes: 2
        }]
    );
    assert!(
        matches!(&bus.drain(a)[..], [ToClient::Routes { epoch: 1, changes }] if changes.len() == 1)
    );
}

#[test]
fn a_client_that_publishes_to_itself_has_the_route_before_the_answer() {
    let mut bus = Bus::new();
    let a = bus.join("a");
    bus.publisher(a, 1, "x");
    bus.drain(a);
    let actions = bus.subscriber(a, 1, &["x"]);
    assert_eq!(
        actions,
        [
            Action::Raise {
                epoch_index: 0,
                value: 1
            },
            Action::Flush(a)
        ]
    );
    assert!(matches!(
        &bus.drain(a)[..],
        [ToClient::Routes { epoch: 1, .. }, ToClient::Opened { .. }]
    ));
}

#[test]
fn changed_patterns_are_a_barrier_as_well() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "x");
    bus.publisher(p, 2, "y");
    bus.subscriber(s, 1, &["x"]);
    let x = set_lanes(&bus.drain(p))[0];
    bus.drain(s);

    let change = |add: &[&str], remove: &[&str]| ToBroker::ChangePatterns {
        request: 9,
        subscriber: 1,
        add: add.iter().map(ToString::to_string).collect(),
        remove: remove.iter().map(ToString::to_string).collect(),
    };
    let actions = bus.send(s, change(&["*"], &[]));
    assert_eq!(
        actions,
        [
            Action::Flush(p),
            Action::Raise {
                epoch_index: 0,
                value: 2
            },
            Action::Flush(s)
        ]
    );
    let set = set_routes(&bus.drain(p));
    assert_eq!(
        set.iter().map(|route| route.publisher).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(set.iter().all(|route| route.patterns == ["*", "x"]) && set[0].lane == x);

    bus.offer(p, x);
    bus.drain(s);
    bus.send(s, change(&["y"], &["*", "x"]));
    let expected = [
        RouteChange::Remove {
            publisher: 1,
            lane: x,
        },
        RouteChange::Set(Route {
            patterns: vec!["y".into()],
            ..set[1].clone()
        }),
    ];
    assert_eq!(changes(&bus.drain(p)), expected);
    assert_eq!(
        bus.drain(s),
        [
            ToClient::Opened {
                request: 9,
                lanes: 1
            },
            ended(x, None)
        ]
    );

    bus.send(s, change(&[], &["y"]));
    assert_eq!(refusal(&bus.drain(s)), Some(Refusal::NoPattern));
    assert!(set_lanes(&bus.drain(p)).is_empty());
}

#[test]
fn a_slow_client_costs_bounded_state_over_ten_thousand_subscriptions() {
    let mut bus = Bus::new();
    let (slow, s) = (bus.join("slow"), bus.join("s"));
    bus.publisher(slow, 1, "x");
    bus.drain(slow);
    for id in 0..10_000 {
        bus.subscriber(s, id, &["x"]);
        bus.drain(s);
        bus.send(s, ToBroker::CloseSubscriber { subscriber: id });
        assert!(bus.engine.sessions.session(slow).unwrap().outbox.len() <= 1);
    }
    assert_eq!(bus.epoch_of(slow), 20_000);
    // Nothing is left to say, but the client has to learn that it knows all.
    assert_eq!(
        bus.drain(slow),
        [ToClient::Routes {
            epoch: 20_000,
            changes: vec![]
        }]
    );
}

#[test]
fn a_lane_that_was_told_is_taken_back_even_if_another_came_meanwhile() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.send(s, ToBroker::CloseSubscriber { subscriber: 1 });
    bus.subscriber(s, 2, &["x"]);
    let frames = bus.drain(p);
    assert_eq!(
        changes(&frames)[0],
        RouteChange::Remove { publisher: 1, lane }
    );
    assert_eq!(set_lanes(&frames).len(), 1);
    assert!(matches!(frames[..], [ToClient::Routes { epoch: 3, .. }]));
}

#[test]
fn a_lane_that_was_told_is_taken_back_after_a_change_that_was_not() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    let (add, remove) = (vec!["**".into()], vec![]);
    bus.send(
        s,
        ToBroker::ChangePatterns {
            request: 1,
            subscriber: 1,
            add,
            remove,
        },
    );
    bus.send(s, ToBroker::CloseSubscriber { subscriber: 1 });
    let removed = RouteChange::Remove { publisher: 1, lane };
    assert_eq!(changes(&bus.drain(p)), [removed]);
}

#[test]
fn routes_in_parts_bring_the_epoch_with_the_last_one_only() {
    let limits = Limits {
        frame_bytes: 4096,
        ..Limits::default()
    };
    let mut bus = Bus::with(limits);
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "x/*");
    bus.drain(p);
    let long = "x/".to_string() + &"y".repeat(700);
    for id in 0..20 {
        bus.subscriber(s, id, &[&long, "x/*"]);
        bus.drain(s);
    }
    let frames = bus.drain(p);
    assert!(frames.len() > 5 && set_lanes(&frames).len() == 20);
    let epochs: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            ToClient::Routes { epoch, .. } => *epoch,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        epochs[..epochs.len() - 1].iter().all(|&epoch| epoch == 0)
            && epochs[epochs.len() - 1] == 20
    );
    assert!(frames.iter().all(|frame| encoded_bytes(frame) <= 4096));
}

#[test]
fn a_publisher_is_opened_behind_all_its_routes() {
    let mut bus = Bus::with(Limits {
        frame_bytes: 2048,
        ..Limits::default()
    });
    let (s, p) = (bus.join("s"), bus.join("p"));
    for id in 0..30 {
        bus.subscriber(s, id, &["**"]);
        bus.drain(s);
    }
    assert_eq!(bus.publisher(p, 1, "a/b"), [Action::Flush(p)]);
    let frames = bus.drain(p);
    assert_eq!(
        frames.last(),
        Some(&ToClient::Opened {
            request: 1,
            lanes: 30
        })
    );
    assert_eq!(set_lanes(&frames).len(), 30);
    assert_eq!(
        frames
            .iter()
            .filter(|frame| matches!(frame, ToClient::Opened { .. }))
            .count(),
        1
    );
}

#[test]
fn a_new_client_starts_at_zero_in_a_used_word() {
    let mut bus = Bus::new();
    let (p, s, _) = bus.pair("x");
    assert_eq!(bus.epoch_of(p), 1);
    bus.event(Event::Closed { session: p });
    let next = bus.join("next");
    assert_eq!(
        (
            bus.engine.sessions.client(next).unwrap().epoch_index,
            bus.epoch_of(next)
        ),
        (0, 0)
    );
    assert!(bus.drain(s).is_empty());
}
