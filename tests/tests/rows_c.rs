//! Delivery: rows C of the list of features, by their numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringmain::wire::Refusal;
use ringmain::{
    Client, GapCause, Overflow, PublishError, Publisher, RecvError, RequestError, Subscriber,
};
use ringmain_tests::{Tick, eventually, on_each_transport, within};

/// A publisher with the smallest ring, and a subscriber with this policy.
fn small(client: &Client, overflow: Overflow) -> (Publisher<Tick>, Subscriber<Tick>) {
    let subscriber = client.subscriber("t").overflow(overflow).open().unwrap();
    let publisher = client
        .publisher("t")
        .ring_bytes(4096)
        .max_message_bytes(200)
        .open()
        .unwrap();
    (publisher, subscriber)
}

/// Publishes until a message is dropped; gives the number of those that were not.
fn fill(publisher: &mut Publisher<Tick>) -> u64 {
    (0..)
        .find(|number| publisher.publish("t", &Tick::new(*number)).unwrap().dropped > 0)
        .unwrap()
}

fn block(ms: u64) -> Overflow {
    Overflow::Block {
        deadline: Duration::from_millis(ms),
    }
}

#[test]
fn c1_two_handles_get_one_copy_each_however_many_patterns_match() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut overlapping = client
            .subscriber::<Tick>("t/*")
            .pattern("t/a")
            .pattern("**")
            .pattern("t/*")
            .open()
            .unwrap();
        let mut same = client.subscriber::<Tick>("t/*").open().unwrap();
        let mut publisher = client.publisher::<Tick>("t/*").open().unwrap();
        for number in 0..1000 {
            let topic = if number % 3 == 0 { "t/a" } else { "t/b" };
            let delivery = publisher.publish(topic, &Tick::new(number)).unwrap();
            assert_eq!(delivery.lanes, 2);
            for subscriber in [&mut overlapping, &mut same] {
                let tick = subscriber.recv().unwrap();
                assert_eq!((tick.checked(), tick.topic().as_str()), (number, topic));
            }
        }
        assert!(overlapping.try_recv().unwrap().is_none());
        assert!(same.try_recv().unwrap().is_none());
    });
}

#[test]
fn c1_order_of_each_publisher_under_many_publishers() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let mut subscriber = client.subscriber::<Tick>("t/*").open().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|index| {
                let client = bus.client(&index.to_string());
                std::thread::spawn(move || {
                    let topic = format!("t/{index}");
                    let mut publisher = client.publisher::<Tick>(&topic).open().unwrap();
                    for number in 0..5_000 {
                        publisher.publish(&topic, &Tick::new(number)).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..20_000 {
            let tick = subscriber.recv().unwrap();
            let publisher: usize = tick.publisher().parse().unwrap();
            assert_eq!(tick.topic().as_str(), format!("t/{publisher}"));
            assert_eq!(
                (tick.checked(), tick.sequence()),
                (next[publisher], next[publisher])
            );
            next[publisher] += 1;
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn c7_subscribe_is_a_barrier_under_load() {
    on_each_transport(|bus| {
        let publishing = bus.client("publisher");
        // The message whose `publish` has begun last.
        let begun = Arc::new(AtomicU64::new(0));
        let unsure = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (begun, unsure, stop) = (begun.clone(), unsure.clone(), stop.clone());
            let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
            std::thread::spawn(move || {
                for number in 1.. {
                    begun.store(number, Ordering::SeqCst);
                    let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                    unsure.fetch_add(u64::from(delivery.route_unknown), Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
            })
        };
        let client = bus.client("subscriber");
        let (mut rounds, mut judged) = (0, 0);
        while judged < 200 {
            rounds += 1;
            let unsure_before = unsure.load(Ordering::SeqCst);
            let started = Instant::now();
            let builder = client.subscriber::<Tick>("t").overflow(block(60_000));
            let mut subscriber = builder.open().unwrap();
            let waited = started.elapsed();
            let begun = begun.load(Ordering::SeqCst);
            let first = subscriber.recv().unwrap().checked();
            // Neither side waits for longer than a second, in which a loaded machine may not run the other: a publisher says
            // so then, a broker has held the answer as long.
            let in_time = waited < Duration::from_millis(900)
                && unsure.load(Ordering::SeqCst) == unsure_before;
            if in_time {
                judged += 1;
                assert!(
                    first <= begun + 1,
                    "{first} is the first, {begun} had begun"
                );
            }
            assert!(rounds < 2 * judged + 100, "{judged} of {rounds} in time");
            assert_eq!(subscriber.recv().unwrap().checked(), first + 1);
        }
        stop.store(true, Ordering::SeqCst);
        thread.join().unwrap();
    });
}

#[test]
fn c2_block_waits_until_there_is_room() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("both"), block(30_000));
        let thread = std::thread::spawn(move || {
            for number in 0..20_000 {
                let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            }
        });
        for number in 0..20_000 {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        thread.join().unwrap();
    });
}

#[test]
fn c2_block_gives_up_after_its_deadline_and_once() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("both"), block(100));
        let started = Instant::now();
        let got = fill(&mut publisher);
        assert!(started.elapsed() >= Duration::from_millis(100));
        within(
            Duration::from_secs(5),
            "publishing to a stalled lane",
            || {
                for number in got + 1..got + 100 {
                    let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (0, 1));
                }
            },
        );
        for number in 0..got {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        // From another host the counters may come one after the other.
        let mut lost = 0;
        while lost < 100 {
            match subscriber.recv() {
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                other => panic!("{}", other.is_ok()),
            }
        }
        assert_eq!(lost, 100);
    });
}

