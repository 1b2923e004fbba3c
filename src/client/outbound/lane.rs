//! One lane of a publisher.

use std::sync::Arc;
use std::time::Duration;

use crate::doorbell::Sleeper;
use crate::lane::{Answer, Member, OwnMedium, Peer, PeerArea, PeerCursor, ReadsOn, Writer};
use crate::ring::{Control, DropCause, Position, Read};
use crate::topic::{Pattern, Topic};
use crate::wire::{LaneId, Overflow};

use super::CopyLane;
use super::groups::Membership;

/// What the control thread tells a publisher.
pub(in crate::client) enum WriterCommand {
    Add(Box<OutLane>),
    /// A lane in a ring that others read already.
    Join(Box<Newcomer>),
    /// A lane that never has the publisher wait.
    Copy(Box<CopyLane>),
    Change(Change),
    Attach {
        lane: LaneId,
        area: Arc<PeerArea>,
        peer: Peer,
    },
    /// Somebody looks at the history.
    Watch {
        lane: LaneId,
        cursor: PeerCursor,
        peer: Peer,
    },
    End {
        lane: LaneId,
        reads_on: ReadsOn,
    },
    /// The connection to the host of the subscriber, and of the broker, is gone.
    Lost {
        lane: LaneId,
    },
}

impl WriterCommand {
    /// Whether it is about this lane.
    pub(in crate::client) fn is_of(&self, lane: LaneId) -> bool {
        match self {
            Self::Add(of) => of.writer.member(lane).is_some(),
            Self::Join(of) => of.member.lane() == lane,
            Self::Copy(of) => of.lane == lane,
            Self::Change(of) => of.lane == lane,
            Self::Attach { lane: of, .. }
            | Self::Watch { lane: of, .. }
            | Self::End { lane: of, .. }
            | Self::Lost { lane: of } => *of == lane,
        }
    }

    /// Whether it tells of somebody who looks at the history by this lane.
    pub(in crate::client) fn is_watch(&self, lane: LaneId) -> bool {
        matches!(self, Self::Watch { lane: of, .. } if *of == lane)
    }

    /// Whether it tells of a new lane.
    pub(in crate::client) fn begins(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Join(_) | Self::Copy(_))
    }

    /// Whether nobody else is to come to what begins with it.
    pub(in crate::client) fn is_for_one(&self) -> bool {
        match self {
            Self::Add(lane) => lane.writer.close_unless_awaited(),
            _ => true,
        }
    }

    /// What the subscriber of a new lane answers, where it can map what is not in the ring.
    pub(in crate::client) fn answer(&self, lane: LaneId) -> Option<Answer> {
        match self {
            Self::Add(of) => of.writer.member(lane).map(Member::answer),
            Self::Join(of) => Some(of.member.answer()),
            _ => None,
        }
    }

    /// What a new lane lies in.
    pub(in crate::client) fn new_memory(&self) -> Option<OwnMedium> {
        match self {
            Self::Add(lane) => Some(lane.writer.ring().clone()),
            Self::Copy(lane) => Some(lane.writer.memory().clone()),
            _ => None,
        }
    }
}

/// What a lane takes from now on, and how.
pub(in crate::client) struct Change {
    pub(in crate::client) lane: LaneId,
    pub(in crate::client) patterns: Vec<Pattern>,
    pub(in crate::client) overflow: Overflow,
}

/// Who comes to a ring that others read already, and what it takes.
pub(in crate::client) struct Newcomer {
    pub(in crate::client) member: Member,
    pub(in crate::client) patterns: Vec<Pattern>,
    pub(in crate::client) excludes: Vec<Pattern>,
    pub(in crate::client) overflow: Overflow,
}

/// A ring of a publisher, with the lanes that lie in it: as a rule one, or those of several subscribers who take the same.
pub(in crate::client) struct OutLane {
    /// Tells it from those that had its key before.
    pub(super) ring: u64,
    pub(super) writer: Writer,
    pub(super) patterns: Vec<Pattern>,
    /// Topics that one of these includes are left out.
    pub(super) excludes: Vec<Pattern>,
    pub(super) overflow: Overflow,
    sleeper: Sleeper,
    /// Of a member of a queue group; behind `writer`, whose end it tells.
    pub(super) membership: Option<Membership>,
    /// Where the reader stood when a deadline expired; until it moves nobody waits for it again.
    pub(super) stalled_at: Option<Position>,
    /// Where the reader stood when a message that waits for this lane found no room: nothing newer may overtake it.
    pub(super) owed_at: Option<Position>,
    /// Whether the other side was told that somebody waits until everything is read.
    prompted: bool,
    /// Whether its subscriber reads what the publisher has kept.
    pub(in crate::client) has_snapshot: bool,
}

