//! In which order a lane and its history are sent.

use std::sync::Arc;

use super::*;
use crate::lane::{CursorPage, OwnMedium};
use crate::relay::packet::decode;
use crate::ring::lossy::LossyProducer;
use crate::segment::{Kind, SegmentOptions};
use crate::table::TableWriter;
use crate::wake::Bell;

/// A lane behind a history, as a publisher has it, and its source.
struct Lane {
    history: TableWriter<OwnMedium>,
    ring: LossyProducer<OwnMedium>,
    source: Source,
}

impl Lane {
    fn new(kept: u32) -> Self {
        let options = SegmentOptions::default();
        let ring = OwnMedium::create(Kind::Ring, 4096, &options).unwrap();
        let history = OwnMedium::create(Kind::Table, 1 << 16, &options).unwrap();
        let open =
            |memory: &OwnMedium, kind| PeerMedium::open(kind, memory.handle().unwrap()).unwrap();
        let peers = (open(&ring, Kind::Ring), open(&history, Kind::Table));
        // The reader wants the shape.
        let history = crate::lane::table(history, kept).unwrap();
        let page = Arc::new(CursorPage::create(&options).unwrap());
        let (source, sizes) = Source::new(
            Medium::LossyRing,
            peers.0,
            Some(peers.1),
            page.area().unwrap(),
            Peer::new(Bell::new().unwrap().sender),
        )
        .unwrap();
        assert_eq!(
            (sizes.bytes, sizes.history_bytes, sizes.kept),
            (4096, 1 << 16, kept)
        );
        Self {
            history,
            ring: LossyProducer::new(ring),
            source,
        }
    }

    /// Publishes, as one who keeps: into the history, and into the lane once it has begun.
    fn publish(&mut self, key: u64) {
        let number = self.history.sequence();
        self.history.store(key, 1, &[&[7; 16]]).unwrap();
        if self.start() != 0 {
            self.ring.append(number, &[&[7; 16]]).unwrap();
        }
    }

    fn start(&self) -> u64 {
        let start = self.ring.storage().control(Control::Start);
        start.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        let start = self.ring.storage().control(Control::Start);
        start.store(self.history.sequence(), Ordering::Relaxed);
    }

    /// What is sent, `kind` and sequence or number, until there is nothing.
    fn sent(&mut self) -> Vec<(char, u64)> {
        let mut bytes = Vec::new();
        while self.source.has_something() {
            self.source.pump(1, &mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        let mut sent = Vec::new();
        while let Some((packet, len)) = decode(rest, 0).unwrap() {
            match packet {
                Packet::Value { stamp, .. } => sent.push(('v', stamp.sequence)),
                Packet::Start { number, .. } => sent.push(('s', number)),
                Packet::Parcel { number, .. } => sent.push(('p', number)),
                Packet::Complete { .. } => {}
                packet => panic!("{packet:?}"),
            }
            rest = &rest[len..];
        }
        sent
    }
}

#[test]
fn the_start_comes_behind_all_values_below_it_and_before_all_records() {
    let mut lane = Lane::new(2);
    for key in [1, 1, 1, 2] {
        lane.publish(key);
    }
    // It has not begun: values alone, the oldest of each topic first, as far as kept.
    assert_eq!(lane.sent(), [('v', 2), ('v', 3), ('v', 4)]);
    lane.publish(1);
    lane.begin();
    lane.publish(2);
    lane.publish(3);
    let sent = lane.sent();
    let start = sent.iter().position(|sent| *sent == ('s', 6)).unwrap();
    let (before, behind) = sent.split_at(start);
    assert!(before.contains(&('v', 5)), "{sent:?}");
    assert_eq!(behind[1..], [('p', 6), ('p', 7)]);
    // Behind it the history is of no use.
    lane.publish(4);
    assert_eq!(lane.sent(), [('p', 8)]);
}

#[test]
fn a_lane_of_many_values_begins_when_all_of_them_are_sent() {
    let mut lane = Lane::new(1);
    for key in 0..100 {
        lane.publish(key);
    }
    lane.begin();
    let sent = lane.sent();
    assert_eq!(sent.len(), 101);
    assert_eq!(sent[100], ('s', 101));
}

#[test]
fn a_lane_that_ends_before_it_begins_is_all_of_the_history() {
    let mut lane = Lane::new(1);
    lane.publish(1);
    lane.source.set_exited();
    let mut bytes = Vec::new();
    while lane.source.pump(1, &mut bytes).unwrap() != Pumped::Last {}
    let (first, len) = decode(&bytes, 0).unwrap().unwrap();
    assert!(matches!(first, Packet::Value { .. }));
    let mut last = first;
    let mut rest = &bytes[len..];
    while let Some((packet, len)) = decode(rest, 0).unwrap() {
        assert!(!matches!(packet, Packet::Start { .. }));
        (last, rest) = (packet, &rest[len..]);
    }
    assert!(matches!(last, Packet::Ended { .. }));
}

#[test]
fn a_lane_that_begins_where_its_history_has_not_come_is_broken() {
    let mut lane = Lane::new(1);
    lane.publish(1);
    let start = lane.ring.storage().control(Control::Start);
    start.store(1 << 40, Ordering::Relaxed);
    let mut bytes = Vec::new();
    let broken = loop {
        if let Err(broken) = lane.source.pump(1, &mut bytes) {
            break broken;
        }
    };
    let expected = BrokenLane::Start {
        start: 1 << 40,
        sequence: 2,
    };
    assert_eq!(broken, expected);
}
