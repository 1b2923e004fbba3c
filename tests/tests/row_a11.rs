//! Row A11: a message without a receiver waits for one, for a time.

use std::pin::pin;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use futures_sink::Sink;
use ringmain::counters::{Role, scan_process};
use ringmain::message::Bytes;
use ringmain::{Client, PublishError, Publisher, Subscriber};
use ringmain_tests::{Bus, Tick, eventually, on_each_transport};

const LONG: Duration = Duration::from_secs(600);

fn publisher(bus: &Bus) -> Publisher<Tick> {
    let client = bus.client("sender");
    let builder = client.publisher("t/*").ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

fn subscriber(client: &Client, pattern: &str) -> Subscriber<Tick> {
    client.subscriber(pattern).open().unwrap()
}

/// Receives ticks with these numbers, whose sequence begins so.
fn expect(subscriber: &mut Subscriber<Tick>, numbers: impl Iterator<Item = u64>, sequence: u64) {
    for (index, number) in numbers.enumerate() {
        let tick = subscriber.recv_timeout(Duration::from_secs(30)).unwrap();
        let tick = tick.unwrap_or_else(|| panic!("tick {number} does not come"));
        assert_eq!(tick.checked(), number);
        assert_eq!(tick.sequence(), sequence + index as u64);
    }
}

#[test]
fn a11_the_first_subscriber_gets_what_waits_in_order_while_the_publisher_does_nothing() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus);
        let topics = ["t/a", "t/b"].map(|name| publisher.resolve(name).unwrap());
        // Many times what the ring would hold.
        for number in 0..1000 {
            let topic = &topics[number as usize % 2];
            let delivery = publisher.publish_with_ttl(topic, &Tick::new(number), LONG);
            let delivery = delivery.unwrap();
            assert!(delivery.waiting);
            assert_eq!((delivery.lanes, delivery.dropped), (0, 0));
        }
        let client = bus.client("receiver");
        let mut first = subscriber(&client, "t/a");
        expect(&mut first, (0..1000).step_by(2), 0);
        let mut second = subscriber(&client, "t/*");
        expect(&mut second, (1..1000).step_by(2), 0);
        // Each goes to one, and those that are newer come behind.
        let delivery = publisher.publish_with_ttl(&topics[0], &Tick::new(1000), LONG);
        let delivery = delivery.unwrap();
        assert_eq!((delivery.lanes, delivery.waiting), (2, false));
        expect(&mut first, 1000..1001, 500);
        expect(&mut second, 1000..1001, 500);
        assert_eq!(publisher.expired(), 0);
    });
}

#[test]
fn a11_what_waits_comes_before_anything_newer() {
    on_each_transport(|bus| {
        let client = bus.client("receiver");
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        for _ in 0..20 {
            for number in 0..10 {
                publisher
                    .publish_with_ttl(&topic, &Tick::new(number), LONG)
                    .unwrap();
            }
            let mut subscriber = subscriber(&client, "t/a");
            for number in 10..20 {
                let delivery = publisher.publish_to(&topic, &Tick::new(number)).unwrap();
                assert_eq!((delivery.lanes, delivery.waiting), (1, false));
            }
            expect(&mut subscriber, 0..20, 0);
            drop(subscriber);
            eventually("it is gone", || {
                publisher.publish_to(&topic, &Tick::new(0)).unwrap().lanes == 0
            });
        }
    });
}

#[test]
fn a11_a_message_and_its_subscriber_that_come_at_the_same_time_meet() {
    on_each_transport(|bus| {
        let client = bus.client("receiver");
        let mut publisher = publisher(bus);
        let barrier = Barrier::new(2);
        const ROUNDS: u64 = 400;
        const MESSAGES: u64 = 2;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let topic = publisher.resolve(&format!("t/{round}")).unwrap();
                    barrier.wait();
                    // Another moment of the subscription each time.
                    let moment = Instant::now() + Duration::from_micros(round * 5);
                    while Instant::now() < moment {}
                    for number in 0..MESSAGES {
                        publisher
                            .publish_with_ttl(&topic, &Tick::new(number), LONG)
                            .unwrap();
                    }
                    // It does nothing more until all have come.
                    barrier.wait();
                }
            });
            for round in 0..ROUNDS {
                barrier.wait();
                let mut subscriber = subscriber(&client, &format!("t/{round}"));
                expect(&mut subscriber, 0..MESSAGES, 0);
                barrier.wait();
            }
        });
    });
}

#[test]
fn a11_a_present_subscriber_that_takes_more_gets_it_with_the_next_operation() {
    on_each_transport(|bus| {
        let client = bus.client("receiver");
        let mut subscriber = subscriber(&client, "t/b");
        let mut publisher = publisher(bus);
        let topics = ["t/a", "t/b"].map(|name| publisher.resolve(name).unwrap());
        for number in 0..10 {
            let delivery = publisher.publish_with_ttl(&topics[0], &Tick::new(number), LONG);
            assert!(delivery.unwrap().waiting);
        }
        subscriber.add_pattern("t/a").unwrap();
        let delivery = publisher.publish_to(&topics[1], &Tick::new(10)).unwrap();
        assert_eq!((delivery.lanes, delivery.waiting), (1, false));
        expect(&mut subscriber, 0..11, 0);
        // In a future, too.
        let third = publisher.resolve("t/c").unwrap();
        let delivery = publisher.publish_with_ttl(&third, &Tick::new(11), LONG);
        assert!(delivery.unwrap().waiting);
        subscriber.add_pattern("t/c").unwrap();
        let tick = Tick::new(12);
        block_on(publisher.publish_to_async(&topics[1], &tick)).unwrap();
        expect(&mut subscriber, 11..13, 11);
    });
}

