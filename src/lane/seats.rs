//! Who gives and takes the seats of a ring.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ring::{SEATS, bit, give_seat, take_seat_back};
use crate::wire::LaneId;

use super::OwnMedium;

/// The seats of a ring. Whoever tells readers of the ring gives them, its writer takes them back.
pub struct Seats {
    ring: OwnMedium,
    state: Mutex<State>,
}

struct State {
    /// A bit for each.
    taken: u64,
    /// Whether more are given.
    is_open: bool,
}

/// A seat; given back when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    index: u32,
}

impl Seats {
    /// Those of a fresh ring, or of one whose first readers have the seats of this set.
    pub fn new(ring: OwnMedium, taken: u64) -> Arc<Self> {
        Arc::new(Self {
            ring,
            state: Mutex::new(State {
                taken,
                is_open: true,
            }),
        })
    }

    /// The ring.
    pub fn ring(&self) -> &OwnMedium {
        &self.ring
    }

    /// A seat for a lane, whose reader is to learn of it later; `None` if there is none, or the ring takes no more readers.
    pub fn give(self: &Arc<Self>, lane: LaneId) -> Option<Seat> {
        let mut state = self.lock();
        let index = state.taken.trailing_ones();
        if !state.is_open || index >= SEATS {
            return None;
        }
        state.taken |= bit(index);
        // Under the lock: nobody else gives this seat, or takes it back.
        give_seat(&self.ring, index, lane);
        Some(Seat {
            seats: self.clone(),
            index,
        })
    }

    /// A seat that is counted as taken from the beginning.
    pub fn of_first(self: &Arc<Self>, index: u32) -> Seat {
        Seat {
            seats: self.clone(),
            index,
        }
    }

    /// Gives no more from now on.
    pub fn close(&self) {
        self.lock().is_open = false;
    }

    /// Whether nobody is about to come but those in this set; none comes then.
    pub fn close_unless_awaited(&self, present: u64) -> bool {
        let mut state = self.lock();
        let awaits = state.taken & !present != 0;
        if !awaits {
            state.is_open = false;
        }
        !awaits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The seats of the ring.
    pub fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.lock();
        take_seat_back(&self.seats.ring, self.index);
        state.taken &= !bit(self.index);
    }
}
