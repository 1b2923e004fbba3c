//! Policies whose older messages give way: the last value of each topic, the newest messages (rows C2, C5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::rkyv;
use ringmain::{Overflow, Publisher, RecvError, RequestError, Subscriber};
use ringmain_tests::{Bus, Tick, Transport, eventually, on_each_transport};

/// A message of which each counts.
#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.delta", conflate = false)]
struct Delta {
    change: i64,
}

const PATIENCE: Duration = Duration::from_secs(20);

fn publisher(bus: &Bus) -> Publisher<Tick> {
    let client = bus.client("publisher");
    let builder = client.publisher("t/*").ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

fn subscriber(bus: &Bus, overflow: Overflow) -> Subscriber<Tick> {
    let client = bus.client("subscriber");
    client.subscriber("t/*").overflow(overflow).open().unwrap()
}

#[test]
fn c5_a_stalled_conflating_subscriber_gets_last_values_and_exact_counts() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::Conflate);
        let mut publisher = publisher(bus);
        for number in 0..10_000 {
            let topic = format!("t/{}", number % 5);
            let delivery = publisher.publish(&topic, &Tick::new(number)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        }
        let (mut last, mut records, mut skipped) = (BTreeMap::new(), 0, 0);
        while records + skipped < 10_000 {
            let tick = subscriber.recv_timeout(PATIENCE).unwrap().unwrap();
            records += 1;
            skipped += tick.skipped();
            assert_eq!(tick.sequence() + 1, records + skipped);
            last.insert(tick.topic().to_string(), tick.checked());
        }
        if bus.transport() != Transport::Tcp {
            // Over a socket some have left before they were overtaken.
            assert_eq!((records, skipped), (5, 9_995));
        }
        let expected = (0..5).map(|index| (format!("t/{index}"), 9_995 + index));
        assert_eq!(last, expected.collect());
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}

#[test]
fn c5_a_conflating_subscriber_wakes_and_keeps_the_order_of_each_topic() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::Conflate);
        let mut publisher = publisher(bus);
        let thread = std::thread::spawn(move || {
            for number in 0..50_000_u64 {
                let topic = format!("t/{}", number % 7);
                publisher.publish(&topic, &Tick::new(number)).unwrap();
                if number % 1000 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let (mut last, mut seen) = (BTreeMap::new(), 0);
        while seen < 50_000 {
            let tick = subscriber.recv_timeout(PATIENCE).unwrap().unwrap();
            seen += 1 + tick.skipped();
            let before = last.insert(tick.topic().to_string(), tick.checked());
            assert!(before.is_none_or(|before| before < tick.checked()));
        }
        thread.join().unwrap();
        assert_eq!(seen, 50_000);
    });
}

#[test]
fn c5_groups_are_never_cut() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::Conflate);
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("t/group").unwrap();
        let thread = std::thread::spawn(move || {
            for group in 0..2_000 {
                let group: Vec<_> = (0..4).map(|index| Tick::new(4 * group + index)).collect();
                publisher.publish_batch(&topic, &group).unwrap();
            }
        });
        let mut seen = 0;
        while seen < 8_000 {
            let first = subscriber.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(first.skipped() % 4, 0);
            seen += first.skipped();
            let mut number = first.checked();
            assert_eq!((number, number % 4), (seen, 0));
            drop(first);
            for _ in 1..4 {
                let next = subscriber.recv_timeout(PATIENCE).unwrap().unwrap();
                number += 1;
                assert_eq!((next.checked(), next.skipped()), (number, 0));
            }
            seen += 4;
        }
        thread.join().unwrap();
    });
}