#[test]
fn c2_a_publisher_caps_the_deadline() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let cap = Duration::from_millis(50);
        let mut publisher = client
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .block_cap(cap)
            .open()
            .unwrap();
        let error = client
            .subscriber::<Tick>("t")
            .overflow(block(51))
            .open()
            .unwrap_err();
        match error {
            RequestError::Refused(Refusal::BlockCap {
                cap: told,
                deadline,
                ..
            }) => {
                assert_eq!((told, deadline), (cap, Duration::from_millis(51)));
            }
            error => panic!("{error}"),
        }
        let _subscriber = client
            .subscriber::<Tick>("t")
            .overflow(block(50))
            .open()
            .unwrap();
        within(Duration::from_secs(20), "a capped wait", || {
            fill(&mut publisher)
        });
    });
}

#[test]
fn c2_a_cap_holds_for_a_subscriber_that_was_there_before() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client
            .subscriber::<Tick>("t")
            .overflow(block(60_000))
            .open()
            .unwrap();
        let mut publisher = client
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .block_cap(Duration::from_millis(50))
            .open()
            .unwrap();
        within(Duration::from_secs(30), "a capped wait", || {
            fill(&mut publisher)
        });
        assert_eq!(subscriber.recv().unwrap().checked(), 0);
    });
}

#[test]
fn c2_drop_newest_keeps_what_came_first_and_never_waits() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("both"), Overflow::DropNewest);
        let got = within(Duration::from_secs(20), "filling a ring", || {
            fill(&mut publisher)
        });
        for number in 0..got {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
    });
}

#[test]
fn c2_try_publish_reaches_all_or_nobody() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let (mut publisher, mut stuck) = small(&client, block(60_000));
        let mut healthy = client
            .subscriber::<Tick>("t")
            .ring_bytes(1 << 20)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        let mut published = 0;
        let error = loop {
            match publisher.try_publish_to(&topic, &Tick::new(published)) {
                Ok(delivery) => assert_eq!((delivery.lanes, delivery.dropped), (2, 0)),
                Err(error) => break error,
            }
            published += 1;
        };
        assert!(matches!(error, PublishError::WouldBlock), "{error}");
        for number in 0..published {
            assert_eq!(healthy.recv().unwrap().checked(), number);
            assert_eq!(stuck.recv().unwrap().checked(), number);
        }
        assert!(healthy.try_recv().unwrap().is_none());
        // There is room again, and no gap.
        eventually("the publisher knows of the room", || {
            match publisher.try_publish_to(&topic, &Tick::new(published)) {
                Ok(_) => true,
                Err(PublishError::WouldBlock) => false,
                Err(error) => panic!("{error}"),
            }
        });
        assert_eq!(stuck.recv().unwrap().checked(), published);
        assert_eq!(healthy.recv().unwrap().sequence(), published);
    });
}

