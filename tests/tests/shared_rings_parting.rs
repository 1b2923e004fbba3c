//! Subscribers who read one ring come, go, and part from each other, and nothing is lost or repeated.

use std::thread;

use ringmain::counters::{ClientCounters, Role, scan_process};
use ringmain::{Overflow, RecvError, Subscriber};
use ringmain_tests::dice::Dice;
use ringmain_tests::streams::{BLOCK, Found, small, subscriber};
use ringmain_tests::{Bus, Tick, eventually, on_each_local_transport};

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
    // One that has just come may not have its lane yet.
    let read_up = |reader: &mut (Subscriber<Tick>, u64), next: u64| {
        eventually("all has come", || {
            read(reader, u64::MAX);
            reader.1 >= next
        });
        assert_eq!(reader.1, next, "seed {seed}");
    };
    for _ in 0..400 {
        match dice.below(100) {
            0..6 if open.len() < 8 => open.push((subscriber(&other, Overflow::DropNewest), next)),
            6..9 if open.len() > 1 => {
                let mut leaver = open.swap_remove(dice.below(open.len() as u64) as usize);
                if dice.below(2) == 0 {
                    read_up(&mut leaver, next);
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
        read_up(&mut subscriber, next);
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
fn who_parts_while_a_message_waits_for_room_gets_that_too() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let other = bus.client("other");
        let mut subscribers = [(); 3].map(|()| subscriber(&other, BLOCK));
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..200 {
                    let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (3, 0));
                }
            });
            let own = || {
                let scan = scan_process(std::process::id()).unwrap();
                let mut clients = scan.clients.into_iter();
                let is_own = |found: &ClientCounters| {
                    (found.bus, found.client) == (client.incarnation(), client.id())
                };
                clients.find(is_own).unwrap()
            };
            eventually("the publisher waits", || {
                own().total(Role::Publisher).parks > 0
            });
            subscribers[1].add_pattern("u").unwrap();
            eventually("they are parted", || {
                own().lanes.iter().any(|lane| lane.topics == "t u")
            });
            for subscriber in &mut subscribers {
                let taken = subscriber.recv().unwrap().checked();
                assert_eq!(taken, 0);
            }
            let mut next = [1; 3];
            eventually("all has come", || {
                for (subscriber, next) in subscribers.iter_mut().zip(&mut next) {
                    while let Some(sample) = subscriber.try_recv().unwrap() {
                        assert_eq!(sample.checked(), *next);
                        *next += 1;
                    }
                }
                next == [200; 3]
            });
        });
    });
}

/// The only reader of a ring leaves it and comes again while the publisher does nothing.
#[test]
fn who_leaves_and_comes_again_at_once_gets_everything_once() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = small(&client, "t");
        let other = bus.client("other");
        let builder = other.subscriber::<Tick>("t").pattern("u");
        let mut subscriber = builder.overflow(BLOCK).open().unwrap();
        let mut next = 0;
        let mut publish = |count: u64| {
            for _ in 0..count {
                publisher.publish("t", &Tick::new(next)).unwrap();
                next += 1;
            }
        };
        publish(10);
        let mut due = 0;
        let mut read = |subscriber: &mut Subscriber<Tick>, count: u64| {
            for _ in 0..count {
                assert_eq!(subscriber.recv().unwrap().checked(), due);
                due += 1;
            }
        };
        read(&mut subscriber, 5);
        for _ in 0..3 {
            subscriber.remove_pattern("t").unwrap();
            subscriber.add_pattern("t").unwrap();
        }
        // More than a ring holds, all in all.
        for _ in 0..100 {
            publish(20);
            read(&mut subscriber, 20);
        }
        read(&mut subscriber, 5);
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}
