//! Rings of a publisher that more subscribers can come to, by what they are to ask for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::lane::{Seat, Seats};
use crate::wire::{LaneId, Overflow, Route};

/// Rings of a publisher that more subscribers can come to. Shared by the publisher and the control thread.
#[derive(Default)]
pub(super) struct OpenRings(Mutex<Vec<(Stream, Weak<Seats>)>>);

/// What subscribers ask for: those of equal streams can read one ring.
#[derive(Clone, PartialEq)]
pub(super) struct Stream {
    patterns: Vec<String>,
    excludes: Vec<String>,
    overflow: Overflow,
    /// Of the ring, in bytes.
    capacity: usize,
}

impl Stream {
    pub(super) fn new(route: &Route, capacity: usize) -> Self {
        let sorted = |texts: &[String]| {
            let mut texts = texts.to_vec();
            texts.sort_unstable();
            texts.dedup();
            texts
        };
        Self {
            patterns: sorted(&route.patterns),
            excludes: sorted(&route.excludes),
            overflow: route.overflow,
            capacity,
        }
    }
}

impl OpenRings {
    /// A seat for a lane, in the ring that its subscriber can come to, if there is one.
    pub(super) fn seat(&self, stream: &Stream, lane: LaneId) -> Option<Seat> {
        let rings = self.lock();
        let mut found = rings.iter().filter(|(other, _)| other == stream);
        found.find_map(|(_, seats)| seats.upgrade()?.give(lane))
    }

    /// Others can come to this ring.
    pub(super) fn open(&self, stream: Stream, seats: &Arc<Seats>) {
        let mut rings = self.lock();
        rings.retain(|(other, seats)| *other != stream && seats.strong_count() > 0);
        rings.push((stream, Arc::downgrade(seats)));
    }

    /// Whoever could come to this ring comes to another one from now on.
    pub(super) fn go_on_in(&self, seats: &Arc<Seats>, other: &Arc<Seats>) {
        seats.close();
        for (_, open) in self.lock().iter_mut() {
            if open.as_ptr() == Arc::as_ptr(seats) {
                *open = Arc::downgrade(other);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Stream, Weak<Seats>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
