//! What a reader makes of parcels that refer to a chunk.

use std::cell::Cell;
use std::sync::Arc;

use super::hint_reader::HintReader;
use super::pool_reader::PoolReader;
use super::*;
use crate::counters::{Book, HandleSlot, Role};
use crate::pool::{Chunk, HOLDS, Watch};
use crate::ring::lossy::LossyProducer;
use crate::ring::{Control, Position, Read};
use crate::segment::fork::ProcessMark;
use crate::segment::{Kind as SegmentKind, Segment, SegmentOptions};
use crate::sync::Ordering;
use crate::wake::{Bell, Courier};

/// A lossy ring whose publisher writes what it likes, and its reader.
struct Lane {
    producer: LossyProducer<OwnMedium>,
    written: u64,
    cargo: CargoSender,
    reader: CopyReader,
    page: Arc<PeerPage>,
    /// Segment 5, of 8,192 bytes.
    segment: Segment,
    _handle: Arc<HandleSlot>,
}

fn fill(segment: &Segment, word: u64) {
    for at in 0..1024 {
        segment.word(8 * at).store(word, Ordering::Relaxed);
    }
}

impl Lane {
    fn new() -> Self {
        Self::with(true).0
    }

    /// With segment 5, filled with sevens, and memory 6 of another kind.
    fn with(cargo: bool) -> (Self, HintReader, PeerMedium) {
        let options = SegmentOptions::default();
        let mark = ProcessMark::here().unwrap();
        let ring = OwnMedium::create(SegmentKind::Ring, 4096, &options).unwrap();
        let peer = PeerMedium::open(SegmentKind::Ring, ring.handle().unwrap()).unwrap();
        let page = Arc::new(CursorPage::create(&options).unwrap());
        let [area, other] = [(); 2].map(|()| page.area().unwrap());
        let page = PeerPage::open(page.handle().unwrap()).unwrap();
        let book = Arc::new(Book::new("test", mark));
        let handle = book.handle(Role::Subscriber, 1, "t", "bytes v1");
        let counters = handle.lane(1, "publisher", "t", "bytes v1", 4096);
        let bell = || Peer::new(Bell::new().unwrap().sender);
        let segment = Segment::create(SegmentKind::Pool, 8192, &options).unwrap();
        fill(&segment, 0x0707_0707_0707_0707);
        let region = Segment::create(SegmentKind::Region, 8192, &options).unwrap();
        let courier = || {
            let Courier { sender, receiver } = Courier::new().unwrap();
            let sender = CargoSender::new(sender);
            for (number, segment) in [(5, &segment), (6, &region)] {
                assert!(
                    sender
                        .send_memory(number, &segment.handle().unwrap())
                        .unwrap()
                );
            }
            (sender, CargoReceiver::new(receiver))
        };
        let (sender, receiver) = courier();
        let reader = CopyReader::lossy(peer.clone(), area, bell(), counters)
            .with_cargo(cargo.then_some(receiver), mark);
        // One more, alone.
        let (_, receiver) = courier();
        let pool = PoolReader::new(
            Arc::new(other),
            receiver.presence(),
            peer.clone(),
            bell().bell().clone(),
            mark,
        );
        let lane = Self {
            producer: LossyProducer::new(ring),
            written: 0,
            cargo: sender,
            reader,
            page: Arc::new(page),
            segment,
            _handle: handle,
        };
        (lane, HintReader::new(pool, receiver), peer)
    }

    fn write(&mut self, chunk: Chunk) {
        let mut parcel = Parcel::default();
        parcel.begin(0, "t", None);
        parcel.refer_to(chunk);
        self.producer
            .append(self.written, &[parcel.bytes()])
            .unwrap();
        self.written += 1;
    }

    /// Says by the courier that segment 5 is given up.
    fn retire(&mut self) {
        assert!(self.cargo.send_retired(5).unwrap());
        let word = self.producer.storage().control(Control::Retired);
        word.fetch_add(1, Ordering::Release);
    }

    /// What a slot of area 1 or 2 says.
    fn slot(&self, area: u32, index: usize) -> u64 {
        self.page
            .area(area)
            .unwrap()
            .slot(index)
            .load(Ordering::Acquire)
    }
}

#[test]
fn a_chunk_is_held_as_long_as_it_is_looked_at_or_held() {
    let mut lane = Lane::new();
    lane.write(Chunk::at(5, 64, 100));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    assert_eq!(lane.reader.payload(), [7; 100]);
    assert_eq!(lane.slot(1, 0), 6 << 32 | 1);
    let [first, second] = [(); 2].map(|()| lane.reader.hold().unwrap());
    lane.reader.release();
    drop(first);
    // It has not moved.
    assert_eq!((lane.slot(1, 0), lane.slot(1, 1)), (6 << 32 | 1, 0));
    assert_eq!(&*second, [7; 100]);
    drop(second);
    assert_eq!(lane.slot(1, 0), 0);
    lane.write(Chunk::at(5, 128, 8));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    lane.reader.release();
    assert_eq!(lane.slot(1, 0), 0);
    assert!(lane.reader.hold().is_none());
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
}

