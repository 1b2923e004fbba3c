//! Row B2: payloads are written where they are read; samples are held, and released in any order.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use ringmain::message::Bytes;
use ringmain::{
    Clock, Held, HoldError, LoanAlign, LoanError, Overflow, PoolError, PublishError, Publisher,
    RecvError, Subscriber,
};
use ringmain_tests::frame::{check_frame, fill_frame, frame};
use ringmain_tests::{Bus, Transport, eventually, on_each_local_transport, on_each_transport};

const MIB: usize = 1 << 20;
const BLOCK: Overflow = Overflow::Block {
    deadline: Duration::from_secs(30),
};

/// A publisher of messages up to a mebibyte, with a pool of so many.
fn publisher(bus: &Bus, pool_mib: usize) -> Publisher<Bytes> {
    let client = bus.client("publisher");
    let builder = client.publisher("frames/*").max_message_bytes(MIB);
    builder.pool_bytes((pool_mib * MIB) as u64).open().unwrap()
}

fn subscriber(bus: &Bus, overflow: Overflow) -> Subscriber<Bytes> {
    let client = bus.client("subscriber");
    let builder = client.subscriber("frames/*").overflow(overflow);
    builder.open().unwrap()
}

/// Publishes a loan of so many bytes.
fn lend(publisher: &mut Publisher<Bytes>, number: u64, len: usize) -> u32 {
    let topic = publisher.resolve("frames/a").unwrap();
    let mut loan = publisher.loan(&topic, len).unwrap();
    fill_frame(&mut loan, number);
    loan.publish().unwrap().lanes
}

#[test]
fn b2_what_is_written_in_place_arrives() {
    on_each_transport(|bus| {
        let mut subscribers = [subscriber(bus, BLOCK), subscriber(bus, BLOCK)];
        let mut publisher = publisher(bus, 64);
        for (number, len) in (0..).zip([8, 64, 100, 4095, 4096, 4097, 100_000, MIB]) {
            assert_eq!(lend(&mut publisher, number, len), 2);
            for subscriber in &mut subscribers {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample.len(), len);
                assert_eq!(check_frame(&sample), number);
                assert_eq!(
                    (sample.sequence(), sample.topic().as_str()),
                    (number, "frames/a")
                );
            }
        }
    });
}

#[test]
fn b2_a_loan_can_be_empty_and_cut_and_left() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
        let topic = publisher.resolve("frames/a").unwrap();
        publisher.loan(&topic, 0).unwrap().publish().unwrap();
        assert_eq!(subscriber.recv().unwrap().len(), 0);
        let mut loan = publisher.loan(&topic, 10_000).unwrap();
        fill_frame(&mut loan, 1);
        drop(loan);
        let mut loan = publisher.loan(&topic, 10_000).unwrap();
        fill_frame(&mut loan, 2);
        loan.trim(5000);
        loan.trim(6000);
        assert_eq!(loan.len(), 5000);
        loan.publish().unwrap();
        let mut loan = publisher.loan(&topic, 10_000).unwrap();
        loan.trim(0);
        loan.publish().unwrap();
        let sample = subscriber.recv().unwrap();
        assert_eq!((sample.len(), check_frame(&sample)), (5000, 2));
        drop(sample);
        assert_eq!(subscriber.recv().unwrap().len(), 0);
    });
}

#[test]
fn b2_loans_that_are_left_give_their_memory_back() {
    let bus = Bus::start(Transport::Memory);
    let mut publisher = publisher(&bus, 4);
    let topic = publisher.resolve("frames/a").unwrap();
    for _ in 0..100 {
        let mut loan = publisher.loan(&topic, MIB).unwrap();
        loan[0] = 1;
    }
    assert_eq!(publisher.shrink_pool(), 0);
}

#[test]
fn b2_loans_lie_where_they_are_wanted_and_are_read_there() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
        let topic = publisher.resolve("frames/a").unwrap();
        for (align, bytes) in [(LoanAlign::Line, 64), (LoanAlign::Page, 4096)] {
            for len in [1, 65, 5000, 70_000] {
                let loan = publisher.loan_aligned(&topic, len, align).unwrap();
                assert!((loan.as_ptr() as usize).is_multiple_of(bytes));
                loan.publish().unwrap();
                let sample = subscriber.recv().unwrap();
                assert!((sample.as_ptr() as usize).is_multiple_of(bytes));
            }
        }
    });
}

#[test]
fn b2_a_loan_beyond_a_limit_says_which() {
    let bus = Bus::start(Transport::Memory);
    let mut subscriber = subscriber(&bus, BLOCK);
    let mut publisher = publisher(&bus, 4);
    let topic = publisher.resolve("frames/a").unwrap();
    assert!(matches!(
        publisher.loan(&topic, MIB + 1),
        Err(LoanError::TooLarge { len, limit }) if (len, limit) == (MIB + 1, MIB)
    ));
    // All of the pool is held.
    let mut held = Vec::new();
    let error = loop {
        match publisher.loan(&topic, MIB) {
            Ok(loan) => drop(loan.publish().unwrap()),
            Err(error) => break error,
        }
        held.push(subscriber.recv().unwrap().hold().unwrap());
        // Its share is half of the pool: the rest is for what is on its way.
        assert!(held.len() <= 4);
        if held.len() == 2 {
            let topic = publisher.resolve("frames/a").unwrap();
            let loans = [(); 3].map(|()| publisher.loan(&topic, MIB).map(drop));
            assert!(loans.iter().all(Result::is_ok));
            return;
        }
    };
    panic!("{error}");
}

