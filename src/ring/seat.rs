//! Where readers begin that come to a ring in use, and where they leave it.
//!
//! A reader that comes to a ring in use has a *seat* in the ring's control page. It finds its lane's number there from before it
//! knows of the ring. The producer takes its present position for the reader's, writes that to the seat, and looks after the
//! reader's cursor from then on; until then the reader has nothing to read.
//!
//! Readers leave a ring by a *switch* record, which names their seats: behind it they go on in another ring, or their lanes
//! end. All others pass over it. The other ring goes on with positions and drop counters where this one stood, so a cursor
//! says the same in both, and nothing has to be told anew.

use super::consumer::load_closed;
use super::{CELL_BYTES, DropCounts, Ending, MOST_POSITION, Position, Read, SeatWord};
use crate::sync::{Ordering, Site, fence};

/// Who leaves a ring at a switch record: its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch(pub u64);

/// What a seat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seated {
    /// Nothing yet.
    Waits,
    /// The reader begins here, told of these drops.
    At(Position, DropCounts),
    /// The lane has ended before it began.
    Gone,
    /// What no producer says.
    Broken(u64),
}

impl Switch {
    /// These seats, a bit for each, go on in another ring.
    pub fn moving(seats: u64) -> Self {
        Self(seats & !ENDS)
    }

    /// The lanes of these seats end here.
    pub fn ending(seats: u64) -> Self {
        Self(seats | ENDS)
    }

    /// Whether lanes end.
    pub fn ends(self) -> bool {
        self.0 & ENDS != 0
    }

    /// The seats, a bit for each.
    pub fn seats(self) -> u64 {
        self.0 & !ENDS
    }

    /// Whether it names a seat.
    pub fn names(self, seat: u32) -> bool {
        self.seats() & bit(seat) != 0
    }
}

/// A set of one seat.
pub fn bit(seat: u32) -> u64 {
    1 << (seat % SEATS)
}

/// Gives a seat to a lane, before the reader knows of the ring.
pub fn give_seat(storage: &impl Read, seat: u32, lane: u64) {
    // Release: one that had the seat before, and finds anything of what is written from here on, finds the lane, too.
    storage
        .seat(seat, SeatWord::Lane)
        .store(lane, Ordering::Release);
    storage
        .seat(seat, SeatWord::Begin)
        .store(0, Ordering::Release);
}

/// Takes a seat back: who waits there still, has no lane. Who has begun need not be told here.
pub fn take_seat_back(storage: &impl Read, seat: u32) {
    // Relaxed: whoever says where to begin has the seat, or had it before.
    if storage.seat(seat, SeatWord::Begin).load(Ordering::Relaxed) == 0 {
        storage
            .seat(seat, SeatWord::Lane)
            .store(0, Ordering::Release);
    }
}

/// Says where the reader of a seat begins.
pub(super) fn begin(storage: &impl Read, seat: u32, at: Position, told: DropCounts) {
    told.store_seat(storage, seat);
    // Partner: the fence in `seated`; the header there holds 0, or the record, to whoever sees it.
    storage
        .seat(seat, SeatWord::Begin)
        .store(at.0 + 1, Site::SeatStore.order(Ordering::Release));
}

/// What the seat says to the reader of a lane.
pub fn seated(storage: &impl Read, seat: u32, lane: u64) -> Seated {
    // First: of a ring that is closed, what is found then is all there will be.
    let is_closed = Ending::of(load_closed(storage)).is_some();
    // Relaxed: the fence below is for all of them.
    let word = |word| storage.seat(seat, word).load(Ordering::Relaxed);
    let begin = word(SeatWord::Begin);
    let told = DropCounts::load_seat(word);
    if Site::SeatLoad.holds() {
        // Partners: the release in `begin`; those of a lane that has the seat by now, which is found then.
        fence(Ordering::Acquire);
    }
    let has_seat = word(SeatWord::Lane) == lane;
    match begin {
        _ if !has_seat => Seated::Gone,
        0 if is_closed => Seated::Gone,
        0 => Seated::Waits,
        begin if begin > MOST_POSITION || begin % CELL_BYTES as u64 != 1 => Seated::Broken(begin),
        begin => Seated::At(Position(begin - 1), told),
    }
}

/// Seats of a ring.
pub const SEATS: u32 = 63;
const ENDS: u64 = 1 << SEATS;
