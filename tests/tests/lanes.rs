//! What lanes do where something changes under way.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ringmain::message::{Bytes, EncodeError, Message, MessageType, Scratch, ViewError};
use ringmain::{Overflow, PublishError, RecvError, Wait, Waitable, wait_any};
use ringmain_tests::{Tick, on_each_local_transport, on_each_transport};

#[test]
fn a_slow_reader_of_small_messages_shows_its_progress_before_the_deadline() {
    const COUNT: usize = 20;
    on_each_transport(|bus| {
        let client = bus.client("slow");
        let overflow = Overflow::Block {
            deadline: Duration::from_secs(60),
        };
        let mut subscriber = client
            .subscriber::<Bytes>("t")
            .overflow(overflow)
            .open()
            .unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing
            .publisher::<Bytes>("t")
            .ring_bytes(4096)
            .max_message_bytes(40)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        let message = Bytes::new(&[1; 40]);
        while publisher.try_publish_to(&topic, message).is_ok() {}
        let published = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..COUNT {
                    let delivery = publisher.publish_to(&topic, message).unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                    published.fetch_add(1, Ordering::SeqCst);
                }
            });
            // A publisher that was about to sleep learns of one message with the next one only, so the second look is not the
            // last, and the last ones are at one that sleeps for certain. Without care for it, it would learn of all after an
            // eighth of the ring: eight messages.
            let patience_ms = [20, 20, 5000, 5000, 5000];
            while published.load(Ordering::SeqCst) < COUNT {
                let before = published.load(Ordering::SeqCst);
                let goes_on = patience_ms.map(Duration::from_millis).iter().any(|wait| {
                    subscriber.recv().unwrap();
                    let end = Instant::now() + *wait;
                    while published.load(Ordering::SeqCst) == before && Instant::now() < end {
                        std::thread::yield_now();
                    }
                    published.load(Ordering::SeqCst) != before
                });
                assert!(goes_on, "the publisher sleeps on");
            }
        });
    });
}

#[test]
fn order_holds_when_a_lane_is_made_anew() {
    on_each_transport(|bus| {
        let client = bus.client("one");
        let mut subscriber = client
            .subscriber::<Tick>("a/**")
            .pattern("z")
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Tick>("a/*").open().unwrap();
        for number in 0..200 {
            publisher.publish("a/x", &Tick::new(number)).unwrap();
        }
        subscriber.remove_pattern("a/**").unwrap();
        assert_eq!(publisher.publish("a/x", &Tick::new(7)).unwrap().lanes, 0);
        subscriber.add_pattern("a/**").unwrap();
        for number in 200..210 {
            publisher.publish("a/x", &Tick::new(number)).unwrap();
        }
        for number in 0..210 {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
    });
}

#[test]
fn a_topic_that_another_publisher_resolved_is_refused() {
    on_each_transport(|bus| {
        let (one, other) = (bus.client("one"), bus.client("other"));
        let mut first = one.publisher::<Bytes>("a/*").open().unwrap();
        let mut second = other.publisher::<Bytes>("b/*").open().unwrap();
        let topic = first.resolve("a/x").unwrap();
        let _held = second.resolve("b/held").unwrap();
        let error = second.publish_to(&topic, Bytes::new(b"x")).unwrap_err();
        assert!(
            matches!(error, PublishError::ForeignTopic { .. }),
            "{error}"
        );
    });
}

#[test]
fn wait_any_tells_that_nothing_can_come_any_more() {
    on_each_transport(|bus| {
        let client = bus.client("waiting");
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        bus.kill_broker();
        let handles: &mut [&mut dyn Waitable] = &mut [&mut subscriber];
        assert_eq!(wait_any(handles, None).unwrap(), [0]);
        assert!(matches!(subscriber.recv(), Err(RecvError::BrokerGone)));
    });
}

#[test]
fn a_subscriber_that_left_counts_no_losses_without_a_broker() {
    on_each_local_transport(|bus| {
        let client = bus.client("publisher");
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4096)
            .max_message_bytes(1000)
            .open()
            .unwrap();
        let other = bus.client("leaving");
        let mut subscriber = other
            .subscriber::<Bytes>("t")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let payload = [1; 1000];
        // Until the publisher knows how far the subscriber has read, its room is one ring.
        let mut in_a_row = 0;
        while in_a_row < 20 {
            let dropped = publisher
                .publish("t", Bytes::new(&payload))
                .unwrap()
                .dropped;
            in_a_row = if dropped == 0 { in_a_row + 1 } else { 0 };
            while subscriber.try_recv().is_ok_and(|sample| sample.is_some()) {}
        }
        bus.kill_broker();
        drop((subscriber, other));
        let mut dropped = 0;
        for _ in 0..100 {
            dropped += publisher
                .publish("t", Bytes::new(&payload))
                .unwrap()
                .dropped;
        }
        assert_eq!(dropped, 0);
    });
}