impl OutLane {
    /// A ring made for this lane.
    pub(in crate::client) fn new(
        lane: LaneId,
        writer: Writer,
        patterns: Vec<Pattern>,
        overflow: Overflow,
    ) -> Self {
        Self {
            ring: lane,
            writer,
            patterns,
            excludes: Vec::new(),
            overflow,
            sleeper: Sleeper::default(),
            membership: None,
            stalled_at: None,
            owed_at: None,
            prompted: false,
            has_snapshot: false,
        }
    }

    /// The same lane, without the topics that one of these includes.
    pub(in crate::client) fn excluding(mut self, excludes: Vec<Pattern>) -> Self {
        self.excludes = excludes;
        self
    }

    /// Another ring, with lanes that were in this one.
    pub(super) fn over(&self, ring: u64, writer: Writer) -> Self {
        let other = Self::new(ring, writer, self.patterns.clone(), self.overflow);
        other.excluding(self.excludes.clone())
    }

    /// Whether it takes just what these patterns and exclusions say.
    pub(super) fn takes_as(&self, patterns: &[Pattern], excludes: &[Pattern]) -> bool {
        let equal = |some: &[Pattern], others: &[Pattern]| {
            some.iter().all(|one| others.contains(one))
                && others.iter().all(|one| some.contains(one))
        };
        equal(&self.patterns, patterns) && equal(&self.excludes, excludes)
    }

    /// Whether a message on this topic that was published before it came is for it.
    pub(super) fn claims(&self, topic: &Topic) -> bool {
        !self.has_snapshot && !self.writer.has_closed() && self.takes(topic)
    }

    pub(super) fn takes(&self, topic: &Topic) -> bool {
        let selects = |pattern: &Pattern| pattern.intersects(topic);
        let excludes = |exclude: &Pattern| exclude.includes(topic);
        self.patterns.iter().any(selects)
            && !self.excludes.iter().any(excludes)
            && self.writer.readers() > 0
    }

    /// Whether a message that is so long may be written now.
    pub(super) fn is_free_for(&mut self, len: usize) -> bool {
        self.owed_at.is_none() && self.writer.has_room(len)
    }

    /// How long this lane is waited for at most; `None`: not at all.
    pub(super) fn deadline(&mut self) -> Option<Duration> {
        let Overflow::Block { deadline } = self.overflow else {
            return None;
        };
        if self.is_held_by_others() {
            return None;
        }
        if let Some(position) = self.stalled_at {
            if self.writer.reader_position() == position {
                return None;
            }
            self.stalled_at = None;
        }
        Some(deadline)
    }

    /// Whether somebody is the slowest who gets nothing of what is written.
    pub(super) fn is_held_by_others(&mut self) -> bool {
        self.writer.is_shared() && self.writer.has_closed() || self.writer.is_held_by_leaver()
    }

    /// Tells the readers whether whoever waits for them looks twice.
    pub(super) fn set_looks_twice(&mut self, looks_twice: bool) {
        let parked = self.writer.ring().control(Control::Parked);
        self.sleeper.set_looks_twice(parked, looks_twice);
    }

    /// First half of a sleep, but for the fence.
    pub(super) fn announce(&mut self) {
        let parked = self.writer.ring().control(Control::Parked);
        self.sleeper.announce(parked, || (), || false);
    }

    /// Second half.
    pub(super) fn retire(&mut self) {
        let parked = self.writer.ring().control(Control::Parked);
        self.sleeper.retire(parked);
    }

    /// Tells the other side once that somebody waits until everything is read: if that is a relay, it has to ask further.
    pub(super) fn prompt(&mut self) {
        if !self.prompted {
            self.prompted = self.writer.prompt();
        }
    }

    pub(super) fn drop_messages(&mut self, messages: u64) {
        let cause = match self.overflow {
            Overflow::Block { .. } => DropCause::Deadline,
            _ => DropCause::Full,
        };
        self.writer.count_drops(cause, messages);
        // A subscriber that ran dry and went to sleep in this moment looks at the counter again.
        self.writer.wake();
    }
}
