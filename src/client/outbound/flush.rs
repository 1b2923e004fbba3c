//! Waiting until subscribers have read what was written for them.

use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::client::closing::{Closed, ClosedLane};
use crate::lane::Member;
use crate::wire::LaneId;

use super::waiting::Waiting;
use super::{OutLane, Outbound};

/// What subscribers had not read when their lanes ended.
#[derive(Default)]
pub(super) struct Departed {
    /// The last ones.
    lanes: Vec<ClosedLane>,
    /// Messages of those before.
    unlisted: u64,
}

/// The end of a wait until everything is read.
pub(in crate::client) struct FlushDeadline {
    started: Instant,
    timeout: Duration,
}

impl Departed {
    /// Notes a lane that has ended.
    pub(super) fn note(&mut self, lane: Option<ClosedLane>) {
        // What a member of a queue group has left is for another one.
        let Some(lane) = lane else { return };
        let lane = ClosedLane {
            has_ended: true,
            ..lane
        };
        if lane.unread > 0 {
            if self.lanes.len() == MOST_DEPARTED {
                self.unlisted += self.lanes.remove(0).unread;
            }
            self.lanes.push(lane);
        }
    }
}

impl FlushDeadline {
    pub(in crate::client) fn after(timeout: Duration) -> Self {
        Self {
            started: Instant::now(),
            timeout,
        }
    }

    /// `None` where the clock ends before.
    #[cfg(feature = "async")]
    pub(in crate::client) fn moment(&self) -> Option<Instant> {
        self.started.checked_add(self.timeout)
    }

    /// What is left; `None` when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.timeout.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then_some(left)
    }
}

impl Outbound {
    /// Waits until all subscribers have read everything, at most so long.
    pub(in crate::client) fn flush(&mut self, timeout: Duration) {
        let deadline = FlushDeadline::after(timeout);
        let backoff = Backoff::new();
        self.give_up();
        while let Some(left) = self.look_for_unread(&deadline) {
            if !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            if self.announce() {
                self.prompt();
                self.sleep(left);
            }
            self.retire();
        }
    }

    /// Finds the lanes that are not read to their end: those are waited for now. How long that may still take; `None` when
    /// there are none, or the time is over. No sleep may be announced.
    pub(in crate::client) fn look_for_unread(
        &mut self,
        deadline: &FlushDeadline,
    ) -> Option<Duration> {
        self.take_news();
        self.part_from_closed_of_several();
        self.waits.forget();
        for (key, lane) in &mut self.lanes {
            let seen = lane.writer.reader_position();
            if seen != lane.writer.position() && !lane.writer.has_closed() {
                self.waits.add(Waiting::for_reader(key, lane.ring, seen));
            }
        }
        let left = deadline.left().filter(|_| !self.waits.is_empty());
        if left.is_none() {
            self.waits.forget();
        }
        left
    }

    /// Has those who pass messages on to other hosts tell at once how far they are read there. Behind the announcement of a sleep, by
    /// which they know that somebody waits.
    pub(in crate::client) fn prompt(&mut self) {
        self.waits.prompt(&mut self.lanes);
    }

    /// What subscribers have not got, of lanes that have ended and of those that have not.
    pub(in crate::client) fn shortfalls(&mut self) -> Closed {
        // From here on no new lane gets something.
        let unclaimed = self.waitlist.take();
        self.take_news();
        let Departed {
            mut lanes,
            unlisted,
        } = std::mem::take(&mut self.departed);
        let present = self.lanes.iter_mut().map(|(_, lane)| lane);
        let present = present.flat_map(OutLane::shortfalls);
        lanes.extend(present.filter(|lane| !lane.has_ended || lane.unread > 0));
        Closed {
            lanes,
            unlisted,
            unclaimed,
        }
    }
}

impl OutLane {
    /// What a subscriber has not got so far, unless somebody else gets it.
    pub(super) fn shortfall(&mut self, lane: LaneId) -> Option<ClosedLane> {
        if self.queue().is_some() {
            return None;
        }
        self.shortfall_of(lane)
    }

    /// What its subscribers have not got so far.
    fn shortfalls(&mut self) -> Vec<ClosedLane> {
        let lanes: Vec<_> = self.writer.members().map(Member::lane).collect();
        let found = lanes.into_iter().map(|lane| self.shortfall_of(lane));
        found.flatten().collect()
    }

    fn shortfall_of(&mut self, lane: LaneId) -> Option<ClosedLane> {
        let unread = self.writer.unread_messages(lane);
        let member = self.writer.member(lane)?;
        Some(ClosedLane {
            subscriber: member.name().to_owned(),
            has_ended: member.is_closed(),
            unread,
            dropped: self.writer.dropped_messages(lane),
        })
    }
}

/// Lanes that have ended and are listed one by one.
const MOST_DEPARTED: usize = 256;
