//! Peers that speak the protocol and lie in it.

use std::os::fd::AsFd;
use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::wire::{Medium, SegmentSource, ToBroker, ToClient};
use ringmain::{LaneFault, Overflow, Publisher, RecvError, Subscriber};
use ringmain_tests::forged::{Forged, bell, poke};
use ringmain_tests::{Bus, Raw, Transport, eventually, within};

#[test]
fn frames_that_no_client_sends_end_the_sender_only() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("good");
    let segment = || SegmentSource::Descriptor;
    let (ring, bell) = bell();
    let frames = [
        ToBroker::Hello {
            name: "again".into(),
        },
        ToBroker::OfferLane {
            lane: 99,
            medium: Medium::Ring,
            history: None,
            courier: false,
            begin: None,
            segment: segment(),
        },
        ToBroker::AcceptLane {
            lane: 99,
            segment: segment(),
            area: 1,
        },
        ToBroker::OfferLane {
            lane: 99,
            medium: Medium::Ring,
            history: None,
            courier: false,
            begin: None,
            segment: SegmentSource::Named("/etc/passwd".into()),
        },
        ToBroker::ClosePublisher { publisher: 77 },
        ToBroker::CloseSubscriber { subscriber: 77 },
        ToBroker::LiveTopics {
            query: 77,
            topics: vec!["a//b".into()],
        },
        ToBroker::Received,
    ];
    for frame in &frames {
        for count in 0..3 {
            let mut raw = Raw::join(bus.address(), "bad");
            raw.send(frame, &[ring.as_fd(), bell.as_fd()][..count]);
            raw.send_bytes(&[]);
            client.ping().unwrap();
        }
    }
    eventually("they are gone", || client.clients().unwrap().len() == 1);
}

/// A subscriber, and a publisher that does nothing wrong.
fn good(bus: &Bus) -> (Subscriber<Bytes>, Publisher<Bytes>) {
    let subscriber = bus.client("subscriber").subscriber("t").open().unwrap();
    let publisher = bus.client("good").publisher("t").open().unwrap();
    (subscriber, publisher)
}

