//! Row C8: a graceful close flushes, then tells what was not delivered.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use ringmain::counters::scan_process;
use ringmain::{Closed, ClosedLane, Overflow, Publisher, RecvError, Subscriber};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_local_transport, on_each_transport,
    on_each_transport_of_processes, within,
};

/// Longer than any of these tests may take: who waits so long waits in vain.
const FOR_EVER: Duration = Duration::from_secs(600);

fn open(bus: &Bus) -> (Publisher<Tick>, Subscriber<Tick>) {
    let subscriber = bus.client("reader").subscriber("t").open().unwrap();
    let publisher = bus.client("writer").publisher("t").open().unwrap();
    (publisher, subscriber)
}

fn publish(publisher: &mut Publisher<Tick>, count: u64) {
    for number in 0..count {
        let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
    }
}

fn close(publisher: Publisher<Tick>, how: How, deadline: Duration) -> Closed {
    match how {
        How::Blocking => publisher.close(deadline),
        How::InAFuture => block_on(publisher.close_async(deadline)),
    }
    .unwrap()
}

#[derive(Clone, Copy)]
enum How {
    Blocking,
    InAFuture,
}

/// Asserts that only one lane is told of; gives it.
fn only(closed: Closed) -> ClosedLane {
    assert_eq!((closed.lanes.len(), closed.unlisted), (1, 0), "{closed:?}");
    closed.lanes.into_iter().next().unwrap()
}

#[test]
fn c8_close_returns_when_the_last_message_is_read_and_not_before() {
    for how in [How::Blocking, How::InAFuture] {
        on_each_transport(|bus| {
            let (mut publisher, mut subscriber) = open(bus);
            publish(&mut publisher, 100);
            let (closed, is_closed) = channel();
            let closing = thread::spawn(move || {
                closed
                    .send(close(publisher, how, FOR_EVER))
                    .expect("the test listens");
            });
            for number in 0..100 {
                let tick = subscriber.recv().unwrap();
                assert_eq!(tick.checked(), number);
                assert!(
                    is_closed.try_recv().is_err(),
                    "closed with message {number} unread"
                );
            }
            assert!(subscriber.try_recv().unwrap().is_none());
            let closed = is_closed
                .recv_timeout(Duration::from_secs(60))
                .expect("the subscriber has read everything");
            assert!(closed.is_complete(), "{closed:?}");
            assert_eq!(only(closed).subscriber, "reader");
            closing.join().unwrap();
        });
    }
}

#[test]
fn c8_close_tells_what_a_stuck_subscriber_has_not_read_when_the_deadline_is_over() {
    for how in [How::Blocking, How::InAFuture] {
        on_each_transport(|bus| {
            let (mut publisher, mut subscriber) = open(bus);
            publish(&mut publisher, 10);
            for number in 0..3 {
                assert_eq!(subscriber.recv().unwrap().checked(), number);
            }
            let started = Instant::now();
            let deadline = Duration::from_millis(200);
            let closed = within(Duration::from_secs(30), "a close", || {
                close(publisher, how, deadline)
            });
            assert!(started.elapsed() >= deadline);
            assert!(!closed.is_complete());
            // What it has read is told only if it found nothing more at some time, as from another host it may have.
            let lane = only(closed);
            let told = match bus.transport() {
                Transport::Tcp => 3,
                _ => 0,
            };
            assert!((10 - told..=10).contains(&lane.unread), "{lane:?}");
            assert_eq!(lane.dropped, 0);
            for number in 3..10 {
                assert_eq!(subscriber.recv().unwrap().checked(), number);
            }
        });
    }
}

#[test]
fn c8_close_counts_what_a_subscriber_has_read_while_it_waited() {
    // From another host what was read before that was asked for may not be told.
    on_each_local_transport(|bus| {
        let (mut publisher, mut subscriber) = open(bus);
        publish(&mut publisher, 10);
        let name = bus.client("looker").incarnation();
        let closing = thread::spawn(move || publisher.close(Duration::from_secs(5)).unwrap());
        // Waits for the sleep of the other side: from then on each message is told.
        let parked = || {
            let scan = scan_process(std::process::id()).unwrap();
            let of_bus = scan.clients.iter().filter(|client| client.bus == name);
            let mut lanes = of_bus.flat_map(|client| &client.lanes);
            lanes.any(|lane| lane.counts.parks > 0)
        };
        eventually("the publisher sleeps", parked);
        let mut read = 0;
        // The last ones are left.
        while read < 7 {
            assert_eq!(subscriber.recv().unwrap().checked(), read);
            read += 1;
        }
        let lane = only(closing.join().unwrap());
        // Each message tells of those before it, too; the very last ones may have come when the publisher was awake.
        assert!((3..10).contains(&lane.unread), "{lane:?}");
    });
}

