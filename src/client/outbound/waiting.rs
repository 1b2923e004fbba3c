//! Waiting for lanes without room.
//!
//! What waits is a value, [`Waits`]; who sleeps meanwhile is up to a driver: [`Outbound::wait`] blocks its thread, a future
//! polls. Both try all lanes, announce their sleep, sleep on the bell until the next deadline, and retire it.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use slab::Slab;

use crate::lane::{Block, PoolWriter, ReadsOn};
use crate::message::EncodedBytes;
use crate::ring::Position;
use crate::wire::Overflow;

use crate::client::shared::Command;

use super::groups::WaitingGroup;
use super::{Delivery, OutLane, Outbound, Patience, Retry};

/// The lanes that are waited for, and with what.
pub(super) struct Waits {
    pub(super) lanes: Vec<Waiting>,
    /// Queue groups one of whose members is waited for.
    pub(super) groups: Vec<WaitingGroup>,
    /// Version of the routes that their members are of.
    pub(super) routes: u64,
    /// What is published together, where it lies in no lane: the first so many of these.
    messages: Vec<EncodedBytes>,
    pub(super) used: usize,
    /// What is published, where it lies in the pool.
    pub(super) block: Option<Block>,
    /// Its topic in the table.
    topic: u32,
    started: Instant,
    /// What has become of the message so far.
    pub(super) delivery: Delivery,
    /// Whether a sleep is announced and not retired.
    pub(super) announced: bool,
    /// How long the last sleep between two attempts could have been; see [`Retry::next_pause`].
    pause: Duration,
    /// The end of such a sleep that a future is in.
    #[cfg(feature = "async")]
    pause_end: Option<Instant>,
}

/// A lane that is waited for.
pub(super) struct Waiting {
    pub(super) key: usize,
    /// Tells whether the lane at `key` is still the same.
    pub(super) ring: u64,
    /// How long this publish waits, from its start.
    pub(super) deadline: Duration,
    /// Whether the subscriber did not ask for more: then it counts as stalled afterwards.
    pub(super) stalls: bool,
    /// Where the reader stood before the last attempt.
    pub(super) seen: Position,
    /// The group, if any member of it will do.
    pub(super) group: Option<usize>,
    /// Bytes that its subscriber may not pin in the pool now, where that is what it is waited for.
    pub(super) pins: Option<usize>,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self {
            lanes: Vec::new(),
            groups: Vec::new(),
            routes: 0,
            messages: Vec::new(),
            used: 0,
            block: None,
            topic: 0,
            started: Instant::now(),
            delivery: Delivery::default(),
            announced: false,
            pause: Duration::ZERO,
            #[cfg(feature = "async")]
            pause_end: None,
        }
    }

    /// The messages that are waited with.
    pub(super) fn kept(&self) -> &[EncodedBytes] {
        match self.block {
            Some(_) => &[],
            None => &self.messages[..self.used],
        }
    }

    /// What is waited with, where it lies in the pool.
    pub(super) fn block(&self) -> Option<&Block> {
        self.block.as_ref()
    }

    /// Some who read a ring that is waited for read another one now.
    pub(super) fn go_on_in(&mut self, before: u64, key: usize, ring: u64) {
        let found = self.lanes.iter().find(|waiting| waiting.ring == before);
        if let Some(waiting) = found {
            let waiting = Waiting {
                key,
                ring,
                ..*waiting
            };
            self.lanes.push(waiting);
        }
    }

    /// How many messages wait for this ring.
    pub(super) fn messages_for(&self, ring: u64) -> u64 {
        let waits = self.lanes.iter().any(|waiting| waiting.ring == ring);
        if waits { self.used as u64 } else { 0 }
    }

    /// Memory for so many messages to wait with, that of earlier ones if there is some.
    pub(super) fn keep(&mut self, messages: usize) -> &mut [EncodedBytes] {
        if self.messages.len() < messages {
            self.messages.resize_with(messages, EncodedBytes::default);
        }
        self.used = messages;
        &mut self.messages[..messages]
    }

    /// A message that lies in the pool is to wait.
    pub(super) fn keep_block(&mut self, block: Block) {
        self.block = Some(block);
        self.used = 1;
    }

    /// One more lane is waited for.
    pub(super) fn add(&mut self, waiting: Waiting) {
        self.lanes.push(waiting);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Tells the other sides of the lanes that they are waited for.
    pub(super) fn prompt(&self, lanes: &mut Slab<OutLane>) {
        for waiting in &self.lanes {
            if let Some(lane) = waiting.lane(lanes) {
                lane.prompt();
            }
        }
    }

    /// Nobody is waited for any more, nor for the message that was refused.
    pub(super) fn forget(&mut self) {
        self.lanes.clear();
        self.groups.clear();
    }

    /// The topic of what is waited with.
    pub(super) fn topic(&self) -> u32 {
        self.topic
    }

    /// Says what is waited with, from now on.
    pub(super) fn start(&mut self, topic: u32, delivery: Delivery) {
        self.topic = topic;
        self.started = Instant::now();
        self.delivery = delivery;
        self.pause = Duration::ZERO;
        #[cfg(feature = "async")]
        {
            self.pause_end = None;
        }
    }
}

