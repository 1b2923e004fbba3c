//! What happens to the others when a process is killed or stopped: guarantees 4, 5 and the first half of 6.
//!
//! Not in one process: there is nobody to be killed or stopped. On the way to another host, too, where the promise is the
//! same; where it is another one, because the way ends with either process, it stands in `kill_remote.rs`.

use std::time::{Duration, Instant};

use ringmain::{Client, RecvError, RequestError, Subscriber};
use ringmain_tests::roles::{Tally, published};
use ringmain_tests::{
    Bus, Peer, Tick, Transport, eventually, on_each_transport_of_processes, policy, usage, within,
};

/// For lanes that live on without a broker, and what is mapped after their publisher's death.
fn unix() -> Bus {
    Bus::start(Transport::Unix)
}

/// A subscriber that is waited for as long as a test can take: a loaded machine may not run it for a second.
fn patient(client: &Client) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t");
    builder.overflow(policy("block-100000")).open().unwrap()
}

/// Receives until the publisher says this: it says nothing while it waits for a subscriber that does not read.
fn read_until(
    publisher: &mut Peer,
    line: &str,
    subscriber: &mut Subscriber<Tick>,
    tally: &mut Tally,
) {
    eventually(line, || {
        tally.receive(subscriber, tally.got + 500);
        publisher.next_line().is_some_and(|said| {
            assert_eq!(said, line);
            true
        })
    });
}

/// Receives until nothing can come: the broker must be gone, so that no new publisher can.
fn receive_to_the_end(subscriber: &mut Subscriber<Tick>, tally: &mut Tally) {
    loop {
        match subscriber.recv() {
            Ok(tick) => {
                assert_eq!(tick.checked(), tally.got);
                tally.got += 1;
            }
            Err(RecvError::BrokerGone) => return,
            Err(error) => panic!("{error} after {tally:?}"),
        }
    }
}

/// A publisher that waits for a subscriber without room; another subscriber, which reads, has got all there is.
fn blocked_publisher(bus: &Bus) -> (Peer, Peer, Subscriber<Tick>) {
    // Nothing else ends the wait in the time of a test.
    let mut stuck = bus.peer("sleeper", &["t", "block-600000"]);
    stuck.expect("open");
    let mut healthy = patient(&bus.client("healthy"));
    let mut publisher = bus.peer("flood", &["t"]);
    publisher.expect("lanes 2");
    while healthy
        .recv_timeout(Duration::from_millis(100))
        .unwrap()
        .is_some()
    {}
    (publisher, stuck, healthy)
}

#[test]
fn guarantee_5_a_killed_subscriber_frees_a_publisher_that_waits_for_it() {
    on_each_transport_of_processes(|bus| {
        let (mut publisher, mut stuck, mut healthy) = blocked_publisher(bus);
        stuck.kill();
        // It would be waited for longer.
        within(Duration::from_secs(60), "learning of the death", || {
            healthy.recv().unwrap();
        });
        publisher.expect("lanes 1");
    });
}

#[test]
fn guarantee_6_a_killed_subscriber_frees_its_publisher_without_a_broker() {
    let mut bus = unix();
    let (mut publisher, mut stuck, mut healthy) = blocked_publisher(&bus);
    bus.kill_broker();
    stuck.kill();
    within(Duration::from_secs(60), "learning of the death", || {
        healthy.recv().unwrap();
    });
    publisher.expect("lanes 1");
}

#[test]
fn guarantee_5_a_killed_subscriber_costs_the_others_nothing() {
    on_each_transport_of_processes(|bus| {
        let mut subscriber = patient(&bus.client("survivor"));
        let mut victims: Vec<_> = (0..3)
            .map(|_| bus.peer("subscriber", &["t", "block-30000"]))
            .collect();
        for victim in &mut victims {
            victim.expect("open");
            victim.tell("1000000000");
        }
        let mut publisher = bus.peer("flood", &["t"]);
        publisher.expect("lanes 4");
        let mut tally = Tally::default();
        for (mut victim, left) in victims.into_iter().zip(["lanes 3", "lanes 2", "lanes 1"]) {
            tally.receive(&mut subscriber, tally.got + 5_000);
            victim.kill();
            read_until(&mut publisher, left, &mut subscriber, &mut tally);
        }
        assert_eq!(tally.lost, 0);
    });
}

#[test]
fn guarantee_5_a_killed_publisher_leaves_all_that_it_published() {
    let mut bus = unix();
    let count = bus.directory().join("count");
    let client = bus.client("survivor");
    let mut subscriber = patient(&client);
    for round in 0..5 {
        let mut publisher = bus.peer("flood", &["t", count.to_str().unwrap()]);
        let mut tally = Tally::default();
        tally.receive(&mut subscriber, 1 + round * 3_000);
        publisher.kill();
        let published = published(&count);
        tally.receive(&mut subscriber, published);
        // One more may have been written whose `publish` had not returned.
        let more = subscriber.recv_timeout(Duration::from_millis(50)).unwrap();
        assert!(more.is_none_or(|tick| tick.checked() == published));
        assert_eq!(tally.lost, 0);
        let mut next = bus.client("next").publisher::<Tick>("t").open().unwrap();
        next.publish("t", &Tick::new(round)).unwrap();
        let tick = subscriber.recv().unwrap();
        assert_eq!((tick.checked(), tick.sequence()), (round, 0));
    }
    bus.kill_broker();
    receive_to_the_end(&mut subscriber, &mut Tally::default());
}

