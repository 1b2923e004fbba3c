//! `poll` gives what `try_recv` gives, many in one call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringmain::counters::{Role, scan_process};
use ringmain::message::{Bytes, Clock, Message};
use ringmain::{Client, Overflow, Publisher, Subscriber, SubscriberBuilder, Undecodable, rkyv};
use ringmain_tests::telling::{Flat, How, Numbered, Told, WAYS, end, take, told_error};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_local_transport, on_each_transport, policy,
};

/// Each number from 1 on once, as a message or as a part of a gap.
fn assert_complete(told: &[Told]) {
    let mut next = 1;
    for told in told {
        match told {
            Told::Message {
                sequence, number, ..
            } => {
                assert_eq!((*sequence, *number), (next, next));
                next += 1;
            }
            Told::Gap { first, lost } => {
                assert_eq!(*first, next);
                next += lost;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn subscribers<T: Numbered>(
    client: &Client,
    open: impl Fn(SubscriberBuilder<'_, T>) -> Subscriber<T>,
) -> Vec<(How, Subscriber<T>)> {
    let open = |how| (how, open(client.subscriber::<T>("t/*")));
    WAYS.map(open).into()
}

fn publisher<T: Numbered>(client: &Client) -> Publisher<T> {
    let builder = client.publisher::<T>("t/*").ring_bytes(4096);
    builder.max_message_bytes(256).open().unwrap()
}

/// Publishes message 0 and has everybody read it. On one host the publisher knows then that they tell it how far they have read.
fn settle<T: Numbered>(
    clients: [&Client; 2],
    publisher: &mut Publisher<T>,
    subscribers: &mut [(How, Subscriber<T>)],
) {
    publisher.publish("t/a", &T::numbered(0)).unwrap();
    for (how, subscriber) in &mut *subscribers {
        take(subscriber, *how, |told| end(told) == 1);
    }
    // What the readers have said before is with the broker, what that has passed on is with the publisher.
    let [reading, publishing] = clients;
    reading.ping().unwrap();
    publishing.ping().unwrap();
}

/// Topics by turns, for rings that overflow now and then.
fn losses_are_told_alike<T: Numbered>(bus: &Bus) {
    let drop_newest = |builder: SubscriberBuilder<'_, T>| {
        let builder = builder.overflow(Overflow::DropNewest);
        builder.open().unwrap()
    };
    let clients = [bus.client("readers"), bus.client("publisher")];
    let mut subscribers = subscribers(&clients[0], drop_newest);
    let mut publisher = publisher::<T>(&clients[1]);
    settle(clients.each_ref(), &mut publisher, &mut subscribers);
    let mut all = vec![Vec::new(); subscribers.len()];
    let mut next = 1;
    for burst in [1, 10, 300, 40, 500, 3, 200] {
        for number in next..next + burst {
            let topic = ["t/a", "t/a", "t/b"][number as usize % 3];
            publisher.publish(topic, &T::numbered(number)).unwrap();
        }
        next += burst;
        for (all, (how, subscriber)) in all.iter_mut().zip(&mut subscribers) {
            let before = end(all);
            all.extend(take(subscriber, *how, |told| end(told).max(before) == next));
        }
    }
    for all in &all {
        assert_complete(all);
    }
    // Relays read on by themselves, so over TCP what is lost is a matter of time.
    if bus.transport() != Transport::Tcp {
        let gaps = all[0]
            .iter()
            .filter(|told| matches!(told, Told::Gap { .. }));
        assert!(gaps.count() >= 3);
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn poll_tells_messages_and_gaps_as_try_recv_does() {
    on_each_transport(|bus| {
        losses_are_told_alike::<Tick>(bus);
        losses_are_told_alike::<Flat>(bus);
    });
}

#[test]
fn poll_tells_snapshots_stamps_and_ends_as_try_recv_does() {
    on_each_transport(|bus| {
        let client = bus.client("publisher");
        let builder = client.publisher::<Flat>("t/*").history(2);
        let mut publisher = builder.timestamps(Clock::Monotonic).open().unwrap();
        for number in 0..5 {
            publisher.publish("t/a", &Flat::numbered(number)).unwrap();
        }
        let open =
            |builder: SubscriberBuilder<'_, Flat>| builder.snapshot().events().open().unwrap();
        let subscribers = subscribers(&bus.client("readers"), open);
        for number in 5..200 {
            publisher.publish("t/b", &Flat::numbered(number)).unwrap();
        }
        drop(publisher);
        let mut first = None;
        for (how, mut subscriber) in subscribers {
            let all = take(&mut subscriber, how, |told| told.contains(&Told::Gone));
            assert_eq!(all.len(), 2 + 195 + 1, "{how:?}");
            assert_eq!(first.get_or_insert(all.clone()), &all, "{how:?}");
        }
    });
}

#[test]
fn poll_tells_what_does_not_decode_as_try_recv_does() {
    on_each_transport(|bus| {
        for choice in [Undecodable::Report, Undecodable::Skip] {
            let subscribers = subscribers(
                &bus.client("readers"),
                |builder: SubscriberBuilder<'_, Tick>| builder.undecodable(choice).open().unwrap(),
            );
            let client = bus.client("liar");
            let builder = client.publisher::<Bytes>("t/*");
            let builder = builder.encoded_as(Tick::message_type().clone());
            let mut liar = builder.open().unwrap();
            for number in 0..100 {
                let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&Tick::new(number)).unwrap();
                let len = if number % 10 == 3 { 5 } else { bytes.len() };
                liar.publish("t/a", Bytes::new(&bytes[..len])).unwrap();
            }
            let mut first = None;
            for (how, mut subscriber) in subscribers {
                let all = take(&mut subscriber, how, |told| end(told) == 100);
                assert_eq!(subscriber.undecodable(), 10, "{how:?}");
                assert_eq!(
                    all.len(),
                    if choice == Undecodable::Skip { 90 } else { 100 }
                );
                assert_eq!(first.get_or_insert(all.clone()), &all, "{how:?}");
            }
        }
    });
}

#[test]
fn poll_ends_before_a_gap_that_the_next_call_tells() {
    on_each_local_transport(|bus| {
        let client = bus.client("reader");
        let builder = client
            .subscriber::<Flat>("t/*")
            .overflow(Overflow::DropNewest);
        let subscriber = builder.open().unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publisher::<Flat>(&publishing);
        let mut settled = [(How::Polling(10), subscriber)];
        settle([&client, &publishing], &mut publisher, &mut settled);
        let [(_, mut subscriber)] = settled;
        let (mut next, mut kept) = (1, 1);
        while publisher
            .publish("t/a", &Flat::numbered(kept))
            .unwrap()
            .lanes
            == 1
        {
            kept += 1;
        }
        eventually("what had room is given", || {
            assert_eq!(subscriber.poll(0, |_| panic!("none is wanted")).unwrap(), 0);
            let given = subscriber.poll(usize::MAX, |sample| {
                assert_eq!(Flat::number(sample), next);
                next += 1;
            });
            given.unwrap() > 0
        });
        assert_eq!(next, kept, "all of them in one call");
        // Told before what has come since.
        publisher.publish("t/a", &Flat::numbered(kept + 1)).unwrap();
        let error = subscriber.poll(usize::MAX, |_| panic!("the gap comes first"));
        let gap = Told::Gap {
            first: kept,
            lost: 1,
        };
        assert_eq!(told_error(error.unwrap_err()), gap);
        let sequence = subscriber.poll(1, |sample| assert_eq!(sample.sequence(), kept + 1));
        assert_eq!(sequence.unwrap(), 1);
        assert_eq!(subscriber.poll(1, |_| panic!("there was one")).unwrap(), 0);
    });
}

#[test]
fn poll_gives_each_lane_its_turn() {
    on_each_local_transport(|bus| {
        let mut subscriber = bus
            .client("reader")
            .subscriber::<Flat>("t/*")
            .open()
            .unwrap();
        let clients = ["one", "two"].map(|name| bus.client(name));
        let mut publishers = clients.map(|client| client.publisher::<Flat>("t/*").open().unwrap());
        for publisher in &mut publishers {
            publisher.publish("t/a", &Flat::numbered(0)).unwrap();
            eventually("its lane is there", || {
                subscriber.poll(1, |_| ()).unwrap() == 1
            });
        }
        for number in 0..300 {
            for publisher in &mut publishers {
                publisher.publish("t/a", &Flat::numbered(number)).unwrap();
            }
        }
        let mut names = Vec::new();
        let given = subscriber.poll(usize::MAX, |sample| {
            names.push(sample.publisher().to_owned())
        });
        assert_eq!(given.unwrap(), 600);
        let longest = names[..256]
            .chunk_by(|one, other| one == other)
            .map(<[_]>::len);
        assert!(longest.max().unwrap() <= 64);
    });
}

#[test]
fn poll_counts_what_it_gives_and_goes_on_behind_a_panic() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        let builder = client
            .subscriber::<Flat>("t/*")
            .overflow(policy("block-30000"));
        let mut subscriber = builder.open().unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Flat>("t/*").open().unwrap();
        for number in 0..1000 {
            publisher.publish("t/a", &Flat::numbered(number)).unwrap();
        }
        let (mut next, mut panics) = (0, 0);
        eventually("all are given", || {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                subscriber.poll(usize::MAX, |sample| {
                    assert_eq!((Flat::number(sample), sample.sequence()), (next, next));
                    next += 1;
                    // At the beginning of a run, in it, twice in a row.
                    assert!(![1, 100, 101, 700].contains(&next), "on purpose");
                })
            }));
            panics += u32::from(polled.is_err());
            next == 1000 || panics > 4
        });
        assert_eq!(panics, 4);
        let scan = scan_process(std::process::id()).unwrap();
        let mut clients = scan.clients.iter();
        let found = clients
            .find(|found| found.bus == client.incarnation() && found.name == "reader")
            .unwrap();
        let total = found.total(Role::Subscriber);
        assert_eq!((total.messages, total.bytes), (1000, 1000 * 40));
    });
}

