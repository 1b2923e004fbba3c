//! Who subscribes is answered when publishers on other hosts know of it, or have had their time.

use super::*;

/// A publisher here, two on other hosts, a subscriber; the routes are read.
struct Hosts {
    bus: Bus,
    local: SessionId,
    remotes: [SessionId; 2],
    subscriber: SessionId,
}

impl Hosts {
    fn new() -> Self {
        let mut bus = Bus::new();
        let local = bus.join("local");
        let remotes = [bus.join_remote("one"), bus.join_remote("two")];
        let subscriber = bus.join("subscriber");
        bus.publisher(local, 1, "x");
        bus.publisher(remotes[0], 1, "x");
        bus.publisher(remotes[1], 1, "**");
        let mut hosts = Self {
            bus,
            local,
            remotes,
            subscriber,
        };
        hosts.read_routes();
        hosts
    }

    fn read_routes(&mut self) {
        for session in [self.local, self.remotes[0], self.remotes[1]] {
            self.bus.drain(session);
        }
    }

    fn subscribe(&mut self, pattern: &str) -> Vec<Action> {
        self.bus.subscriber(self.subscriber, 1, &[pattern])
    }

    fn seen(&mut self, remote: usize, epoch: u64) -> Vec<Action> {
        let frame = ToBroker::RoutesSeen { epoch };
        self.bus.send(self.remotes[remote], frame)
    }

    fn answers(&mut self) -> Vec<ToClient> {
        self.bus.drain(self.subscriber)
    }

    fn tick_at(&mut self, now: Duration) -> Vec<Action> {
        self.bus.now = now;
        self.bus.event(Event::Tick)
    }
}

/// The answer to the first request, of a subscriber with so many lanes.
fn answered(lanes: u32) -> [ToClient; 1] {
    [ToClient::Opened { request: 1, lanes }]
}
const NOTHING: [ToClient; 0] = [];
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn an_answer_is_held_until_all_other_hosts_concerned_have_seen_the_routes() {
    let mut hosts = Hosts::new();
    hosts.subscribe("x");
    assert_eq!(hosts.answers(), NOTHING);
    hosts.seen(0, 1);
    assert_eq!(hosts.answers(), NOTHING);
    // Said twice is said by one.
    hosts.seen(0, 1);
    assert_eq!(hosts.answers(), NOTHING);
    let actions = hosts.seen(1, 1);
    assert_eq!(actions, [Action::Flush(hosts.subscriber)]);
    assert_eq!(hosts.answers(), answered(3));
    assert_eq!(hosts.bus.engine.next_timeout(), None);
}

#[test]
fn hosts_whose_publishers_it_does_not_meet_are_not_waited_for() {
    let mut hosts = Hosts::new();
    // Of the other hosts, only the second publishes that.
    hosts.subscribe("y");
    hosts.seen(1, 1);
    assert_eq!(hosts.answers(), answered(1));
}

#[test]
fn publishers_of_this_host_are_not_waited_for() {
    let mut bus = Bus::new();
    let (p, s) = (bus.join("p"), bus.join("s"));
    bus.publisher(p, 1, "x");
    bus.subscriber(s, 1, &["x"]);
    assert_eq!(bus.drain(s), answered(1));
    assert_eq!(bus.engine.next_timeout(), None);
}

#[test]
fn a_host_that_has_seen_earlier_routes_has_not_seen_these() {
    let mut hosts = Hosts::new();
    hosts.bus.subscriber(hosts.local, 9, &["y"]);
    hosts.subscribe("y");
    assert_eq!(hosts.bus.epoch_of(hosts.remotes[1]), 2);
    hosts.seen(1, 1);
    assert_eq!(hosts.answers(), NOTHING);
    assert_eq!(
        hosts.bus.drain(hosts.local).last(),
        Some(&ToClient::Opened {
            request: 9,
            lanes: 1
        })
    );
    hosts.seen(1, 2);
    assert_eq!(hosts.answers(), answered(1));
}