#[test]
fn a_ring_that_is_none_ends_its_lane_and_no_other() {
    const RING: u64 = 4096 + 8192;
    let word = |word: u64| word.to_le_bytes();
    let broken: [(&str, Forged); 14] = [
        ("unsealed", Forged::ring(RING)),
        (
            "no ring behind the control page",
            Forged::ring(4096).sealed(),
        ),
        ("no power of two", Forged::ring(4096 + 12288).sealed()),
        ("a cursor page", Forged::cursor_page(8192).sealed()),
        (
            "wrong magic",
            Forged::ring(RING).write(0, b"GARBAGE!").sealed(),
        ),
        ("wrong version", Forged::ring(RING).write(8, &[9]).sealed()),
        ("wrong hash", Forged::ring(RING).write(24, &[9]).sealed()),
        (
            "wrong length",
            Forged::ring(RING).write(16, &word(1 << 40)).sealed(),
        ),
        (
            "sparse",
            Forged::ring(RING).sparse(4096 + (64 << 20)).sealed(),
        ),
        (
            "garbage",
            Forged::ring(RING).write_data(4096, &[0xff; 8192]).sealed(),
        ),
        (
            "kind 0x7f",
            Forged::ring(RING).write_data(4096, &word(0x7f)).sealed(),
        ),
        (
            "ones",
            Forged::ring(RING).write_data(4096, &[1; 8192]).sealed(),
        ),
        (
            "twos",
            Forged::ring(RING).write_data(4096, &[2; 8192]).sealed(),
        ),
        (
            "threes",
            Forged::ring(RING)
                .write_data(0, &[3; RING as usize])
                .sealed(),
        ),
    ];
    let bus = Bus::start(Transport::Unix);
    let (mut subscriber, mut publisher) = good(&bus);
    for (what, ring) in broken {
        let mut hostile = Raw::join(bus.address(), "hostile");
        let lanes = hostile.open_publisher("t");
        assert_eq!(lanes.len(), 1);
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
        match subscriber
            .recv_timeout(Duration::from_secs(20))
            .map(|sample| sample.is_some())
        {
            Err(RecvError::Lane { publisher, .. }) => assert_eq!(publisher, "hostile"),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(
            publisher
                .publish("t", Bytes::new(what.as_bytes()))
                .unwrap()
                .lanes,
            1
        );
        assert_eq!(&*subscriber.recv().unwrap(), what.as_bytes());
    }
    let pipe = std::io::pipe().unwrap().0;
    let mut hostile = Raw::join(bus.address(), "hostile");
    let lanes = hostile.open_publisher("t");
    let offer = ToBroker::OfferLane {
        lane: lanes[0],
        medium: Medium::Ring,
        history: None,
        courier: false,
        begin: None,
        segment: SegmentSource::Descriptor,
    };
    hostile.send(&offer, &[pipe.as_fd(), pipe.as_fd()]);
    let fault = subscriber.recv().map(drop);
    assert!(
        matches!(
            fault,
            Err(RecvError::Lane {
                cause: LaneFault::Refused(_),
                ..
            })
        ),
        "{fault:?}"
    );
}

#[test]
fn a_cursor_page_that_is_none_delays_its_publisher_no_longer_than_its_policy() {
    let word = |word: u64| word.to_le_bytes();
    const PAGE: u64 = 32_768;
    let page = || Forged::cursor_page(PAGE);
    let area_1 = 512;
    let broken = [
        ("unsealed", page(), 1),
        ("too large", Forged::cursor_page(2 * PAGE).sealed(), 1),
        ("a ring", Forged::ring(4096 + 4096).sealed(), 1),
        ("no such area", page().sealed(), 0),
        ("no such area", page().sealed(), 64),
        ("no such area", page().sealed(), u32::MAX),
        (
            "ahead",
            page().write_data(area_1, &word(1 << 20)).sealed(),
            1,
        ),
        (
            "far ahead",
            page().write_data(area_1, &word(u64::MAX)).sealed(),
            1,
        ),
        ("never moving", page().sealed(), 1),
        (
            "garbage",
            page().write_data(0, &[0xff; PAGE as usize]).sealed(),
            1,
        ),
    ];
    let bus = Bus::start(Transport::Unix);
    let publishing = bus.client("publisher");
    let mut publisher = publishing
        .publisher::<Bytes>("t")
        .ring_bytes(4096)
        .max_message_bytes(100)
        .open()
        .unwrap();
    let mut good = bus.client("good").subscriber::<Bytes>("t").open().unwrap();
    for (what, page, area) in broken {
        let mut hostile = Raw::join(bus.address(), "hostile");
        let deadline = Duration::from_millis(50);
        let lane = hostile.open_subscriber("t", Overflow::Block { deadline });
        let (bell, _heard) = bell();
        let accept = ToBroker::AcceptLane {
            lane,
            segment: SegmentSource::Descriptor,
            area,
        };
        hostile.send(&accept, &[page.as_fd(), bell.as_fd()]);
        // More than several rings take.
        within(Duration::from_secs(10), what, || {
            for number in 0..500_u32 {
                let payload = number.to_le_bytes();
                publisher.publish("t", Bytes::new(&payload)).unwrap();
                assert_eq!(*good.recv().unwrap(), payload, "{what}");
            }
        });
        drop(hostile);
        eventually("the lane ends", || {
            let delivery = publisher.publish("t", Bytes::new(b"")).unwrap();
            assert_eq!(&*good.recv().unwrap(), b"");
            delivery.lanes + delivery.dropped == 1
        });
    }
}

/// The number that a reader might take for "none yet".
#[test]
fn a_message_on_the_highest_topic_id_is_on_none_that_was_named() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("subscriber");
    let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
    let mut hostile = Raw::join(bus.address(), "hostile");
    let lanes = hostile.open_publisher("t");
    let ring = Forged::ring(4096 + 8192);
    let mapping = ring.mapped();
    let ring = ring.sealed();
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
    while !matches!(hostile.receive(), Some((ToClient::LaneAccepted { .. }, _))) {}
    hostile.send(&ToBroker::Received, &[]);
    // The lane is taken in while it is empty.
    client.ping().unwrap();
    assert!(subscriber.try_recv().unwrap().is_none());
    poke(&mapping, 4096 + 8, &u64::MAX.to_le_bytes());
    poke(&mapping, 4096, &1_u64.to_le_bytes());
    let received = subscriber.recv().map(|sample| sample.topic().to_string());
    assert!(
        matches!(&received, Err(RecvError::Lane { .. })),
        "{received:?}"
    );
}
