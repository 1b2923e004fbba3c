//! Row A23: a message goes to one named receiver of those that match.

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use ringmain::{Overflow, PublishError, Publisher, RecvError, Subscriber};
use ringmain_tests::{
    Bus, Tick, on_each_local_transport, on_each_transport, on_each_transport_of_processes, within,
};

fn subscriber(bus: &Bus, name: &str, pattern: &str) -> Subscriber<Tick> {
    bus.client(name).subscriber(pattern).open().unwrap()
}

fn publisher(bus: &Bus) -> Publisher<Tick> {
    let client = bus.client("sender");
    let builder = client.publisher("t/*").ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

/// Asserts that this refuses a message because nobody is there to get it.
fn expect_no_receiver(error: PublishError, name: &str, topic_name: &str) {
    match error {
        PublishError::NoReceiver { receiver, topic } => {
            assert_eq!((receiver.as_str(), topic.as_str()), (name, topic_name));
        }
        error => panic!("{error}"),
    }
}

#[test]
fn a23_only_the_named_receiver_gets_the_message() {
    on_each_transport(|bus| {
        let mut subscribers =
            ["ann", "bob", "cid"].map(|name| (name, subscriber(bus, name, "t/*")));
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        for number in 0..30 {
            let tick = Tick::new(number);
            let (name, _) = subscribers[number as usize % 3];
            let delivery = match number % 2 {
                0 => publisher.publish_to_one(&topic, name, &tick),
                _ => block_on(publisher.publish_to_one_async(&topic, name, &tick)),
            };
            assert_eq!(delivery.unwrap().lanes, 1);
        }
        // To all.
        assert_eq!(
            publisher.publish_to(&topic, &Tick::new(30)).unwrap().lanes,
            3
        );
        for (index, (_, subscriber)) in subscribers.iter_mut().enumerate() {
            for sequence in 0..10 {
                let tick = subscriber.recv().unwrap();
                assert_eq!(tick.checked(), 3 * sequence + index as u64);
                assert_eq!(tick.sequence(), sequence, "others leave no gap");
            }
            assert_eq!(subscriber.recv().unwrap().checked(), 30);
            assert!(subscriber.try_recv().unwrap().is_none());
        }
    });
}

#[test]
fn a23_of_several_with_one_name_the_first_gets_it() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        let mut first = subscriber(bus, "twin", "t/*");
        let mut second = subscriber(bus, "twin", "t/a");
        for number in 0..10 {
            publisher
                .publish_to_one(&topic, "twin", &Tick::new(number))
                .unwrap();
            assert_eq!(first.recv().unwrap().checked(), number);
        }
        drop(first);
        // A third one comes where the first has been, but later than the second.
        let _third = subscriber(bus, "twin", "t/**");
        let delivery = publisher.publish_to_one(&topic, "twin", &Tick::new(10));
        assert_eq!(delivery.unwrap().lanes, 1);
        let tick = second.recv_timeout(Duration::from_secs(30)).unwrap();
        let tick = tick.expect("the second one gets it");
        assert_eq!((tick.checked(), tick.sequence()), (10, 0));
    });
}

#[test]
fn a23_without_such_a_receiver_nothing_is_published() {
    on_each_transport(|bus| {
        let mut other = subscriber(bus, "other", "t/*");
        let mut elsewhere = subscriber(bus, "elsewhere", "t/b");
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        for name in ["nobody", "elsewhere", "othe", ""] {
            let error = publisher
                .publish_to_one(&topic, name, &Tick::new(0))
                .unwrap_err();
            expect_no_receiver(error, name, "t/a");
            let tick = Tick::new(0);
            let published = publisher.publish_to_one_async(&topic, name, &tick);
            expect_no_receiver(block_on(published).unwrap_err(), name, "t/a");
        }
        publisher.publish_to(&topic, &Tick::new(1)).unwrap();
        let tick = other.recv().unwrap();
        assert_eq!((tick.checked(), tick.sequence()), (1, 0));
        assert!(elsewhere.try_recv().unwrap().is_none());
    });
}

#[test]
fn a23_a_receiver_that_dies_is_no_receiver_any_more() {
    on_each_transport_of_processes(|bus| {
        let mut peer = bus.peer("sleeper", &["t/a", "drop"]);
        peer.expect("open");
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        // Clients that give themselves no name are called like their program.
        let name = "peer";
        publisher
            .publish_to_one(&topic, name, &Tick::new(0))
            .unwrap();
        peer.kill();
        let started = Instant::now();
        let error = loop {
            match publisher.publish_to_one(&topic, name, &Tick::new(1)) {
                Ok(_) => assert!(started.elapsed() < Duration::from_secs(30), "it lives"),
                Err(error) => break error,
            }
        };
        expect_no_receiver(error, name, "t/a");
    });
}

#[test]
fn a23_the_receiver_s_policy_holds_and_others_are_not_looked_at() {
    on_each_transport(|bus| {
        // Full, and to be waited for: for the others that is nothing.
        let _stuck = subscriber(bus, "stuck", "t/*");
        let client = bus.client("lossy");
        let mut lossy = client
            .subscriber::<Tick>("t/*")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        loop {
            let tick = Tick::new(0);
            let written = publisher.publish_to_timeout(&topic, &tick, Duration::ZERO);
            if written.unwrap().lanes == 0 {
                break;
            }
        }
        // Whoever was waited for in vain is not waited for again: that must not matter here.
        within(Duration::from_secs(30), "publishing to another one", || {
            for number in 0..1000 {
                let delivery = publisher
                    .publish_to_one(&topic, "lossy", &Tick::new(number))
                    .unwrap();
                assert_eq!(delivery.lanes + delivery.dropped, 1);
            }
        });
        let closed = publisher.close(Duration::ZERO).unwrap();
        let lane = |name: &str| closed.lanes.iter().find(|lane| lane.subscriber == name);
        let (lossy_lane, stuck_lane) = (lane("lossy").unwrap(), lane("stuck").unwrap());
        assert!(lossy_lane.dropped > 900, "{closed:?}");
        assert!(stuck_lane.dropped < 10, "{closed:?}");
        let mut got = 0;
        let mut lost = 0;
        while lost < lossy_lane.dropped {
            match lossy.recv() {
                Ok(_) => got += 1,
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((got, lost), (lossy_lane.unread, lossy_lane.dropped));
    });
}

#[test]
fn a23_a_receiver_whose_older_messages_give_way_gets_it_too() {
    on_each_local_transport(|bus| {
        for overflow in [Overflow::DropOldest, Overflow::Conflate] {
            let client = bus.client("named");
            let builder = client.subscriber::<Tick>("t/*").overflow(overflow);
            let mut named = builder.open().unwrap();
            let others = bus.client("other");
            let mut other = others
                .subscriber::<Tick>("t/*")
                .overflow(overflow)
                .open()
                .unwrap();
            let mut publisher = publisher(bus);
            let topic = publisher.resolve("t/a").unwrap();
            for number in 0..10 {
                let delivery = publisher
                    .publish_to_one(&topic, "named", &Tick::new(number))
                    .unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                assert_eq!(named.recv().unwrap().checked(), number);
            }
            assert_eq!(
                publisher.publish_to(&topic, &Tick::new(10)).unwrap().lanes,
                2
            );
            assert_eq!(other.recv().unwrap().checked(), 10);
        }
    });
}
