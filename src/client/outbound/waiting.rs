//! Waiting for lanes without room.

use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::lane::{TopicRef, Writer};
use crate::ring::{Control, Position, Read};
use crate::wake::Asymmetry;
use crate::wire::LaneId;

use super::{Delivery, OutLane, Outbound, Patience};

/// A lane that is waited for.
pub(super) struct Waiting {
    key: usize,
    /// Tells whether the lane at `key` is still the same.
    lane: LaneId,
    /// How long this publish waits.
    deadline: Duration,
    /// Whether the subscriber did not ask for more: then it counts as stalled afterwards.
    stalls: bool,
    /// Where the reader stood before the last attempt.
    seen: Position,
}

/// What became of one more attempt.
enum Attempt {
    Written,
    /// The deadline is over; the lane has this key.
    Dropped(usize),
    /// The lane is gone.
    Ended,
    Again,
}

impl Outbound {
    /// Does with the lanes in `full` what their policies say, but for waiting. Whether some are to be waited for.
    #[cold]
    pub(super) fn triage(
        &mut self,
        unattached: bool,
        patience: Patience,
        messages: u64,
        delivery: &mut Delivery,
    ) -> bool {
        let longest = match patience {
            Patience::Policy => Duration::MAX,
            Patience::AtMost(longest) => longest,
            Patience::None => Duration::ZERO,
        };
        // A subscriber that has just answered may have read all: its lane is tried once more.
        let answered = unattached && self.mailbox.has_news_after_commit(self.seen);
        self.waiting.clear();
        for &(key, lane_id) in &self.full {
            let lane = &mut self.lanes[key];
            let asked = lane.deadline();
            if lane.writer.is_closed() {
                self.lanes.remove(key);
                self.routes += 1;
            } else if asked.is_some() || answered && !lane.writer.is_attached() {
                let asked = asked.unwrap_or(Duration::ZERO);
                self.waiting.push(Waiting {
                    key,
                    lane: lane_id,
                    deadline: asked.min(longest),
                    stalls: asked <= longest,
                    seen: Position(0),
                });
            } else {
                lane.drop_messages(messages);
                delivery.dropped += 1;
            }
        }
        !self.waiting.is_empty()
    }

    /// Waits for the lanes in `waiting`; `write` tries to write the `messages` to one of them.
    #[cold]
    pub(super) fn serve_waiting(
        &mut self,
        id: u32,
        messages: u64,
        delivery: &mut Delivery,
        mut write: impl FnMut(&mut Writer, TopicRef<'_>) -> bool,
    ) {
        let started = Instant::now();
        let mut waiting = std::mem::take(&mut self.waiting);
        let backoff = Backoff::new();
        loop {
            if self.mailbox.has_news(self.seen) {
                self.take_commands();
            }
            let waited = started.elapsed();
            waiting.retain_mut(|waiting| {
                match self.try_again(id, waiting, waited, &mut write) {
                    Attempt::Written => delivery.lanes += 1,
                    Attempt::Dropped(lane) => {
                        self.lanes[lane].drop_messages(messages);
                        delivery.dropped += 1;
                    }
                    Attempt::Ended => {}
                    Attempt::Again => return true,
                }
                false
            });
            let Some(next) = waiting.iter().map(|waiting| waiting.deadline).min() else {
                // Its memory is kept for the next time.
                self.waiting = waiting;
                return;
            };
            if !backoff.is_completed() {
                backoff.snooze();
            } else {
                self.sleep(&waiting, next.saturating_sub(waited));
            }
        }
    }

    /// Tries a lane once more, `waited` after the start.
    fn try_again(
        &mut self,
        id: u32,
        waiting: &mut Waiting,
        waited: Duration,
        write: &mut impl FnMut(&mut Writer, TopicRef<'_>) -> bool,
    ) -> Attempt {
        let Some(lane) = self
            .lanes
            .get_mut(waiting.key)
            .filter(|lane| lane.lane == waiting.lane)
        else {
            return Attempt::Ended;
        };
        let topic = self.topics.reference(id);
        waiting.seen = lane.writer.reader_position();
        if write(&mut lane.writer, topic) {
            lane.writer.wake();
            return Attempt::Written;
        }
        if lane.writer.is_closed() {
            self.lanes.remove(waiting.key);
            self.routes += 1;
            return Attempt::Ended;
        }
        if waited >= waiting.deadline {
            if waiting.stalls {
                lane.stalled_at = Some(lane.writer.reader_position());
            }
            return Attempt::Dropped(waiting.key);
        }
        Attempt::Again
    }

    /// Sleeps until some lane may have room, the control thread has posted something, or the time is over.
    fn sleep(&mut self, waiting: &[Waiting], timeout: Duration) {
        let asymmetry = Asymmetry::of_process();
        for waiting in waiting {
            let OutLane {
                writer, sleeper, ..
            } = &mut self.lanes[waiting.key];
            // One barrier, below, for all of them.
            sleeper.announce(writer.ring().control(Control::Parked), || (), || false);
        }
        let barrier = asymmetry.heavy();
        let look = waiting.iter().any(|waiting| {
            let lane = &mut self.lanes[waiting.key];
            lane.writer.reader_position() != waiting.seen || lane.writer.is_closed()
        });
        if barrier.is_ok() && !look && !self.mailbox.has_news(self.seen) {
            // An error is a passing lack of memory: look again, which is what follows.
            let _ = self.bell.wait(Some(timeout));
        }
        for waiting in waiting {
            let OutLane {
                writer, sleeper, ..
            } = &mut self.lanes[waiting.key];
            sleeper.retire(writer.ring().control(Control::Parked));
        }
        self.bell.drain();
    }
}
