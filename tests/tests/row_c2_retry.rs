//! Row C2: how a publisher waits for room is its choice.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use ringmain::{Client, Overflow, PublishError, Publisher, Retry, Subscriber, rkyv};
use ringmain_tests::{Tick, eventually, on_each_transport, within};

/// A type whose values all have one length, as [`Tick`]'s have not.
#[derive(Clone, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.level")]
struct Level {
    number: u64,
}

const WAITING: [Retry; 3] = [
    Retry::Wake,
    Retry::Yield,
    Retry::Backoff {
        first: Duration::from_micros(10),
        longest: Duration::from_millis(2),
    },
];

/// Publishes from a number on; how many.
type Way<'a> = dyn Fn(&mut Publisher<Level>, u64) -> Result<u64, PublishError> + 'a;

#[derive(Clone, Copy)]
enum How {
    Blocking,
    InAFuture,
}

/// A publisher with the smallest ring, and a subscriber that it waits for so long.
fn small(client: &Client, retry: Retry, deadline: Duration) -> (Publisher<Tick>, Subscriber<Tick>) {
    let overflow = Overflow::Block { deadline };
    let subscriber = client.subscriber("t").overflow(overflow).open().unwrap();
    let builder = client.publisher("t").ring_bytes(4096).retry(retry);
    (builder.max_message_bytes(200).open().unwrap(), subscriber)
}

fn publish(publisher: &mut Publisher<Tick>, how: How, number: u64) -> (u32, u32) {
    let tick = Tick::new(number);
    let delivery = match how {
        How::Blocking => publisher.publish("t", &tick),
        How::InAFuture => block_on(publisher.publish_async("t", &tick)),
    };
    let delivery = delivery.unwrap();
    (delivery.lanes, delivery.dropped)
}

fn on_each(test: impl Fn(&Client, Retry, How)) {
    on_each_transport(|bus| {
        for retry in WAITING {
            for how in [How::Blocking, How::InAFuture] {
                test(&bus.client("both"), retry, how);
            }
        }
    });
}

#[test]
fn c2_each_way_of_waiting_waits_until_there_is_room() {
    on_each(|client, retry, how| {
        let (mut publisher, mut subscriber) = small(client, retry, Duration::from_secs(60));
        let publishing = thread::spawn(move || {
            for number in 0..3_000 {
                assert_eq!(publish(&mut publisher, how, number), (1, 0), "{retry:?}");
            }
        });
        for number in 0..3_000 {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        publishing.join().unwrap();
    });
}

#[test]
fn c2_each_way_of_waiting_is_told_of_every_message_that_is_read() {
    on_each(|client, retry, how| {
        let (mut publisher, mut subscriber) = small(client, retry, Duration::from_secs(120));
        let topic = publisher.resolve("t").unwrap();
        let fill = |publisher: &mut Publisher<Tick>| loop {
            match publisher.try_publish_to(&topic, &Tick::new(0)) {
                Ok(_) => {}
                Err(PublishError::WouldBlock) => return,
                Err(error) => panic!("{error}"),
            }
        };
        // The second time it knows that the subscriber has answered; what is refused there has room for little more.
        fill(&mut publisher);
        assert_eq!(subscriber.recv().unwrap().checked(), 0);
        eventually("the subscriber has answered", || {
            subscriber.try_recv().unwrap().is_none()
        });
        fill(&mut publisher);
        let (done, is_done) = channel();
        let publishing = thread::spawn(move || {
            for _ in 0..100 {
                assert_eq!(publish(&mut publisher, how, 0), (1, 0), "{retry:?}");
                done.send(()).unwrap();
            }
        });
        // Until it has to wait.
        while is_done.recv_timeout(Duration::from_millis(300)).is_ok() {}
        // A few messages are less than an eighth of the ring, which a subscriber tells of in any case.
        let sees_room = (0..4).any(|_| {
            assert_eq!(subscriber.recv().unwrap().checked(), 0);
            is_done.recv_timeout(Duration::from_secs(5)).is_ok()
        });
        assert!(sees_room, "{retry:?}");
        let reading = thread::spawn(move || {
            while subscriber
                .recv_timeout(Duration::from_millis(200))
                .unwrap()
                .is_some()
            {}
        });
        publishing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn c2_each_way_of_waiting_ends_with_the_deadline_and_once() {
    on_each(|client, retry, how| {
        let deadline = Duration::from_millis(100);
        let retry = match retry {
            // No sleep is longer than the deadline leaves.
            Retry::Backoff { .. } => Retry::Backoff {
                first: Duration::from_secs(1000),
                longest: Duration::MAX,
            },
            retry => retry,
        };
        let (mut publisher, _subscriber) = small(client, retry, deadline);
        within(Duration::from_secs(60), "waiting in vain", || {
            let started = Instant::now();
            while publish(&mut publisher, how, 0) == (1, 0) {}
            assert!(started.elapsed() >= deadline);
            // It is stalled now.
            for number in 0..1000 {
                assert_eq!(publish(&mut publisher, how, number), (0, 1));
            }
        });
    });
}

#[test]
fn c2_never_refuses_what_would_have_to_wait_and_nobody_gets_it() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let overflow = Overflow::Block {
            deadline: Duration::from_secs(600),
        };
        let mut healthy = client
            .subscriber::<Level>("t")
            .ring_bytes(1 << 20)
            .overflow(overflow)
            .open()
            .unwrap();
        let mut publisher = client
            .publisher::<Level>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .retry(Retry::Never)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        let mut next = 0;
        let mut read = 0;
        // With one lane, then with two.
        for _ in 0..10 {
            publisher.publish("t", &Level { number: next }).unwrap();
            next += 1;
        }
        let mut stuck = client
            .subscriber::<Level>("t")
            .overflow(overflow)
            .open()
            .unwrap();
        let first = next;
        let ways: [&Way<'_>; 5] = [
            &|publisher, number| publisher.publish("t", &Level { number }).map(|_| 1),
            &|publisher, number| publisher.publish_to(&topic, &Level { number }).map(|_| 1),
            &|publisher, number| {
                let forever = Duration::from_secs(600);
                let published = publisher.publish_to_timeout(&topic, &Level { number }, forever);
                published.map(|_| 1)
            },
            &|publisher, number| {
                let levels = [Level { number }, Level { number: number + 1 }];
                publisher.publish_batch(&topic, &levels).map(|_| 2)
            },
            &|publisher, number| {
                let level = Level { number };
                block_on(publisher.publish_async("t", &level)).map(|_| 1)
            },
        ];
        for publish in ways {
            loop {
                match publish(&mut publisher, next) {
                    Ok(published) => next += published,
                    Err(PublishError::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            // The one with room has not got what was refused.
            while read < next {
                assert_eq!(healthy.recv().unwrap().number, read);
                read += 1;
            }
            assert!(healthy.try_recv().unwrap().is_none());
        }
        assert!(next > first + 10);
        for number in first..next {
            assert_eq!(stuck.recv().unwrap().number, number);
        }
        assert!(stuck.try_recv().unwrap().is_none());
        // The longest batch can be published when all is read.
        let longest = vec![Level { number: 7 }; 2000 / 32];
        eventually("there is room", || {
            match publisher.publish_batch(&topic, &longest) {
                Ok(delivery) => delivery.lanes == 2,
                Err(PublishError::WouldBlock) => false,
                Err(error) => panic!("{error}"),
            }
        });
    });
}
