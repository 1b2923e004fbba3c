//! What a publisher is told of its messages when the way to another host breaks: each is confirmed, dropped, or among those
//! that may be lost.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ringmain::{Client, Delivery, PublishError, Publisher, ResolvedTopic};
use ringmain_tests::{Bus, Peer, Tick, Transport, eventually};

/// A publisher whose subscriber reads nothing, each connected to the broker by a way of its own.
struct Stuck {
    bus: Bus,
    client: Client,
    publisher: Publisher<Tick>,
    topic: ResolvedTopic,
    _sleeper: Peer,
}

type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Delivery, PublishError>> + 'a>>;

impl Stuck {
    fn new() -> Self {
        let bus = Bus::start(Transport::Tcp);
        let mut sleeper = bus.peer("sleeper", &["t", "block-600000"]);
        sleeper.expect("open");
        let client = bus.client("publisher");
        let builder = client.publisher::<Tick>("t").ring_bytes(4096);
        let mut publisher = builder.max_message_bytes(200).open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        Self {
            bus,
            client,
            publisher,
            topic,
            _sleeper: sleeper,
        }
    }

    /// Publishes until one waits, breaks the way meanwhile, ends that one so; how many were published before.
    fn break_while_one_waits(&mut self, end: impl FnOnce(Publishing<'_>)) -> u64 {
        for number in 0.. {
            let tick = Tick::new(number);
            let publishing = self.publisher.publish_to_async(&self.topic, &tick);
            let mut publishing: Publishing<'_> = Box::pin(publishing);
            match poll(publishing.as_mut()) {
                Poll::Ready(delivery) => assert_eq!(delivered(delivery), (1, 0)),
                Poll::Pending => {
                    self.bus.kill_broker();
                    let client = &self.client;
                    eventually("the client learns it", || !client.is_connected());
                    end(publishing);
                    return number;
                }
            }
        }
        unreachable!("a ring is finite")
    }

    /// What the next publish tells, and that it is told once.
    fn unconfirmed(&mut self) -> u64 {
        let unconfirmed = match self.publisher.publish_to(&self.topic, &Tick::new(0)) {
            Err(PublishError::TransportLost { unconfirmed }) => unconfirmed,
            other => panic!("{other:?}"),
        };
        self.nobody_is_published_to();
        unconfirmed
    }

    fn nobody_is_published_to(&mut self) {
        let delivery = self.publisher.publish_to(&self.topic, &Tick::new(0));
        assert_eq!(delivered(delivery), (0, 0));
    }
}

fn delivered(delivery: Result<Delivery, PublishError>) -> (u32, u32) {
    let delivery = delivery.unwrap();
    (delivery.lanes, delivery.dropped)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_message_that_waits_when_the_way_breaks_is_among_those_that_may_be_lost() {
    let mut stuck = Stuck::new();
    let published = stuck.break_while_one_waits(|mut publishing| {
        eventually("it waits no more", || match poll(publishing.as_mut()) {
            Poll::Ready(delivery) => delivered(delivery) == (0, 0),
            Poll::Pending => false,
        });
    });
    assert_eq!(stuck.unconfirmed(), published + 1);
}

#[test]
fn a_leaked_message_is_among_those_that_may_be_lost() {
    let mut stuck = Stuck::new();
    let published = stuck.break_while_one_waits(|publishing| mem::forget(publishing));
    assert_eq!(stuck.unconfirmed(), published + 1);
}

#[test]
fn a_message_whose_future_is_dropped_is_dropped() {
    let mut stuck = Stuck::new();
    let published = stuck.break_while_one_waits(|publishing| drop(publishing));
    assert_eq!(stuck.unconfirmed(), published);
}

#[test]
fn a_batch_is_told_what_may_be_lost() {
    let mut stuck = Stuck::new();
    let published = stuck.break_while_one_waits(|publishing| drop(publishing));
    let ticks = [Tick::new(0), Tick::new(1)];
    match stuck.publisher.publish_batch(&stuck.topic, &ticks) {
        Err(PublishError::TransportLost { unconfirmed }) => assert_eq!(unconfirmed, published),
        other => panic!("{other:?}"),
    }
    stuck.nobody_is_published_to();
}
