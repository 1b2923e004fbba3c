//! What a publisher learns of the routes and of its peers.

use super::lane::{Change, WriterCommand};
use super::{OutLane, Outbound, ROUTE_PATIENCE};
use crate::client::shared::load_epoch;
use crate::topic::Pattern;
use crate::wire::LaneId;

impl Outbound {
    /// Learns what the broker and the peers have changed.
    #[inline]
    pub(in crate::client) fn sync(&mut self) {
        if load_epoch(&self.epoch_word) != self.epoch {
            self.learn_routes();
        }
        self.take_news();
    }

    /// Learns what the control thread has posted.
    #[inline]
    pub(in crate::client) fn take_news(&mut self) {
        if self.mailbox.has_news(self.seen) {
            self.take_commands();
        }
    }

    #[cold]
    pub(super) fn learn_routes(&mut self) {
        let epoch = load_epoch(&self.epoch_word);
        let in_time = self.is_settled(epoch) || self.shared.wait_applied(epoch, ROUTE_PATIENCE);
        self.adopt(epoch, in_time);
    }

    /// The route epoch as the broker has it.
    #[cfg(feature = "async")]
    pub(in crate::client) fn epoch_now(&self) -> u64 {
        load_epoch(&self.epoch_word)
    }

    /// Whether the routes of an epoch need not be waited for.
    pub(in crate::client) fn is_settled(&self, epoch: u64) -> bool {
        epoch == self.epoch || epoch == self.given_up
    }

    /// Goes on with the routes as they are known, which are those of `epoch` if they came in time.
    pub(in crate::client) fn adopt(&mut self, epoch: u64, in_time: bool) {
        if !in_time {
            self.given_up = epoch;
        }
        // The commands that belong to an epoch are posted before it counts as applied; `sync` takes them next.
        self.epoch = self.shared.applied().min(epoch);
        self.behind = self.epoch != epoch;
    }

    #[cold]
    pub(super) fn take_commands(&mut self) {
        for command in self.mailbox.take(&mut self.seen) {
            match command {
                WriterCommand::Add(mut lane) => {
                    self.share_pool(&mut lane);
                    self.lanes.insert(*lane);
                    self.routes.changed();
                }
                WriterCommand::Copy(lane) => {
                    self.copies.add(*lane);
                    self.routes.changed();
                }
                WriterCommand::Change(change)
                    if self.copies.change(change.lane, &change.patterns) => {}
                WriterCommand::Change(Change {
                    lane,
                    patterns,
                    overflow,
                }) => {
                    if let Some(lane) = self.lane_mut(lane) {
                        lane.writer.counters().rename(&joined(&patterns));
                        lane.patterns = patterns;
                        lane.overflow = overflow;
                        self.routes.changed();
                    }
                }
                WriterCommand::Attach { lane, area, peer } => {
                    let answer = self.copies.attach(lane, (area.cursor(), peer));
                    if let Some((cursor, peer)) = answer {
                        self.attach(lane, cursor, peer, area);
                    }
                }
                WriterCommand::Watch { lane, cursor, peer } => {
                    self.copies.watch(lane, (cursor, peer));
                }
                WriterCommand::End { lane } => self.part_from(lane),
                WriterCommand::Lost { lane } => {
                    let unread = self
                        .lane_mut(lane)
                        .map(|lane| lane.writer.unread_messages());
                    let waiting = match self.full.is_empty() {
                        true => 0,
                        false => self.waits.messages_for(lane),
                    };
                    *self.unconfirmed.get_or_insert(0) += unread.unwrap_or(0) + waiting;
                    self.part_from(lane);
                }
            }
        }
    }

    /// A lane has ended.
    pub(super) fn part_from(&mut self, lane: LaneId) {
        self.copies.remove(lane);
        let mut lanes = self.lanes.iter();
        if let Some((key, _)) = lanes.find(|(_, other)| other.lane == lane) {
            self.part(key);
        }
        self.routes.changed();
    }

    /// The lane with this key has ended.
    pub(super) fn part(&mut self, key: usize) {
        self.departed.note(self.lanes.remove(key));
        self.pool.tidy();
    }

    /// Parts from lanes that their subscribers have closed: what is written there is nobody's.
    pub(super) fn part_from_closed(&mut self) {
        let mut lanes = self.lanes.iter();
        while let Some(closed) =
            lanes.find_map(|(_, lane)| lane.writer.is_closed().then_some(lane.lane))
        {
            self.part_from(closed);
            lanes = self.lanes.iter();
        }
    }

    pub(super) fn lane_mut(&mut self, lane: LaneId) -> Option<&mut OutLane> {
        self.lanes
            .iter_mut()
            .map(|(_, other)| other)
            .find(|other| other.lane == lane)
    }
}

/// Patterns as counters show them.
pub(super) fn joined(patterns: &[Pattern]) -> String {
    let patterns: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
    patterns.join(" ")
}
