//! Whoever waits for room waits no longer than agreed, also in circles (row C2).

use std::time::{Duration, Instant};

use ringmain::{Overflow, Publisher, Subscriber};
use ringmain_tests::{Bus, Tick, eventually, on_each_transport};

const DEADLINE: Duration = Duration::from_millis(300);
/// More than a loaded machine may take besides waiting.
const LIMIT: Duration = Duration::from_secs(30);

fn pair(bus: &Bus, name: &str, speak: &str, listen: &str) -> (Publisher<Tick>, Subscriber<Tick>) {
    let client = bus.client(name);
    let overflow = Overflow::Block { deadline: DEADLINE };
    let subscriber = client.subscriber(listen).overflow(overflow).open().unwrap();
    let builder = client.publisher(speak).ring_bytes(4096);
    (builder.max_message_bytes(200).open().unwrap(), subscriber)
}

/// Publishes until so many messages are dropped; gives how many were not, and how long the longest publish took.
fn publish_into(publisher: &mut Publisher<Tick>, topic: &str, drops: u32) -> (u64, Duration) {
    let (mut written, mut dropped, mut longest) = (0, 0, Duration::ZERO);
    while dropped < drops {
        let started = Instant::now();
        let delivery = publisher.publish(topic, &Tick::new(written)).unwrap();
        longest = longest.max(started.elapsed());
        assert_eq!(delivery.lanes + delivery.dropped, 1);
        written += u64::from(delivery.lanes);
        dropped += delivery.dropped;
    }
    (written, longest)
}

fn drain(subscriber: &mut Subscriber<Tick>, messages: u64) {
    for number in 0..messages {
        let tick = subscriber
            .recv_timeout(LIMIT)
            .unwrap()
            .expect("it was written");
        assert_eq!(tick.checked(), number);
    }
}

#[test]
fn c2_two_clients_with_full_rings_wait_for_each_other_no_longer_than_their_deadlines() {
    on_each_transport(|bus| {
        let mut one = pair(bus, "one", "t/one", "t/two");
        let mut two = pair(bus, "two", "t/two", "t/one");
        let started = Instant::now();
        let threads = [&mut one, &mut two].map(|(publisher, _)| publisher);
        let written = std::thread::scope(|scope| {
            let topics = ["t/one", "t/two"];
            let threads: Vec<_> = threads
                .into_iter()
                .zip(topics)
                .map(|(publisher, topic)| scope.spawn(move || publish_into(publisher, topic, 100)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        // One deadline each, then the lane counts as stalled and is not waited for.
        assert!(started.elapsed() >= DEADLINE && started.elapsed() < LIMIT);
        for (_, longest) in &written {
            assert!(*longest >= DEADLINE, "{longest:?}");
        }
        drain(&mut one.1, written[1].0);
        drain(&mut two.1, written[0].0);
    });
}

#[test]
fn c2_a_client_with_its_own_full_ring_waits_no_longer_than_its_deadline() {
    on_each_transport(|bus| {
        let (mut publisher, mut subscriber) = pair(bus, "alone", "t", "t");
        let started = Instant::now();
        let (written, longest) = publish_into(&mut publisher, "t", 100);
        assert!(
            longest >= DEADLINE && started.elapsed() < LIMIT,
            "{longest:?}"
        );
        drain(&mut subscriber, written);
        // It goes on once the publisher knows that it is drained.
        eventually("it goes on", || {
            publisher.publish("t", &Tick::new(0)).unwrap().lanes == 1
        });
    });
}