#[test]
fn c8_close_tells_what_was_dropped() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        let mut subscriber = client
            .subscriber::<Tick>("t")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let mut publisher = bus
            .client("writer")
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .open()
            .unwrap();
        let mut written = 0;
        let mut dropped = 0;
        while dropped < 5 {
            let delivery = publisher.publish("t", &Tick::new(7)).unwrap();
            written += u64::from(delivery.lanes);
            dropped += u64::from(delivery.dropped);
        }
        let reading = thread::spawn(move || {
            for _ in 0..written {
                subscriber.recv().unwrap();
            }
            // From another host the counters may come one after the other.
            let mut lost = 0;
            while lost < dropped {
                match subscriber.recv().map(drop) {
                    Err(RecvError::Gap(gap)) => lost += gap.lost,
                    other => panic!("{other:?}"),
                }
            }
            let rest = subscriber.recv_timeout(Duration::from_millis(1)).map(drop);
            // Kept until the publisher has closed, which counts otherwise of one who is gone.
            (rest, subscriber)
        });
        let closed = publisher.close(FOR_EVER).unwrap();
        assert_eq!(closed.undelivered(), 5);
        let lane = only(closed);
        assert_eq!((lane.unread, lane.dropped), (0, 5));
        let (rest, _subscriber) = reading.join().unwrap();
        rest.unwrap();
    });
}

#[test]
fn c8_a_subscriber_that_dies_counts_what_it_had_not_read() {
    on_each_transport_of_processes(|bus| {
        let mut healthy = bus
            .client("healthy")
            .subscriber::<Tick>("t")
            .open()
            .unwrap();
        let mut peer = bus.peer("sleeper", &["t", "block-60000"]);
        peer.expect("open");
        let mut publisher = bus.client("writer").publisher("t").open().unwrap();
        for number in 0..50 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            assert_eq!(delivery.lanes, 2);
            assert_eq!(healthy.recv().unwrap().checked(), number);
        }
        assert!(healthy.try_recv().unwrap().is_none());
        let closing = thread::spawn(move || publisher.close(FOR_EVER).unwrap());
        peer.kill();
        let closed = closing.join().unwrap();
        assert_eq!(closed.undelivered(), 50, "{closed:?}");
        let dead = closed.lanes.iter().find(|lane| lane.unread > 0).unwrap();
        assert_ne!(dead.subscriber, "healthy");
        assert_eq!((dead.unread, dead.has_ended), (50, true));
    });
}

#[test]
fn c8_whoever_died_before_is_told_of_by_close_too() {
    on_each_transport_of_processes(|bus| {
        let mut peer = bus.peer("sleeper", &["t", "block-60000"]);
        peer.expect("open");
        let (mut publisher, subscriber) = open(bus);
        for number in 0..20 {
            publisher.publish("t", &Tick::new(number)).unwrap();
        }
        peer.kill();
        eventually("the lane ends", || {
            publisher.publish("t", &Tick::new(20)).unwrap().lanes == 1
        });
        drop(subscriber);
        let closed = publisher.close(FOR_EVER).unwrap();
        assert_eq!(closed.lanes.len(), 2, "{closed:?}");
        assert!(closed.lanes.iter().all(|lane| lane.has_ended));
        assert!(closed.lanes.iter().all(|lane| lane.unread >= 20));
    });
}

#[test]
fn c8_nobody_is_waited_for_who_has_unsubscribed_or_never_was() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = open(bus);
        publish(&mut publisher, 10);
        for number in 0..4 {
            assert_eq!(subscriber.recv().unwrap().checked(), number);
        }
        drop(subscriber);
        let lane = only(publisher.close(FOR_EVER).unwrap());
        assert!(lane.has_ended);
        // What it has read it tells when it goes; from another host that may come too late.
        assert!(
            bus.transport() == Transport::Tcp || lane.unread == 6,
            "{lane:?}"
        );
        let publisher = bus.client("lonely").publisher::<Tick>("t").open().unwrap();
        assert_eq!(publisher.close(FOR_EVER).unwrap(), Closed::default());
    });
}
