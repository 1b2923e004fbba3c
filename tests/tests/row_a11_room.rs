//! Row A11, where a message that waits finds no room, or its subscriber goes.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use futures_sink::Sink;
use ringmain::message::Bytes;
use ringmain::{Client, Overflow, PublishError, Publisher, ResolvedTopic, Retry, Subscriber};
use ringmain_tests::{Bus, Tick, eventually, on_each_local_transport};

const LONG: Duration = Duration::from_secs(600);

fn subscriber(client: &Client) -> Subscriber<Tick> {
    client.subscriber("t/a").open().unwrap()
}

/// Receives the tick with this number.
fn expect(subscriber: &mut Subscriber<Tick>, number: u64) {
    let tick = subscriber.recv_timeout(Duration::from_secs(30)).unwrap();
    let tick = tick.unwrap_or_else(|| panic!("tick {number} does not come"));
    assert_eq!(tick.checked(), number);
}

/// A publisher whose only subscriber has no room left and takes another topic, too, for which a longer message waits. With the topics of
/// both, and how many messages are in the lane.
struct Behind {
    publisher: Publisher<Bytes>,
    subscriber: Subscriber<Bytes>,
    full: ResolvedTopic,
    waiting: ResolvedTopic,
    written: usize,
}

impl Behind {
    fn new(bus: &Bus, retry: Retry) -> Self {
        let client = bus.client("sender");
        let builder = client.publisher::<Bytes>("t/*").ring_bytes(4096);
        let builder = builder.max_message_bytes(200).retry(retry);
        let mut publisher = builder.open().unwrap();
        let client = bus.client("receiver");
        let builder = client.subscriber::<Bytes>("t/x");
        // Who waits for it in spite of all loses the message that waits, soon enough for a test that fails.
        let deadline = Duration::from_secs(20);
        let overflow = Overflow::Block { deadline };
        let mut subscriber = builder.overflow(overflow).open().unwrap();
        // Its name has to go into the ring, too.
        let name = format!("t/{}", "y".repeat(1000));
        let [full, waiting] = ["t/x", &name].map(|name| publisher.resolve(name).unwrap());
        let mut written = 0;
        while publisher.try_publish_to(&full, Bytes::new(b"new")).is_ok() {
            written += 1;
        }
        let old = Bytes::new(&[7; 200]);
        let delivery = publisher.publish_with_ttl(&waiting, old, LONG).unwrap();
        assert!(delivery.waiting);
        subscriber.change_patterns(&["t/x", &name], &[]).unwrap();
        Self {
            publisher,
            subscriber,
            full,
            waiting,
            written,
        }
    }

    /// Reads until nothing more is there; expects what was written, with nothing else before.
    fn read_written(&mut self) {
        for _ in 0..self.written {
            assert_eq!(*self.subscriber.recv().unwrap(), *b"new");
        }
    }

    /// Expects what has waited, then one that is newer.
    fn expect_both(&mut self) {
        assert_eq!(*self.subscriber.recv().unwrap(), [7; 200]);
        assert_eq!(*self.subscriber.recv().unwrap(), *b"new");
        assert_eq!(self.publisher.expired(), 0);
    }
}

#[test]
fn a11_who_must_not_wait_does_not_wait_for_what_has_waited() {
    on_each_local_transport(|bus| {
        let mut behind = Behind::new(bus, Retry::Wake);
        let publisher = &mut behind.publisher;
        let other = publisher.resolve("t/z").unwrap();
        let new = Bytes::new(b"new");
        assert_eq!(publisher.try_publish_to(&other, new).unwrap().lanes, 0);
        let short = Duration::from_millis(1);
        let delivery = publisher.publish_to_timeout(&other, new, short).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (0, 0));
        // Nothing newer goes to who is to get it.
        for topic in [&behind.full, &behind.waiting] {
            let refused = publisher.try_publish_to(topic, new);
            assert!(matches!(refused, Err(PublishError::WouldBlock)));
            let refused = publisher.publish_to_timeout(topic, new, short);
            assert!(matches!(refused, Err(PublishError::WouldBlock)));
        }
        behind.read_written();
        // As soon as the publisher has heard from its subscriber.
        eventually("there is room", || {
            let delivery = behind.publisher.try_publish_to(&behind.full, new);
            delivery.is_ok_and(|delivery| delivery.lanes == 1)
        });
        behind.expect_both();
    });
}

