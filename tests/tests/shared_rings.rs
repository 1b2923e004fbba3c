//! Subscribers with equal streams read one ring, and nobody has less for it.

use std::thread;
use std::time::Duration;

use ringmain::counters::{Role, scan_process};
use ringmain::message::Bytes;
use ringmain::{Overflow, Publisher, Subscriber};
use ringmain_tests::streams::{BLOCK, Found, small, subscriber};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_local_transport, on_each_transport_of_processes,
};

/// Waits until the subscribers' answers have come back: before that nobody knows how far they are.
fn settle(publisher: &mut Publisher<Tick>, subscribers: &mut [Subscriber<Tick>]) {
    eventually("all have answered", || {
        let mut lost = 0;
        for _ in 0..200 {
            lost += publisher.publish("t", &Tick::new(0)).unwrap().dropped;
            for subscriber in &mut *subscribers {
                while Found::default().take(subscriber) {}
            }
        }
        lost == 0
    });
}

/// How many rings of this size publishers of this process have. Each test that looks has a size of its own.
fn rings(ring_bytes: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let own = maps
        .lines()
        .filter(|line| line.contains("/memfd:ringmain") && line.contains(" rw-s "));
    let lengths = own.map(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(to, 16).unwrap() - usize::from_str_radix(from, 16).unwrap()
    });
    // With a page for the header and one for the control words.
    lengths
        .filter(|bytes| *bytes == ring_bytes + 2 * 4096)
        .count()
}

#[test]
fn sixteen_subscribers_with_equal_streams_get_all_from_one_ring() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = client
            .publisher::<Tick>("t")
            .max_message_bytes(200)
            .ring_bytes(4 << 20)
            .open()
            .unwrap();
        let clients: Vec<_> = (0..4).map(|n| bus.client(&format!("s{n}"))).collect();
        let mut subscribers = Vec::new();
        for number in 0..16 {
            subscribers.push(subscriber(&clients[number % 4], BLOCK));
            publisher.publish("t", &Tick::new(u64::MAX)).unwrap();
        }
        assert_eq!(rings(4 << 20), 1);
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            for _ in number..16 {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample.number, u64::MAX);
            }
        }
        const MESSAGES: u64 = 5_000;
        thread::scope(|scope| {
            for mut subscriber in subscribers {
                scope.spawn(move || {
                    for number in 0..MESSAGES {
                        assert_eq!(subscriber.recv().unwrap().checked(), number);
                    }
                    assert!(subscriber.try_recv().unwrap().is_none());
                });
            }
            for number in 0..MESSAGES {
                let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (16, 0));
            }
        });
        // Each lane has counted.
        let scan = scan_process(std::process::id()).unwrap();
        let own = scan.clients.iter();
        let own = own
            .filter(|found| found.bus == client.incarnation())
            .map(|found| found.total(Role::Publisher).messages);
        assert_eq!(own.max(), Some(16 * MESSAGES + 16 * 17 / 2));
    });
}

#[test]
fn rings_are_not_shared_where_that_is_not_wanted_or_streams_differ() {
    on_each_local_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(2 << 20)
            .share_rings(false)
            .open()
            .unwrap();
        let open = || client.subscriber::<Bytes>("t").open().unwrap();
        let _two = [open(), open()];
        publisher.publish("t", Bytes::new(b"x")).unwrap();
        assert_eq!(rings(2 << 20), 2);
        let mut publisher = client
            .publisher::<Bytes>("t")
            .max_message_bytes(200)
            .ring_bytes(1 << 20)
            .open()
            .unwrap();
        let builder = || client.subscriber::<Bytes>("t");
        let _subscribers = [
            builder().open().unwrap(),
            builder().overflow(Overflow::DropNewest).open().unwrap(),
            client.subscriber::<Bytes>("*").open().unwrap(),
            client.subscriber::<Bytes>("*").exclude("u").open().unwrap(),
        ];
        let delivery = publisher.publish("t", Bytes::new(b"x")).unwrap();
        // With those two, who ask for what the first of the others does.
        assert_eq!(delivery.lanes, 6);
        assert_eq!(rings(1 << 20), 4);
    });
}

