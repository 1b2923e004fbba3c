//! The guarantees of Ringmain, by their numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringmain::message::Bytes;
use ringmain::{GapCause, Overflow, RecvError, Subscriber};
use ringmain_tests::roles::Tally;
use ringmain_tests::{
    Tick, Transport, eventually, on_each_transport, on_each_transport_of_processes, policy,
};

#[test]
fn guarantee_1_subscribe_is_a_barrier() {
    on_each_transport(|bus| {
        let mut publisher = bus.peer("publisher", &["t/a"]);
        publisher.expect("open");
        let client = bus.client("subscriber");
        for round in 0..50 {
            // Nothing but the return of `open` tells that the publisher may go on.
            let mut subscriber = client.subscriber::<Tick>("t/*").open().unwrap();
            publisher.tell(&format!("{round} {}", round + 1));
            publisher.expect("lanes 1 dropped 0");
            let tick = subscriber.recv().unwrap();
            assert_eq!((tick.checked(), tick.sequence()), (round, 0));
        }
    });
}

#[test]
fn guarantee_1_holds_for_a_publisher_that_opens_after_the_subscriber() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let mut subscriber = client.subscriber::<Tick>("t/*").open().unwrap();
        for round in 0..20 {
            let mut publisher = bus.peer("publisher", &["t/a"]);
            publisher.expect("open");
            publisher.tell(&format!("{round} {}", round + 1));
            publisher.expect("lanes 1 dropped 0");
            publisher.finish();
            assert_eq!(subscriber.recv().unwrap().checked(), round);
        }
    });
}

