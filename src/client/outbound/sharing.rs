//! Rings that several subscribers read: who comes, who leaves, who has to be parted from the others.
//!
//! Where some subscribers keep the others from getting a message, the others move to another ring, so what is slow has no new
//! place to fill; whatever is to be done for one subscriber alone is done when that one has a ring of its own.

use crate::client::shared::Command;
use crate::lane::{Member, Parted, ReadsOn, Split};
use crate::wire::{LaneId, LaneRefusal};

use super::lane::Newcomer;
use super::{OutLane, Outbound};

impl Outbound {
    /// A subscriber comes to a ring in use.
    pub(super) fn join(&mut self, newcomer: Newcomer) {
        let Newcomer {
            member,
            patterns,
            excludes,
            overflow,
        } = newcomer;
        let lane_id = member.lane();
        let mut lanes = self.lanes.iter_mut();
        let Some((_, lane)) = lanes.find(|(_, lane)| lane.writer.is_for(&member)) else {
            debug_assert!(false, "a ring waits for those who were told of it");
            return;
        };
        lane.writer.join(member);
        let is_equal = lane.takes_as(&patterns, &excludes) && lane.overflow == overflow;
        self.routes.changed();
        // The others' stream has changed since.
        if !is_equal && let Some(key) = self.set_apart(lane_id) {
            let lane = &mut self.lanes[key];
            (lane.patterns, lane.excludes) = (patterns, excludes);
            lane.overflow = overflow;
        }
    }

    /// Has a subscriber a ring of its own; the key of that. If that is not possible the lane ends, with an error at the
    /// subscriber.
    pub(super) fn set_apart(&mut self, lane: LaneId) -> Option<usize> {
        let key = self.key_of(lane)?;
        if !self.lanes[key].writer.is_shared() {
            // Nobody is to come, either.
            self.lanes[key].writer.close_seats();
            return Some(key);
        }
        if let Some(key) = self.split(key, &[lane]) {
            return Some(key);
        }
        let reason = "its publisher could not give it a ring of its own".to_owned();
        self.shared
            .command(Command::RefuseWriter(lane, LaneRefusal::Ring(reason)));
        self.part_from(lane, ReadsOn::Yes);
        None
    }

    /// Has those who are well ahead of the slowest reader of a ring go on in another one; the key of that.
    pub(super) fn split_ahead(&mut self, key: usize) -> Option<usize> {
        let writer = &mut self.lanes.get_mut(key)?.writer;
        if !writer.has_several_readers() {
            return None;
        }
        let ahead = writer.ahead();
        if ahead.is_empty() {
            return None;
        }
        let before = writer.seats().cloned();
        let key = self.split(key, &ahead)?;
        // Whoever comes is to be with those who are not slow.
        if let (Some(before), Some(seats)) = (before, self.lanes[key].writer.seats()) {
            self.rings.go_on_in(&before, seats);
        }
        Some(key)
    }

    /// Has readers of a ring go on in another one; the key of that.
    fn split(&mut self, key: usize, lanes: &[LaneId]) -> Option<usize> {
        let lane = &mut self.lanes[key];
        let split = lane.writer.part(lanes, self.shared.options());
        self.routes.changed();
        match split {
            Ok(Split::Some(writer)) => {
                self.last_ring -= 1;
                let (before, mut other) = (lane.ring, lane.over(self.last_ring, *writer));
                other.set_looks_twice(self.second_look.is_told());
                let key = self.lanes.insert(other);
                // What is on its way to all of them stays so.
                self.waits.go_on_in(before, key, self.last_ring);
                Some(key)
            }
            Ok(Split::All) => Some(key),
            Ok(Split::None) => None,
            Err(error) => {
                tracing::warn!(%error, "subscribers of one ring cannot be parted");
                None
            }
        }
    }

    /// A message finds no room in a ring, and is not waited with any longer. Who would have room but for others moves, and gets it; all
    /// others lose it, counted.
    pub(super) fn give_up_on(&mut self, key: usize) {
        let messages = self.waits.used as u64;
        let mut key = key;
        loop {
            let moved = self.split_ahead(key);
            if moved != Some(key) {
                self.waits.delivery.dropped += self.drop_now(key, messages);
            }
            let Some(other) = moved else { return };
            key = other;
            if self.write_kept(key) {
                return;
            }
        }
    }

    /// Writes what is waited with. Whether there was room.
    pub(super) fn write_kept(&mut self, key: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else {
            return false;
        };
        let (topic, kept) = (self.topics.reference(self.waits.topic()), self.waits.kept());
        let (block, pool) = (self.waits.block(), &mut self.pool);
        let written = match &self.stamp {
            None => lane.write_kept(topic, kept, block, pool),
            Some(stamp) => lane.write_kept(topic.stamped(stamp), kept, block, pool),
        };
        if written {
            lane.writer.wake();
            self.waits.delivery.lanes += lane.readers();
        }
        written
    }

    /// Parts from subscribers of a ring that have said that they read no more. Whether there were such.
    pub(super) fn part_from_closed_of(&mut self, key: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else {
            return false;
        };
        let mut found = lane.writer.forget_leavers();
        let closed = lane.writer.members().filter(|member| member.is_closed());
        let closed: Vec<_> = closed.map(Member::lane).collect();
        for lane in closed {
            self.part_from_member(key, lane, ReadsOn::No);
            found = true;
        }
        found
    }

    /// A lane of this ring has ended.
    pub(super) fn part_from_member(&mut self, key: usize, lane: LaneId, reads_on: ReadsOn) {
        let Some(ring) = self.lanes.get_mut(key) else {
            return;
        };
        let shortfall = ring.shortfall(lane);
        match ring.writer.part_from(lane, reads_on) {
            Parted::Unknown => return,
            Parted::Last => {
                self.lanes.remove(key);
                self.pool.tidy();
            }
            Parted::OneOfSeveral => {}
        }
        self.departed.note(shortfall);
        self.routes.changed();
    }

    /// The ring of a lane.
    pub(super) fn key_of(&self, lane: LaneId) -> Option<usize> {
        let mut lanes = self.lanes.iter();
        let found = lanes.find(|(_, other)| other.writer.member(lane).is_some());
        found.map(|(key, _)| key)
    }
}

impl OutLane {
    /// Who reads the ring.
    #[inline]
    pub(super) fn readers(&self) -> u32 {
        self.writer.readers()
    }

    /// The oldest lane of those that lie in this ring: the broker numbers them as they come.
    pub(super) fn oldest(&self) -> Option<LaneId> {
        self.writer.members().map(Member::lane).min()
    }
}
