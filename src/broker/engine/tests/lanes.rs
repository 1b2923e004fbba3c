//! Setting up lanes, ending them.

use super::*;
use crate::broker::engine::sessions::DESCRIPTOR_FRAMES;

/// What leaves for a session, with its descriptors.
fn out(bus: &mut Bus, session: SessionId) -> Option<(ToClient, Vec<u32>)> {
    bus.engine
        .poll_transmit(session)
        .map(|outgoing| (outgoing.frame, outgoing.descriptors))
}

fn offered(outgoing: Option<(ToClient, Vec<u32>)>) -> LaneId {
    match outgoing {
        Some((ToClient::LaneOffered { lane, .. }, _)) => lane,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_ends_get_the_other_ones_half_with_its_process() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    assert_eq!(bus.offer(p, lane), [Action::Flush(s)]);
    let (frame, descriptors) = out(&mut bus, s).unwrap();
    let expected = ToClient::LaneOffered {
        lane,
        subscriber: 1,
        publisher_client: 1,
        publisher_handle: 1,
        publisher_name: "p".into(),
        publisher: publishing("x"),
        medium: Medium::Ring,
        segment: SegmentSource::Descriptor,
        history: None,
        courier: false,
        begin: None,
        inherited: None,
    };
    assert_eq!((frame, descriptors), (expected, vec![1001, 50, 51]));
    assert_eq!(bus.accept(s, lane), [Action::Flush(p)]);
    let expected = ToClient::LaneAccepted {
        lane,
        segment: SegmentSource::Descriptor,
        area: 3,
    };
    assert_eq!(out(&mut bus, p), Some((expected, vec![1002, 60, 61])));
}

#[test]
fn one_frame_with_descriptors_at_a_time() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    for id in 0..3 {
        bus.publisher(p, id, "x");
    }
    bus.subscriber(s, 1, &["x"]);
    bus.drain(s);
    let lanes = set_lanes(&bus.drain(p));
    for lane in &lanes {
        bus.offer(p, *lane);
    }
    assert_eq!(offered(out(&mut bus, s)), lanes[0]);
    assert_eq!(out(&mut bus, s), None);
    // Other frames are not held up.
    bus.send(s, ToBroker::Ping { request: 4 });
    assert_eq!(bus.drain(s), [ToClient::Pong { request: 4 }]);
    assert_eq!(bus.send(s, ToBroker::Received), [Action::Flush(s)]);
    assert_eq!(offered(out(&mut bus, s)), lanes[1]);
    assert_eq!(out(&mut bus, s), None);
}

/// `n` clients, each with an offer in its queue; the publisher's client comes first.
fn offered_to(bus: &mut Bus, n: usize) -> (SessionId, Vec<SessionId>) {
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    let subscribers: Vec<_> = (0..n).map(|i| bus.join(&i.to_string())).collect();
    for &s in &subscribers {
        bus.subscriber(s, 1, &["x"]);
        assert_eq!(bus.drain(s).len(), 1);
    }
    for lane in set_lanes(&bus.drain(p)) {
        bus.offer(p, lane);
    }
    (p, subscribers)
}

#[test]
fn all_clients_together_have_a_budget_whose_waiters_are_told() {
    let mut bus = Bus::new();
    let (_, subscribers) = offered_to(&mut bus, DESCRIPTOR_FRAMES + 2);
    let (served, waiting) = subscribers.split_at(DESCRIPTOR_FRAMES);
    for &s in served {
        offered(out(&mut bus, s));
    }
    assert!(waiting.iter().all(|&s| out(&mut bus, s).is_none()));

    let actions = bus.send(served[0], ToBroker::Received);
    assert!(
        waiting.iter().all(|&s| actions.contains(&Action::Flush(s))),
        "{actions:?}"
    );
    offered(out(&mut bus, waiting[0]));
    assert_eq!(out(&mut bus, waiting[1]), None);

    // The end of a client gives back, too.
    let actions = bus.event(Event::Closed { session: served[1] });
    assert!(actions.contains(&Action::Flush(waiting[1])), "{actions:?}");
    offered(out(&mut bus, waiting[1]));
    assert_eq!(bus.engine.sessions.in_flight(), DESCRIPTOR_FRAMES);
    for &s in &subscribers {
        bus.event(Event::Closed { session: s });
    }
    assert_eq!(bus.engine.sessions.in_flight(), 0);
}

#[test]
fn an_unasked_receipt_frees_no_budget() {
    let mut bus = Bus::new();
    let (p, subscribers) = offered_to(&mut bus, 1);
    bus.send(p, ToBroker::Received);
    bus.send(subscribers[0], ToBroker::Received);
    offered(out(&mut bus, subscribers[0]));
    assert_eq!(bus.engine.sessions.in_flight(), 1);
}

#[test]
fn a_dead_publishers_offer_reaches_the_subscriber_before_the_end() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.offer(p, lane);
    bus.event(Event::Closed { session: p });
    let (frame, descriptors) = out(&mut bus, s).unwrap();
    assert!(matches!(frame, ToClient::LaneOffered { .. }));
    assert_eq!(descriptors, [1001, 50, 51]);
    assert_eq!(bus.drain(s), [ended(lane, None)]);
    // The subscriber does not know yet.
    assert_eq!(bus.accept(s, lane), []);
}

