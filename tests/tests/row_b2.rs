//! Row B2: payloads are written where they are read.

use std::fs::File;
use std::os::fd::AsFd;

use ringmain::message::Bytes;
use ringmain::{Clock, LoanAlign, LoanError, PoolError};
use ringmain_tests::frame::{
    BLOCK, MIB, check_frame, fill_frame, frame, frame_publisher, frame_subscriber, lend,
};
use ringmain_tests::{Bus, Transport, on_each_local_transport, on_each_transport};

#[test]
fn b2_what_is_written_in_place_arrives() {
    on_each_transport(|bus| {
        let mut subscribers = [frame_subscriber(bus, BLOCK), frame_subscriber(bus, BLOCK)];
        let mut publisher = frame_publisher(bus, 64);
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
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
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
    let mut publisher = frame_publisher(&bus, 4);
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
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
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
    let mut subscriber = frame_subscriber(&bus, BLOCK);
    let mut publisher = frame_publisher(&bus, 4);
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
fn b2_descriptors_go_with_large_messages() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = frame_publisher(bus, 64);
        let topic = publisher.resolve("frames/a").unwrap();
        let null = File::open("/dev/null").unwrap();
        for (number, len) in (0..).zip([100, 100_000, 100, MIB]) {
            let message = frame(number, len);
            let attached = vec![ringmain::Attachment::Descriptor(null.as_fd()); number as usize];
            let delivery = publisher.publish_with(&topic, Bytes::new(&message), &attached);
            assert_eq!(delivery.unwrap().lanes, 1);
            let mut sample = subscriber.recv().unwrap();
            assert_eq!(check_frame(&sample), number);
            assert_eq!(sample.take_descriptors().len(), attached.len());
        }
    });
}

#[test]
fn b2_stamped_loans_say_when_they_were_published() {
    on_each_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
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
