//! What a reader makes of records that name a chunk.

use std::sync::Arc;

use super::*;
use crate::counters::{Book, HandleSlot, Role};
use crate::pool::Chunk;
use crate::ring::{Kind, Producer};
use crate::segment::fork::ProcessMark;
use crate::segment::{Kind as SegmentKind, Segment, SegmentOptions};
use crate::wake::{Bell, Courier};

/// A ring whose publisher writes what it likes, and its reader.
struct Lane {
    producer: Producer<OwnMedium, PeerCursor>,
    cargo: CargoSender,
    reader: Reader,
    page: PeerPage,
    _handle: Arc<HandleSlot>,
}

fn segment(kind: SegmentKind) -> Segment {
    Segment::create(kind, 8192, &SegmentOptions::default()).unwrap()
}

fn named(segment: u32, offset: u64, len: u64) -> Vec<u8> {
    Chunk::at(segment, offset, len).to_bytes().to_vec()
}

impl Lane {
    /// With segment 5 of 8,192 bytes, filled with sevens, and memory 6 of another kind.
    fn new() -> Self {
        let options = SegmentOptions::default();
        let mark = ProcessMark::here().unwrap();
        let ring = OwnMedium::create(SegmentKind::Ring, 4096, &options).unwrap();
        let peer = PeerMedium::open(SegmentKind::Ring, ring.handle().unwrap()).unwrap();
        let page = Arc::new(CursorPage::create(&options).unwrap());
        let area = page.area().unwrap();
        let page = PeerPage::open(page.handle().unwrap()).unwrap();
        let book = Arc::new(Book::new("test", mark));
        let handle = book.handle(Role::Subscriber, 1, "t", "bytes v1");
        let counters = handle.lane(1, "publisher", "t", "bytes v1", 4096);
        let Courier { sender, receiver } = Courier::new().unwrap();
        let bell = Peer::new(Bell::new().unwrap().sender);
        let cargo = CargoReceiver::new(receiver);
        let reader = Reader::new(peer, area, bell, counters).with_cargo(Some(cargo), mark);
        let sender = CargoSender::new(sender);
        let sevens = segment(SegmentKind::Pool);
        for at in 0..1024 {
            let word = sevens.word(8 * at);
            word.store(0x0707_0707_0707_0707, crate::sync::Ordering::Relaxed);
        }
        assert!(sender.send_memory(5, &sevens.handle().unwrap()).unwrap());
        let other = segment(SegmentKind::Region);
        assert!(sender.send_memory(6, &other.handle().unwrap()).unwrap());
        let mut lane = Self {
            producer: Producer::new(ring),
            cargo: sender,
            reader,
            page,
            _handle: handle,
        };
        lane.write(Kind::Topic, b"t");
        lane
    }

    fn write(&mut self, kind: Kind, payload: &[u8]) {
        self.producer.stage_copy(kind, payload, 0).unwrap();
        // A topic is committed along with its message.
        if kind != Kind::Topic {
            self.producer.commit();
        }
    }

    fn retire(&mut self, segment: u64) {
        self.producer
            .stage_copy(Kind::Retire, &[], segment)
            .unwrap();
        self.producer.commit();
    }

    fn payload(&self) -> &[u8] {
        // SAFETY: called for a message that `next` has just found.
        #[expect(unsafe_code, reason = "a promise to the reader")]
        unsafe {
            self.reader.payload()
        }
    }
}

#[test]
fn a_chunk_is_read_where_it_lies_and_held_where_it_was_read() {
    let mut lane = Lane::new();
    lane.write(Kind::Pooled, &named(5, 64, 100));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    assert_eq!(lane.payload(), [7; 100]);
    assert_eq!(lane.reader.len_bytes(), 100);
    let hold = lane.reader.hold().unwrap().unwrap();
    lane.reader.release();
    let area = Arc::new(lane.page).area(1).unwrap();
    let slot = crate::pool::Watch::slot(&area, 0);
    let place = || slot.load(crate::sync::Ordering::Acquire);
    assert_eq!(place(), 6 << 32 | 1);
    // The reader is gone, the hold is not, nor is the area.
    drop(lane.reader);
    assert!(!lane.cargo.is_hung_up());
    drop(hold);
    assert_eq!(place(), 0);
    while !lane.cargo.is_hung_up() {
        std::thread::yield_now();
    }
}

#[test]
fn a_chunk_may_be_empty_and_end_with_its_segment() {
    let mut lane = Lane::new();
    for (offset, len) in [(0, 8192), (8192, 0), (0, 0), (8128, 64)] {
        lane.write(Kind::Pooled, &named(5, offset, len));
        assert_eq!(lane.reader.next(), Ok(Next::Message));
        assert_eq!(lane.payload().len() as u64, len);
        lane.reader.release();
    }
}

#[test]
fn records_that_name_no_chunk_end_the_lane() {
    let good = named(5, 64, 100);
    let stamped = [&[0; 16][..], &good].concat();
    let broken: Vec<(&str, Kind, Vec<u8>)> = vec![
        ("never sent", Kind::Pooled, named(4, 0, 1)),
        ("another kind", Kind::Pooled, named(6, 0, 1)),
        ("no number", Kind::Pooled, vec![0; Chunk::BYTES]),
        ("too long", Kind::Pooled, named(5, 64, 8192)),
        ("longer than anything", Kind::Pooled, named(5, 64, u64::MAX)),
        ("behind the end", Kind::Pooled, named(5, 8256, 0)),
        ("cut off", Kind::Pooled, good[..15].to_vec()),
        ("nothing", Kind::Pooled, vec![]),
        ("with a stamp", Kind::Pooled, stamped.clone()),
        ("without a stamp", Kind::StampedPooled, good.clone()),
        ("a stamp of no clock", Kind::StampedPooled, stamped),
        ("a stamp cut off", Kind::StampedPooled, vec![0; 15]),
    ];
    for (what, kind, payload) in broken {
        let mut lane = Lane::new();
        lane.write(kind, &payload);
        assert!(lane.reader.next().is_err(), "{what}");
    }
    assert_eq!(good.len(), Chunk::BYTES);
}

#[test]
fn a_segment_that_is_retired_is_not_known_any_more() {
    let mut lane = Lane::new();
    lane.write(Kind::Pooled, &named(5, 0, 1));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    let held = lane.reader.hold().unwrap();
    lane.reader.release();
    lane.retire(5);
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
    lane.write(Kind::Pooled, &named(5, 0, 1));
    assert!(lane.reader.next().is_err());
    drop(held);
    // One that is not known cannot be retired, so nobody is kept busy by that.
    let mut lane = Lane::new();
    lane.write(Kind::Message, b"x");
    lane.retire(9);
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    lane.reader.release();
    assert!(lane.reader.next().is_err());
}

#[test]
fn messages_of_all_kinds_follow_what_is_retired() {
    let mut lane = Lane::new();
    lane.write(Kind::Message, b"x");
    lane.retire(5);
    lane.retire(6);
    lane.write(Kind::Message, b"y");
    for expected in [b"x", b"y"] {
        assert_eq!(lane.reader.next(), Ok(Next::Message));
        assert_eq!(lane.payload(), expected);
        lane.reader.release();
    }
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
}