#[test]
fn guarantee_2_order_across_topics_without_duplicates() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client
            .subscriber::<Tick>("t/**")
            .pattern("t/*")
            .pattern("**/3")
            .open()
            .unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Tick>("t/*").open().unwrap();
        let thread = std::thread::spawn(move || {
            for number in 0..20_000 {
                publisher
                    .publish(&format!("t/{}", number % 7), &Tick::new(number))
                    .unwrap();
            }
        });
        for number in 0..20_000 {
            let tick = subscriber.recv().unwrap();
            assert_eq!((tick.checked(), tick.sequence()), (number, number));
            assert_eq!(tick.topic().as_str(), format!("t/{}", number % 7));
        }
        thread.join().unwrap();
        assert!(
            subscriber
                .recv_timeout(Duration::from_millis(20))
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn guarantee_3_a_stalled_subscriber_delays_a_publisher_once() {
    on_each_transport(|bus| {
        let client = bus.client("slow");
        let deadline = Duration::from_millis(200);
        let mut slow = client
            .subscriber::<Bytes>("t")
            .overflow(Overflow::Block { deadline })
            .open()
            .unwrap();
        let mut healthy = client
            .subscriber::<Bytes>("t")
            .overflow(Overflow::DropNewest)
            .ring_bytes(1 << 20)
            .open()
            .unwrap();
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4096)
            .max_message_bytes(1000)
            .open()
            .unwrap();
        let payload = [7; 1000];
        let started = Instant::now();
        let (mut lanes, mut dropped) = (0, 0);
        for _ in 0..100 {
            let delivery = publisher.publish("t", Bytes::new(&payload)).unwrap();
            (lanes, dropped) = (lanes + delivery.lanes, dropped + delivery.dropped);
            assert_eq!(&*healthy.recv().unwrap(), &payload);
        }
        let waited = started.elapsed();
        assert!(
            waited >= deadline,
            "the deadline was not waited for: {waited:?}"
        );
        // Each of the messages that find no room would be waited for: more than eighty.
        assert!(
            waited < 30 * deadline,
            "the stalled lane was waited for again: {waited:?}"
        );
        assert_eq!(lanes + dropped, 200);
        let (mut got, mut lost) = (0, 0);
        while got + lost < 100 {
            match slow.recv() {
                Ok(_) => got += 1,
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((got + lost, lost), (100, u64::from(dropped)));
        // It reads again, so it is waited for again, once the publisher can know.
        eventually("the lane is waited for again", || {
            publisher
                .publish("t", Bytes::new(&payload))
                .unwrap()
                .dropped
                == 0
        });
    });
}

#[test]
fn guarantee_4_losses_are_reported_exactly() {
    on_each_transport(|bus| {
        let mut subscriber = bus.peer("subscriber", &["t/*", "drop"]);
        subscriber.expect("open");
        let client = bus.client("publisher");
        let mut publisher = client
            .publisher::<Tick>("t/a")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .open()
            .unwrap();
        let mut dropped = 0;
        for number in 0..10_000 {
            dropped += publisher
                .publish("t/a", &Tick::new(number))
                .unwrap()
                .dropped;
        }
        assert!(dropped > 0, "nobody reads, so something must be dropped");
        subscriber.tell("10000");
        subscriber.expect(&format!("got {} lost {dropped}", 10_000 - dropped));
        subscriber.finish();
    });
}

#[test]
fn guarantee_4_a_loss_right_before_the_publisher_ends_is_reported() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let mut subscriber = client
            .subscriber::<Bytes>("t")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let mut publisher = bus.peer("drop", &["t", "50"]);
        let dropped: u64 = publisher.expect_start("dropped").parse().unwrap();
        publisher.finish();
        let (mut got, mut lost) = (0, 0);
        while got + lost < 50 {
            match subscriber.recv() {
                Ok(_) => got += 1,
                // The process has taken with it what had not left for the other host.
                Err(RecvError::Gap(gap)) if gap.cause == GapCause::TransportLost => {
                    assert_eq!(bus.transport(), Transport::Tcp);
                    assert!(got <= 50 - dropped && lost <= dropped);
                    return;
                }
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((got, lost), (50 - dropped, dropped));
    });
}

#[test]
fn both_sides_of_many_lanes_keep_their_order() {
    on_each_transport(|bus| {
        let mut peers: Vec<_> = (0..3)
            .map(|_| bus.peer("subscriber", &["t/*", "block-30000"]))
            .collect();
        for peer in &mut peers {
            peer.expect("open");
            peer.tell("30000");
        }
        let client = bus.client("publisher");
        let mut publisher = client.publisher::<Tick>("t/a").open().unwrap();
        let mut own = client.subscriber::<Tick>("t/a").open().unwrap();
        let reading = std::thread::spawn(move || {
            let mut tally = Tally::default();
            tally.receive(&mut own, 30_000);
            tally
        });
        let topic = publisher.resolve("t/a").unwrap();
        for number in 0..30_000 {
            let delivery = publisher.publish_to(&topic, &Tick::new(number)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (4, 0));
        }
        for mut peer in peers {
            peer.expect("got 30000 lost 0");
            peer.finish();
        }
        assert_eq!(reading.join().unwrap().got, 30_000);
        assert_eq!(publisher.matches(), 1);
    });
}

#[test]
fn guarantee_5_a_killed_publisher_costs_the_others_nothing() {
    on_each_transport_of_processes(|bus| {
        let mut survivors: Vec<_> = (0..2)
            .map(|_| {
                let client = bus.client("survivor");
                let builder = client.subscriber::<Tick>("t/**");
                builder.overflow(policy("block-30000")).open().unwrap()
            })
            .collect();
        let _staying = bus.peer("flood", &["t/staying"]);
        for round in 0..3 {
            let dying = format!("t/dying/{round}");
            let mut victim = bus.peer("flood", &[&dying]);
            victim.expect("lanes 2");
            // In turn, in one thread: a lane that held the other one up would be seen.
            for survivor in &mut survivors {
                receive_of_each(survivor, &["t/staying", &dying]);
            }
            victim.kill();
            for survivor in &mut survivors {
                receive_of_each(survivor, &["t/staying"]);
            }
        }
    });
}

/// Receives until a thousand of each topic have come in their order, beside what may come of others.
fn receive_of_each(subscriber: &mut Subscriber<Tick>, topics: &[&str]) {
    let mut next = BTreeMap::new();
    let mut got = vec![0; topics.len()];
    while got.iter().any(|count| *count < 1000) {
        match subscriber.recv() {
            Ok(tick) => {
                let (topic, number) = (tick.topic().to_string(), tick.checked());
                if let Some(index) = topics.iter().position(|of| *of == topic) {
                    got[index] += 1;
                }
                let due = next.insert(topic, number + 1);
                assert_eq!(number, due.unwrap_or(number));
            }
            // What the dead one has taken with it.
            Err(RecvError::Gap(gap)) => assert_eq!(gap.cause, GapCause::TransportLost),
            Err(error) => panic!("{error}"),
        }
    }
}