#[test]
fn what_is_given_up_is_told_as_lost_and_once() {
    let mut lane = Lane::new();
    for _ in 0..4 {
        lane.write(Chunk::at(5, 64, 100));
    }
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    lane.reader.release();
    lane.producer.give_up(Position(u64::MAX));
    let Ok(Next::Gap { counts, first }) = lane.reader.next() else {
        panic!("no gap");
    };
    assert_eq!((counts.total(), first), (2, 1));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    assert_eq!(
        (lane.reader.sequence(), lane.reader.payload()),
        (3, &[7; 100][..])
    );
    lane.reader.release();
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
}

#[test]
fn a_slot_names_the_chunk_before_the_record_is_looked_at_again() {
    let (lane, mut hints, _) = Lane::with(true);
    let named = Cell::new(0);
    let look = |stands: bool| {
        named.set(lane.slot(2, 0));
        stands
    };
    assert_eq!(hints.take(Chunk::at(5, 64, 100), || look(false)), Ok(false));
    assert_eq!((named.get(), lane.slot(2, 0)), (6 << 32 | 1, 0));
    assert!(hints.payload().is_none() && hints.hold().is_none());
    assert_eq!(hints.take(Chunk::at(5, 128, 100), || look(true)), Ok(true));
    assert_eq!((named.get(), lane.slot(2, 0)), (6 << 32 | 2, 6 << 32 | 2));
    assert_eq!(hints.payload(), Some(&[7; 100][..]));
    assert!(hints.release() && !hints.release());
    assert_eq!(lane.slot(2, 0), 0);
    // Of one that was given up nothing is believed.
    for (segment, offset, len) in [(4, 0, 1), (6, 0, 1), (5, 64, 8192)] {
        let nowhere = Chunk::at(segment, offset, len);
        assert_eq!(hints.take(nowhere, || false), Ok(false));
        assert!(hints.take(nowhere, || true).is_err());
    }
}

#[test]
fn without_a_free_slot_a_chunk_is_copied_before_the_record_is_looked_at_again() {
    let (lane, mut hints, _) = Lane::with(true);
    let holds: Vec<_> = (0..HOLDS)
        .map(|_| {
            assert_eq!(hints.take(Chunk::at(5, 0, 8), || true), Ok(true));
            hints.hold().unwrap()
        })
        .collect();
    hints.release();
    // The end of the segment, and no whole number of words.
    for (offset, len) in [(64, 101), (8128, 64), (8192, 0)] {
        fill(&lane.segment, 0x0909_0909_0909_0909);
        let overwrite = |stands: bool| {
            fill(&lane.segment, 0);
            stands
        };
        let named = Chunk::at(5, offset, len);
        assert_eq!(hints.take(named, || overwrite(true)), Ok(true));
        assert_eq!(hints.payload(), Some(&vec![9; len as usize][..]));
        assert!(hints.hold().is_none());
        assert_eq!(hints.take(named, || overwrite(false)), Ok(false));
        assert!(hints.payload().is_none());
    }
    for (segment, offset, len) in [(4, 0, 1), (5, 64, 8192)] {
        let nowhere = Chunk::at(segment, offset, len);
        assert_eq!(hints.take(nowhere, || false), Ok(false));
        assert!(hints.take(nowhere, || true).is_err());
    }
    drop(holds);
    assert_eq!(hints.take(Chunk::at(5, 0, 8), || true), Ok(true));
    assert!(hints.hold().is_some());
}

#[test]
fn parcels_that_name_no_chunk_end_the_lane() {
    let broken = [
        ("never sent", Chunk::at(4, 0, 1)),
        ("another kind", Chunk::at(6, 0, 1)),
        ("too long", Chunk::at(5, 64, 8192)),
        ("longer than anything", Chunk::at(5, 64, u64::MAX)),
        ("behind the end", Chunk::at(5, 8256, 0)),
    ];
    for (what, chunk) in broken {
        let mut lane = Lane::new();
        lane.write(chunk);
        assert!(lane.reader.next().is_err(), "{what}");
    }
    let (mut lane, ..) = Lane::with(false);
    lane.write(Chunk::at(5, 64, 100));
    assert!(matches!(lane.reader.next(), Err(LaneError::Parcel { .. })));
}

#[test]
fn a_segment_that_is_given_up_is_forgotten_and_what_is_held_of_it_stays() {
    let mut lane = Lane::new();
    lane.write(Chunk::at(5, 64, 100));
    assert_eq!(lane.reader.next(), Ok(Next::Message));
    let held = lane.reader.hold().unwrap();
    lane.reader.release();
    assert!(lane.reader.is_dry());
    lane.retire();
    // So that whoever sleeps takes it in.
    assert!(!lane.reader.is_dry() && lane.reader.has_something());
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
    assert!(lane.reader.is_dry());
    assert_eq!(&*held, [7; 100]);
    lane.write(Chunk::at(5, 64, 100));
    assert!(lane.reader.next().is_err());
    // One that is not known cannot be given up.
    let mut lane = Lane::new();
    lane.retire();
    assert_eq!(lane.reader.next(), Ok(Next::Empty));
    lane.retire();
    assert!(lane.reader.next().is_err());
}
