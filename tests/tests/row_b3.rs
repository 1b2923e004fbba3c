//! Row B3: large payloads are written once for any number of subscribers; the pool grows and shrinks.

use ringmain::message::Bytes;
use ringmain::{Overflow, PublishError, Publisher, RecvError};
use ringmain_tests::frame::{
    BLOCK, MIB, check_frame, comes_back, fill_frame, frame, frame_subscriber,
};
use ringmain_tests::{Bus, Transport, eventually, on_each_local_transport, on_each_transport};

fn publisher(bus: &Bus, max_message_bytes: usize) -> Publisher<Bytes> {
    let client = bus.client("publisher");
    let builder = client.publisher("frames/*");
    let builder = builder.max_message_bytes(max_message_bytes);
    builder.open().unwrap()
}

#[test]
fn b3_messages_of_all_lengths_arrive_whatever_way_they_go() {
    on_each_transport(|bus| {
        let mut subscribers = [
            frame_subscriber(bus, BLOCK),
            frame_subscriber(bus, Overflow::DropNewest),
            frame_subscriber(bus, Overflow::DropOldest),
        ];
        let client = bus.client("member");
        let member = client.subscriber::<Bytes>("frames/*").queue("group");
        let mut member = member.overflow(BLOCK).open().unwrap();
        let mut publisher = publisher(bus, 200_000);
        let lengths = [8, 4095, 4096, 4097, 65_536, 199_999, 200_000, 8];
        for (number, len) in (0..).zip(lengths) {
            let message = frame(number, len);
            let delivery = publisher.publish("frames/a", Bytes::new(&message)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (4, 0));
            for subscriber in subscribers.iter_mut().chain([&mut member]) {
                let sample = subscriber.recv().unwrap();
                assert_eq!((sample.len(), check_frame(&sample)), (len, number));
            }
        }
        let message = frame(0, 200_001);
        assert!(matches!(
            publisher.publish("frames/a", Bytes::new(&message)),
            Err(PublishError::TooLarge {
                len: 200_001,
                limit: 200_000
            })
        ));
    });
}

#[test]
fn b3_the_longest_record_of_a_ring_fits_and_one_byte_more_goes_through_the_pool() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let client = bus.client("publisher");
        // Half of the ring, less two headers, what may stand before it included.
        let longest = 256 * 1024 - 32;
        let builder = client.publisher::<Bytes>("frames/*");
        let builder = builder.ring_bytes(512 * 1024).pool_threshold(longest + 1);
        let mut publisher = builder.max_message_bytes(MIB).open().unwrap();
        for (number, len) in (0..).zip([8, longest, longest + 1, longest, MIB]) {
            let message = frame(number, len);
            let delivery = publisher.publish("frames/a", Bytes::new(&message)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            let held = subscriber.recv().unwrap().hold().unwrap();
            assert_eq!((held.len(), check_frame(&held)), (len, number));
            assert_eq!(held.is_copy(), len <= longest);
        }
    });
}

#[test]
fn b3_a_payload_lies_once_in_memory_however_many_take_it() {
    on_each_local_transport(|bus| {
        let mut subscribers: Vec<_> = (0..5).map(|_| frame_subscriber(bus, BLOCK)).collect();
        let mut publisher = publisher(bus, 8 * MIB);
        for number in 0..3 {
            let message = frame(number, 8 * MIB);
            let delivery = publisher.publish("frames/a", Bytes::new(&message)).unwrap();
            assert_eq!(delivery.lanes, 5);
        }
        assert_eq!(publisher.shrink_pool(), 24 * MIB as u64);
        for subscriber in &mut subscribers {
            for number in 0..3 {
                assert_eq!(check_frame(&subscriber.recv().unwrap()), number);
            }
        }
        comes_back(&mut publisher);
    });
}

#[test]
fn b3_the_pool_grows_and_shrinks() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, 3 * MIB);
        let mut publish = |number, len| {
            let message = frame(number, len);
            publisher.publish("frames/a", Bytes::new(&message)).unwrap();
            publisher.pool_bytes()
        };
        let most = (0..20)
            .map(|number| publish(number, 3 * MIB))
            .max()
            .unwrap();
        assert!(most >= 60 * MIB as u64, "{most}");
        for number in 0..20 {
            assert_eq!(check_frame(&subscriber.recv().unwrap()), number);
        }
        // Nobody asks for it: shorter messages follow, and what they do not need goes.
        let mut bytes = most;
        let mut next = 20;
        eventually("what is not needed goes", || {
            for number in next..next + 100 {
                bytes = publish(number, 5000);
                assert_eq!(check_frame(&subscriber.recv().unwrap()), number);
            }
            next += 100;
            bytes <= 16 * MIB as u64
        });
        // And again.
        assert_eq!(publish(next, 3 * MIB), bytes.max(3 * MIB as u64));
        assert_eq!(check_frame(&subscriber.recv().unwrap()), next);
    });
}