#[test]
fn one_that_reads_nothing_costs_the_others_no_message() {
    for overflow in [
        Overflow::DropNewest,
        Overflow::Block {
            deadline: Duration::from_millis(20),
        },
    ] {
        on_each_local_transport(|bus| {
            let client = bus.client("publisher");
            let mut publisher = small(&client, "t");
            let other = bus.client("subscribers");
            let mut subscribers: Vec<_> = (0..6).map(|_| subscriber(&other, overflow)).collect();
            let mut found: Vec<_> = (0..6).map(|_| Found::default()).collect();
            let mut dropped = 0;
            settle(&mut publisher, &mut subscribers);
            // One after the other reads no more: each time the others part from it.
            for number in 0..1_000 {
                let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                assert_eq!(delivery.lanes + delivery.dropped, 6);
                dropped += u64::from(delivery.dropped);
                let readers = subscribers.iter_mut().zip(&mut found).enumerate();
                for (index, (subscriber, found)) in readers {
                    if number < 200 * index as u64 + 100 || index == 5 {
                        while found.take(subscriber) {}
                    }
                }
            }
            assert_eq!(found[5].numbers, (0..1_000).collect::<Vec<_>>());
            assert!(dropped > 0);
            // They go on, and are told what they have lost.
            publisher.publish("t", &Tick::new(1_000)).unwrap();
            for (subscriber, found) in subscribers.iter_mut().zip(&mut found) {
                while found.take(subscriber) {}
            }
            let delivery = publisher.publish("t", &Tick::new(1_001)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (6, 0));
            let mut lost = 0;
            for (index, (subscriber, found)) in subscribers.iter_mut().zip(&mut found).enumerate() {
                while found.take(subscriber) {}
                let numbers = &found.numbers;
                assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
                assert_eq!(numbers.len() as u64 + found.lost, 1_002, "of {index}");
                assert_eq!(numbers.last(), Some(&1_001));
                lost += found.lost;
            }
            assert!(lost >= dropped);
        });
    }
}

#[test]
fn a_stopped_subscriber_costs_the_others_nothing_and_is_told_what_it_lost() {
    on_each_transport_of_processes(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let mut slow = bus.peer("subscriber", &["t", "block-50"]);
        slow.expect("open");
        let other = bus.client("other");
        let overflow = Overflow::Block {
            deadline: Duration::from_millis(50),
        };
        let mut quick = subscriber(&other, overflow);
        publisher.publish("t", &Tick::new(0)).unwrap();
        slow.tell("1");
        slow.expect("got 1 lost 0");
        slow.stop();
        let mut dropped = 0;
        for number in 1..500 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            assert_eq!(delivery.lanes + delivery.dropped, 2);
            dropped += delivery.dropped;
            assert_eq!(quick.recv().unwrap().checked(), number - 1);
        }
        assert!(dropped > 0);
        slow.go_on();
        slow.tell("500");
        slow.expect(&format!("got {} lost {dropped}", 500 - dropped));
    });
}

#[test]
fn a_killed_subscriber_costs_the_others_nothing() {
    on_each_transport_of_processes(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let mut doomed = bus.peer("subscriber", &["t", "block-60000"]);
        doomed.expect("open");
        let other = bus.client("other");
        let mut quick = subscriber(&other, BLOCK);
        for number in 0..20 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        doomed.kill();
        for number in 20..500 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            assert_eq!(delivery.dropped, 0);
            assert_eq!(quick.recv().unwrap().checked(), number - 20);
        }
    });
}

#[test]
fn without_a_broker_the_healthy_move_all_the_same() {
    let mut bus = Bus::start(Transport::Unix);
    let client = bus.client("publisher");
    let mut publisher = small(&client, "t");
    let other = bus.client("other");
    let mut subscribers = [(); 2].map(|()| subscriber(&other, Overflow::DropNewest));
    settle(&mut publisher, &mut subscribers);
    bus.kill_broker();
    let [_slow, quick] = &mut subscribers;
    for number in 1..500 {
        publisher.publish("t", &Tick::new(number)).unwrap();
        assert_eq!(quick.recv().unwrap().checked(), number);
    }
}

#[test]
fn closing_waits_for_all_who_read_a_ring() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let publisher = small(&client, "t");
        let other = bus.client("quick");
        let mut quick = subscriber(&other, BLOCK);
        let idle = bus.client("idle");
        let _idle = subscriber(&idle, BLOCK);
        let mut publisher = publisher;
        for number in 0..10 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        Found::all(&mut quick, 10);
        let closed = publisher.close(Duration::from_millis(50)).unwrap();
        let unread: Vec<_> = closed
            .lanes
            .iter()
            .map(|lane| (lane.subscriber.as_str(), lane.unread, lane.dropped))
            .collect();
        assert_eq!(unread, [("quick", 0, 0), ("idle", 10, 0)]);
    });
}

#[test]
fn many_come_and_go_and_one_ring_is_enough() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let builder = client.publisher::<Tick>("t").ring_bytes(128 << 10);
        let mut publisher = builder.max_message_bytes(200).open().unwrap();
        let other = bus.client("other");
        let mut stays = subscriber(&other, BLOCK);
        for round in 0..200 {
            let mut guest = subscriber(&other, BLOCK);
            publisher.publish("t", &Tick::new(round)).unwrap();
            assert_eq!(guest.recv().unwrap().checked(), round);
            assert_eq!(stays.recv().unwrap().checked(), round);
            assert_eq!(rings(128 << 10), 1);
        }
    });
}