#[test]
fn c2_publish_with_a_timeout_waits_no_longer() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("both"), block(60_000));
        let topic = publisher.resolve("t").unwrap();
        let timeout = Duration::from_millis(50);
        let started = Instant::now();
        let mut published = 0;
        while publisher
            .publish_to_timeout(&topic, &Tick::new(published), timeout)
            .unwrap()
            .dropped
            == 0
        {
            published += 1;
        }
        assert!((timeout..400 * timeout).contains(&started.elapsed()));
        for number in 0..published {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        assert!(matches!(subscriber.recv(), Err(RecvError::Gap(gap)) if gap.lost == 1));
    });
}

/// Publishes until the publisher has learnt of the subscriber's cursor, to its only subscriber; the losses until then.
fn publish_once_there_is_room(publisher: &mut Publisher<Tick>, number: u64) -> u64 {
    let mut lost = 0;
    eventually("there is room", || {
        let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
        lost += u64::from(delivery.dropped);
        delivery.lanes == 1
    });
    lost
}

/// Hears of this loss, which may come in parts where the count does so over a socket.
fn expect_loss(subscriber: &mut Subscriber<Tick>, first: u64, lost: u64) {
    let mut told = 0;
    while told < lost {
        let Err(RecvError::Gap(gap)) = subscriber.recv().map(drop) else {
            panic!("{told} of {lost} lost messages were told");
        };
        assert_eq!(gap.first_sequence, first + told);
        assert_eq!(
            (gap.cause, gap.publisher.as_str()),
            (GapCause::Overflow, "lossy")
        );
        told += gap.lost;
    }
    assert_eq!(told, lost);
}

#[test]
fn c3_a_gap_tells_count_place_cause_and_publisher() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("lossy"), Overflow::DropNewest);
        // The losses are told when the lane is dry, ...
        let mut first = fill(&mut publisher);
        for _ in 0..4 {
            assert_eq!(publisher.publish("t", &Tick::new(0)).unwrap().dropped, 1);
        }
        for sequence in 0..first {
            assert_eq!(subscriber.recv().unwrap().sequence(), sequence);
        }
        expect_loss(&mut subscriber, first, 5);
        assert!(subscriber.try_recv().unwrap().is_none());
        first += 5;
        let lost = publish_once_there_is_room(&mut publisher, 0);
        expect_loss(&mut subscriber, first, lost);
        first += lost;
        assert_eq!(subscriber.recv().unwrap().sequence(), first);
        first += 1;
        assert!(subscriber.try_recv().unwrap().is_none());
        // ... or in band, before the first message behind them.
        let more = fill(&mut publisher);
        let mut lost = 1;
        for sequence in first..first + more {
            assert_eq!(subscriber.recv().unwrap().sequence(), sequence);
            if sequence == first + more - 2 {
                // The place of the loss is behind the message that is still in the ring.
                lost += publish_once_there_is_room(&mut publisher, 7);
            }
        }
        expect_loss(&mut subscriber, first + more, lost);
        let tick = subscriber.recv().unwrap();
        assert_eq!((tick.checked(), tick.sequence()), (7, first + more + lost));
    });
}

#[test]
fn c3_gaps_and_messages_add_up_under_load() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = small(&bus.client("both"), Overflow::DropNewest);
        let thread = std::thread::spawn(move || {
            let mut dropped = 0;
            for number in 0..200_000 {
                dropped += u64::from(publisher.publish("t", &Tick::new(number)).unwrap().dropped);
            }
            dropped
        });
        let mut tally = ringmain_tests::roles::Tally::default();
        tally.receive(&mut subscriber, 200_000);
        assert_eq!(tally.lost, thread.join().unwrap());
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}