#[test]
fn guarantee_5_messages_of_a_dead_publisher_whose_ring_nobody_had_mapped_arrive() {
    for death in ["kill", "exit"] {
        let bus = unix();
        let mut subscriber = bus.peer("subscriber", &["t", "block-30000"]);
        subscriber.expect("open");
        subscriber.stop();
        let mut publisher = bus.peer("doomed", &["t", "20", death]);
        publisher.expect("open");
        publisher.tell("go");
        publisher.wait_for_end();
        subscriber.go_on();
        subscriber.tell("20");
        subscriber.expect("got 20 lost 0");
        subscriber.finish();
    }
}

#[test]
fn guarantee_4_drops_of_a_dead_publisher_whose_ring_nobody_had_mapped_are_reported() {
    for death in ["kill", "exit"] {
        let bus = unix();
        let mut subscriber = bus.peer("subscriber", &["t", "drop"]);
        subscriber.expect("open");
        subscriber.stop();
        let mut publisher = bus.peer("doomed", &["t", "1000", death]);
        publisher.expect("open");
        publisher.tell("go");
        let dropped: u64 = publisher.expect_start("dropped").parse().unwrap();
        publisher.wait_for_end();
        subscriber.go_on();
        subscriber.tell("1000");
        subscriber.expect(&format!("got {} lost {dropped}", 1000 - dropped));
        subscriber.finish();
    }
}

#[test]
fn guarantee_5_an_offer_that_a_stopped_broker_has_not_read_outlives_its_publisher() {
    for (death, count) in [("kill", 20), ("exit", 20), ("kill", 1000)] {
        let bus = unix();
        let broker = bus.broker_process().unwrap();
        let mut publisher = bus.peer("doomed", &["t", &count.to_string(), death]);
        publisher.expect("open");
        // It learns of the subscriber when the broker has stopped; so its ring cannot have been passed on.
        publisher.stop();
        let mut subscriber = bus.peer("subscriber", &["t", "drop"]);
        subscriber.expect("open");
        broker.stop();
        publisher.go_on();
        publisher.tell("go");
        let dropped = match count {
            1000 => publisher.expect_start("dropped").parse().unwrap(),
            _ => 0,
        };
        publisher.wait_for_end();
        broker.go_on();
        subscriber.tell(&count.to_string());
        subscriber.expect(&format!("got {} lost {dropped}", count - dropped));
        subscriber.finish();
    }
}

#[test]
fn guarantee_6_established_lanes_lose_nothing_when_the_broker_is_killed() {
    let mut bus = unix();
    let count = bus.directory().join("count");
    let client = bus.client("survivor");
    let mut subscriber = patient(&client);
    let mut other = bus.peer("subscriber", &["t", "block-30000"]);
    other.expect("open");
    other.tell("1000000000");
    let mut publisher = bus.peer("flood", &["t", count.to_str().unwrap()]);
    publisher.expect("lanes 2");
    let mut tally = Tally::default();
    tally.receive(&mut subscriber, 10_000);
    bus.kill_broker();
    tally.receive(&mut subscriber, 40_000);
    assert!(matches!(
        client.publisher::<Tick>("t").open(),
        Err(RequestError::BrokerGone)
    ));
    assert!(matches!(
        client.subscriber::<Tick>("t").open(),
        Err(RequestError::BrokerGone)
    ));
    assert!(matches!(
        subscriber.add_pattern("other"),
        Err(RequestError::BrokerGone)
    ));
    assert!(matches!(client.ping(), Err(RequestError::BrokerGone)));
    assert!(!client.is_connected());
    // A death is noticed without a broker, on either side of a lane.
    other.kill();
    read_until(&mut publisher, "lanes 1", &mut subscriber, &mut tally);
    tally.receive(&mut subscriber, tally.got + 5_000);
    publisher.kill();
    receive_to_the_end(&mut subscriber, &mut tally);
    assert!(tally.got >= published(&count), "{tally:?}");
    assert_eq!(tally.lost, 0);
}