#[test]
fn b3_subscribers_give_memory_back_that_was_given_up() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = frame_subscriber(&bus, BLOCK);
    let mut lender = bus.peer("lender", &["frames/a", "1", "67108864"]);
    let own = nix::unistd::Pid::this();
    let before = ringmain_tests::usage::virtual_bytes(own);
    assert_eq!(subscriber.recv().unwrap().len(), 64 * MIB);
    lender.expect("published");
    let with = ringmain_tests::usage::virtual_bytes(own);
    assert!(with >= before + 64 * MIB as u64, "{before} {with}");
    lender.tell("shrink");
    lender.expect("0");
    // Told in the lane, where nothing else comes.
    eventually("the memory is unmapped", || {
        assert!(subscriber.try_recv().unwrap().is_none());
        ringmain_tests::usage::virtual_bytes(own) + 64 * MIB as u64 <= with
    });
}

#[test]
fn b3_a_subscriber_that_comes_later_reads_from_memory_that_was_there() {
    on_each_local_transport(|bus| {
        let mut first = frame_subscriber(bus, BLOCK);
        let mut publisher = publisher(bus, MIB);
        let publish = |publisher: &mut Publisher<Bytes>, number| {
            let message = frame(number, MIB);
            publisher.publish("frames/a", Bytes::new(&message)).unwrap();
        };
        publish(&mut publisher, 0);
        let mut second = frame_subscriber(bus, BLOCK);
        publish(&mut publisher, 1);
        assert_eq!([0, 1].map(|_| check_frame(&first.recv().unwrap())), [0, 1]);
        drop(first);
        assert_eq!(check_frame(&second.recv().unwrap()), 1);
        publish(&mut publisher, 2);
        assert_eq!(check_frame(&second.recv().unwrap()), 2);
    });
}

#[test]
fn b3_a_stream_of_large_messages_is_not_torn() {
    on_each_transport(|bus| {
        let client = bus.client("publisher");
        let builder = client.publisher::<Bytes>("frames/*").max_message_bytes(MIB);
        // Much less than what is sent.
        let mut publisher = builder.pool_bytes(8 * MIB as u64).open().unwrap();
        let messages = if bus.transport() == Transport::Tcp {
            50
        } else {
            400
        };
        let readers: Vec<_> = (0..3)
            .map(|index| {
                let mut subscriber = frame_subscriber(bus, BLOCK);
                std::thread::spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    for number in 0..messages {
                        let sample = subscriber.recv().unwrap();
                        assert_eq!(check_frame(&sample), number);
                        if number % (index + 2) == 0 {
                            held.push_back(sample.hold().unwrap());
                        }
                        if held.len() > 1 {
                            let frame = held.pop_front().unwrap();
                            assert_eq!(check_frame(&frame), frame.sequence());
                        }
                    }
                })
            })
            .collect();
        let topic = publisher.resolve("frames/a").unwrap();
        for number in 0..messages {
            let len = 8 + (number as usize * 7919) % 500_000;
            match number % 3 {
                0 => {
                    let message = frame(number, len);
                    publisher.publish_to(&topic, Bytes::new(&message)).unwrap();
                }
                _ => {
                    let mut loan = publisher.loan(&topic, len).unwrap();
                    fill_frame(&mut loan, number);
                    loan.publish().unwrap();
                }
            }
        }
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn b3_a_gibibyte_in_one_message() {
    const GIB: usize = 1 << 30;
    let bus = Bus::start(Transport::Unix);
    let mut subscribers = [frame_subscriber(&bus, BLOCK), frame_subscriber(&bus, BLOCK)];
    let client = bus.client("publisher");
    let builder = client
        .publisher::<Bytes>("frames/*")
        .pool_bytes(3 * GIB as u64);
    let mut publisher = builder.max_message_bytes(GIB + 1).open().unwrap();
    let topic = publisher.resolve("frames/a").unwrap();
    let mut loan = publisher.loan(&topic, GIB + 1).unwrap();
    fill_frame(&mut loan, 7);
    assert_eq!(loan.publish().unwrap().lanes, 2);
    for subscriber in &mut subscribers {
        let sample = subscriber.recv().unwrap();
        assert_eq!(sample.len(), GIB + 1);
        // As many bytes as tell that all of it is there.
        for at in (8..GIB + 1).step_by(4093).chain([GIB]) {
            assert_eq!(sample[at], sample[8]);
        }
        assert_eq!(check_frame(&sample[..MIB]), 7);
    }
    comes_back(&mut publisher);
}

#[test]
fn b3_what_is_too_long_for_another_host_is_refused_there_alone() {
    let bus = Bus::start(Transport::Tcp);
    let client = bus.client("publisher");
    let builder = client.publisher::<Bytes>("frames/*").pool_bytes(2 << 30);
    let mut publisher = builder.max_message_bytes(1 << 30).open().unwrap();
    let mut subscriber = frame_subscriber(&bus, BLOCK);
    assert_eq!(
        publisher
            .publish("frames/a", Bytes::new(b"x"))
            .unwrap()
            .lanes,
        0
    );
    assert!(matches!(subscriber.recv(), Err(RecvError::Lane { .. })));
}
