//! What is counted of a lane.

use std::sync::Arc;
use std::time::Duration;

use crate::ring::{DropCause, DropCounts, Position};
use crate::sync::Ordering;

use super::book::{About, HandleSlot, Leaf, add, count};
use super::histogram::bucket_of;
use super::page::{Counter, Kind, Page};
use super::slot::Slot;
use super::snapshot::Role;

/// The counters of a lane. One thread counts: the one that writes or reads the lane.
pub(crate) struct LaneSlot {
    /// The page of `own`.
    page: Slot,
    own: Arc<Counted>,
    /// Who counts messages for this lane, too. Its page is kept until this is undone.
    leader: Option<Arc<Counted>>,
}

/// What a lane has counted, which its handle takes over in the end.
struct Counted {
    leaf: Leaf,
    handle: Arc<HandleSlot>,
}

impl HandleSlot {
    /// The counters of a new lane of this handle.
    pub(crate) fn lane(
        self: &Arc<Self>,
        lane: u64,
        peer: &str,
        topics: &str,
        message_type: &str,
        ring_bytes: usize,
    ) -> LaneSlot {
        let leaf = self.book.take(&About {
            kind: match self.role {
                Role::Publisher => Kind::PublisherLane,
                Role::Subscriber => Kind::SubscriberLane,
            },
            handle: self.leaf.slot.handle.load(Ordering::Relaxed) as u32,
            lane,
            ring_bytes,
            name: peer,
            topics,
            message_type,
        });
        LaneSlot {
            page: leaf.slot.clone(),
            own: Arc::new(Counted {
                leaf,
                handle: self.clone(),
            }),
            leader: None,
        }
    }
}

impl LaneSlot {
    /// A message was written or read; the lane stands at `position` now.
    #[inline(always)]
    pub(crate) fn message(&self, len_bytes: usize, position: Position) {
        self.messages(1, len_bytes, position);
    }

    /// Messages of so many bytes together were written; the lane stands at `position` now.
    #[inline(always)]
    pub(crate) fn messages(&self, messages: u64, len_bytes: usize, position: Position) {
        let page = &*self.page;
        count(page, Counter::Messages, messages);
        count(page, Counter::Bytes, len_bytes as u64);
        // Relaxed, as all counters: they order nothing.
        page.counts[Counter::Position as usize].store(position.0, Ordering::Relaxed);
    }

    /// From now on the messages that the other lane counts count for this one, too: both lie in one ring, which is written by whoever
    /// calls this.
    pub(crate) fn follow(&mut self, leader: &Self) {
        let leader = &leader.own;
        let follows = self.leader.as_ref();
        if follows.is_some_and(|follows| Arc::ptr_eq(follows, leader)) {
            return;
        }
        self.stand_alone();
        let counted = leader.leaf.slot.lane.load(Ordering::Relaxed);
        self.own.handle.book.change(|| {
            self.page.shift(&leader.leaf.slot, u64::wrapping_sub);
            self.page.follows.store(counted, Ordering::Relaxed);
        });
        self.leader = Some(leader.clone());
    }

    /// From now on it counts by itself.
    pub(crate) fn stand_alone(&mut self) {
        let Some(leader) = self.leader.take() else {
            return;
        };
        self.own.handle.book.change(|| {
            self.page.shift(&leader.leaf.slot, u64::wrapping_add);
            self.page.follows.store(0, Ordering::Relaxed);
        });
    }

    /// The subscriber has other patterns now.
    pub(crate) fn rename(&self, topics: &str) {
        self.own.handle.book.rename(&self.own.leaf, topics);
    }

    /// Messages were dropped.
    pub(crate) fn dropped(&self, cause: DropCause, messages: u64) {
        count(&self.page, of_cause(cause), messages);
    }

    /// The publisher has told of messages that were dropped.
    pub(crate) fn lost(&self, counts: &DropCounts) {
        for cause in [DropCause::Full, DropCause::Deadline] {
            count(&self.page, of_cause(cause), counts.count(cause));
        }
    }

    /// Messages were not given, for later ones on their topics were there.
    pub(crate) fn conflated(&self, messages: u64) {
        count(&self.page, Counter::Conflated, messages);
    }

    /// The peer was woken.
    pub(crate) fn woke(&self) {
        count(&self.page, Counter::Wakes, 1);
    }

    /// The publisher goes to sleep until the lane has room.
    pub(crate) fn parked(&self) {
        count(&self.page, Counter::Parks, 1);
    }

    /// The publisher has waited for room.
    pub(crate) fn blocked(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        count(&self.page, Counter::BlockedNs, ns);
    }

    /// The publisher will not wait again until the subscriber has moved on.
    pub(crate) fn stalled(&self) {
        count(&self.page, Counter::Stalls, 1);
    }

    /// A message that is read was no value of its type.
    pub(crate) fn undecodable(&self) {
        count(&self.page, Counter::Undecodable, 1);
    }

    /// A message took that long.
    #[inline]
    pub(crate) fn latency(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.page.latency[bucket_of(ns)], 1);
    }
}

impl Drop for LaneSlot {
    fn drop(&mut self) {
        self.stand_alone();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let HandleSlot { leaf, book, .. } = &*self.handle;
        book.give_back(&self.leaf, |_| leaf.slot.absorb(&self.leaf.slot));
    }
}

impl Page {
    /// Adds what another page has counted of messages, or takes it off; the position is the same.
    fn shift(&self, other: &Self, by: impl Fn(u64, u64) -> u64) {
        for counter in [Counter::Messages, Counter::Bytes] {
            let word = &self.counts[counter as usize];
            let counted = other.counts[counter as usize].load(Ordering::Relaxed);
            word.store(by(word.load(Ordering::Relaxed), counted), Ordering::Relaxed);
        }
        let position = other.counts[Counter::Position as usize].load(Ordering::Relaxed);
        self.counts[Counter::Position as usize].store(position, Ordering::Relaxed);
    }
}

fn of_cause(cause: DropCause) -> Counter {
    match cause {
        DropCause::Full => Counter::DroppedFull,
        DropCause::Deadline => Counter::DroppedDeadline,
    }
}
