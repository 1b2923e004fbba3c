//! Queue groups: who reads on.

use super::*;

/// A member's half, as the engine passes it on.
pub(super) type Out = (ToClient, Vec<u32>);

pub(super) fn member_spec(patterns: &[&str]) -> SubscriberSpec {
    SubscriberSpec {
        queue: Some("workers".into()),
        ..subscribing(patterns)
    }
}

pub(super) fn open(
    bus: &mut Bus,
    session: SessionId,
    id: HandleId,
    spec: SubscriberSpec,
) -> Option<Refusal> {
    let open = ToBroker::OpenSubscriber {
        request: id.into(),
        subscriber: id,
        spec,
    };
    bus.send(session, open);
    refusal(&bus.drain(session))
}

/// A client with one member, whose handle is 1.
pub(super) fn member(bus: &mut Bus, name: &str, patterns: &[&str]) -> SessionId {
    let session = bus.join(name);
    assert_eq!(open(bus, session, 1, member_spec(patterns)), None);
    session
}

/// What leaves for a session, which confirms descriptors at once.
pub(super) fn out(bus: &mut Bus, session: SessionId) -> Vec<Out> {
    let mut out = Vec::new();
    while let Some(outgoing) = bus.engine.poll_transmit(session) {
        if !outgoing.descriptors.is_empty() {
            bus.send(session, ToBroker::Received);
        }
        out.push((outgoing.frame, outgoing.descriptors));
    }
    out
}

/// The lanes that others had, as they are offered to an heir: number, page with area, descriptors.
pub(super) fn inherited(out: &[Out]) -> Vec<(LaneId, Option<u32>, Vec<u32>)> {
    let inherited = out.iter().filter_map(|(frame, descriptors)| match frame {
        ToClient::LaneOffered {
            lane,
            inherited: Some(inherited),
            ..
        } => {
            let area = inherited.page.as_ref().map(|_| inherited.area);
            Some((*lane, area, descriptors.clone()))
        }
        _ => None,
    });
    inherited.collect()
}

pub(super) fn accept_at(
    bus: &mut Bus,
    session: SessionId,
    lane: LaneId,
    area: u32,
    page: u32,
) -> Vec<Action> {
    let frame = ToBroker::AcceptLane {
        lane,
        segment: SegmentSource::Descriptor,
        area,
    };
    bus.event(Event::Frame {
        session,
        frame,
        descriptors: vec![page, page + 1],
    })
}

/// A publisher of `x` with its members, in this order; all lanes are set up.
pub(super) fn group(bus: &mut Bus, members: usize) -> (SessionId, Vec<(SessionId, LaneId)>) {
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    bus.drain(p);
    let members = (0..members).map(|number| {
        let session = member(bus, &format!("m{number}"), &["x"]);
        let lane = set_lanes(&bus.drain(p))[0];
        bus.offer(p, lane);
        out(bus, session);
        accept_at(bus, session, lane, 3, 60 + 10 * number as u32);
        out(bus, p);
        (session, lane)
    });
    let members = members.collect();
    (p, members)
}

pub(super) fn close(bus: &mut Bus, session: SessionId) -> Vec<Action> {
    bus.event(Event::Closed { session })
}