#[test]
fn a_closed_publisher_of_the_same_client_leaves_its_offer_as_well() {
    let mut bus = Bus::new();
    let c = bus.join("c");
    bus.publisher(c, 1, "x");
    bus.subscriber(c, 1, &["x"]);
    let lane = set_lanes(&bus.drain(c))[0];
    bus.offer(c, lane);
    bus.send(c, ToBroker::ClosePublisher { publisher: 1 });
    let frames = bus.drain(c);
    assert!(
        matches!(
            frames[..],
            [ToClient::LaneOffered { .. }, ToClient::LaneEnded { .. }]
        ),
        "{frames:?}"
    );
}

#[test]
fn a_lane_that_was_never_offered_ends_without_a_word_to_the_subscriber() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.send(p, ToBroker::ClosePublisher { publisher: 1 });
    assert_eq!(bus.drain(s), []);
    assert_eq!(bus.offer(p, lane), []);
    assert_eq!(bus.drain(s), []);
}

#[test]
fn a_dead_subscribers_lanes_are_taken_from_the_publisher() {
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.offer(p, lane);
    bus.drain(s);
    bus.accept(s, lane);
    let actions = bus.event(Event::Closed { session: s });
    assert_eq!(
        actions,
        [
            Action::Flush(p),
            Action::Raise {
                epoch_index: 0,
                value: 2
            }
        ]
    );
    // The acceptance is of no use any more.
    let changes = vec![RouteChange::Remove { publisher: 1, lane }];
    assert_eq!(bus.drain(p), [ToClient::Routes { epoch: 2, changes }]);
}

#[test]
fn a_refused_lane_ends_on_the_other_side_with_the_reason() {
    let refuse = |lane, reason: &LaneRefusal| ToBroker::RefuseLane {
        lane,
        reason: reason.clone(),
    };
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.offer(p, lane);
    bus.drain(s);
    bus.send(s, refuse(lane, &LaneRefusal::Subscriber("full".into())));
    assert_eq!(
        changes(&bus.drain(p)),
        [RouteChange::Remove { publisher: 1, lane }]
    );
    assert_eq!(bus.drain(s), []);

    // The subscriber learns of a ring that could not be made, though it was never offered.
    let ring = LaneRefusal::Ring("no memory".into());
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.send(p, refuse(lane, &ring));
    assert_eq!(bus.drain(s), [ended(lane, Some(ring))]);
    assert_eq!(bus.drain(p), []);
    assert_eq!(bus.engine.lanes.all().count(), 0);

    let cursor = LaneRefusal::Cursor("x".repeat(100_000));
    let mut bus = Bus::new();
    let (p, s, lane) = bus.pair("x");
    bus.offer(p, lane);
    bus.send(p, refuse(lane, &cursor));
    let frames = bus.drain(s);
    assert!(matches!(
        frames[..],
        [
            ToClient::LaneOffered { .. },
            ToClient::LaneEnded {
                refusal: Some(_),
                ..
            }
        ]
    ));
    assert!(encoded_bytes(&frames[1]) < 2000);
}

#[test]
fn only_the_right_client_may_speak_of_a_lane_at_the_right_time() {
    let closes = |actions: Vec<Action>| match actions.last() {
        Some(Action::Close { reason, .. }) => reason.clone(),
        other => panic!("{other:?}"),
    };
    let mut bus = Bus::new();
    let (_, s, lane) = bus.pair("x");
    assert_eq!(closes(bus.offer(s, lane)), CloseReason::ForeignLane(lane));
    let (p, s, lane) = bus.pair("y");
    let stranger = bus.join("stranger");
    assert_eq!(closes(bus.accept(s, lane)), CloseReason::LaneOrder(lane));
    let (p2, _, lane2) = bus.pair("z");
    bus.offer(p2, lane2);
    assert_eq!(closes(bus.offer(p2, lane2)), CloseReason::LaneOrder(lane2));
    let refuse = ToBroker::RefuseLane {
        lane,
        reason: LaneRefusal::Cursor(String::new()),
    };
    assert_eq!(bus.send(stranger, refuse.clone()), []);
    let (_, _, lane3) = bus.pair("w");
    let refuse = ToBroker::RefuseLane {
        lane: lane3,
        reason: LaneRefusal::Cursor(String::new()),
    };
    assert_eq!(
        closes(bus.send(stranger, refuse)),
        CloseReason::ForeignLane(lane3)
    );
    assert_eq!(bus.offer(p, 999), []);
}

#[test]
fn offers_to_a_client_that_does_not_read_are_bounded() {
    let mut bus = Bus::with(Limits {
        lanes: 10,
        ..Limits::default()
    });
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.subscriber(s, 1, &["x"]);
    bus.drain(s);
    let mut refused = 0;
    for id in 0..50 {
        bus.publisher(p, id, "x");
        let frames = bus.drain(p);
        refused += usize::from(refusal(&frames).is_some());
        set_lanes(&frames)
            .into_iter()
            .for_each(|lane| drop(bus.offer(p, lane)));
        bus.send(p, ToBroker::ClosePublisher { publisher: id });
    }
    assert_eq!(refused, 40);
    assert_eq!(bus.engine.sessions.session(s).unwrap().outbox.len(), 20);
    // Reading makes place.
    while !bus.drain(s).is_empty() {
        bus.send(s, ToBroker::Received);
    }
    bus.publisher(p, 99, "x");
    assert_eq!(refusal(&bus.drain(p)), None);
}
