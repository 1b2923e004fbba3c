//! Publishing in futures: as blocking publishes do, without a thread that blocks.
//!
//! A ring that nobody reads is full on the way to another host, too; that there is room again, or that something was lost,
//! is told there in its own time.

use std::borrow::Borrow;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::future::{block_on, zip};
use futures_sink::Sink;
use ringmain::{
    Client, Delivery, GapCause, MessageSink, PublishError, Publisher, RecvError, ResolvedTopic,
    Subscriber,
};
use ringmain_tests::{Tick, Transport, eventually, on_each_transport, policy};

/// Many times what a ring of these tests takes.
const COUNT: u64 = 5000;

#[test]
fn one_thread_publishes_and_receives_more_than_a_ring_takes() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = subscriber(&client, "block-30000");
        let (mut publisher, topic) = publisher(&client);
        let mut publish = async |from| {
            for number in from..from + COUNT {
                let by_name = number % 2 == 0;
                let tick = Tick::new(number);
                let delivery = match by_name {
                    true => publisher.publish_async("t", &tick).await,
                    false => publisher.publish_to_async(&topic, &tick).await,
                };
                assert_eq!(delivered(delivery), (1, 0));
            }
        };
        let mut receive = async |from| {
            for number in from..from + COUNT {
                assert_eq!(subscriber.recv_async().await.unwrap().checked(), number);
            }
        };
        block_on(zip(publish(0), receive(0)));
        let tokio = tokio::runtime::Builder::new_current_thread().build();
        let both = zip(publish(COUNT), receive(COUNT));
        tokio.unwrap().block_on(both);
    });
}

#[test]
fn a_publish_waits_for_a_subscriber_of_another_party() {
    on_each_transport(|bus| {
        let mut peer = bus.peer("subscriber", &["t", "block-30000"]);
        peer.expect("open");
        let (mut publisher, topic) = publisher(&bus.client("publisher"));
        peer.tell(&COUNT.to_string());
        block_on(async {
            for number in 0..COUNT {
                let delivery = publisher.publish_to_async(&topic, &Tick::new(number)).await;
                assert_eq!(delivered(delivery), (1, 0));
            }
        });
        peer.expect(&format!("got {COUNT} lost 0"));
    });
}

#[test]
fn a_publish_waits_for_the_deadline_and_not_again() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = subscriber(&client, "block-200");
        let (mut publisher, topic) = publisher(&client);
        let count = until_one_waits(&mut publisher, &topic, 0, |waiting| {
            assert_eq!(delivered(block_on(waiting)), (0, 1));
        });
        let tick = Tick::new(count);
        // Stalled now.
        match poll(pin!(publisher.publish_to_async(&topic, &tick))) {
            Poll::Ready(delivery) => assert_eq!(delivered(delivery), (0, 1)),
            Poll::Pending => panic!("a stalled subscriber is waited for"),
        }
        receive(&mut subscriber, 0, count);
        expect_gap(&mut subscriber, count, 2);
        let mut lost = 0;
        eventually("the publisher learns that there is room", || {
            let delivery = block_on(publisher.publish_to_async(&topic, &tick));
            let (lanes, dropped) = delivered(delivery);
            lost += u64::from(dropped);
            lanes == 1
        });
        assert!(lost == 0 || bus.transport() == Transport::Tcp);
        expect_gap(&mut subscriber, count + 2, lost);
        receive(&mut subscriber, count, count + 1);
    });
}

#[test]
fn a_dropped_publish_is_with_those_who_had_room_and_counted_for_the_others() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut full = subscriber(&client, "block-30000");
        let roomy = client.subscriber::<Tick>("t").ring_bytes(1 << 20);
        let mut roomy = roomy.open().unwrap();
        let (mut publisher, topic) = publisher(&client);
        let mut lossy = |from| until_one_waits(&mut publisher, &topic, from, |waits| drop(waits));
        let count = lossy(0);
        // Each waits: one that was dropped stalls nobody.
        assert_eq!([lossy(count + 1), lossy(count + 2)], [count + 1, count + 2]);
        // Nothing happens to the publisher in between: the drops are counted already.
        receive(&mut roomy, 0, count + 3);
        receive(&mut full, 0, count);
        expect_gap(&mut full, count, 3);
        assert_eq!(
            delivered(publisher.publish("t", &Tick::new(count + 3))),
            (2, 0)
        );
        receive(&mut full, count + 3, count + 4);
    });
}

#[test]
fn a_leaked_publish_is_counted_by_the_next_operation() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = subscriber(&client, "block-30000");
        let (mut publisher, topic) = publisher(&client);
        let leak = |publisher: &mut _, from| {
            until_one_waits(publisher, &topic, from, |waits| mem::forget(waits))
        };
        let count = leak(&mut publisher, 0);
        receive(&mut subscriber, 0, count);
        // It finds room, but not before what was lost.
        assert_eq!(
            delivered(publisher.publish("t", &Tick::new(count + 1))),
            (1, 0)
        );
        expect_gap(&mut subscriber, count, 1);
        receive(&mut subscriber, count + 1, count + 2);
        let more = leak(&mut publisher, count + 2);
        drop(publisher);
        receive(&mut subscriber, count + 2, more);
        expect_gap(&mut subscriber, more, 1);
    });
}

