//! Subscribers with equal streams read one ring, and nobody has less for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;
use ringmain::counters::{Role, scan_process};
use ringmain::message::Bytes;
use ringmain::{Client, Overflow, Publisher, RecvError, Subscriber};
use ringmain_tests::{
    Bus, Tick, dice::Dice, eventually, on_each_local_transport, on_each_transport_of_processes,
    usage,
};

const BLOCK: Overflow = Overflow::Block {
    deadline: Duration::from_secs(60),
};

/// A ring of 4 KiB, which takes some 30 ticks.
fn small(client: &Client, topic: &str) -> Publisher<Tick> {
    let builder = client.publisher::<Tick>(topic).ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

fn subscriber(client: &Client, overflow: Overflow) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t").overflow(overflow);
    builder.open().unwrap()
}

/// What a subscriber finds until nothing comes any more.
#[derive(Debug, Default, PartialEq)]
struct Found {
    numbers: Vec<u64>,
    lost: u64,
}

impl Found {
    fn take(&mut self, subscriber: &mut Subscriber<Tick>) -> bool {
        match subscriber.try_recv() {
            Ok(Some(sample)) => self.numbers.push(sample.checked()),
            Err(RecvError::Gap(gap)) => self.lost += gap.lost,
            Ok(None) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// Waits for so many messages and losses; then there must be no more.
    fn all(subscriber: &mut Subscriber<Tick>, count: usize) -> Self {
        let mut found = Self::default();
        eventually("all has come", || {
            while found.take(subscriber) {}
            found.numbers.len() + found.lost as usize >= count
        });
        assert_eq!(found.numbers.len() + found.lost as usize, count);
        found
    }
}

/// Bytes of the rings that this process has made for publishers.
fn ring_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps.lines().filter(|line| {
        line.contains("memfd:ringmain") && line.split_whitespace().nth(1) == Some("rw-s")
    });
    let bytes = rings.map(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(to, 16).unwrap() - usize::from_str_radix(from, 16).unwrap()
    });
    bytes.filter(|bytes| *bytes > 2 << 20).sum()
}

#[test]
fn sixteen_subscribers_with_equal_streams_get_all_from_one_ring() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = client
            .publisher::<Tick>("t")
            .ring_bytes(4 << 20)
            .open()
            .unwrap();
        let clients: Vec<_> = (0..4).map(|n| bus.client(&format!("s{n}"))).collect();
        let mut memory = Vec::new();
        let mut subscribers = Vec::new();
        for number in 0..16 {
            subscribers.push(subscriber(&clients[number % 4], BLOCK));
            publisher.publish("t", &Tick::new(u64::MAX)).unwrap();
            memory.push(ring_mappings());
        }
        assert_eq!(memory[0], memory[15], "memory for each: {memory:?}");
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
        let before = ring_mappings();
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4 << 20)
            .share_rings(false)
            .open()
            .unwrap();
        let open = || client.subscriber::<Bytes>("t").open().unwrap();
        let _own = [open(), open()];
        publisher.publish("t", Bytes::new(b"x")).unwrap();
        let each = ring_mappings() - before;
        drop(publisher);
        drop(_own);
        eventually("the rings are gone", || ring_mappings() == before);
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4 << 20)
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
        assert_eq!(delivery.lanes, 4);
        assert_eq!(ring_mappings() - before, 2 * each);
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
            // Of one whose answer has not come back nobody knows how far it is.
            eventually("all have answered", || {
                let mut lost = 0;
                for _ in 0..200 {
                    lost += publisher.publish("t", &Tick::new(0)).unwrap().dropped;
                    for subscriber in &mut subscribers {
                        while Found::default().take(subscriber) {}
                    }
                }
                lost == 0
            });
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
    let mut bus = Bus::start(ringmain_tests::Transport::Unix);
    let client = bus.client("publisher");
    let mut publisher = small(&client, "t");
    let other = bus.client("other");
    let _slow = subscriber(&other, Overflow::DropNewest);
    let mut quick = subscriber(&other, Overflow::DropNewest);
    publisher.publish("t", &Tick::new(0)).unwrap();
    assert_eq!(quick.recv().unwrap().number, 0);
    bus.kill_broker();
    for number in 1..500 {
        publisher.publish("t", &Tick::new(number)).unwrap();
        assert_eq!(quick.recv().unwrap().checked(), number);
    }
}

