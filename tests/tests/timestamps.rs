//! Row B10: sequence numbers on every sample, publish timestamps on request.

use std::os::fd::AsFd;
use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::wire::{Medium, SegmentSource, ToBroker};
use ringmain::{Clock, Host, LaneFault, Overflow, RecvError};
use ringmain_tests::forged::{Forged, bell};
use ringmain_tests::{Bus, Raw, Tick, Transport, on_each_transport};

#[test]
fn b10_every_sample_has_a_sequence_number_and_the_time_of_its_publish() {
    on_each_transport(|bus| {
        for clock in [Clock::Realtime, Clock::Monotonic] {
            let client = bus.client("both");
            let mut publisher = client
                .publisher::<Tick>("t/*")
                .timestamps(clock)
                .ring_bytes(4096)
                .max_message_bytes(200)
                .open()
                .unwrap();
            let mut first = client.subscriber::<Tick>("t/*").open().unwrap();
            let mut second = client.subscriber::<Tick>("t/*").open().unwrap();
            // Several laps, a topic definition now and then; the second lane has a copy.
            for number in 0..1000 {
                let topic = format!("t/{}", number % 7);
                let before = clock.now();
                publisher.publish(&topic, &Tick::new(number)).unwrap();
                let after = clock.now();
                let of_first = first.recv().unwrap();
                let of_second = second.recv().unwrap();
                let stamp = of_first.published_at().unwrap();
                assert_eq!(stamp.clock, clock);
                let comes_from_afar = bus.transport() == Transport::Tcp;
                assert_eq!(stamp.host == Host::Other, comes_from_afar);
                let has_age = !comes_from_afar || clock == Clock::Realtime;
                assert_eq!(stamp.elapsed().is_some(), has_age);
                assert!(before.ns <= stamp.ns && stamp.ns <= after.ns);
                assert_eq!(of_second.published_at(), Some(stamp));
                for sample in [of_first, of_second] {
                    assert_eq!((sample.checked(), sample.sequence()), (number, number));
                    assert_eq!(sample.topic().as_str(), topic);
                }
            }
        }
    });
}

#[test]
fn b10_a_message_is_not_stamped_unless_its_publisher_wants_it() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let mut publisher = client.publisher::<Tick>("t").open().unwrap();
        publisher.publish("t", &Tick::new(0)).unwrap();
        let sample = subscriber.recv().unwrap();
        assert_eq!((sample.published_at(), sample.sequence()), (None, 0));
    });
}

#[test]
fn b10_stamps_stay_with_their_messages_behind_gaps_and_after_waits() {
    let block = Overflow::Block {
        deadline: Duration::from_millis(1),
    };
    on_each_transport(|bus| {
        for policy in [Overflow::DropNewest, block] {
            let client = bus.client("both");
            let mut subscriber = client
                .subscriber::<Bytes>("t")
                .overflow(policy)
                .open()
                .unwrap();
            // Two of the longest messages fit, with all that can go before them.
            let longest = [7; 1000];
            let mut publisher = client
                .publisher::<Bytes>("t")
                .timestamps(Clock::Monotonic)
                .ring_bytes(4096)
                .max_message_bytes(longest.len())
                .open()
                .unwrap();
            let mut published = 0;
            let mut publish = |messages| {
                let mut dropped = 0;
                for _ in 0..messages {
                    let delivery = publisher.publish("t", Bytes::new(&longest)).unwrap();
                    dropped += delivery.dropped;
                    published += 1;
                }
                (published, dropped)
            };
            let (mut got, mut lost, mut last) = (0, 0, 0);
            let mut drain = |published| {
                while got + lost < published {
                    match subscriber.recv() {
                        Ok(sample) => {
                            assert_eq!(*sample, longest);
                            assert_eq!(sample.sequence(), got + lost);
                            let stamp = sample.published_at().unwrap();
                            assert!(stamp.ns > last);
                            last = stamp.ns;
                            got += 1;
                        }
                        Err(RecvError::Gap(gap)) => lost += gap.lost,
                        Err(error) => panic!("{error}"),
                    }
                }
                (got, lost)
            };
            // Until the publisher knows how far the subscriber has read, its room is one ring.
            let mut in_a_row = 0;
            while in_a_row < 20 {
                let (published, dropped) = publish(1);
                in_a_row = if dropped == 0 { in_a_row + 1 } else { 0 };
                drain(published);
            }
            let before = drain(0);
            for _ in 0..20 {
                let (published, _) = publish(10);
                drain(published);
            }
            let (got, lost) = drain(0);
            // A publisher on another host learns of room later than this one publishes.
            let least = if bus.transport() == Transport::Tcp {
                2
            } else {
                40
            };
            assert!(got - before.0 >= least, "{got} {before:?}");
            assert!(lost > before.1, "{lost} {before:?}");
        }
    });
}

#[test]
fn b10_a_stamp_that_is_none_ends_its_lane() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = bus
        .client("subscriber")
        .subscriber::<Bytes>("t")
        .open()
        .unwrap();
    let word = |kind: u64, len: u64| (len << 32 | kind).to_le_bytes();
    let stamps: [(u64, [u8; 16]); 5] = [
        (0, [0; 16]),
        (15, [1; 16]),
        (16, [0; 16]),
        (16, [1, 1, 1, 1, 1, 1, 1, 1, 99, 0, 0, 0, 0, 0, 0, 0]),
        (16, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1]),
    ];
    for (len, stamp) in stamps {
        let ring = Forged::ring(4096 + 8192)
            .write_data(4096, &word(3, 1))
            .write_data(4096 + 16, b"t")
            .write_data(4096 + 32, &word(5, len))
            .write_data(4096 + 48, &stamp)
            .sealed();
        let mut hostile = Raw::join(bus.address(), "hostile");
        let lanes = hostile.open_publisher("t");
        let (bell, _heard) = bell();
        let offer = ToBroker::OfferLane {
            lane: lanes[0],
            medium: Medium::Ring,
            history: None,
            courier: false,
            begin: None,
            segment: SegmentSource::Descriptor,
        };
        hostile.send(&offer, &[ring.as_fd(), bell.as_fd()]);
        match subscriber.recv_timeout(Duration::from_secs(20)).map(drop) {
            Err(RecvError::Lane {
                cause: LaneFault::Broken(error),
                ..
            }) => {
                let text = error.to_string();
                assert!(text.contains("does not begin with a timestamp"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}