#[test]
fn a_sink_waits_for_room_and_counts_what_is_dropped() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let open = || {
            let subscriber = subscriber(&client, "block-30000");
            let (publisher, topic) = publisher(&client);
            (subscriber, publisher.into_sink(topic).unwrap())
        };
        let (mut subscriber, mut sink) = open();
        let sending = async {
            for number in 0..COUNT {
                send(&mut sink, Tick::new(number)).await.unwrap();
            }
            close(&mut sink).await.unwrap();
        };
        let receiving = async {
            for number in 0..COUNT {
                assert_eq!(subscriber.recv_async().await.unwrap().checked(), number);
            }
        };
        block_on(zip(sending, receiving));
        assert_eq!(sink.dropped(), 0);
        drop((subscriber, sink));
        let (mut subscriber, mut sink) = open();
        let mut number = 0;
        while poll(pin!(send(&mut sink, Tick::new(number)))).is_ready() {
            number += 1;
        }
        // The last one waits; one more is held back, and not published.
        assert!(poll(pin!(send(&mut sink, Tick::new(number + 1)))).is_pending());
        drop(sink);
        receive(&mut subscriber, 0, number);
        expect_gap(&mut subscriber, number, 1);
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}

#[test]
fn a_sink_takes_messages_by_pointer_and_gives_its_publisher_back() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = subscriber(&client, "drop");
        let (publisher, topic) = publisher(&client);
        let mut sink = publisher.into_sink::<Arc<Tick>>(topic).unwrap();
        let tick = Arc::new(Tick::new(0));
        let mut sent = 0;
        while sink.dropped() == 0 {
            block_on(send(&mut sink, tick.clone())).unwrap();
            sent += 1;
        }
        assert_eq!(sink.dropped(), 1);
        for _ in 1..sent {
            assert_eq!(subscriber.recv().unwrap().checked(), 0);
        }
        let mut publisher = sink.into_inner();
        eventually("the publisher learns that there is room", || {
            delivered(publisher.publish("t", &Tick::new(1))) == (1, 0)
        });
    });
}

/// Publishes with the smallest ring.
fn publisher(client: &Client) -> (Publisher<Tick>, ResolvedTopic) {
    let builder = client.publisher::<Tick>("t").ring_bytes(4096);
    let mut publisher = builder.max_message_bytes(200).open().unwrap();
    let topic = publisher.resolve("t").unwrap();
    (publisher, topic)
}

fn subscriber(client: &Client, policy_name: &str) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t");
    builder.overflow(policy(policy_name)).open().unwrap()
}

fn delivered(delivery: Result<Delivery, PublishError>) -> (u32, u32) {
    let delivery = delivery.unwrap();
    (delivery.lanes, delivery.dropped)
}

/// Publishes from this number on until a future waits, and ends that one so; its number.
fn until_one_waits(
    publisher: &mut Publisher<Tick>,
    topic: &ResolvedTopic,
    from: u64,
    end: impl FnOnce(Publishing<'_>),
) -> u64 {
    for number in from.. {
        let tick = Tick::new(number);
        let mut publishing: Publishing<'_> = Box::pin(publisher.publish_to_async(topic, &tick));
        match poll(publishing.as_mut()) {
            Poll::Ready(delivery) => assert_eq!(delivered(delivery).1, 0),
            Poll::Pending => {
                end(publishing);
                return number;
            }
        }
    }
    unreachable!("a ring is finite")
}

type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Delivery, PublishError>> + 'a>>;

fn receive(subscriber: &mut Subscriber<Tick>, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(subscriber.recv().unwrap().checked(), number);
    }
}

/// To another host, losses that were counted one after the other may be told so.
fn expect_gap(subscriber: &mut Subscriber<Tick>, first: u64, lost: u64) {
    let mut told = 0;
    while told < lost {
        match subscriber.recv() {
            Err(RecvError::Gap(gap)) => {
                let (at, cause) = (first + told, GapCause::Deadline);
                assert_eq!((gap.first_sequence, gap.cause), (at, cause));
                told += gap.lost;
            }
            Err(error) => panic!("{error}"),
            Ok(tick) => panic!("{} instead of a gap", tick.checked()),
        }
    }
    assert_eq!(told, lost);
}

/// Polls once, for nobody.
fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn send<B: Borrow<Tick>>(
    sink: &mut MessageSink<Tick, B>,
    message: B,
) -> Result<(), PublishError> {
    let mut sink = Pin::new(sink);
    poll_fn(|context| sink.as_mut().poll_ready(context)).await?;
    sink.as_mut().start_send(message)?;
    poll_fn(|context| sink.as_mut().poll_flush(context)).await
}

async fn close<B: Borrow<Tick>>(sink: &mut MessageSink<Tick, B>) -> Result<(), PublishError> {
    let mut sink = Pin::new(sink);
    poll_fn(|context| sink.as_mut().poll_close(context)).await
}