#[test]
fn a_host_that_goes_is_not_waited_for() {
    let mut hosts = Hosts::new();
    hosts.subscribe("x");
    hosts.seen(0, 1);
    let session = hosts.remotes[1];
    hosts.bus.event(Event::Closed { session });
    assert_eq!(hosts.answers(), answered(3));
}

#[test]
fn a_host_that_does_not_confirm_is_waited_for_a_second() {
    let mut hosts = Hosts::new();
    hosts.bus.now = Duration::from_secs(5);
    hosts.subscribe("x");
    hosts.seen(1, 1);
    let due = Duration::from_secs(5) + PATIENCE;
    assert_eq!(hosts.bus.engine.next_timeout(), Some(due));
    hosts.tick_at(due - Duration::from_nanos(1));
    assert_eq!(hosts.answers(), NOTHING);
    hosts.tick_at(due);
    assert_eq!(hosts.answers(), answered(3));
    assert_eq!(hosts.bus.engine.next_timeout(), None);
    // Too late, and no harm.
    assert_eq!(hosts.seen(0, 1), []);
}

#[test]
fn a_subscriber_that_goes_takes_its_answer_with_it() {
    let mut hosts = Hosts::new();
    hosts.subscribe("x");
    let session = hosts.subscriber;
    hosts.bus.event(Event::Closed { session });
    assert_eq!(hosts.bus.engine.next_timeout(), None);
    assert_eq!(hosts.tick_at(PATIENCE), []);
}

#[test]
fn changed_patterns_are_held_as_well() {
    let mut hosts = Hosts::new();
    hosts.subscribe("none/of/these");
    hosts.seen(1, 1);
    assert_eq!(hosts.answers(), answered(1));
    hosts.read_routes();
    let change = |request, add: &str, remove: &str| ToBroker::ChangePatterns {
        request,
        subscriber: 1,
        add: vec![add.into()],
        remove: vec![remove.into()],
    };
    let subscriber = hosts.subscriber;
    hosts.bus.send(subscriber, change(2, "x", "none/of/these"));
    hosts.seen(0, 1);
    assert_eq!(hosts.answers(), NOTHING);
    hosts.seen(1, 2);
    assert_eq!(
        hosts.answers(),
        [ToClient::Opened {
            request: 2,
            lanes: 3
        }]
    );
    // The first host's lane goes, the second's changes: both are told before the answer.
    hosts.bus.send(subscriber, change(3, "y", "x"));
    hosts.seen(1, 3);
    assert_eq!(hosts.answers(), NOTHING);
    hosts.seen(0, 2);
    assert_eq!(
        hosts.answers(),
        [ToClient::Opened {
            request: 3,
            lanes: 1
        }]
    );
}

#[test]
fn a_refusal_is_not_held() {
    let mut hosts = Hosts::new();
    hosts.subscribe("x");
    // The handle is taken.
    hosts.subscribe("y");
    assert!(refusal(&hosts.answers()).is_some());
}

#[test]
fn a_client_of_this_host_that_confirms_routes_is_expelled() {
    let mut hosts = Hosts::new();
    let session = hosts.local;
    let actions = hosts.bus.send(session, ToBroker::RoutesSeen { epoch: 1 });
    let reason = CloseReason::NotRemote;
    assert_eq!(actions, [Action::Close { session, reason }]);
}

#[test]
fn a_client_on_another_host_that_subscribes_to_itself_is_answered() {
    let mut hosts = Hosts::new();
    let remote = hosts.remotes[1];
    hosts.bus.subscriber(remote, 5, &["y"]);
    assert!(matches!(
        &hosts.bus.drain(remote)[..],
        [ToClient::Routes { epoch: 1, .. }]
    ));
    hosts.seen(1, 1);
    assert_eq!(
        hosts.bus.drain(remote),
        [ToClient::Opened {
            request: 5,
            lanes: 1
        }]
    );
}