#[test]
fn a11_what_expires_is_told_and_counted_and_nobody_gets_it() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        let short = Duration::from_millis(20);
        let len = encoded_len(&Tick::new(3));
        publisher
            .publish_with_ttl(&topic, &Tick::new(1), LONG)
            .unwrap();
        publisher
            .publish_with_ttl(&topic, &Tick::new(3), short)
            .unwrap();
        publisher
            .publish_with_ttl(&topic, &Tick::new(2), LONG)
            .unwrap();
        let mut expired = Vec::new();
        eventually("it expires", || {
            expired.extend(publisher.take_expired());
            !expired.is_empty()
        });
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].topic.as_str(), "t/a");
        assert_eq!(expired[0].len, len);
        assert!(expired[0].age >= short);
        // More than are kept one by one.
        for number in 0..2000 {
            let delivery = publisher.publish_with_ttl(&topic, &Tick::new(number), Duration::ZERO);
            assert!(delivery.unwrap().waiting);
        }
        assert_eq!(publisher.expired(), 2001);
        assert_eq!(publisher.take_expired().len(), 1024);
        assert!(publisher.take_expired().is_empty());
        let client = bus.client("receiver");
        expect(&mut subscriber(&client, "t/a"), 1..3, 0);
        let scan = scan_process(std::process::id()).unwrap();
        let mut clients = scan.clients.iter();
        let found =
            clients.find(|found| found.bus == client.incarnation() && found.name == "sender");
        assert_eq!(found.unwrap().total(Role::Publisher).expired, 2001);
    });
}

/// Bytes of an encoded tick.
fn encoded_len(tick: &Tick) -> usize {
    ringmain::rkyv::to_bytes::<ringmain::rkyv::rancor::Error>(tick)
        .unwrap()
        .len()
}

#[test]
fn a11_beyond_the_limit_nothing_more_waits_until_there_is_room() {
    on_each_transport(|bus| {
        let client = bus.client("sender");
        let builder = client.publisher::<Bytes>("t/*").waiting_bytes(10_000);
        let mut publisher = builder.time_to_live(LONG).open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        let mut waiting = 0;
        let error = loop {
            match publisher.publish_to(&topic, Bytes::new(&[7; 1000])) {
                Ok(delivery) => assert!(delivery.waiting),
                Err(error) => break error,
            }
            waiting += 1;
        };
        match error {
            PublishError::TooMuchWaiting { limit, .. } => assert_eq!(limit, 10_000),
            error => panic!("{error}"),
        }
        assert_eq!(waiting, 9);
        let receiver = bus.client("receiver");
        let mut subscriber = receiver.subscriber::<Bytes>("t/a").open().unwrap();
        for _ in 0..waiting {
            assert_eq!(*subscriber.recv().unwrap(), [7; 1000]);
        }
        drop(subscriber);
        eventually("there is room, and nobody", || {
            publisher
                .publish_to(&topic, Bytes::new(b"x"))
                .unwrap()
                .waiting
        });
    });
}

#[test]
fn a11_by_default_every_way_of_publishing_waits() {
    on_each_transport(|bus| {
        let client = bus.client("sender");
        let builder = client.publisher::<Tick>("t/*").time_to_live(LONG);
        let mut publisher = builder.open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        let ticks: Vec<_> = (0..8).map(Tick::new).collect();
        let deliveries = [
            publisher.publish("t/a", &ticks[0]),
            publisher.publish_to(&topic, &ticks[1]),
            publisher.try_publish_to(&topic, &ticks[2]),
            publisher.publish_to_timeout(&topic, &ticks[3], Duration::ZERO),
            block_on(publisher.publish_async("t/a", &ticks[4])),
            publisher.publish_batch(&topic, &ticks[5..7]),
        ];
        for delivery in deliveries {
            assert!(delivery.unwrap().waiting);
        }
        let mut sink = pin!(publisher.into_sink::<Tick>(topic).unwrap());
        sink.as_mut().start_send(ticks[7].clone()).unwrap();
        block_on(std::future::poll_fn(|context| {
            sink.as_mut().poll_flush(context)
        }))
        .unwrap();
        expect(&mut subscriber(&bus.client("receiver"), "t/a"), 0..8, 0);
    });
}

#[test]
fn a11_close_tells_what_still_waits() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/a").unwrap();
        for number in 0..3 {
            publisher
                .publish_with_ttl(&topic, &Tick::new(number), LONG)
                .unwrap();
        }
        let closed = publisher.close(Duration::ZERO).unwrap();
        assert_eq!((closed.unclaimed.len(), closed.undelivered()), (3, 3));
        assert!(!closed.is_complete());
        assert_eq!(closed.unclaimed[2].len, encoded_len(&Tick::new(2)));
    });
}
