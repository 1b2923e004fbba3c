//! What was published before a subscription (rows C4, C9).

use std::collections::BTreeMap;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use ringmain::{LastValues, Overflow, Publisher, RecvError};
use ringmain_tests::{Bus, Tick, eventually, on_each_transport};

const PATIENCE: Duration = Duration::from_secs(20);

fn publisher(bus: &Bus, history: u32) -> Publisher<Tick> {
    let client = bus.client("publisher");
    client.publisher("t/*").history(history).open().unwrap()
}

#[test]
fn c4_a_late_subscriber_gets_the_last_value_of_a_publisher_that_rests() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus, 1);
        for number in 0..10 {
            publisher
                .publish(&format!("t/{}", number % 3), &Tick::new(number))
                .unwrap();
        }
        for pattern in ["t/1", "t/*"] {
            let client = bus.client("late");
            let builder = client.subscriber::<Tick>(pattern);
            let mut late = builder.snapshot().open().unwrap();
            let expected: &[(&str, u64)] = match pattern {
                "t/1" => &[("t/1", 7)],
                _ => &[("t/0", 9), ("t/1", 7), ("t/2", 8)],
            };
            let mut got = BTreeMap::new();
            for _ in expected {
                let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
                assert!(tick.is_snapshot());
                got.insert(tick.topic().to_string(), tick.checked());
            }
            let expected = expected
                .iter()
                .map(|(topic, number)| (topic.to_string(), *number));
            assert_eq!(got, expected.collect());
            let pause = Duration::from_millis(100);
            assert!(late.recv_timeout(pause).unwrap().is_none());
            publisher.publish("t/1", &Tick::new(7)).unwrap();
            let live = late.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(
                (live.checked(), live.is_snapshot(), live.sequence()),
                (7, false, 0)
            );
        }
    });
}

#[test]
fn c4_the_last_three_come_oldest_first() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus, 3);
        for number in 0..10 {
            publisher.publish("t/a", &Tick::new(number)).unwrap();
        }
        let client = bus.client("late");
        let builder = client.subscriber::<Tick>("t/a");
        let mut late = builder.snapshot().open().unwrap();
        for number in 7..10 {
            let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!((tick.checked(), tick.is_snapshot()), (number, true));
        }
        publisher.publish("t/a", &Tick::new(10)).unwrap();
        let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!((tick.checked(), tick.is_snapshot()), (10, false));
    });
}

#[test]
fn c4_without_a_history_or_without_asking_there_is_no_snapshot() {
    on_each_transport(|bus| {
        for (history, asks) in [(0, true), (1, false)] {
            let mut publisher = publisher(bus, history);
            publisher.publish("t/a", &Tick::new(0)).unwrap();
            let client = bus.client("late");
            let builder = client.subscriber::<Tick>("t/a");
            let builder = if asks { builder.snapshot() } else { builder };
            let mut late = builder.open().unwrap();
            publisher.publish("t/a", &Tick::new(1)).unwrap();
            let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!((tick.checked(), tick.is_snapshot()), (1, false));
        }
    });
}

/// Numbers of each topic, from 0 on; who comes while they are published gets the last ones before, or none, and then all.
#[test]
fn c4_a_snapshot_of_a_thousand_topics_under_load_is_exact() {
    const TOPICS: u64 = 1_000;
    on_each_transport(|bus| {
        for overflow in [
            Overflow::Block {
                deadline: Duration::from_secs(60),
            },
            Overflow::DropOldest,
            Overflow::Conflate,
        ] {
            let mut publisher = publisher(bus, 1);
            let topics: Vec<_> = (0..TOPICS)
                .map(|index| publisher.resolve(&format!("t/{index}")).unwrap())
                .collect();
            for topic in &topics {
                publisher.publish_to(topic, &Tick::new(0)).unwrap();
            }
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                let mut number = 0;
                while stopped.try_recv() == Err(TryRecvError::Empty) {
                    number += 1;
                    for topic in &topics {
                        publisher.publish_to(topic, &Tick::new(number)).unwrap();
                    }
                    std::thread::yield_now();
                }
                publisher
            });
            let client = bus.client("late");
            let builder = client.subscriber::<Tick>("t/**").overflow(overflow);
            let mut late = builder.snapshot().open().unwrap();
            let mut last: BTreeMap<String, u64> = BTreeMap::new();
            let (mut kept, mut live, mut lost) = (0, 0, 0);
            while live < 20_000 {
                match late.recv_timeout(PATIENCE) {
                    Ok(tick) => {
                        let tick = tick.unwrap();
                        let number = tick.checked();
                        let before = last.insert(tick.topic().to_string(), number);
                        if tick.is_snapshot() {
                            assert_eq!((before, live), (None, 0));
                            kept += 1;
                            continue;
                        }
                        live += 1;
                        if let Some(before) = before
                            && lost == 0
                        {
                            assert_eq!(number, before + 1 + tick.skipped(), "{}", tick.topic());
                        }
                    }
                    Err(RecvError::Gap(gap)) => lost += gap.lost,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(kept <= TOPICS && last.len() as u64 == TOPICS);
            // Or the publisher would wait for it.
            drop(late);
            drop(stop);
            drop(thread.join().unwrap());
        }
    });
}

