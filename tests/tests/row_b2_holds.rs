//! Row B2: samples are held, and released in any order.

use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use ringmain::message::Bytes;
use ringmain::{
    Client, Delivery, Held, HoldError, Overflow, PublishError, Publisher, RecvError, counters,
};
use ringmain_tests::frame::{
    BLOCK, MIB, check_frame, comes_back, frame, frame_publisher, frame_publisher_of,
    frame_subscriber, lend,
};
use ringmain_tests::{Bus, Transport, eventually, on_each_local_transport, on_each_transport};

/// Long enough on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn b2_samples_are_held_and_released_in_any_order() {
    on_each_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        let mut held: Vec<Held<Bytes>> = Vec::new();
        for number in 0..200 {
            // Small ones lie in the ring, and are copied.
            let len = if number % 5 == 0 { 100 } else { 100_000 };
            lend(&mut publisher, number, len);
            let sample = subscriber.recv().unwrap();
            let kept = sample.hold().unwrap();
            drop(sample);
            assert_eq!(kept.sequence(), number);
            held.push(kept.clone());
            drop(kept);
            if held.len() == 20 {
                for index in [7, 0, 17, 3, 9, 1, 1, 0, 5, 2] {
                    check_frame(&held.remove(index));
                }
            }
            for frame in &held {
                assert_eq!(check_frame(frame), frame.sequence());
            }
        }
        if bus.transport() != Transport::Tcp {
            assert!(held.iter().all(|frame| !frame.is_copy()));
        }
    });
}

#[test]
fn b2_messages_in_a_ring_are_copied_when_they_are_held() {
    on_each_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        let mut held = Vec::new();
        for number in 0..1000 {
            let message = frame(number, 1000);
            publisher.publish("frames/a", Bytes::new(&message)).unwrap();
            held.push(subscriber.recv().unwrap().hold().unwrap());
        }
        for (number, frame) in (0..).zip(&held) {
            assert!(frame.is_copy());
            assert_eq!(check_frame(frame), number);
        }
    });
}

#[test]
fn b2_a_hold_lives_longer_than_all_who_brought_it() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        lend(&mut publisher, 1, 100_000);
        lend(&mut publisher, 2, 100_000);
        let [first, second] = [(); 2].map(|()| subscriber.recv().unwrap().hold().unwrap());
        drop(subscriber);
        // The publisher uses all other memory, not this.
        for number in 3..1000 {
            lend(&mut publisher, number, 100_000);
        }
        assert_eq!(check_frame(&first), 1);
        drop(publisher);
        let reader = thread::spawn(move || check_frame(&second));
        assert_eq!(reader.join().unwrap(), 2);
        assert_eq!(check_frame(&first), 1);
    });
}

#[test]
fn b2_memory_of_holds_that_are_released_late_comes_back() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        lend(&mut publisher, 1, 100_000);
        let held = subscriber.recv().unwrap().hold().unwrap();
        drop(subscriber);
        assert_ne!(publisher.shrink_pool(), 0);
        thread::spawn(move || drop(held)).join().unwrap();
        comes_back(&mut publisher);
    });
}

#[test]
fn b2_one_hold_too_many_is_refused() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        let mut held = Vec::new();
        for number in 0..48 {
            lend(&mut publisher, number, 5000);
            held.push(subscriber.recv().unwrap().hold().unwrap());
        }
        lend(&mut publisher, 48, 5000);
        let sample = subscriber.recv().unwrap();
        assert_eq!(sample.hold().unwrap_err(), HoldError::UsedUp { most: 48 });
        // A clone is no other hold.
        let clone = held[5].clone();
        held.remove(5);
        assert!(sample.hold().is_err());
        drop(clone);
        let last = sample.hold().unwrap();
        drop(sample);
        assert_eq!(check_frame(&last), 48);
        for (number, frame) in (0..).filter(|number| *number != 5).zip(&held) {
            assert_eq!(check_frame(frame), number);
        }
    });
}

/// How often publishers of this client have slept.
fn sleeps(client: &Client) -> u64 {
    let scan = counters::scan_process(std::process::id()).unwrap();
    let id = (client.incarnation(), client.id());
    let clients = scan.clients.into_iter();
    let found = clients.filter(|found| (found.bus, found.client) == id);
    let lanes = found.flat_map(|found| found.lanes);
    lanes.map(|lane| lane.counts.parks).sum()
}

