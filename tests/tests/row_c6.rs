//! What a subscriber can have told besides messages and gaps: water marks, ends, disconnection (rows C2, C6).

use std::time::Duration;

use ringmain::{GapCause, Overflow, Publisher, RecvError, Sample, Subscriber, SubscriberEvent};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_transport, on_each_transport_of_processes,
};

/// What a subscriber has been given.
#[derive(Debug, PartialEq)]
enum Got {
    Message(u64),
    Gap(u64),
    Lost,
    High,
    Low,
    Gone,
    Disconnected,
}

fn got(received: Result<Option<Sample<'_, Tick>>, RecvError>) -> Option<Got> {
    Some(match received {
        Ok(None) => return None,
        Ok(Some(tick)) => Got::Message(tick.checked()),
        Err(RecvError::Gap(gap)) if gap.cause == GapCause::TransportLost => Got::Lost,
        Err(RecvError::Gap(gap)) => {
            assert_eq!(gap.cause, GapCause::Overflow);
            Got::Gap(gap.lost)
        }
        Err(RecvError::Disconnected { .. }) => Got::Disconnected,
        Err(RecvError::Event(SubscriberEvent::HighWater { .. })) => Got::High,
        Err(RecvError::Event(SubscriberEvent::LowWater { .. })) => Got::Low,
        Err(RecvError::Event(SubscriberEvent::PublisherGone { .. })) => Got::Gone,
        Err(error) => panic!("{error}"),
    })
}

/// All that comes until nothing does for a while.
fn drain(subscriber: &mut Subscriber<Tick>) -> Vec<Got> {
    let pause = Duration::from_millis(500);
    std::iter::from_fn(|| got(subscriber.recv_timeout(pause))).collect()
}

fn small_publisher(bus: &Bus) -> Publisher<Tick> {
    let client = bus.client("publisher");
    let builder = client.publisher("t").ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

fn subscriber(bus: &Bus, overflow: Overflow) -> Subscriber<Tick> {
    let client = bus.client("subscriber");
    let builder = client.subscriber("t").overflow(overflow);
    builder.events().open().unwrap()
}

fn publish_until_dropped(publisher: &mut Publisher<Tick>) -> u64 {
    let mut dropped = |number: &u64| {
        let delivery = publisher.publish("t", &Tick::new(*number)).unwrap();
        delivery.dropped > 0
    };
    (0..).find(|number| dropped(number)).unwrap()
}

#[test]
fn c6_a_lane_that_fills_up_says_so_once_and_once_that_it_is_drained() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::DropNewest);
        let mut publisher = small_publisher(bus);
        // Far below the marks: nothing but messages.
        for number in 0..8 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        let few: Vec<_> = (0..8).map(Got::Message).collect();
        assert_eq!(drain(&mut subscriber), few);

        for _ in 0..2 {
            let full = publish_until_dropped(&mut publisher);
            let all = drain(&mut subscriber);
            let marks: Vec<_> = all
                .iter()
                .filter(|got| matches!(got, Got::High | Got::Low))
                .collect();
            assert_eq!(marks, [&Got::High, &Got::Low]);
            let mut messages = (0..full).map(Got::Message);
            let rest = all
                .iter()
                .filter(|got| !matches!(got, Got::High | Got::Low));
            for got in rest {
                match messages.next() {
                    Some(message) => assert_eq!(*got, message),
                    None => assert_eq!(*got, Got::Gap(1)),
                }
            }
            assert_eq!(messages.next(), None);
            // The publisher learns by its next look that the lane is drained.
            publisher.publish("t", &Tick::new(0)).unwrap();
            assert_eq!(drain(&mut subscriber), [Got::Message(0)]);
        }
    });
}

#[test]
fn c6_a_publisher_is_gone_behind_its_last_message() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::DropNewest);
        let mut publisher = small_publisher(bus);
        for number in 0..10 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        drop(publisher);
        let expected: Vec<_> = (0..10).map(Got::Message).chain([Got::Gone]).collect();
        let all: Vec<_> = (0..11)
            .filter_map(|_| got(subscriber.recv_timeout(Duration::from_secs(20))))
            .collect();
        assert_eq!(all, expected);
    });
}

#[test]
fn c6_nobody_is_told_who_does_not_ask() {
    let bus = Bus::start(Transport::Memory);
    let client = bus.client("subscriber");
    let builder = client.subscriber::<Tick>("t");
    let mut subscriber = builder.overflow(Overflow::DropNewest).open().unwrap();
    let mut publisher = small_publisher(&bus);
    let full = publish_until_dropped(&mut publisher);
    drop(publisher);
    let expected: Vec<_> = (0..full).map(Got::Message).chain([Got::Gap(1)]).collect();
    assert_eq!(drain(&mut subscriber), expected);
}

#[test]
fn c6_a_killed_publisher_is_gone_behind_its_last_message() {
    on_each_transport_of_processes(|bus| {
        let mut subscriber = subscriber(bus, Overflow::DropNewest);
        let mut publisher = bus.peer("publisher", &["t"]);
        publisher.expect("open");
        publisher.tell("0 20");
        publisher.line();
        // Its lane is there.
        let first = got(subscriber.recv_timeout(Duration::from_secs(20)));
        publisher.kill();
        let mut all: Vec<_> = first.into_iter().collect();
        while all.last() != Some(&Got::Gone) {
            let next = got(subscriber.recv_timeout(Duration::from_secs(20)));
            all.push(next.unwrap_or_else(|| panic!("nothing behind {all:?}")));
        }
        all.pop();
        if bus.transport() == Transport::Tcp {
            // Its relay died with it, whatever that had sent.
            assert_eq!(all.pop(), Some(Got::Lost));
        } else {
            assert_eq!(all.len(), 20);
        }
        let messages: Vec<_> = (0..all.len() as u64).map(Got::Message).collect();
        assert_eq!(all, messages);
    });
}

#[test]
fn c2_a_subscriber_without_room_is_disconnected_and_reads_what_it_has() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, Overflow::Disconnect);
        let mut publisher = small_publisher(bus);
        let full = publish_until_dropped(&mut publisher);
        // Nobody is there any more.
        let delivery = publisher.publish("t", &Tick::new(0)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (0, 0));
        let all = drain(&mut subscriber);
        let rest: Vec<_> = all
            .into_iter()
            .filter(|got| !matches!(got, Got::High | Got::Low))
            .collect();
        let expected: Vec<_> = (0..full)
            .map(Got::Message)
            .chain([Got::Gap(1), Got::Disconnected])
            .collect();
        assert_eq!(rest, expected);
        // Another one takes part again; so does the same client, opened anew.
        let mut anew = self::subscriber(bus, Overflow::Disconnect);
        eventually("it takes part again", || {
            publisher.publish("t", &Tick::new(7)).unwrap().lanes == 1
        });
        let first = got(anew.recv_timeout(Duration::from_secs(20)));
        assert_eq!(first, Some(Got::Message(7)));
        assert_eq!(drain(&mut subscriber), []);
    });
}