#[test]
fn c4_what_came_live_is_read_behind_a_snapshot_that_it_took_the_place_of_though_the_publisher_has_closed()
 {
    const TOPICS: u64 = 1_000;
    on_each_transport(|bus| {
        let mut publisher = publisher(bus, 1);
        publisher.publish("t/0", &Tick::new(0)).unwrap();
        let client = bus.client("late");
        let builder = client.subscriber::<Tick>("t/*").snapshot();
        let mut late = builder.overflow(Overflow::Conflate).open().unwrap();
        for number in 0..TOPICS {
            let topic = format!("t/{number}");
            publisher.publish(&topic, &Tick::new(number)).unwrap();
        }
        drop(publisher);
        let mut live = 0;
        while live < TOPICS {
            match late.recv_timeout(PATIENCE) {
                Ok(tick) => {
                    let tick = tick.unwrap_or_else(|| panic!("{live} have come"));
                    live += u64::from(!tick.is_snapshot());
                }
                Err(error) => panic!("{live} have come, then {error}"),
            }
        }
    });
}

#[test]
fn c9_a_last_value_is_read_without_a_subscription() {
    on_each_transport(|bus| {
        let reading = bus.client("reader");
        assert!(reading.last_value::<Tick>("t/a").unwrap().is_none());
        let mut publisher = publisher(bus, 1);
        assert!(reading.last_value::<Tick>("t/a").unwrap().is_none());
        publisher.publish("t/a", &Tick::new(1)).unwrap();
        publisher.publish("t/b", &Tick::new(2)).unwrap();
        // As soon as it has come, where the reader is elsewhere.
        let last = || reading.last_value::<Tick>("t/a").unwrap();
        eventually("it has come", || last().is_some());
        let value = last().unwrap();
        assert_eq!(
            (value.checked(), value.topic().as_str(), value.publisher()),
            (1, "t/a", "publisher")
        );
        // It is a copy.
        publisher.publish("t/a", &Tick::new(3)).unwrap();
        assert_eq!(value.checked(), 1);
        // Nobody gets anything for all that.
        assert_eq!(publisher.publish("t/a", &Tick::new(4)).unwrap().lanes, 0);
    });
}

#[test]
fn c9_last_values_follow_publishers_that_come_and_go() {
    on_each_transport(|bus| {
        let reading = bus.client("reader");
        let mut values = reading.last_values::<Tick>("t/**").unwrap();
        assert!(values.get("t/a").unwrap().is_none());
        let mut first = publisher(bus, 1);
        for number in 0..1_000 {
            first
                .publish(&format!("t/{}", number % 300), &Tick::new(number))
                .unwrap();
        }
        let number = |values: &mut LastValues<Tick>, topic: &str| {
            values.get(topic).unwrap().map(|value| value.checked())
        };
        eventually("it has come", || number(&mut values, "t/7") == Some(907));
        for index in 0..300 {
            let last = (0..1_000).rev().find(|number| number % 300 == index);
            let topic = format!("t/{index}");
            eventually("it has come", || number(&mut values, &topic) == last);
        }
        // Of two the latest counts.
        let mut second = publisher(bus, 1);
        second.publish("t/7", &Tick::new(5_000)).unwrap();
        eventually("the second has come", || {
            number(&mut values, "t/7") == Some(5_000)
        });
        drop(second);
        eventually("the second has gone", || {
            number(&mut values, "t/7") == Some(907)
        });
        drop(first);
        eventually("both have gone", || number(&mut values, "t/7").is_none());
    });
}

#[test]
fn c9_topics_that_give_way_are_forgotten_and_the_newest_are_there() {
    on_each_transport(|bus| {
        let client = bus.client("publisher");
        let builder = client.publisher::<Tick>("t/*").max_message_bytes(200);
        let mut publisher = builder.history(1).history_bytes(4096).open().unwrap();
        let reading = bus.client("reader");
        let mut values = reading.last_values::<Tick>("t/**").unwrap();
        for number in 0..5_000 {
            publisher
                .publish(&format!("t/{number}"), &Tick::new(number))
                .unwrap();
            if number % 50 == 0 {
                eventually("it has come", || {
                    let value = values.get(&format!("t/{number}")).unwrap();
                    value.is_some_and(|value| value.checked() == number)
                });
            }
        }
        eventually("it has given way", || values.get("t/0").unwrap().is_none());
        eventually("the newest has come", || {
            let value = values.get("t/4999").unwrap();
            value.is_some_and(|value| value.checked() == 4_999)
        });
    });
}

#[test]
fn c9_bad_names_and_other_types_are_errors() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus, 1);
        publisher.publish("t/a", &Tick::new(1)).unwrap();
        let client = bus.client("reader");
        assert!(client.last_value::<Tick>("t//a").is_err());
        let any = client.last_value::<ringmain::AnyMessage>("t/a").unwrap();
        assert!(!any.unwrap().is_empty());
        let builder = client.publisher::<Tick>("u").history(64);
        assert!(builder.open().unwrap_err().to_string().contains("63"));
    });
}

#[test]
fn c4_what_is_published_while_a_snapshot_is_read_takes_nothing_out_of_its_middle() {
    on_each_transport(|bus| {
        let mut publisher = publisher(bus, 10);
        for number in 0..10 {
            publisher.publish("t/a", &Tick::new(number)).unwrap();
        }
        let client = bus.client("late");
        let builder = client.subscriber::<Tick>("t/a");
        let mut late = builder.snapshot().open().unwrap();
        for number in 0..10 {
            let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!((tick.checked(), tick.is_snapshot()), (number, true));
            drop(tick);
            if number < 5 {
                // The spare one of the table, then the oldest, which was read.
                publisher.publish("t/a", &Tick::new(10 + number)).unwrap();
            }
        }
        for number in 10..15 {
            let tick = late.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!((tick.checked(), tick.is_snapshot()), (number, false));
        }
    });
}
