//! Queue groups: what members and publishers may not do.

use super::queues::{close, closed_for, group, inherited, member, member_spec, open, out};
use super::*;

#[test]
fn what_is_kept_counts_as_lanes_of_whoever_reads() {
    let mut bus = Bus::with(Limits {
        lanes: 10,
        ..Limits::default()
    });
    let p = bus.join("p");
    let m = member(&mut bus, "m", &["x"]);
    let mut refused = 0;
    for id in 0..50 {
        bus.publisher(p, id, "x");
        let frames = bus.drain(p);
        refused += usize::from(refusal(&frames).is_some());
        for lane in set_lanes(&frames) {
            bus.offer(p, lane);
        }
        bus.send(p, ToBroker::ClosePublisher { publisher: id });
        out(&mut bus, m);
    }
    assert_eq!(refused, 40);
    assert_eq!(bus.engine.estates.len(), 10);
    // It reads, and there is room; another one without room inherits nothing.
    let heir = member(&mut bus, "heir", &["x"]);
    for id in 100..110 {
        bus.publisher(heir, id, "y");
    }
    let other = bus.join("other");
    bus.subscriber(other, 1, &["y"]);
    close(&mut bus, m);
    assert_eq!(bus.engine.estates.len(), 0);
}

#[test]
fn policies_that_replace_messages_are_refused_and_snapshots() {
    let mut bus = Bus::new();
    let s = bus.join("s");
    for (id, overflow) in [(1, Overflow::DropOldest), (2, Overflow::Conflate)] {
        let spec = SubscriberSpec {
            overflow,
            ..member_spec(&["x"])
        };
        let expected = Refusal::QueuePolicy {
            queue: "workers".into(),
            policy: format!("{overflow:?}"),
        };
        assert_eq!(open(&mut bus, s, id, spec), Some(expected));
    }
    let spec = SubscriberSpec {
        history: HistoryUse::Snapshot,
        ..member_spec(&["x"])
    };
    let queue = "workers".into();
    let expected = Refusal::QueueHistory { queue };
    assert_eq!(open(&mut bus, s, 5, spec), Some(expected));
    for (id, overflow) in [(3, Overflow::DropNewest), (4, Overflow::Disconnect)] {
        let spec = SubscriberSpec {
            overflow,
            ..member_spec(&["x"])
        };
        assert_eq!(open(&mut bus, s, id, spec), None);
    }
}

#[test]
fn nobody_else_may_speak_of_a_lane_that_was_handed_on() {
    let setting = || {
        let mut bus = Bus::new();
        let (p, members) = group(&mut bus, 2);
        close(&mut bus, members[0].0);
        let heir = members[1].0;
        let lane = inherited(&out(&mut bus, heir))[0].0;
        let stranger = bus.join("stranger");
        (bus, p, heir, stranger, members[0].1, lane)
    };
    let foreign = |origin: LaneId, lane: LaneId| {
        [
            (ToBroker::LaneClosed { lane: origin }, origin),
            (ToBroker::LaneFinished { lane }, lane),
            (
                ToBroker::RefuseLane {
                    lane,
                    reason: LaneRefusal::Subscriber(String::new()),
                },
                lane,
            ),
        ]
    };
    for index in 0..3 {
        let (mut bus, _, _, stranger, origin, lane) = setting();
        let (frame, id) = foreign(origin, lane)[index].clone();
        let actions = bus.send(stranger, frame);
        assert_eq!(closed_for(&actions), Some(&CloseReason::ForeignLane(id)));
        assert_eq!(bus.engine.estates.len(), 2);
    }
    let (mut bus, p, heir, stranger, origin, lane) = setting();
    let actions = bus.accept(stranger, lane);
    assert_eq!(closed_for(&actions), Some(&CloseReason::ForeignLane(lane)));
    // The publisher knows nothing of the heir's number, nor the heir of the publisher's.
    assert_eq!(bus.send(p, ToBroker::LaneClosed { lane }), []);
    assert_eq!(bus.send(heir, ToBroker::LaneFinished { lane: origin }), []);
    bus.accept(heir, lane);
    let actions = bus.accept(heir, lane);
    assert_eq!(closed_for(&actions), Some(&CloseReason::LaneOrder(lane)));
    // A lane with a route, of somebody else.
    let (mut bus, _, heir, stranger, ..) = setting();
    let own = bus
        .engine
        .lanes
        .of_subscriber(handle(heir, 1))
        .next()
        .unwrap()
        .1;
    let actions = bus.send(stranger, ToBroker::LaneClosed { lane: own });
    assert_eq!(closed_for(&actions), Some(&CloseReason::ForeignLane(own)));
}

#[test]
fn a_lane_that_its_heir_cannot_read_is_not_handed_on_again() {
    let mut bus = Bus::new();
    let (_, members) = group(&mut bus, 3);
    close(&mut bus, members[0].0);
    let heir = members[1].0;
    let lane = inherited(&out(&mut bus, heir))[0].0;
    let reason = LaneRefusal::Subscriber("it is broken".into());
    bus.send(heir, ToBroker::RefuseLane { lane, reason });
    close(&mut bus, heir);
    assert_eq!(inherited(&out(&mut bus, members[2].0)).len(), 1);
}