/// Messages given, skipped and lost, once these are so many.
fn account(subscriber: &mut Subscriber<Tick>, messages: u64) -> (u64, u64, u64) {
    let (mut given, mut skipped, mut lost) = (0, 0, 0);
    while given + skipped + lost < messages {
        match subscriber.recv_timeout(PATIENCE) {
            Ok(tick) => {
                let tick = tick.expect("all are accounted for");
                given += 1;
                skipped += tick.skipped();
                assert_eq!(tick.sequence() + 1, given + skipped + lost);
            }
            Err(RecvError::Gap(gap)) => {
                assert_eq!(gap.first_sequence, given + skipped + lost);
                lost += gap.lost;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (given, skipped, lost)
}

#[test]
fn c5_what_a_topic_had_when_it_gave_way_is_a_gap_not_skipped_on_another_topic() {
    on_each_transport(|bus| {
        for each in [1, 3] {
            let mut subscriber = subscriber(bus, Overflow::Conflate);
            let mut publisher = publisher(bus);
            for number in 0..5_000 * each {
                let topic = format!("t/{}", number / each);
                publisher.publish(&topic, &Tick::new(number)).unwrap();
            }
            let (given, skipped, lost) = account(&mut subscriber, 5_000 * each);
            assert!(
                lost > 0 && skipped <= given * (each - 1),
                "{skipped} {lost}"
            );
            if bus.transport() != Transport::Tcp {
                assert_eq!(skipped, given * (each - 1));
            }
            assert!(subscriber.try_recv().unwrap().is_none());
        }
    });
}

#[test]
fn c5_what_stands_behind_topics_that_gave_way_is_read_though_the_publisher_has_closed() {
    on_each_transport(|bus| {
        let open = bus.client("publisher");
        let builder = open.publisher::<Bytes>("t/*").ring_bytes(4096);
        let mut publisher = builder.max_message_bytes(8192).open().unwrap();
        let client = bus.client("subscriber");
        let builder = client.subscriber::<Bytes>("t/*");
        let mut subscriber = builder.overflow(Overflow::Conflate).open().unwrap();
        let mut read = |messages: u64| {
            let (mut last, mut seen) = (BTreeSet::new(), 0);
            while seen < messages {
                match subscriber.recv_timeout(PATIENCE) {
                    Ok(sample) => {
                        let sample = sample.unwrap_or_else(|| panic!("{seen} of {messages}"));
                        seen += 1 + sample.skipped();
                        last.insert(sample.topic().to_string());
                    }
                    Err(RecvError::Gap(gap)) => seen += gap.lost,
                    Err(error) => panic!("{seen} of {messages}: {error}"),
                }
            }
            last
        };
        for number in 0..40 {
            let bytes = [number; 3000];
            let topic = format!("t/{number}");
            publisher.publish(&topic, Bytes::new(&bytes)).unwrap();
        }
        // So nothing is missing where they give way.
        assert!(read(40).contains("t/39"));
        for topic in ["t/big", "t/big2"] {
            publisher.publish(topic, Bytes::new(&[7; 8000])).unwrap();
        }
        drop(publisher);
        let last = read(2);
        assert!(last.iter().eq(["t/big", "t/big2"]), "{last:?}");
    });
}

#[test]
fn c5_types_can_refuse_it() {
    on_each_transport(|bus| {
        let client = bus.client("client");
        let typed = client
            .subscriber::<Delta>("book")
            .overflow(Overflow::Conflate);
        let error = typed.open().unwrap_err();
        assert!(error.to_string().contains("test.delta v1"), "{error}");
        // A tool that takes every type learns it from the publisher.
        let _publisher = client.publisher::<Delta>("book").open().unwrap();
        let tool = client.subscriber::<ringmain::AnyMessage>("book");
        let error = tool.overflow(Overflow::Conflate).open().unwrap_err();
        assert!(matches!(error, RequestError::Refused(_)), "{error}");
        assert!(error.to_string().contains("does not permit"), "{error}");
    });
}

#[test]
fn c5_a_type_that_refuses_it_later_is_not_conflated_but_told_as_gaps() {
    on_each_transport(|bus| {
        let client = bus.client("client");
        let tool = client.subscriber::<ringmain::AnyMessage>("book");
        let mut tool = tool.overflow(Overflow::Conflate).open().unwrap();
        let builder = client.publisher::<Delta>("book").ring_bytes(4096);
        let mut publisher = builder.max_message_bytes(64).open().unwrap();
        for change in 0..1000 {
            publisher.publish("book", &Delta { change }).unwrap();
        }
        let (mut seen, mut lost) = (0, 0);
        while seen + lost < 1000 {
            match tool.recv_timeout(PATIENCE) {
                Ok(sample) => {
                    assert_eq!(sample.unwrap().skipped(), 0);
                    seen += 1;
                }
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(seen + lost, 1000);
    });
}

#[test]
fn c2_the_oldest_give_way_and_are_told_as_one_gap() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::DropOldest);
        let mut publisher = publisher(bus);
        for number in 0..10_000 {
            let delivery = publisher.publish("t/a", &Tick::new(number)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        }
        let mut due = 0;
        let mut lost = 0;
        while due < 10_000 {
            match subscriber.recv_timeout(PATIENCE) {
                Ok(tick) => {
                    let tick = tick.unwrap();
                    assert_eq!((tick.checked(), tick.sequence()), (due, due));
                    due += 1;
                }
                Err(RecvError::Gap(gap)) => {
                    assert_eq!(gap.first_sequence, due);
                    lost += gap.lost;
                    due += gap.lost;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(lost > 5_000, "{lost}");
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}

#[test]
fn c2_the_newest_messages_of_a_publisher_that_has_gone_are_read() {
    on_each_transport(|bus| {
        for overflow in [Overflow::DropOldest, Overflow::Conflate] {
            let mut subscriber = subscriber(bus, overflow);
            let mut publisher = publisher(bus);
            for number in 0..1_000 {
                publisher.publish("t/a", &Tick::new(number)).unwrap();
            }
            drop(publisher);
            let (mut seen, mut last) = (0, 0);
            eventually("all is accounted for", || {
                match subscriber.recv_timeout(Duration::from_millis(100)) {
                    Ok(Some(tick)) => {
                        seen += 1 + tick.skipped();
                        last = tick.checked();
                    }
                    Ok(None) => {}
                    Err(RecvError::Gap(gap)) => seen += gap.lost,
                    Err(error) => panic!("{error}"),
                }
                seen == 1_000
            });
            assert_eq!(last, 999);
        }
    });
}
