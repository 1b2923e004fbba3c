//! How the writing end of a ring deals with readers who come and leave.

use super::{
    CELL_BYTES, Cursor, Kind, Position, Producer, SEATS, Switch, Write, bit, readers::Readers, seat,
};

impl<S: Write, C: Cursor> Producer<S, C> {
    /// From now on room is kept for a record by which each reader can leave. Messages can take so much less; a ring that is
    /// read to its end takes what any ring takes.
    pub fn keep_room_to_leave(&mut self) {
        self.readers.keep_room();
        self.limit = self.slowest;
    }

    /// One more reader, to which the seat was given: it begins with what is committed next.
    pub fn join(&mut self, seat: u32) {
        self.readers.add(seat, None, self.committed);
        seat::begin(&self.storage, seat, self.committed, self.drops.counts());
    }

    /// The reader in a seat is not looked after any more.
    pub fn remove(&mut self, seat: u32) {
        self.readers.remove(seat);
    }

    /// Whether the reader in a seat is looked after: also one that has left, as long as it has not read what is before that.
    pub fn has(&self, seat: u32) -> bool {
        self.readers.has(seat)
    }

    /// How far the reader in a seat was when that was looked at last.
    pub fn seen(&self, seat: u32) -> Option<Position> {
        self.readers.seen(seat)
    }

    /// Whether readers can leave now.
    pub fn can_leave(&mut self) -> bool {
        let slowest = self.slowest();
        let end = self.committed.0 + 2 * CELL_BYTES as u64;
        self.staged == self.committed && end <= slowest.0 + self.storage.capacity() as u64
    }

    /// Commits a record by which readers leave, if there is room; where they did then.
    pub fn leave(&mut self, switch: Switch) -> Option<Position>
    where
        C: Clone,
    {
        if !self.can_leave() {
            return None;
        }
        if self.committed.0 + CELL_BYTES as u64 > self.cleared.0 {
            self.cleared = Position(0);
        }
        let offset = self.offset(self.committed);
        self.put(offset, Kind::Switch, 0, switch.0);
        self.commit();
        for seat in (0..SEATS).filter(|seat| switch.names(*seat)) {
            self.readers.leave_at(seat, self.committed);
        }
        Some(self.committed)
    }

    /// Has readers go on in a fresh, zeroed ring as large as this one; if there is room for that to be said here. The writing end
    /// of the other ring then.
    pub fn move_to(&mut self, storage: S, seats: u64) -> Option<Self>
    where
        C: Clone,
    {
        debug_assert_eq!(storage.capacity(), self.storage.capacity());
        // Before anybody reads there.
        let drops = self.drops.carry_over(&storage);
        let end = self.leave(Switch::moving(seats))?;
        let mut readers = Readers::new();
        readers.keep_room();
        for seat in (0..SEATS).filter(|seat| seats & bit(*seat) != 0) {
            if let Some((cursor, seen)) = self.readers.leave_at(seat, end) {
                readers.add(seat, cursor, seen);
            }
        }
        let mut other = Self::beginning(storage, readers, end, drops);
        // What they have not read here counts there, too: nobody has more room than in a ring of its own.
        other.limit = end;
        Some(other)
    }
}