#[test]
fn a11_nothing_newer_overtakes_what_finds_no_room() {
    on_each_local_transport(|bus| {
        let mut behind = Behind::new(bus, Retry::Wake);
        // Room for a few that are short, not for the one that waits.
        for _ in 0..4 {
            assert_eq!(*behind.subscriber.recv().unwrap(), *b"new");
        }
        behind.written -= 4;
        let refused =
            behind
                .publisher
                .publish_to_timeout(&behind.full, Bytes::new(b"new"), Duration::ZERO);
        assert!(matches!(refused, Err(PublishError::WouldBlock)));
        thread::scope(|scope| {
            let publisher = &mut behind.publisher;
            let full = &behind.full;
            let waits =
                scope.spawn(move || publisher.publish_to_timeout(full, Bytes::new(b"new"), LONG));
            for _ in 0..behind.written {
                assert_eq!(*behind.subscriber.recv().unwrap(), *b"new");
            }
            assert_eq!(waits.join().unwrap().unwrap().lanes, 1);
        });
        behind.expect_both();
    });
}

#[test]
fn a11_who_never_waits_keeps_what_finds_no_room() {
    on_each_local_transport(|bus| {
        let mut behind = Behind::new(bus, Retry::Never);
        let new = Bytes::new(b"new");
        let refusals = [
            behind.publisher.publish_to(&behind.full, new),
            block_on(behind.publisher.publish_to_async(&behind.full, new)),
            behind
                .publisher
                .publish_to_one(&behind.full, "receiver", new),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(PublishError::WouldBlock)));
        }
        behind.read_written();
        // As soon as the publisher has heard from its subscriber.
        eventually("there is room", || {
            let delivery = behind.publisher.publish_to(&behind.full, new);
            delivery.is_ok_and(|delivery| delivery.lanes == 1)
        });
        behind.expect_both();
    });
}

#[test]
fn a11_a_message_of_a_sink_waits_on_when_the_lane_it_waits_for_ends() {
    on_each_local_transport(|bus| {
        let client = bus.client("sender");
        let builder = client.publisher::<Tick>("t/*").ring_bytes(4096);
        let builder = builder.max_message_bytes(200).time_to_live(LONG);
        let mut publisher = builder.open().unwrap();
        let client = bus.client("receiver");
        let builder = client.subscriber::<Tick>("t/a");
        let overflow = Overflow::Block { deadline: LONG };
        let first = builder.overflow(overflow).open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        let mut fits = true;
        while fits {
            let delivery = publisher.publish_to_timeout(&topic, &Tick::new(0), Duration::ZERO);
            fits = delivery.unwrap().dropped == 0;
        }
        let mut sink = pin!(publisher.into_sink::<Tick>(topic).unwrap());
        sink.as_mut().start_send(Tick::new(1)).unwrap();
        let mut first = Some(first);
        block_on(std::future::poll_fn(|context| {
            let polled = sink.as_mut().poll_flush(context);
            if polled.is_pending() {
                // It goes when it is waited for.
                drop(first.take());
            }
            polled
        }))
        .unwrap();
        assert!(first.is_none());
        expect(&mut subscriber(&client), 1);
    });
}

#[test]
fn a11_who_has_just_gone_takes_nothing() {
    on_each_local_transport(|bus| {
        let client = bus.client("sender");
        let builder = client.publisher::<Tick>("t/*").ring_bytes(4096);
        let builder = builder.max_message_bytes(200).time_to_live(LONG);
        let mut publisher = builder.open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        let client = bus.client("receiver");
        for _ in 0..20 {
            let mut first = subscriber(&client);
            // More than the ring holds: the publisher has heard from it.
            for number in 0..200 {
                let delivery = publisher.publish_to(&topic, &Tick::new(number)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                expect(&mut first, number);
            }
            drop(first);
            let delivery = publisher.publish_to(&topic, &Tick::new(200)).unwrap();
            assert_eq!((delivery.lanes, delivery.waiting), (0, true));
            expect(&mut subscriber(&client), 200);
            eventually("it is gone", || {
                publisher.publish_to(&topic, &Tick::new(0)).unwrap().lanes == 0
            });
            expect(&mut subscriber(&client), 0);
        }
    });
}
