//! The readers of a ring: who keeps the producer from writing on.

use super::{CELL_BYTES, Cursor, Position};
use crate::sync::Site;

/// The readers of a ring.
#[derive(Debug)]
pub(super) struct Readers<C> {
    list: Vec<Reader<C>>,
    /// Whether room is kept for records by which readers leave.
    keeps_room: bool,
}

/// One reader.
#[derive(Debug)]
struct Reader<C> {
    seat: u32,
    /// `None` until the reader has said where its cursor is.
    cursor: Option<C>,
    /// What `cursor` held when it was last looked at. May be stale, never too high.
    seen: Position,
    /// Where it has left the ring: beyond that its cursor speaks of another one.
    until: Option<Position>,
}

impl<C: Cursor> Readers<C> {
    /// Nobody.
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            keeps_room: false,
        }
    }

    /// From now on room is kept for a record by which each reader can leave.
    pub(super) fn keep_room(&mut self) {
        self.keeps_room = true;
    }

    /// Bytes that messages leave free.
    #[inline]
    pub(super) fn kept_bytes(&self) -> u64 {
        match self.keeps_room {
            // And for some who come while it is full.
            true => ((self.list.len() + SPARE_CELLS) * CELL_BYTES) as u64,
            false => 0,
        }
    }

    /// One more, that has read all before `from`.
    pub(super) fn add(&mut self, seat: u32, cursor: Option<C>, from: Position) {
        debug_assert!(self.get(seat).is_none());
        self.list.push(Reader {
            seat,
            cursor,
            seen: from,
            until: None,
        });
    }

    pub(super) fn attach(&mut self, seat: u32, cursor: C) {
        if let Some(reader) = self.get_mut(seat) {
            reader.cursor = Some(cursor);
        }
    }

    pub(super) fn remove(&mut self, seat: u32) {
        self.list.retain(|reader| reader.seat != seat);
    }

    /// Whether a reader has this seat, be it that it only reads what is left for it.
    pub(super) fn has(&self, seat: u32) -> bool {
        self.get(seat).is_some()
    }

    /// How far a reader has come, as it was seen last.
    pub(super) fn seen(&self, seat: u32) -> Option<Position> {
        self.get(seat).map(|reader| reader.seen)
    }

    /// A reader leaves the ring at a position: it is looked after until it has come there. Where its cursor is, and what
    /// that held.
    pub(super) fn leave_at(&mut self, seat: u32, end: Position) -> Option<(Option<C>, Position)>
    where
        C: Clone,
    {
        let reader = self.get_mut(seat)?;
        reader.until = Some(end);
        Some((reader.cursor.clone(), reader.seen))
    }

    /// Looks at all cursors; the slowest. Those who have left, and have come to where they did, are forgotten. All that was
    /// committed if there is nobody.
    pub(super) fn slowest(&mut self, committed: Position) -> Position {
        let mut slowest = committed;
        let mut gone = false;
        for reader in &mut self.list {
            if let Some(cursor) = &reader.cursor {
                // Partner: the release in `Consumer::publish`; the reader's reads below it are over.
                let now = Site::CursorLoad.load_acquire(cursor.word());
                // A peer's word: only what moves forward, and not past what it can have read, counts.
                let most = match reader.until {
                    // It may have read on, in another ring.
                    Some(_) => u64::MAX,
                    None => committed.0,
                };
                if now > reader.seen.0 && now <= most && now.is_multiple_of(CELL_BYTES as u64) {
                    reader.seen = Position(now);
                }
            }
            match reader.until {
                Some(until) if reader.seen >= until || !Site::LeaverKept.holds() => gone = true,
                _ => slowest = slowest.min(reader.seen),
            }
        }
        if gone {
            self.list
                .retain(|reader| reader.until.is_none_or(|until| reader.seen < until));
        }
        slowest
    }

    fn get(&self, seat: u32) -> Option<&Reader<C>> {
        self.list.iter().find(|reader| reader.seat == seat)
    }

    fn get_mut(&mut self, seat: u32) -> Option<&mut Reader<C>> {
        self.list.iter_mut().find(|reader| reader.seat == seat)
    }
}

const SPARE_CELLS: usize = 2;