pub(super) fn closed_for(actions: &[Action]) -> Option<&CloseReason> {
    match actions.last() {
        Some(Action::Close { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[test]
fn a_dead_members_ring_goes_to_another_one_with_its_cursor() {
    let mut bus = Bus::new();
    let (p, members) = group(&mut bus, 2);
    let [(dead, lane), (heir, own)] = members[..] else {
        panic!()
    };
    close(&mut bus, dead);
    // The publisher loses the route, and learns of nobody else.
    let removed = RouteChange::Remove { publisher: 1, lane };
    assert_eq!(changes(&bus.drain(p)), [removed]);
    let frames = out(&mut bus, heir);
    let process = 1000 + p.0 as u32;
    // Process, ring, bell of the publisher; page of the dead one.
    let expected = (own + 1, Some(3), vec![process, 50, 51, 60]);
    assert_eq!(inherited(&frames), [expected]);
    assert!(
        matches!(&frames[0].0, ToClient::LaneOffered { publisher_name, .. } if publisher_name == "p")
    );

    // The publisher tells when it has learned it; that wakes the heir, once.
    let told = ToBroker::LaneClosed { lane };
    assert_eq!(bus.send(p, told.clone()), [Action::Flush(heir)]);
    assert_eq!(bus.drain(heir), [ended(own + 1, None)]);
    assert_eq!(bus.send(p, told), []);
    // Read to its end, it is kept no more.
    bus.send(heir, ToBroker::LaneFinished { lane: own + 1 });
    assert_eq!(bus.engine.estates.len(), 1);
}

#[test]
fn a_member_that_closes_leaves_its_lanes_as_well() {
    let mut bus = Bus::new();
    let (_, members) = group(&mut bus, 2);
    bus.send(members[0].0, ToBroker::CloseSubscriber { subscriber: 1 });
    assert_eq!(inherited(&out(&mut bus, members[1].0)).len(), 1);
}

#[test]
fn what_a_gone_publisher_has_left_is_handed_on_too() {
    for publisher_dies in [true, false] {
        let mut bus = Bus::new();
        let (p, members) = group(&mut bus, 2);
        let [(dead, _), (heir, _)] = members[..] else {
            panic!()
        };
        match publisher_dies {
            true => close(&mut bus, p),
            false => bus.send(p, ToBroker::ClosePublisher { publisher: 1 }),
        };
        out(&mut bus, heir);
        close(&mut bus, dead);
        assert_eq!(inherited(&out(&mut bus, heir)).len(), 1);
        // Not what its member has read to the end.
        let mut bus = Bus::new();
        let (p, members) = group(&mut bus, 2);
        let [(dead, lane), (heir, _)] = members[..] else {
            panic!()
        };
        close(&mut bus, p);
        bus.send(dead, ToBroker::LaneFinished { lane });
        close(&mut bus, dead);
        assert_eq!(inherited(&out(&mut bus, heir)), []);
    }
}

#[test]
fn a_publisher_that_goes_later_wakes_the_heir() {
    let mut bus = Bus::new();
    let (p, members) = group(&mut bus, 2);
    close(&mut bus, members[0].0);
    let heir = members[1].0;
    let lane = inherited(&out(&mut bus, heir))[0].0;
    close(&mut bus, p);
    let frames = bus.drain(heir);
    assert!(frames.contains(&ended(lane, None)), "{frames:?}");
}

#[test]
fn an_heir_that_dies_hands_on_from_its_own_cursor_or_from_the_one_before() {
    for answers in [true, false] {
        let mut bus = Bus::new();
        let (p, members) = group(&mut bus, 3);
        // The last one is busier, so the second inherits.
        bus.publisher(p, 2, "y");
        let busy = members[2].0;
        assert_eq!(open(&mut bus, busy, 2, subscribing(&["y"])), None);
        close(&mut bus, members[0].0);
        let first = members[1].0;
        let lane = inherited(&out(&mut bus, first))[0].0;
        if answers {
            accept_at(&mut bus, first, lane, 7, 90);
        }
        close(&mut bus, first);
        let left = inherited(&out(&mut bus, members[2].0));
        let of_dead: Vec<_> = left
            .iter()
            .map(|(_, area, d)| (area.unwrap(), d[3]))
            .collect();
        // Its own lane, then the one that it had inherited.
        let from = if answers { (7, 90) } else { (3, 60) };
        assert_eq!(of_dead, [(3, 70), from]);
        // The publisher's word reaches the last one.
        bus.send(p, ToBroker::LaneClosed { lane: members[0].1 });
        assert_eq!(bus.drain(members[2].0), [ended(left[1].0, None)]);
    }
}

#[test]
fn a_member_that_dies_before_it_answers_leaves_a_lane_without_a_page() {
    let mut bus = Bus::new();
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    let (dead, heir) = (member(&mut bus, "d", &["x"]), member(&mut bus, "h", &["x"]));
    let lane = set_lanes(&bus.drain(p))[0];
    bus.offer(p, lane);
    close(&mut bus, dead);
    let process = 1000 + p.0 as u32;
    let left = inherited(&out(&mut bus, heir));
    assert_eq!((left[0].1, &left[0].2), (None, &vec![process, 50, 51]));
}

#[test]
fn a_half_that_comes_when_its_member_is_dead_goes_to_the_heir() {
    let mut bus = Bus::new();
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    bus.drain(p);
    let (dead, heir) = (member(&mut bus, "d", &["x"]), member(&mut bus, "h", &["x"]));
    let lane = set_lanes(&bus.drain(p))[0];
    close(&mut bus, dead);
    assert_eq!(inherited(&out(&mut bus, heir)), []);
    // Nobody may answer what was not offered.
    bus.offer(p, lane);
    assert_eq!(inherited(&out(&mut bus, heir)).len(), 1);
    let actions = bus.offer(p, lane);
    assert_eq!(closed_for(&actions), Some(&CloseReason::LaneOrder(lane)));
    // A route that its publisher was never told of leaves nothing.
    let mut bus = Bus::new();
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    let (dead, _) = (member(&mut bus, "d", &["x"]), member(&mut bus, "h", &["x"]));
    close(&mut bus, dead);
    assert_eq!(bus.engine.estates.len(), 0);
}

#[test]
fn the_heir_takes_the_same_topics_is_here_and_has_the_fewest_lanes() {
    let mut bus = Bus::new();
    let p = bus.join("p");
    bus.publisher(p, 1, "a/*");
    bus.publisher(p, 2, "z");
    let dead = member(&mut bus, "dead", &["a/x", "b"]);
    for lane in set_lanes(&bus.drain(p)) {
        bus.offer(p, lane);
    }
    let other_topics = member(&mut bus, "other topics", &["a/y", "b"]);
    let plain = bus.join("plain");
    bus.subscriber(plain, 1, &["a/*"]);
    let remote = bus.join_remote("remote");
    let mut excluding = member_spec(&["a/*"]);
    excluding.excludes = vec!["a/x".into()];
    let picky = bus.join("picky");
    for (session, spec) in [(remote, member_spec(&["a/*"])), (picky, excluding)] {
        bus.send(
            session,
            ToBroker::OpenSubscriber {
                request: 1,
                subscriber: 1,
                spec,
            },
        );
    }
    let mut other_group = member_spec(&["a/*"]);
    other_group.queue = Some("others".into());
    let foreign = bus.join("foreign");
    assert_eq!(open(&mut bus, foreign, 1, other_group), None);
    // `b` does not meet the publisher, so it need not be taken.
    let busy = member(&mut bus, "busy", &["a/**", "z"]);
    let heir = member(&mut bus, "heir", &["a/*"]);
    close(&mut bus, dead);
    for (session, expected) in [
        (other_topics, 0),
        (plain, 0),
        (remote, 0),
        (picky, 0),
        (foreign, 0),
        (busy, 0),
        (heir, 1),
    ] {
        let frames = out(&mut bus, session);
        assert_eq!(inherited(&frames).len(), expected, "{session:?}");
    }
    close(&mut bus, heir);
    assert_eq!(inherited(&out(&mut bus, busy)).len(), 1);
    close(&mut bus, busy);
    assert_eq!(bus.engine.estates.len(), 0, "nobody is left who takes it");
}

#[test]
fn members_of_the_dying_client_inherit_nothing() {
    let mut bus = Bus::new();
    let (_, members) = group(&mut bus, 2);
    let dead = members[0].0;
    assert_eq!(open(&mut bus, dead, 2, member_spec(&["x"])), None);
    close(&mut bus, dead);
    assert_eq!(inherited(&out(&mut bus, members[1].0)).len(), 1);
}

#[test]
fn lanes_of_a_member_elsewhere_are_handed_on_while_their_publisher_is_there() {
    for publisher_first in [true, false] {
        let mut bus = Bus::new();
        let p = bus.join("p");
        bus.publisher(p, 1, "x");
        let remote = bus.join_remote("remote");
        let open = ToBroker::OpenSubscriber {
            request: 1,
            subscriber: 1,
            spec: member_spec(&["x"]),
        };
        bus.send(remote, open);
        let lane = set_lanes(&bus.drain(p))[0];
        bus.offer(p, lane);
        out(&mut bus, remote);
        let heir = member(&mut bus, "heir", &["x"]);
        if publisher_first {
            close(&mut bus, p);
        }
        close(&mut bus, remote);
        let handed_on = inherited(&out(&mut bus, heir)).len();
        assert_eq!(handed_on, usize::from(!publisher_first));
    }
}

#[test]
fn other_patterns_leave_the_rest_of_a_lane_to_its_member() {
    let mut bus = Bus::new();
    let p = bus.join("p");
    bus.publisher(p, 1, "x");
    let m = member(&mut bus, "m", &["x"]);
    let lane = set_lanes(&bus.drain(p))[0];
    bus.offer(p, lane);
    let change = ToBroker::ChangePatterns {
        request: 5,
        subscriber: 1,
        add: vec!["y".into()],
        remove: vec!["x".into()],
    };
    bus.send(m, change);
    let frames = out(&mut bus, m);
    let offered = |(frame, _): &Out| {
        matches!(
            frame,
            ToClient::LaneOffered {
                inherited: None,
                ..
            }
        )
    };
    assert!(frames.iter().any(offered), "{frames:?}");
    bus.send(m, ToBroker::LaneFinished { lane });
    assert_eq!(bus.engine.estates.len(), 0);
}