/// A publisher whose subscriber holds its share waits, by `publish`, until one is released, which wakes it.
fn waits_for_a_release(bus: &Bus, publish: fn(&mut Publisher<Bytes>, &Bytes) -> Delivery) {
    let mut subscriber = frame_subscriber(bus, BLOCK);
    let client = bus.client("publisher");
    // Its share is half: three of these.
    let mut publisher = frame_publisher_of(&client, 6);
    let mut held = Vec::new();
    for number in 0..3 {
        lend(&mut publisher, number, MIB);
        held.push(subscriber.recv().unwrap().hold().unwrap());
    }
    let message = frame(3, MIB);
    let topic = publisher.resolve("frames/a").unwrap();
    assert!(matches!(
        publisher.try_publish_to(&topic, Bytes::new(&message)),
        Err(PublishError::WouldBlock)
    ));
    let thread = thread::spawn(move || {
        let delivery = publish(&mut publisher, Bytes::new(&message));
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        publisher
    });
    eventually("the publisher sleeps", || sleeps(&client) > 0);
    assert!(subscriber.try_recv().unwrap().is_none());
    drop(held.remove(1));
    // Long before its deadline.
    let next = subscriber.recv_timeout(PATIENCE).unwrap();
    assert_eq!(check_frame(&next.unwrap()), 3);
    assert_eq!([0, 1].map(|at| check_frame(&held[at])), [0, 2]);
    held.clear();
    let mut publisher = thread.join().unwrap();
    comes_back(&mut publisher);
}

#[test]
fn b2_who_holds_its_share_has_its_publisher_wait_until_it_releases() {
    on_each_local_transport(|bus| {
        waits_for_a_release(bus, |publisher, message| {
            publisher.publish("frames/a", message).unwrap()
        });
    });
}

#[test]
fn b2_a_future_waits_for_a_hold_to_be_released() {
    on_each_local_transport(|bus| {
        waits_for_a_release(bus, |publisher, message| {
            block_on(publisher.publish_async("frames/a", message)).unwrap()
        });
    });
}

#[test]
fn b2_a_future_that_is_dropped_gives_its_memory_back() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 4);
        let mut held = Vec::new();
        for number in 0..2 {
            lend(&mut publisher, number, MIB);
            held.push(subscriber.recv().unwrap().hold().unwrap());
        }
        let message = frame(2, MIB);
        block_on(async {
            let mut publish =
                std::pin::pin!(publisher.publish_async("frames/a", Bytes::new(&message)));
            assert!(poll_once(publish.as_mut()).await.is_none());
        });
        assert!(matches!(subscriber.recv(), Err(RecvError::Gap(gap)) if gap.lost == 1));
        held.clear();
        comes_back(&mut publisher);
    });
}

#[test]
fn b2_who_holds_its_share_loses_what_comes_by_its_own_policy() {
    on_each_local_transport(|bus| {
        let mut greedy = frame_subscriber(bus, Overflow::DropNewest);
        let mut other = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 6);
        let (mut held, mut lost) = (Vec::new(), 0);
        for number in 0..20 {
            lend(&mut publisher, number, MIB);
            assert_eq!(check_frame(&other.recv().unwrap()), number);
            match greedy.try_recv() {
                Ok(Some(sample)) => held.push(sample.hold().unwrap()),
                Ok(None) => {}
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        // A third of the pool for each, and for what is on its way.
        assert_eq!(held.len(), 2);
        held.clear();
        lend(&mut publisher, 20, MIB);
        let last = loop {
            match greedy.recv() {
                Ok(sample) => break check_frame(&sample),
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((lost, last), (18, 20));
    });
}

#[test]
fn b2_a_holder_that_is_killed_gives_all_back() {
    let bus = Bus::start(Transport::Unix);
    let mut holder = bus.peer("holder", &["frames/*", "3"]);
    holder.expect("open");
    let mut publisher = frame_publisher(&bus, 6);
    for number in 0..3 {
        assert_eq!(lend(&mut publisher, number, MIB), 1);
    }
    holder.expect("held");
    holder.tell("check");
    holder.expect("[0, 1, 2]");
    // All is held.
    assert!(publisher.shrink_pool() >= 3 * MIB as u64);
    holder.kill();
    comes_back(&mut publisher);
}

#[test]
fn b2_what_is_held_stays_when_its_publisher_is_killed() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = frame_subscriber(&bus, BLOCK);
    let mut lender = bus.peer("lender", &["frames/a", "3", "100000"]);
    let first = subscriber.recv().unwrap().hold().unwrap();
    lender.expect("published");
    lender.kill();
    // What lies in the ring of a dead publisher is still read, and held.
    let rest = [1, 2].map(|number| {
        let held = subscriber.recv().unwrap().hold().unwrap();
        assert_eq!(held.sequence(), number);
        held
    });
    assert_eq!(check_frame(&first), 0);
    assert_eq!(rest.map(|frame| check_frame(&frame)), [1, 2]);
    assert_eq!(check_frame(&first), 0);
}