/// What happens at random while a publisher publishes, by the numbers of a seed.
fn comings_and_goings(bus: &Bus, seed: u64) {
    let mut dice = Dice::new(seed);
    let client = bus.client("publisher");
    let mut publisher = small(&client, "t");
    let other = bus.client("others");
    let mut open: Vec<(Subscriber<Tick>, u64)> = Vec::new();
    let mut next = 0;
    let read = |(subscriber, due): &mut (Subscriber<Tick>, u64), most: u64| {
        for _ in 0..most {
            match subscriber.try_recv() {
                Ok(Some(sample)) => {
                    assert_eq!(sample.checked(), *due, "seed {seed}");
                    *due += 1;
                }
                Ok(None) => break,
                Err(RecvError::Gap(gap)) => *due += gap.lost,
                Err(error) => panic!("{error}, seed {seed}"),
            }
        }
    };
    for _ in 0..400 {
        match dice.below(100) {
            0..6 if open.len() < 8 => open.push((subscriber(&other, Overflow::DropNewest), next)),
            6..9 if open.len() > 1 => {
                let mut leaver = open.swap_remove(dice.below(open.len() as u64) as usize);
                if dice.below(2) == 0 {
                    read(&mut leaver, u64::MAX);
                    assert_eq!(leaver.1, next, "seed {seed}");
                }
            }
            // Another pattern takes the same, in a ring of its own.
            9..11 if !open.is_empty() => {
                let index = dice.below(open.len() as u64) as usize;
                open[index].0.add_pattern(&format!("u/{next}")).unwrap();
            }
            11..60 => {
                let delivery = publisher.publish("t", &Tick::new(next)).unwrap();
                // Who has just gone counts until the broker has said so.
                assert!(delivery.lanes + delivery.dropped >= open.len() as u32);
                next += 1;
            }
            _ if open.is_empty() => {}
            _ => {
                let index = dice.below(open.len() as u64) as usize;
                // The first is slow.
                if index > 0 || dice.below(8) == 0 {
                    read(&mut open[index], dice.below(20));
                }
            }
        }
    }
    for mut subscriber in open {
        read(&mut subscriber, u64::MAX);
        assert_eq!(subscriber.1, next, "seed {seed}");
    }
}

#[test]
fn whoever_comes_and_goes_in_mid_stream_loses_and_repeats_nothing() {
    on_each_local_transport(|bus| {
        for seed in 0..25 {
            comings_and_goings(bus, seed);
        }
    });
}

#[test]
fn a_message_for_one_of_several_is_for_that_one_alone() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let topic = publisher.resolve("t").unwrap();
        let clients: Vec<_> = (0..3).map(|n| bus.client(&format!("s{n}"))).collect();
        let mut subscribers: Vec<_> = clients.iter().map(|c| subscriber(c, BLOCK)).collect();
        for number in 0..10 {
            publisher
                .publish_to(&topic, &Tick::new(3 * number))
                .unwrap();
            let tick = Tick::new(3 * number + 1);
            let delivery = publisher.publish_to_one(&topic, "s1", &tick).unwrap();
            assert_eq!(delivery.lanes, 1);
            let delivery = publisher.publish_to(&topic, &Tick::new(3 * number + 2));
            assert_eq!(delivery.unwrap().lanes, 3);
        }
        for (index, subscriber) in subscribers.iter_mut().enumerate() {
            let all = 0..30;
            let expected: Vec<_> = all.filter(|n| index == 1 || n % 3 != 1).collect();
            let found = Found::all(subscriber, expected.len());
            assert_eq!((found.numbers, found.lost), (expected, 0), "of {index}");
        }
    });
}

#[test]
fn who_takes_something_else_from_now_on_parts_from_the_others() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "*");
        let other = bus.client("other");
        let mut changes = subscriber(&other, BLOCK);
        let mut stays = subscriber(&other, BLOCK);
        for number in 0..10 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        changes.add_pattern("u").unwrap();
        publisher.publish("u", &Tick::new(10)).unwrap();
        publisher.publish("t", &Tick::new(11)).unwrap();
        changes.remove_pattern("t").unwrap();
        publisher.publish("t", &Tick::new(12)).unwrap();
        publisher.publish("u", &Tick::new(13)).unwrap();
        let found = Found::all(&mut changes, 13);
        assert_eq!(found.numbers, (0..12).chain([13]).collect::<Vec<_>>());
        let found = Found::all(&mut stays, 12);
        assert_eq!(found.numbers, (0..10).chain([11, 12]).collect::<Vec<_>>());
        // One that takes nothing any more reads what was for it.
        let mut leaves = subscriber(&other, BLOCK);
        publisher.publish("t", &Tick::new(14)).unwrap();
        leaves.add_pattern("u").unwrap();
        leaves.remove_pattern("t").unwrap();
        for number in 15..300 {
            publisher.publish("t", &Tick::new(number)).unwrap();
            while stays.try_recv().unwrap().is_some() {}
        }
        assert_eq!(Found::all(&mut leaves, 1).numbers, [14]);
        leaves.add_pattern("t").unwrap();
        publisher.publish("t", &Tick::new(300)).unwrap();
        assert_eq!(Found::all(&mut leaves, 1).numbers, [300]);
    });
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
fn many_come_and_go_and_memory_stays_as_it_is() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let other = bus.client("other");
        let mut stays = subscriber(&other, BLOCK);
        let seen = AtomicU64::new(0);
        let mut before = 0;
        for round in 0..300 {
            let mut guest = subscriber(&other, BLOCK);
            let delivery = publisher.publish("t", &Tick::new(round)).unwrap();
            assert_eq!(delivery.lanes, 2);
            assert_eq!(guest.recv().unwrap().checked(), round);
            assert_eq!(stays.recv().unwrap().checked(), round);
            seen.fetch_add(1, Ordering::Relaxed);
            if round == 100 {
                before = usage::descriptors(Pid::this());
            }
        }
        let after = usage::descriptors(Pid::this());
        assert!(after <= before + 8, "{before} descriptors, then {after}");
    });
}
