//! Row B1: a message costs no allocation and no system call, on either side.

use ringmain::Overflow;
use ringmain_tests::allocations::{Counting, allocations_of};
use ringmain_tests::{Bus, Peer, Tick, Transport, on_each_transport};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn b1_no_allocation_for_a_message() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Tick>("t/*").open().unwrap();
        let mut dropping = client
            .subscriber::<Tick>("t/*")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Tick>("t/*").open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        let ticks: Vec<_> = (0..40).map(Tick::new).collect();
        let mut round = || {
            for tick in &ticks {
                publisher.publish("t/b", tick).unwrap();
                assert_eq!(subscriber.recv().unwrap().number, tick.number);
                let _ = dropping.try_recv();
                publisher.publish_to(&topic, tick).unwrap();
                assert_eq!(subscriber.recv().unwrap().number, tick.number);
                let _ = dropping.try_recv();
            }
        };
        // To another host each message is a way there, and it is a relay that would allocate.
        let laps = match bus.transport() {
            Transport::Tcp => 1,
            Transport::Unix | Transport::Memory => 10,
        };
        // Until each end knows the other and both topics.
        (0..10 * laps).for_each(|_| round());
        // Several laps of the rings.
        assert_eq!(allocations_of(|| (0..100 * laps).for_each(|_| round())), 0);
        // Nothing is allocated for a drop either.
        let mut dropped = 0;
        let mut round = || {
            for _ in 0..20_000 {
                dropped += publisher.publish_to(&topic, &ticks[0]).unwrap().dropped;
                subscriber.recv().unwrap();
            }
        };
        round();
        assert_eq!(allocations_of(round), 0);
        assert!(dropped > 20_000, "{dropped}");
    });
}

/// Publisher and subscriber of `count` messages at a time, neither of which sleeps while the other works.
fn quiet(bus: &Bus, count: &str) -> (Peer, Peer) {
    let mut subscriber = bus.peer("quiet-subscriber", &["t", count]);
    subscriber.expect("open");
    let mut publisher = bus.peer("quiet-publisher", &["t", count]);
    publisher.expect("open");
    (publisher, subscriber)
}

#[test]
fn b1_no_system_call_for_a_message() {
    let bus = Bus::start(Transport::Unix);
    let (mut publisher, mut subscriber) = quiet(&bus, "1000");
    // Several laps of the ring.
    for round in 1..=50 {
        publisher.tell("go");
        publisher.expect(&format!("published {}", 1000 * round));
        subscriber.tell("go");
        subscriber.expect(&format!("received {}", 1000 * round));
    }
}

#[test]
fn b1_the_system_call_that_wakes_a_sleeper_is_found_by_the_test_above() {
    let bus = Bus::start(Transport::Unix);
    let (mut publisher, mut subscriber) = quiet(&bus, "1");
    publisher.tell("go");
    publisher.expect("published 1");
    subscriber.tell("go");
    subscriber.expect("received 1");
    // It is forbidden to sleep now, and dies of it.
    subscriber.tell("go");
    subscriber.wait_for_end();
    publisher.tell("go");
}
