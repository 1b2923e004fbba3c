//! Who gets a lane to whom.

use super::*;

fn open(bus: &mut Bus, session: SessionId, id: HandleId, spec: SubscriberSpec) -> Option<Refusal> {
    bus.send(
        session,
        ToBroker::OpenSubscriber {
            request: 1,
            subscriber: id,
            spec,
        },
    );
    refusal(&bus.drain(session))
}

fn open_publisher(
    bus: &mut Bus,
    session: SessionId,
    id: HandleId,
    spec: PublisherSpec,
) -> Vec<ToClient> {
    bus.send(
        session,
        ToBroker::OpenPublisher {
            request: 1,
            publisher: id,
            spec,
        },
    );
    bus.drain(session)
}

fn other_type() -> MessageType {
    typed("md.quote", 2)
}

#[test]
fn wildcards_meet_on_both_sides_in_either_order() {
    for (topic, pattern, meet) in [
        ("md/*/eurusd", "md/quote/*", true),
        ("md/**", "**/eurusd", true),
        ("md/quote/eurusd", "md/*", false),
        ("@sys/clients", "**", false),
        ("@sys/clients", "@sys/*", true),
        ("**/*", "a", true),
    ] {
        for publisher_first in [true, false] {
            let mut bus = Bus::new();
            let (p, s) = (bus.join("p"), bus.join("s"));
            if publisher_first {
                bus.publisher(p, 1, topic);
            }
            bus.subscriber(s, 1, &[pattern]);
            if !publisher_first {
                bus.publisher(p, 1, topic);
            }
            assert_eq!(
                set_lanes(&bus.drain(p)).len(),
                usize::from(meet),
                "{topic} {pattern}"
            );
        }
    }
}

#[test]
fn overlapping_patterns_make_one_lane() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "a/b");
    bus.subscriber(s, 1, &["**", "a/*", "*/b", "**/*", "a/*"]);
    let routes = set_routes(&bus.drain(p));
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].patterns, ["**", "*/**", "*/b", "a/*"]);
    assert_eq!(routes[0].subscriber_name, "s");
}

#[test]
fn two_types_on_one_single_topic_are_refused() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "x");
    let spec = SubscriberSpec {
        message_type: Some(other_type()),
        ..subscribing(&["x", "y"])
    };
    let refused = open(&mut bus, s, 1, spec.clone());
    let Some(Refusal::TypeMismatch {
        topic,
        client,
        theirs,
        ours,
        difference,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (&*topic, &*client, &*theirs, &*ours),
        ("x", "p", "md.quote v1", "md.quote v2")
    );
    assert!(difference.contains("version"));
    // Nothing is left of it: the handle can be opened.
    assert_eq!(open(&mut bus, s, 1, subscribing(&["x"])), None);

    let spec = PublisherSpec {
        message_type: other_type(),
        ..publishing("x")
    };
    let refused = refusal(&open_publisher(&mut bus, p, 2, spec));
    assert!(matches!(refused, Some(Refusal::TypeMismatch { client, .. }) if client == "s"));
}

#[test]
fn two_types_where_wildcards_overlap_make_no_route_but_are_counted() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "md/*");
    bus.drain(p);
    let spec = SubscriberSpec {
        message_type: Some(other_type()),
        ..subscribing(&["md/x"])
    };
    assert_eq!(open(&mut bus, s, 1, spec), None);
    assert_eq!(
        open(
            &mut bus,
            s,
            2,
            SubscriberSpec {
                message_type: None,
                ..subscribing(&["**"])
            }
        ),
        None
    );
    assert_eq!(set_lanes(&bus.drain(p)).len(), 1);
    bus.send(
        s,
        ToBroker::List {
            request: 5,
            pattern: "**".into(),
            live: false,
        },
    );
    let [
        ToClient::Listed {
            request: 5,
            part,
            last: true,
        },
    ] = &bus.drain(s)[..]
    else {
        panic!()
    };
    assert_eq!(
        (part.publishers[0].type_mismatches, part.publishers[0].lanes),
        (1, 1)
    );
}

#[test]
fn a_subscriber_that_would_block_for_too_long_is_refused_one_that_was_there_is_cut() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    let cap = Duration::from_millis(10);
    let capped = PublisherSpec {
        block_cap: Some(cap),
        ..publishing("x")
    };
    bus.subscriber(s, 1, &["x"]);
    bus.drain(s);
    let routes = set_routes(&open_publisher(&mut bus, p, 1, capped));
    assert_eq!(routes[0].overflow, Overflow::Block { deadline: cap });
    let refused = open(&mut bus, s, 2, subscribing(&["x"]));
    assert!(matches!(refused, Some(Refusal::BlockCap { cap: c, .. }) if c == cap));
    assert_eq!(
        open(
            &mut bus,
            s,
            2,
            SubscriberSpec {
                overflow: Overflow::DropNewest,
                ..subscribing(&["x"])
            }
        ),
        None
    );
}

#[test]
fn a_subscriber_without_self_delivery_has_no_lane_from_its_own_client() {
    let mut bus = Bus::new();
    let (own, other) = (bus.join("own"), bus.join("other"));
    bus.publisher(own, 1, "x");
    bus.publisher(other, 1, "x");
    assert_eq!(
        open(
            &mut bus,
            own,
            1,
            SubscriberSpec {
                self_delivery: false,
                ..subscribing(&["x"])
            }
        ),
        None
    );
    bus.publisher(own, 2, "x");
    assert!(set_lanes(&bus.drain(own)).is_empty());
    assert_eq!(set_lanes(&bus.drain(other)).len(), 1);
}

#[test]
fn names_that_do_not_parse_are_refused_with_the_place() {
    let mut bus = Bus::new();
    let s = bus.join("s");
    let refused = open(&mut bus, s, 1, subscribing(&["ok", "a//b"]));
    assert!(matches!(refused, Some(Refusal::Name(text)) if text.contains("byte 2")));
    assert_eq!(
        open(&mut bus, s, 1, subscribing(&[])),
        Some(Refusal::NoPattern)
    );
    assert!(matches!(
        refusal(&open_publisher(&mut bus, s, 1, publishing("a#"))),
        Some(Refusal::Name(_))
    ));
}
