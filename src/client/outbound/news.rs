//! What a publisher learns of the routes and of its peers.

use super::lane::{Change, WriterCommand};
use super::{OutLane, Outbound, ROUTE_PATIENCE};
use crate::client::shared::load_epoch;
use crate::lane::ReadsOn;
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
                    lane.set_looks_twice(self.second_look.is_told());
                    self.lanes.insert(*lane);
                    self.routes.changed();
                }
                WriterCommand::Join(newcomer) => self.join(*newcomer),
                WriterCommand::Copy(mut lane) => {
                    lane.writer.join_pool(&mut self.pool);
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
                    if let Some(key) = self.set_apart(lane) {
                        let lane = &mut self.lanes[key];
                        lane.writer.count(|lane| lane.rename(&joined(&patterns)));
                        lane.patterns = patterns;
                        lane.overflow = overflow;
                        self.routes.changed();
                    }
                }
                WriterCommand::Attach { lane, area, peer } => {
                    let cursor = area.cursor();
                    if let Some(key) = self.key_of(lane) {
                        self.lanes[key].writer.watch(area, &mut self.pool);
                    } else {
                        self.copies.watch_holds(lane, area, &mut self.pool);
                    }
                    for (_, other) in &mut self.lanes {
                        other.writer.attach_leaver(lane, &cursor);
                    }
                    let mut answer = self.copies.attach(lane, (cursor, peer));
                    for (_, other) in &mut self.lanes {
                        answer = answer.and_then(|answer| other.writer.attach(lane, answer));
                    }
                }
                WriterCommand::Watch { lane, cursor, peer } => {
                    self.copies.watch(lane, (cursor, peer));
                }
                WriterCommand::End { lane, reads_on } => self.part_from(lane, reads_on),
                WriterCommand::Lost { lane } => {
                    let ring = self.key_of(lane).map(|key| &mut self.lanes[key]);
                    let (ring, unread) = ring.map_or((0, 0), |ring| {
                        (ring.ring, ring.writer.unread_messages(lane))
                    });
                    let waiting = match self.full.is_empty() {
                        true => 0,
                        false => self.waits.messages_for(ring),
                    };
                    *self.unconfirmed.get_or_insert(0) += unread + waiting;
                    self.part_from(lane, ReadsOn::Yes);
                }
            }
        }
    }

    /// A lane has ended.
    pub(super) fn part_from(&mut self, lane: LaneId, reads_on: ReadsOn) {
        if self.copies.remove(lane) {
            self.pool.tidy();
        }
        if let Some(key) = self.key_of(lane) {
            self.part_from_member(key, lane, reads_on);
        }
        for (_, other) in &mut self.lanes {
            other.writer.forget_leaver(lane, reads_on);
        }
        // Somebody may have been waited for who does not come.
        self.lanes.retain(|_, other| !other.writer.is_deserted());
        self.routes.changed();
    }

    /// Parts from lanes that their subscribers have closed: what is written there is nobody's.
    pub(super) fn part_from_closed(&mut self) {
        self.part_from_closed_in(|_| true);
    }

    /// The same for rings that others read, too.
    pub(super) fn part_from_closed_of_several(&mut self) {
        self.part_from_closed_in(|lane| lane.writer.is_shared());
    }

    fn part_from_closed_in(&mut self, is_meant: impl Fn(&OutLane) -> bool) {
        let has_closed = |(_, lane): &(usize, &OutLane)| is_meant(lane) && lane.writer.has_closed();
        while let Some((key, _)) = self.lanes.iter().find(has_closed) {
            self.part_from_closed_of(key);
        }
    }
}

/// Patterns as counters show them.
pub(super) fn joined(patterns: &[Pattern]) -> String {
    let patterns: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
    patterns.join(" ")
}