#[test]
fn b2_a_pool_that_cannot_grow_says_why() {
    let bus = Bus::start(Transport::Memory);
    let client = bus.client("publisher");
    let builder = client.publisher::<Bytes>("frames/*").pool_bytes(1 << 50);
    let mut publisher = builder.max_message_bytes(1 << 45).open().unwrap();
    let topic = publisher.resolve("frames/a").unwrap();
    assert!(matches!(
        publisher.loan(&topic, 1 << 45),
        Err(LoanError::Pool(PoolError::Segment(_)))
    ));
    let builder = client.publisher::<Bytes>("frames/*").pool_bytes(4096);
    let mut publisher = builder.open().unwrap();
    let topic = publisher.resolve("frames/a").unwrap();
    assert!(publisher.loan(&topic, 4096).is_ok());
    assert!(matches!(
        publisher.loan(&topic, 4097),
        Err(LoanError::Pool(PoolError::Limit {
            asked: 8192,
            used: 0,
            limit: 4096
        }))
    ));
}

#[test]
fn b2_samples_are_held_and_released_in_any_order() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
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
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
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
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
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
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
        lend(&mut publisher, 1, 100_000);
        let held = subscriber.recv().unwrap().hold().unwrap();
        drop(subscriber);
        assert_ne!(publisher.shrink_pool(), 0);
        thread::spawn(move || drop(held)).join().unwrap();
        assert_eq!(publisher.shrink_pool(), 0);
    });
}

#[test]
fn b2_one_hold_too_many_is_refused() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
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

#[test]
fn b2_who_holds_its_share_has_its_publisher_wait_until_it_releases() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        // Its share is half: three of these.
        let mut publisher = publisher(bus, 6);
        let mut held = Vec::new();
        for number in 0..3 {
            lend(&mut publisher, number, MIB);
            held.push(subscriber.recv().unwrap().hold().unwrap());
        }
        let (waiting, waits) = channel();
        let thread = thread::spawn(move || {
            let topic = publisher.resolve("frames/a").unwrap();
            let message = frame(3, MIB);
            assert!(matches!(
                publisher.try_publish_to(&topic, Bytes::new(&message)),
                Err(PublishError::WouldBlock)
            ));
            waiting.send(()).unwrap();
            let delivery = publisher.publish_to(&topic, Bytes::new(&message)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            publisher
        });
        waits.recv().unwrap();
        assert!(subscriber.try_recv().unwrap().is_none());
        drop(held.remove(1));
        assert_eq!(check_frame(&subscriber.recv().unwrap()), 3);
        let publisher = thread.join().unwrap();
        assert_eq!([0, 1].map(|at| check_frame(&held[at])), [0, 2]);
        drop(publisher);
    });
}

#[test]
fn b2_a_future_waits_for_a_hold_to_be_released() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 4);
        let mut held = Vec::new();
        for number in 0..2 {
            lend(&mut publisher, number, MIB);
            held.push(subscriber.recv().unwrap().hold().unwrap());
        }
        let message = frame(2, MIB);
        let released = block_on(async {
            let mut publish =
                std::pin::pin!(publisher.publish_async("frames/a", Bytes::new(&message)));
            assert!(poll_once(publish.as_mut()).await.is_none());
            drop(held.pop());
            publish.await.unwrap()
        });
        assert_eq!((released.lanes, released.dropped), (1, 0));
        assert_eq!(check_frame(&subscriber.recv().unwrap()), 2);
        held.clear();
        assert_eq!(publisher.shrink_pool(), 0);
    });
}

#[test]
fn b2_a_future_that_is_dropped_gives_its_memory_back() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 4);
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
        assert_eq!(publisher.shrink_pool(), 0);
    });
}

#[test]
fn b2_descriptors_go_with_large_messages() {
    on_each_local_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 64);
        let topic = publisher.resolve("frames/a").unwrap();
        let null = File::open("/dev/null").unwrap();
        for (number, len) in (0..).zip([100, 100_000, 100, MIB]) {
            let message = frame(number, len);
            let attached = vec![null.as_fd(); number as usize];
            let delivery =
                publisher.publish_with_descriptors(&topic, Bytes::new(&message), &attached);
            assert_eq!(delivery.unwrap().lanes, 1);
            let mut sample = subscriber.recv().unwrap();
            assert_eq!(check_frame(&sample), number);
            assert_eq!(sample.take_descriptors().len(), attached.len());
        }
    });
}

#[test]
fn b2_who_holds_its_share_loses_what_comes_by_its_own_policy() {
    on_each_local_transport(|bus| {
        let mut greedy = subscriber(bus, Overflow::DropNewest);
        let mut other = subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 6);
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
    let mut publisher = publisher(&bus, 6);
    for number in 0..3 {
        assert_eq!(lend(&mut publisher, number, MIB), 1);
    }
    holder.expect("held");
    holder.tell("check");
    holder.expect("[0, 1, 2]");
    // All is held.
    assert!(publisher.shrink_pool() >= 3 * MIB as u64);
    holder.kill();
    eventually("its memory comes back", || publisher.shrink_pool() == 0);
}

#[test]
fn b2_what_is_held_stays_when_its_publisher_is_killed() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = subscriber(&bus, BLOCK);
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

#[test]
fn b2_stamped_loans_say_when_they_were_published() {
    on_each_transport(|bus| {
        let mut subscriber = subscriber(bus, BLOCK);
        let client = bus.client("publisher");
        let builder = client.publisher("frames/*").timestamps(Clock::Realtime);
        let mut publisher = builder.max_message_bytes(MIB).open().unwrap();
        for (number, len) in (0..).zip([100, 100_000, 200, MIB]) {
            lend(&mut publisher, number, len);
            let sample = subscriber.recv().unwrap();
            assert_eq!(check_frame(&sample), number);
            assert!(sample.published_at().unwrap().elapsed().is_some());
        }
    });
}