#[test]
fn guarantee_6_handles_that_are_dropped_part_without_a_broker() {
    ringmain_tests::on_each_local_transport(|bus| {
        let client = bus.client("both");
        let [mut subscriber, mut dropped] = [patient(&client), patient(&client)];
        let publishing = bus.client("publisher");
        let mut publisher = publishing
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .open()
            .unwrap();
        // More than a ring takes, so that either end knows the other.
        for number in 0..500 {
            assert_eq!(publisher.publish("t", &Tick::new(number)).unwrap().lanes, 2);
            assert_eq!(subscriber.recv().unwrap().checked(), number);
            assert_eq!(dropped.recv().unwrap().checked(), number);
        }
        bus.kill_broker();
        eventually("the link is closed", || !publishing.is_connected());
        drop(dropped);
        // More than its ring takes: it is neither waited for nor counted as a loss.
        let mut lanes = 2;
        for number in 500..1000 {
            let delivery = within(Duration::from_secs(60), "a publish", || {
                publisher.publish("t", &Tick::new(number)).unwrap()
            });
            assert!(delivery.lanes <= lanes && delivery.dropped == 0);
            lanes = delivery.lanes;
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        assert_eq!(lanes, 1);
        drop(publisher);
        let mut tally = Tally {
            got: 1000,
            ..Tally::default()
        };
        receive_to_the_end(&mut subscriber, &mut tally);
        assert_eq!(tally.got, 1000);
    });
}

#[test]
fn a_stopped_publisher_delays_no_subscribe_and_sees_the_subscriber_before_its_next_message() {
    let bus = unix();
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.stop();
    let client = bus.client("subscriber");
    // Each would take a second if it were one for which the publisher is waited.
    let mut subscribers: Vec<_> = within(Duration::from_secs(20), "subscribing", || {
        let subscribe = |_| client.subscriber::<Tick>("t").open().unwrap();
        (0..30).map(subscribe).collect()
    });
    publisher.go_on();
    publisher.tell("0 1");
    publisher.expect("lanes 30 dropped 0");
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.recv().unwrap().checked(), 0);
    }
}

#[test]
fn a_stopped_broker_delays_a_publish_by_a_second_and_once() {
    publish_beside_a_stopped_broker("blocking");
}

#[test]
fn a_stopped_broker_delays_a_publish_in_a_future_by_a_second_and_once() {
    publish_beside_a_stopped_broker("future");
}

fn publish_beside_a_stopped_broker(way: &str) {
    let bus = unix();
    let broker = bus.broker_process().unwrap();
    let mut publisher = bus.peer("unsure", &["t/**", way]);
    publisher.expect("open");
    publisher.stop();
    let client = bus.client("subscriber");
    // More routes than the socket of the stopped publisher takes: the rest stays in the broker.
    let long: Vec<_> = (0..100)
        .map(|index| format!("t/{}/{index}", "x".repeat(900)))
        .collect();
    let subscribers: Vec<_> = (0..40)
        .map(|_| {
            let mut builder = client.subscriber::<Tick>("t");
            for pattern in &long {
                builder = builder.pattern(pattern);
            }
            builder.open().unwrap()
        })
        .collect();
    broker.stop();
    publisher.go_on();
    let started = Instant::now();
    publisher.tell("publish");
    publisher.expect("route_unknown true");
    let waited = started.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(30)).contains(&waited),
        "{waited:?}"
    );
    within(Duration::from_secs(30), "the next publishes", || {
        for _ in 0..40 {
            publisher.tell("publish");
            publisher.expect("route_unknown true");
        }
    });
    broker.go_on();
    eventually("the routes are known", || {
        publisher.tell("publish");
        publisher.line() == "route_unknown false"
    });
    drop(subscribers);
}

#[test]
fn a_stopped_broker_fails_a_request_after_its_time() {
    let bus = unix();
    let client = bus.client("asking");
    let broker = bus.broker_process().unwrap();
    broker.stop();
    let started = Instant::now();
    assert!(matches!(client.ping(), Err(RequestError::Silent(_))));
    assert!(started.elapsed() < Duration::from_secs(60));
    broker.go_on();
    client.ping().unwrap();
}

#[test]
fn guarantee_5_memory_and_descriptors_of_the_dead_come_back() {
    on_each_transport_of_processes(|bus| {
        let mut host = bus.peer("host", &["out", "in"]);
        host.expect("open");
        let pids = [
            host.pid().unwrap(),
            bus.broker_process().unwrap().pid().unwrap(),
        ];
        let used = || pids.map(|pid| (usage::descriptors(pid), usage::segments(pid)));
        let before = used();
        for _ in 0..10 {
            let mut visitors: Vec<_> = (0..10)
                .map(|_| bus.peer("visitor", &["out", "in"]))
                .collect();
            for visitor in &mut visitors {
                visitor.expect("open");
            }
            host.tell("go");
            host.expect("lanes 10 got 0");
            for visitor in &mut visitors {
                visitor.tell("go");
                visitor.expect("met");
            }
            assert_ne!(used(), before);
            for visitor in &mut visitors {
                visitor.kill();
            }
            eventually("what the dead used comes back", || {
                host.tell("go");
                host.line() == "lanes 0 got 0" && used() == before
            });
        }
    });
}
