//! Receiving in futures: what it promises beyond blocking receives.

use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, poll_once};
use nix::sys::socket::{MsgFlags, recv};
use ringmain::{RecvError, Sample, Subscriber, Wait, Waitable};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_local_transport, on_each_transport, policy,
};

const COUNT: u64 = 20_000;

fn open(bus: &Bus, name: &str) -> Subscriber<Tick> {
    let client = bus.client(name);
    client
        .subscriber::<Tick>("t")
        .overflow(policy("block-30000"))
        .open()
        .unwrap()
}

async fn receive(subscriber: &mut Subscriber<Tick>, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(subscriber.recv_async().await.unwrap().checked(), number);
    }
}

#[test]
fn every_message_arrives_in_order_on_every_executor() {
    on_each_transport(|bus| {
        let mut subscriber = open(bus, "async");
        let mut publisher = bus.peer("publisher", &["t"]);
        publisher.expect("open");
        publisher.tell(&format!("0 {COUNT}"));
        block_on(receive(&mut subscriber, 0, COUNT));
        publisher.tell(&format!("{COUNT} {}", 2 * COUNT));
        let tokio = tokio::runtime::Builder::new_current_thread().build();
        tokio
            .unwrap()
            .block_on(receive(&mut subscriber, COUNT, 2 * COUNT));
        // One at a time: each is waited for.
        for number in 2 * COUNT..2 * COUNT + 200 {
            publisher.tell(&format!("{number} {}", number + 1));
            block_on(receive(&mut subscriber, number, number + 1));
        }
    });
}

#[test]
fn dropped_futures_lose_neither_messages_nor_wakes() {
    on_each_transport(|bus| {
        let mut subscriber = open(bus, "async");
        let mut publisher = bus.peer("publisher", &["t"]);
        publisher.expect("open");
        let mut number = 0;
        for round in 1..=100 {
            // One is dropped before the messages come, the others while they do.
            drop(pending(&mut subscriber));
            publisher.tell(&format!("{number} {}", 200 * round));
            let mut dropped = 0;
            while number < 200 * round {
                let got = block_on(async {
                    let polled = poll_once(subscriber.recv_async()).await;
                    polled.map(|sample| sample.unwrap().checked())
                });
                if let Some(got) = got {
                    assert_eq!(got, number);
                    number += 1;
                    continue;
                }
                dropped += 1;
                // Now and then a real wait behind a dropped one.
                if dropped % 8 == 0 {
                    block_on(receive(&mut subscriber, number, number + 1));
                    number += 1;
                }
            }
        }
    });
}

#[test]
fn after_a_leaked_or_dropped_future_blocking_receives_still_wake() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client
            .subscriber::<Tick>("t")
            .wait(Wait::Park)
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Tick>("t").open().unwrap();
        // Opens the lane's page.
        publisher.publish("t", &Tick::new(0)).unwrap();
        assert_eq!(subscriber.recv().unwrap().checked(), 0);
        for number in 1..100 {
            match number % 2 {
                0 => mem::forget(pending(&mut subscriber)),
                _ => drop(pending(&mut subscriber)),
            }
            let publishing = thread::scope(|scope| {
                let sending = scope.spawn(|| publisher.publish("t", &Tick::new(number)).unwrap());
                let sample = subscriber.recv_timeout(Duration::from_secs(10)).unwrap();
                assert_eq!(sample.expect("a wake was lost").checked(), number);
                sending.join().unwrap()
            });
            assert_eq!(publishing.lanes, 1);
        }
    });
}

#[test]
fn a_dropped_future_is_not_rung_for() {
    // On the others the relay rings, in its own time.
    on_each_local_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let mut publisher = client.publisher::<Tick>("t").open().unwrap();
        let mut rings = |sleep: fn(&mut Subscriber<Tick>)| {
            sleep(&mut subscriber);
            for number in 0..10 {
                publisher.publish("t", &Tick::new(number)).unwrap();
            }
            let rings = tokens(&subscriber);
            for number in 0..10 {
                assert_eq!(subscriber.recv().unwrap().checked(), number);
            }
            subscriber.retire();
            rings
        };
        let announce: fn(&mut Subscriber<Tick>) = |subscriber| {
            subscriber.announce();
        };
        // Single rings come from the control thread, while it makes the lane.
        eventually("the publisher knows the bell", || {
            (0..5).all(|_| rings(announce) == 1)
        });
        let dropped: u32 = (0..100).map(|_| rings(|own| drop(pending(own)))).sum();
        let announced: u32 = (0..100).map(|_| rings(announce)).sum();
        assert_eq!(dropped, 0, "rings for nobody");
        assert_eq!(announced, 100, "rings for 100 sleeps");
    });
}

type PendingReceive<'a> = Pin<Box<dyn Future<Output = Result<Sample<'a, Tick>, RecvError>> + 'a>>;

/// A future that waits.
fn pending(subscriber: &mut Subscriber<Tick>) -> PendingReceive<'_> {
    let mut future: PendingReceive<'_> = Box::pin(subscriber.recv_async());
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    future
}

/// Takes the tokens out of the subscriber's bell.
fn tokens(subscriber: &Subscriber<Tick>) -> u32 {
    let descriptor = subscriber.as_fd().as_raw_fd();
    let mut count = 0;
    while recv(descriptor, &mut [0], MsgFlags::MSG_DONTWAIT).is_ok() {
        count += 1;
    }
    count
}

#[test]
fn a_task_whose_wakers_never_look_alike_is_woken_for_messages_only() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let mut publisher = client.publisher::<Tick>("t").open().unwrap();
        publisher.publish("t", &Tick::new(0)).unwrap();
        assert_eq!(subscriber.recv().unwrap().checked(), 0);
        let wakes = Arc::new(Wakes::default());
        let mut receiving = Box::pin(subscriber.recv_async());
        let mut poll = || {
            // Each time another allocation.
            let waker = Arc::new(Forwards(wakes.clone())).into();
            let polled = receiving.as_mut().poll(&mut Context::from_waker(&waker));
            polled.map(|sample| sample.unwrap().checked())
        };
        // Rings of the time in which the lane was made.
        eventually("nothing more happens", || {
            let before = wakes.0.load(Ordering::SeqCst);
            (0..100).all(|_| poll().is_pending()) && wakes.0.load(Ordering::SeqCst) == before
        });
        let mut before = wakes.0.load(Ordering::SeqCst);
        publisher.publish("t", &Tick::new(1)).unwrap();
        eventually("the message wakes", || {
            let now = wakes.0.load(Ordering::SeqCst);
            // Nobody polls who was not woken.
            mem::replace(&mut before, now) < now && poll() == Poll::Ready(1)
        });
    });
}

#[derive(Default)]
struct Wakes(AtomicU32);

struct Forwards(Arc<Wakes>);

impl Wake for Forwards {
    fn wake(self: Arc<Self>) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stream_gives_owned_items_and_ends_after_its_last_error() {
    let mut bus = Bus::start(Transport::Memory);
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    let mut stream = open(&bus, "stream").into_stream(|tick| tick.checked());
    publisher.tell("0 100");
    let numbers: Vec<_> = block_on((&mut stream).take(100).map(Result::unwrap).collect());
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    publisher.finish();
    bus.kill_broker();
    let last = block_on(stream.next());
    assert!(matches!(last, Some(Err(RecvError::BrokerGone))), "{last:?}");
    assert!(block_on(stream.next()).is_none());
}