impl Waiting {
    /// A lane whose reader stands here and is to move on, for as long as that takes.
    pub(super) fn for_reader(key: usize, ring: u64, seen: Position) -> Self {
        Self {
            key,
            ring,
            deadline: Duration::MAX,
            stalls: false,
            seen,
            group: None,
            pins: None,
        }
    }

    /// The lane, unless it has ended.
    pub(super) fn lane<'a>(&self, lanes: &'a mut Slab<OutLane>) -> Option<&'a mut OutLane> {
        lanes
            .get_mut(self.key)
            .filter(|lane| lane.ring == self.ring)
    }

    /// Whether the next attempt may go otherwise than the last.
    pub(super) fn has_changed(&self, lanes: &mut Slab<OutLane>, pool: &mut PoolWriter) -> bool {
        self.lane(lanes).is_none_or(|lane| {
            let may_pin = self
                .pins
                .is_some_and(|bytes| lane.writer.has_share(bytes, pool));
            may_pin || lane.writer.reader_position() != self.seen || lane.writer.has_closed()
        })
    }
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
        self.waits.forget();
        let full = std::mem::take(&mut self.full);
        for full in full.iter().filter(|full| full.group.is_none()) {
            let (key, ring) = (full.key, full.ring);
            self.part_from_closed_of(key);
            let Some(lane) = self.lanes.get_mut(key) else {
                continue;
            };
            let asked = lane.deadline();
            // Not all of several need lose it: what is lost is found out when the wait is over, at once.
            let is_shared = lane.writer.has_several_readers();
            if asked.is_some() || is_shared || answered && !lane.writer.is_attached() {
                let stalls = asked.is_some_and(|asked| asked <= longest);
                let asked = asked.unwrap_or(Duration::ZERO);
                self.waits.lanes.push(Waiting {
                    key,
                    ring,
                    deadline: asked.min(longest),
                    stalls: stalls || !is_shared && asked <= longest,
                    seen: Position(0),
                    group: None,
                    pins: None,
                });
            } else {
                delivery.dropped += self.drop_now(key, messages);
            }
        }
        self.triage_groups(&full, answered, longest, messages, delivery);
        self.full = full;
        !self.waits.lanes.is_empty()
    }

    /// A ring has no room, and is not waited for, or no longer; who has lost the messages.
    pub(super) fn drop_now(&mut self, key: usize, messages: u64) -> u32 {
        let lane = &mut self.lanes[key];
        lane.drop_messages(messages);
        // Whoever comes is to have a ring with room.
        lane.writer.close_seats();
        let readers = lane.readers();
        if lane.overflow == Overflow::Disconnect
            && let Some(lane_id) = lane.oldest()
        {
            lane.writer.disconnect();
            self.part_from_member(key, lane_id, ReadsOn::Yes);
            self.shared.command(Command::Disconnect(lane_id));
        }
        readers
    }

    /// Waits for the lanes that the message has not been written to; what has become of it then.
    #[cold]
    pub(super) fn wait(&mut self) -> Delivery {
        let backoff = Backoff::new();
        while let Some(next) = self.try_waiting() {
            if !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            match self.retry {
                Retry::Wake | Retry::Never => {
                    if self.announce() {
                        self.sleep(next.saturating_sub(self.waits.started.elapsed()));
                    }
                    self.retire();
                }
                Retry::Yield => {
                    self.announce_for_good();
                    thread::yield_now();
                }
                Retry::Backoff { .. } => {
                    self.announce_for_good();
                    self.count_parked();
                    thread::sleep(self.next_pause(next));
                }
            }
        }
        self.retire();
        self.served()
    }

    /// The sleep before the next attempt, which ends with this deadline, from the start.
    fn next_pause(&mut self, deadline: Duration) -> Duration {
        let left = deadline.saturating_sub(self.waits.started.elapsed());
        self.retry.next_pause(&mut self.waits.pause).min(left)
    }

    /// The end of the sleep that a future is in between two attempts, as long as it is not over. `after` begins one, which ends
    /// with this deadline, from the start.
    #[cfg(feature = "async")]
    pub(in crate::client) fn pause(&mut self, after: Option<Duration>) -> Option<Instant> {
        if let Some(deadline) = after {
            self.count_parked();
            self.waits.pause_end = Instant::now().checked_add(self.next_pause(deadline));
        }
        let end = self.waits.pause_end.filter(|end| Instant::now() < *end);
        self.waits.pause_end = end;
        end
    }

    /// Tries each lane that is waited for once more. The next deadline, from the start; `None` when all are served.
    pub(in crate::client) fn try_waiting(&mut self) -> Option<Duration> {
        self.take_news();
        self.take_in_members();
        let waited = self.waits.started.elapsed();
        let mut lanes = std::mem::take(&mut self.waits.lanes);
        lanes.retain_mut(|waiting| {
            let waits = self.try_again(waiting, waited);
            if !waits && let Some(lane) = waiting.lane(&mut self.lanes) {
                lane.retire();
            }
            waits
        });
        if !self.waits.groups.is_empty() {
            self.expire_groups(&mut lanes, waited);
        }
        // Some may have parted from others.
        lanes.append(&mut self.waits.lanes);
        // Its memory is kept for the next time.
        self.waits.lanes = lanes;
        let deadlines = self.waits.lanes.iter().map(|waiting| waiting.deadline);
        deadlines.min()
    }

    #[cfg(feature = "async")]
    pub(in crate::client) fn retry(&self) -> Retry {
        self.retry
    }

    /// When a deadline that [`Outbound::try_waiting`] has given is over; `None` where the clock ends before.
    #[cfg(feature = "async")]
    pub(in crate::client) fn moment(&self, deadline: Duration) -> Option<Instant> {
        self.waits.started.checked_add(deadline)
    }

    /// What has become of the message that is not waited with any more.
    pub(in crate::client) fn served(&mut self) -> Delivery {
        self.full.clear();
        self.settle_waiting();
        if self.mailbox.has_news_after_commit(self.seen) {
            self.take_commands();
        }
        self.waits.delivery
    }

    /// Whether the lane has to be waited for still.
    fn try_again(&mut self, waiting: &mut Waiting, waited: Duration) -> bool {
        if self.waits.is_settled(waiting.group) {
            return false;
        }
        let Some(lane) = waiting.lane(&mut self.lanes) else {
            return false;
        };
        waiting.seen = lane.writer.reader_position();
        let written = self.write_kept(waiting.key);
        let lane = &mut self.lanes[waiting.key];
        waiting.pins = match (written, self.waits.block()) {
            (false, Some(block)) if !lane.writer.has_share(block.len(), &mut self.pool) => {
                Some(block.len())
            }
            _ => None,
        };
        if written {
            lane.writer.count(|lane| lane.blocked(waited));
            self.turns.note(lane);
            self.waits.settle(waiting.group);
            return false;
        }
        if lane.writer.has_closed() {
            lane.writer.count(|lane| lane.blocked(waited));
            self.part_from_closed_of(waiting.key);
            // The others may have room now.
            return self
                .lanes
                .get(waiting.key)
                .is_some_and(|lane| lane.ring == waiting.ring)
                && self.try_again(waiting, waited);
        }
        // Whoever is not written for any more is not waited for by those who can part from it.
        if waited < waiting.deadline
            && lane.writer.is_held_by_leaver()
            && let Some(key) = self.split_ahead(waiting.key)
        {
            if key == waiting.key {
                return self.try_again(waiting, waited);
            }
            if !self.write_kept(key) {
                let ring = self.lanes[key].ring;
                self.waits.lanes.push(Waiting {
                    key,
                    ring,
                    ..*waiting
                });
            }
            return true;
        }
        let lane = &mut self.lanes[waiting.key];
        if waited >= waiting.deadline && waiting.group.is_none() {
            if waiting.stalls {
                lane.stalled_at = Some(lane.writer.reader_position());
                lane.writer.count(|lane| lane.stalled());
            }
            lane.writer.count(|lane| lane.blocked(waited));
            self.give_up_on(waiting.key);
            return false;
        }
        true
    }

    /// Ends the wait of a future that was dropped, or leaked: whom it still waited for loses the message, counted.
    #[cold]
    pub(in crate::client) fn give_up(&mut self) {
        self.retire();
        if self.full.is_empty() || self.shared.mark().is_forked() {
            return;
        }
        self.full.clear();
        let waited = self.waits.started.elapsed();
        for waiting in std::mem::take(&mut self.waits.lanes) {
            // Of a group, one has lost it.
            if !self.waits.is_settled(waiting.group)
                && let Some(lane) = waiting.lane(&mut self.lanes)
            {
                lane.writer.count(|lane| lane.blocked(waited));
                self.give_up_on(waiting.key);
                self.waits.settle(waiting.group);
            }
        }
        self.settle_waiting();
    }
}