#[test]
fn poll_tells_a_publisher_that_waits_of_each_message() {
    on_each_local_transport(|bus| {
        let client = bus.client("reader");
        let builder = client.subscriber::<Flat>("t/*");
        let subscriber = builder.overflow(policy("block-60000")).open().unwrap();
        let publishing = bus.client("publisher");
        let builder = publishing.publisher::<Flat>("t/*").ring_bytes(RING_BYTES);
        let mut publisher = builder.max_message_bytes(256).open().unwrap();
        let mut settled = [(How::Polling(10), subscriber)];
        settle([&client, &publishing], &mut publisher, &mut settled);
        let [(_, mut subscriber)] = settled;
        let topic = publisher.resolve("t/a").unwrap();
        let flat = Flat::numbered(0);
        // There may be a little room left, for what stands before a message now and then.
        while publisher.try_publish_to(&topic, &flat).is_ok() {}
        let published = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..40 {
                    publisher.publish_to(&topic, &flat).unwrap();
                    published.fetch_add(1, Ordering::Relaxed);
                }
            });
            // So few that they are told of only because somebody waits.
            let given = subscriber.poll(64, |_| {
                let patience = Instant::now() + Duration::from_millis(400);
                let before = published.load(Ordering::Relaxed);
                while before < 20
                    && published.load(Ordering::Relaxed) == before
                    && Instant::now() < patience
                {
                    thread::yield_now();
                }
            });
            assert_eq!(given.unwrap(), 64);
            let published = published.load(Ordering::Relaxed);
            subscriber.poll(usize::MAX, |_| ()).unwrap();
            assert!(published >= 20, "{published} found room meanwhile");
        });
    });
}

/// A run is less than an eighth of it.
const RING_BYTES: usize = 64 * 1024;
