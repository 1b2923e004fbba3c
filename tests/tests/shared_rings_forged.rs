//! A publisher that lies about where readers begin, or go on, ends its lane and nothing else.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use ringmain::message::Bytes;
use ringmain::wire::{Medium, SegmentSource, ToBroker};
use ringmain::{Overflow, RecvError, Subscriber};
use ringmain_tests::forged::{Forged, bell};
use ringmain_tests::{Bus, Raw, Transport};

const RING: u64 = 4096 + 8192;
/// In the data of a ring: its seats, its first record.
const SEATS: u64 = 2048;
const RECORDS: u64 = 4096;
const SWITCH: u64 = 10;

/// What comes by a courier: a label and memory.
type Parcel = (Vec<u8>, Forged);

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn label(number: u64) -> Vec<u8> {
    words(&[1, number])
}

/// Offers a ring; what the subscriber finds.
fn offer(
    bus: &Bus,
    subscriber: &mut Subscriber<Bytes>,
    begin: Option<u32>,
    ring: impl FnOnce(u64) -> Forged,
    parcels: Option<Vec<Parcel>>,
) -> Result<(), RecvError> {
    let mut hostile = Raw::join(bus.address(), "hostile");
    let lanes = hostile.open_publisher("t");
    let ring = ring(lanes[0]).sealed();
    let (bell, _heard) = bell();
    let (sender, receiver): (OwnedFd, OwnedFd) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    for (label, memory) in parcels.iter().flatten() {
        let descriptors = [memory.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let bytes = [IoSlice::new(label)];
        let flags = MsgFlags::empty();
        sendmsg::<()>(sender.as_raw_fd(), &bytes, &rights, flags, None).unwrap();
    }
    let offer = ToBroker::OfferLane {
        lane: lanes[0],
        medium: Medium::Ring,
        history: None,
        courier: parcels.is_some(),
        begin,
        segment: SegmentSource::Descriptor,
    };
    match parcels {
        Some(_) => hostile.send(&offer, &[ring.as_fd(), bell.as_fd(), receiver.as_fd()]),
        None => hostile.send(&offer, &[ring.as_fd(), bell.as_fd()]),
    }
    let found = subscriber.recv_timeout(Duration::from_secs(20));
    found.map(|sample| assert!(sample.is_some(), "nothing is told"))
}

fn well(bus: &Bus, subscriber: &mut Subscriber<Bytes>) {
    let client = bus.client("good");
    let mut publisher = client.publisher::<Bytes>("t").open().unwrap();
    let delivery = publisher.publish("t", Bytes::new(b"well")).unwrap();
    assert_eq!(delivery.lanes, 1);
    assert_eq!(&*subscriber.recv().unwrap(), b"well");
}

#[test]
fn where_no_reader_begins_ends_the_lane_with_an_error() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("subscriber");
    let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
    for begin in [2, 16, 4097 + 8, (1 << 62) + 17, u64::MAX] {
        let ring = |lane| Forged::ring(RING).write_data(SEATS + 32, &words(&[lane, begin]));
        let found = offer(&bus, &mut subscriber, Some(1), ring, None);
        let is_told =
            matches!(&found, Err(RecvError::Lane { publisher, .. }) if publisher == "hostile");
        assert!(is_told, "{begin}: {found:?}");
        well(&bus, &mut subscriber);
    }
    // Nor is there such a seat.
    for seat in [63, 64, u32::MAX] {
        let found = offer(
            &bus,
            &mut subscriber,
            Some(seat),
            |_| Forged::ring(RING),
            None,
        );
        assert!(matches!(&found, Err(RecvError::Lane { .. })), "{found:?}");
        well(&bus, &mut subscriber);
    }
    // Somewhere, where no record is.
    let ring = |lane| {
        let ring = Forged::ring(RING).write_data(RECORDS, &[7; 8192]);
        ring.write_data(SEATS + 32, &words(&[lane, 4096 + 1]))
    };
    let found = offer(&bus, &mut subscriber, Some(1), ring, None);
    assert!(matches!(&found, Err(RecvError::Lane { .. })), "{found:?}");
    well(&bus, &mut subscriber);
}

#[test]
fn a_switch_to_nowhere_ends_the_lane_with_an_error() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("subscriber");
    let mut subscriber = client
        .subscriber::<Bytes>("t")
        .overflow(Overflow::DropNewest)
        .open()
        .unwrap();
    let switch =
        |seats: u64| move |_| Forged::ring(RING).write_data(RECORDS, &words(&[SWITCH, seats]));
    // Where the other ring begins, behind the switch.
    let number = 1 << 63;
    let again = words(&[SWITCH, 1]);
    let chain = |length: u64| {
        let parcels = (0..length).map(|at| {
            let next = Forged::ring(RING).write_data(RECORDS + 16 * (at + 1), &again);
            (label(number | at), next.sealed())
        });
        Some(parcels.collect())
    };
    let other = |data| Forged::ring(data).sealed();
    let cases: [(&str, u64, Option<Vec<Parcel>>); 9] = [
        ("no courier", 1, None),
        ("nothing has come", 1, Some(Vec::new())),
        ("nobody", 0, Some(Vec::new())),
        ("another number", 1, Some(vec![(label(5), other(RING))])),
        ("no label", 1, Some(vec![(vec![1; 5], other(RING))])),
        (
            "another size",
            1,
            Some(vec![(label(number), other(4096 + 4096))]),
        ),
        (
            "no ring",
            1,
            Some(vec![(label(number), Forged::cursor_page(8192).sealed())]),
        ),
        (
            "unsealed",
            1,
            Some(vec![(label(number), Forged::ring(RING))]),
        ),
        ("one after the other", 1, chain(100)),
    ];
    for (what, seats, parcels) in cases {
        let found = offer(&bus, &mut subscriber, None, switch(seats), parcels);
        assert!(
            matches!(&found, Err(RecvError::Lane { .. })),
            "{what}: {found:?}"
        );
        well(&bus, &mut subscriber);
    }
    let long = |_| Forged::ring(RING).write_data(RECORDS, &words(&[SWITCH | 16 << 32, 1]));
    let found = offer(&bus, &mut subscriber, None, long, Some(Vec::new()));
    assert!(matches!(&found, Err(RecvError::Lane { .. })), "{found:?}");
    well(&bus, &mut subscriber);
}
