//! Whether lanes have room for a message.

use slab::Slab;

use crate::lane::PoolWriter;
use crate::pool::Chunk;

use super::groups::check_room_of_group;
use super::waiting::{Waiting, Waits};
use super::{OutLane, PublishError, Way};

/// What a message needs of each lane.
pub(super) struct Need<'a> {
    /// Bytes of a copy.
    len: usize,
    /// Whether it goes through the pool where it can.
    pool: Option<&'a mut PoolWriter>,
}

impl<'a> Need<'a> {
    pub(super) fn new(len: usize, way: Way<'_>, pool: &'a mut PoolWriter) -> Self {
        Self {
            len,
            pool: matches!(way, Way::Pool(_)).then_some(pool),
        }
    }

    /// As much of a copy in a ring, nothing of the pool.
    pub(super) fn copy(len: usize) -> Self {
        Self { len, pool: None }
    }

    /// Whether a lane has that. If not, whether it lacks the bytes that its subscriber may pin.
    pub(super) fn is_met(&mut self, lane: &mut OutLane) -> Result<(), Option<usize>> {
        let mut in_ring = self.len;
        if let Some(pool) = &mut self.pool
            && lane.writer.takes_blocks()
        {
            if !lane.writer.has_share(self.len, pool) {
                return Err(Some(self.len));
            }
            in_ring = Chunk::BYTES;
        }
        lane.is_free_for(in_ring).then_some(()).ok_or(None)
    }
}

/// Refuses a message if somebody would have to be waited for; remembers whom.
pub(super) fn check_room(
    waits: &mut Waits,
    lanes: &mut Slab<OutLane>,
    (keys, groups): (&[usize], &[Vec<usize>]),
    mut need: Need<'_>,
) -> Result<(), PublishError> {
    waits.forget();
    for &key in keys {
        let lane = &mut lanes[key];
        let seen = lane.writer.reader_position();
        if let Err(pins) = need.is_met(lane)
            && let Some(deadline) = lane.deadline()
        {
            waits.lanes.push(Waiting {
                deadline,
                pins,
                ..Waiting::for_reader(key, lane.ring, seen)
            });
        }
    }
    for members in groups {
        check_room_of_group(waits, lanes, members, need.len);
    }
    match waits.lanes.is_empty() {
        true => Ok(()),
        false => Err(PublishError::WouldBlock),
    }
}
