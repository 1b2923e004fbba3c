//! What a publisher on another host says of its lanes is checked: how large they are, what belongs into them.

use ringmain::message::Bytes;
use ringmain::wire::{Medium, ToBroker, ToClient};
use ringmain::{GapCause, RecvError};
use ringmain_tests::raw_publisher::{Bystanders, offer, open_publisher, parcel, records, value};
use ringmain_tests::raw_remote::RawPacket;

#[test]
fn contents_that_have_no_place_in_a_lane_end_the_connection() {
    let mut bus = Bystanders::new("contents");
    let mut subscriber = bus.client.subscriber::<Bytes>("t").open().unwrap();
    let kept = Some((1 << 14, 3));
    type Case = (Medium, Option<(u64, u64)>, fn(u64) -> Vec<RawPacket>);
    let cases: &[Case] = &[
        // A lossy ring: numbers and positions only rise, and a record is a third of it at most.
        (Medium::LossyRing, None, |lane| {
            vec![parcel(lane, 5, 64, 32), parcel(lane, 5, 128, 32)]
        }),
        (Medium::LossyRing, None, |lane| {
            vec![parcel(lane, 5, 64, 32), parcel(lane, 6, 64, 32)]
        }),
        (Medium::LossyRing, None, |lane| vec![parcel(lane, 5, 0, 32)]),
        (Medium::LossyRing, None, |lane| {
            vec![parcel(lane, 0, 8192, 6000)]
        }),
        (Medium::LossyRing, None, |lane| {
            vec![value(lane, 1, 0, 0, 32)]
        }),
        (Medium::LossyRing, None, |lane| {
            vec![(2, lane, 0, records(1))]
        }),
        (Medium::LossyRing, None, |lane| {
            vec![(3, lane, 0, vec![0; 16])]
        }),
        (Medium::LossyRing, None, |lane| vec![(14, lane, 1, vec![])]),
        // A table: the slot is one, sequences and numbers only rise, values have room.
        (Medium::Table, None, |lane| {
            vec![value(lane, 1, 0, 1 << 20, 32)]
        }),
        (Medium::Table, None, |lane| vec![value(lane, 0, 0, 0, 32)]),
        (Medium::Table, None, |lane| {
            vec![value(lane, 7, 0, 0, 32), value(lane, 6, 1, 0, 32)]
        }),
        (Medium::Table, None, |lane| {
            vec![value(lane, 7, 5, 0, 32), value(lane, 8, 5, 0, 32)]
        }),
        (Medium::Table, None, |lane| {
            vec![value(lane, 1, u64::MAX, 0, 32)]
        }),
        (Medium::Table, None, |lane| {
            vec![value(lane, 1, 0, 0, 15_000)]
        }),
        (Medium::Table, None, |lane| vec![parcel(lane, 0, 64, 32)]),
        (Medium::Table, None, |lane| vec![(12, lane, 0, vec![0; 16])]),
        (Medium::Table, None, |lane| vec![(14, lane, 1, vec![])]),
        // A ring behind a history: all of that first, none of it behind.
        (Medium::Ring, kept, |lane| vec![(2, lane, 0, records(1))]),
        (Medium::Ring, kept, |lane| vec![(14, lane, 0, vec![])]),
        (Medium::Ring, kept, |lane| {
            vec![value(lane, 1, 0, 1 << 20, 32)]
        }),
        (Medium::Ring, kept, |lane| {
            vec![(14, lane, 1, vec![]), value(lane, 1, 0, 0, 32)]
        }),
        (Medium::Ring, kept, |lane| {
            vec![(14, lane, 1, vec![]), (14, lane, 2, vec![])]
        }),
        (Medium::Ring, None, |lane| vec![(13, lane, 1, vec![])]),
    ];
    for (number, (medium, history, packets)) in cases.iter().enumerate() {
        let (mut raw, lane) = open_publisher(&bus);
        offer(&mut raw, lane, *medium, 1 << 14, *history);
        for packet in packets(lane) {
            raw.send(packet);
        }
        // Whoever was not dropped would be answered.
        raw.send_frame(&ToBroker::Ping { request: 9 });
        while let Some(frame) = raw.frame::<ToClient>() {
            assert_ne!(frame, ToClient::Pong { request: 9 }, "case {number}");
        }
        // What came before the packet is a lane's fault at worst.
        loop {
            match subscriber.recv().map(drop) {
                Err(RecvError::Gap(gap)) if gap.cause == GapCause::TransportLost => break,
                Err(RecvError::Lane { .. }) => break,
                Err(RecvError::Gap(_)) | Ok(()) => {}
                Err(error) => panic!("{number}: {error}"),
            }
        }
        bus.assert_well();
    }
    bus.assert_alone();
}

#[test]
fn rings_beyond_the_limit_are_refused() {
    let mut bus = Bystanders::new("rings");
    let mut subscriber = bus.client.subscriber::<Bytes>("t").open().unwrap();
    for ring_bytes in [0, 1, 4097, 128 << 20, u64::MAX] {
        let (mut raw, lane) = open_publisher(&bus);
        offer(&mut raw, lane, Medium::Ring, ring_bytes, None);
        match subscriber.recv() {
            Err(RecvError::Lane { publisher, .. }) => assert_eq!(publisher, "raw"),
            other => panic!("{ring_bytes}: {}", other.is_ok()),
        }
    }
    for (medium, bytes, history) in [
        (Medium::LossyRing, 128 << 20, None),
        (Medium::Table, 128 << 20, None),
        (Medium::Table, 4097, None),
        (Medium::Ring, 4096, Some((128 << 20, 1))),
        (Medium::Ring, 4096, Some((0, 1))),
        (Medium::Ring, 4096, Some((4096, 0))),
        (Medium::Ring, 4096, Some((4096, 1 << 16))),
        // No room for so many values of one topic.
        (Medium::Table, 4096, Some((4096, 1 << 10))),
        (Medium::History, 0, Some((4096, 1))),
    ] {
        let (mut raw, lane) = open_publisher(&bus);
        offer(&mut raw, lane, medium, bytes, history);
        let refused = subscriber.recv().map(drop);
        assert!(
            matches!(&refused, Err(RecvError::Lane { publisher, .. }) if publisher == "raw"),
            "{medium:?} {bytes} {history:?}: {refused:?}"
        );
    }
    bus.assert_well();
    bus.assert_alone();
}