#[test]
fn a_short_timeout_of_one_publish_does_not_stall_the_lane_for_the_next() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client
            .subscriber::<Bytes>("t")
            .overflow(Overflow::Block {
                deadline: Duration::from_secs(30),
            })
            .open()
            .unwrap();
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4096)
            .max_message_bytes(1000)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        let payload = [1; 1000];
        let timeout = Duration::from_millis(1);
        let mut published = 0;
        while publisher
            .publish_to_timeout(&topic, Bytes::new(&payload), timeout)
            .unwrap()
            .dropped
            == 0
        {
            published += 1;
        }
        let reading = std::thread::spawn(move || {
            let (mut got, mut lost) = (0, 0);
            while got + lost < published + 2 {
                match subscriber.recv() {
                    Ok(_) => got += 1,
                    Err(RecvError::Gap(gap)) => lost += gap.lost,
                    Err(error) => panic!("{error}"),
                }
            }
            (got, lost)
        });
        let delivery = publisher.publish_to(&topic, Bytes::new(&payload)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        assert_eq!(reading.join().unwrap(), (published + 1, 1));
    });
}

/// Panics while it is encoded, if it is to.
struct Explosive(bool);

impl Message for Explosive {
    type View = [u8];

    fn message_type() -> &'static MessageType {
        Bytes::message_type()
    }

    fn encode(&self, out: &mut [u8], _: &mut Scratch) -> Result<usize, EncodeError> {
        assert!(!self.0, "as asked for");
        out[0] = 1;
        Ok(1)
    }

    fn encoded_len(&self, _: &mut Scratch) -> Result<usize, EncodeError> {
        Ok(1)
    }

    fn view(bytes: &[u8]) -> Result<&[u8], ViewError> {
        Ok(bytes)
    }
}

#[test]
fn a_panic_while_encoding_leaves_the_lane_as_it_was() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Bytes>("t/*").open().unwrap();
        let mut publisher = client.publisher::<Explosive>("t/*").open().unwrap();
        for topic in ["t/a", "t/b"] {
            // With the definition of the topic staged before it.
            let publish = AssertUnwindSafe(|| publisher.publish(topic, &Explosive(true)));
            assert!(catch_unwind(publish).is_err());
            publisher.publish(topic, &Explosive(false)).unwrap();
            let sample = subscriber.recv().unwrap();
            assert_eq!((sample.topic().as_str(), &*sample), (topic, &[1][..]));
        }
    });
}

#[test]
fn receiving_between_announce_and_retire_does_not_harm_later_sleeps() {
    on_each_transport(|bus| {
        let client = bus.client("waiting");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        assert!(subscriber.announce());
        let mut publisher = bus.peer("publisher", &["t"]);
        publisher.expect("open");
        publisher.tell("0 1");
        publisher.expect("lanes 1 dropped 0");
        // Takes in the lane, and with it the page that the sleep was not announced on.
        let mut got = false;
        while !got {
            got = subscriber.try_recv().unwrap().is_some();
            subscriber.announce();
        }
        subscriber.retire();
        subscriber.retire();
        for number in 1..100 {
            publisher.tell(&format!("{number} {}", number + 1));
            publisher.expect("lanes 1 dropped 0");
            let tick = subscriber.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(tick.expect("a wake is lost").checked(), number);
        }
    });
}

/// It closes while the subscriber may just be asleep at its new ring, and before anybody knows its bell.
#[test]
fn what_is_published_right_before_a_publisher_closes_wakes_whoever_sleeps() {
    on_each_transport(|bus| {
        let reading = bus.client("reading");
        let builder = reading.subscriber::<Tick>("t").wait(Wait::Park);
        let mut subscriber = builder.open().unwrap();
        let publishing = bus.client("publishing");
        std::thread::scope(|scope| {
            let (next, may_go_on) = channel();
            scope.spawn(move || {
                for number in 0..ROUNDS {
                    let started = Instant::now();
                    let sample = subscriber.recv_timeout(PATIENCE).unwrap();
                    assert_eq!(sample.expect("it was published").checked(), number);
                    // The time-out finds it, too.
                    assert!(started.elapsed() < PATIENCE, "round {number} lost its wake");
                    next.send(()).unwrap();
                }
            });
            for number in 0..ROUNDS {
                let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
                // Sweeps the time that the subscriber takes to map the ring and to fall asleep.
                (0..number % 500 * 100).for_each(|step| _ = black_box(step));
                assert_eq!(publisher.publish("t", &Tick::new(number)).unwrap().lanes, 1);
                drop(publisher);
                if may_go_on.recv().is_err() {
                    return;
                }
            }
        });
    });
}

const ROUNDS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_message_that_found_room_is_not_waited_for_although_the_one_before_was_refused() {
    on_each_local_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        let builder = client.publisher::<Bytes>("t").ring_bytes(4096);
        let mut publisher = builder.max_message_bytes(1000).open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        let mut send = |len| publisher.try_publish_to(&topic, Bytes::new(&vec![0; len]));
        // From here on they know each other, and the ring is empty: how much room is left below does not depend on time.
        for _ in 0..2 {
            send(1000).unwrap();
            subscriber.recv().unwrap();
            while subscriber.try_recv().unwrap().is_some() {}
        }
        while send(1000).is_ok() {}
        assert!(matches!(send(1000), Err(PublishError::WouldBlock)));
        send(16).unwrap();
        assert!(publisher.is_ready());
    });
}
