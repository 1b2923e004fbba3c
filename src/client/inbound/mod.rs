//! The lanes of a subscriber: polling them fairly, sleeping when all are dry.

mod history;
mod lane;
mod pace;
mod port;
mod sleepers;
mod wait;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::counters::HandleSlot;
use crate::lane::{LaneError, Next};
use crate::ring::{DropCounts, Ending};
use crate::segment::fork::ProcessMark;
use crate::topic::Pattern;
use crate::wake::BellReceiver;

use super::bell::HandleBell;
use super::error::{LaneFault, RecvError};
use super::gap::SubscriberEvent;
use super::shared::{Command, Shared};

pub(super) use lane::MOST_REFUSED;
use lane::refused;
pub(super) use lane::{InLane, Origin, PublisherIdentity, ReaderCommand};
use pace::Pace;
pub(super) use port::SubscriberPort;
use sleepers::Sleepers;
pub(super) use wait::{Sign, Watch};

/// How a subscriber waits for messages.
///
/// Where messages come in a stream, one that polls rests between two looks, for eight microseconds at most: a publisher that is
/// followed step by step is a third as fast. A message that comes alone is not kept waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Polls without end: the shortest latency, a whole core.
    Spin,
    /// Polls for about 50 microseconds, with room for others on its core, then sleeps.
    #[default]
    SpinThenPark,
    /// Sleeps at once.
    Park,
}

/// The lanes of a subscriber.
pub(super) struct Inbound {
    mark: ProcessMark,
    shared: Arc<Shared>,
    port: Arc<SubscriberPort>,
    pub(super) bell: HandleBell,
    wait: Wait,
    lanes: Vec<InLane>,
    /// Index of the lane that is polled next.
    turn: usize,
    /// Messages that the lane at `turn` may still give in a row.
    run: u32,
    /// Times in a row that all lanes were found empty.
    dry: u32,
    pace: Pace,
    /// Version of the mailbox that is carried out.
    seen: u64,
    /// The same while there are no news, and events are not looked for, so that one look tells of all. Else a version that never is.
    calm: u64,
    sleepers: Sleepers,
    /// Whether events are to be told.
    events: bool,
    /// What is to be told besides what lies in the lanes: lanes that were to come and do not, ends, events.
    news: VecDeque<RecvError>,
    /// Lanes that were announced and do not come.
    absent: u32,
    /// Lanes that are not read any more and whose publishers may not know it yet. Their areas must not go to others.
    left: Vec<InLane>,
}

/// What was found.
pub(super) enum Found {
    /// A message in this lane.
    Message { lane: usize },
    /// Messages are missing in this lane.
    Gap {
        lane: usize,
        counts: DropCounts,
        first: u64,
    },
    /// The transport of this lane broke: messages may be missing.
    Lost { lane: usize, first: u64 },
}

impl Inbound {
    pub(super) fn new(
        shared: Arc<Shared>,
        port: Arc<SubscriberPort>,
        bell: BellReceiver,
        wait: Wait,
        events: bool,
    ) -> Self {
        Self {
            mark: shared.mark(),
            bell: HandleBell::new(bell, shared.mark()),
            shared,
            port,
            wait,
            lanes: Vec::new(),
            turn: 0,
            run: MOST_IN_A_ROW,
            dry: 0,
            pace: Pace::default(),
            seen: 0,
            calm: if events { RESTLESS } else { 0 },
            sleepers: Sleepers::default(),
            events,
            news: VecDeque::new(),
            absent: 0,
            left: Vec::new(),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn counters(&self) -> &HandleSlot {
        &self.port.counters
    }

    /// What is taken of what publishers have kept, from now on.
    pub(super) fn set_patterns(&self, patterns: Vec<Pattern>) {
        self.port.set_patterns(patterns);
    }

    pub(super) fn lane(&mut self, index: usize) -> &mut InLane {
        &mut self.lanes[index]
    }

    /// Looks once.
    #[inline]
    pub(super) fn poll(&mut self) -> Result<Option<Found>, RecvError> {
        if self.mark.is_forked() {
            return Err(RecvError::Forked);
        }
        if self.port.mailbox.has_news(self.seen) {
            self.take_commands();
        }
        if self.calm != self.seen
            && let Some(news) = self.next_news()
        {
            return Err(news);
        }
        for _ in 0..self.lanes.len() {
            let lane = &mut self.lanes[self.turn];
            if lane.behind.is_some() {
                self.next_turn();
                continue;
            }
            let next = match lane.reader.next() {
                Ok(Next::Empty) => self.look_dry(),
                other => other,
            };
            match next {
                Ok(Next::Empty) => {}
                Ok(next) => return Ok(Some(self.found(next))),
                Err(error) => return Err(self.fault(self.turn, error.into())),
            }
        }
        if let Some(news) = self.next_news() {
            return Err(news);
        }
        if self.lanes.is_empty() {
            self.check_hope()?;
        }
        Ok(None)
    }

    /// The lane of the next message, if all is as it is as a rule: the lane whose turn it is has one, of this length where one
    /// is given. Whatever else there is, [`poll`](Self::poll) finds.
    #[inline(always)]
    pub(super) fn ready(&mut self, len_bytes: Option<usize>) -> Option<usize> {
        if self.is_disturbed() {
            return None;
        }
        let turn = self.turn;
        let lane = self.lanes.get_mut(turn)?;
        if lane.behind.is_some() || !lane.reader.ready(len_bytes) {
            return None;
        }
        self.end_run(1);
        Some(turn)
    }

    /// The lane whose turn it is, and how many messages it may give in a row, unless something besides the rings wants to be
    /// looked at. [`end_run`](Self::end_run) follows.
    #[inline(always)]
    pub(super) fn begin_run(&mut self) -> Option<(&mut InLane, u32)> {
        if self.is_disturbed() {
            return None;
        }
        let lane = self.lanes.get_mut(self.turn)?;
        lane.behind.is_none().then_some((lane, self.run))
    }

    /// The lane at `turn` has given so many messages.
    #[inline]
    pub(super) fn end_run(&mut self, messages: u32) {
        if messages > 0 {
            self.dry = 0;
        }
        self.run -= messages;
        if self.run == 0 {
            self.next_turn();
        }
    }

    /// Has the next poll tell an error that was found behind messages.
    #[cold]
    pub(super) fn tell_next(&mut self, error: RecvError) {
        self.news.push_front(error);
        self.calm = RESTLESS;
    }

    /// Whether a poll can be spared: the rings are empty, and what does not stand in them was looked for lately. A subscriber
    /// that polls must not spend its time on that; whoever is about to sleep looks everywhere.
    #[inline]
    pub(super) fn rests(&mut self) -> bool {
        if self.is_disturbed() || self.lanes.is_empty() {
            return false;
        }
        if !self.are_dry() {
            return false;
        }
        let times = self.dry;
        self.dry = times.wrapping_add(1);
        let rests = !times.is_multiple_of(DRY_LOOKS_PER_POLL);
        if !rests && times > 0 {
            self.sleepers.look_twice();
        }
        rests
    }

    /// Whether nothing stands next in any lane.
    #[inline]
    fn are_dry(&self) -> bool {
        let dry = |lane: &InLane| lane.behind.is_some() || lane.reader.is_dry();
        self.lanes.iter().all(dry)
    }

    /// Whether something besides the rings wants to be looked at.
    #[inline]
    fn is_disturbed(&self) -> bool {
        self.mark.is_forked() || self.port.mailbox.has_news(self.calm)
    }

    /// Ends the lane with an error.
    pub(super) fn fault(&mut self, index: usize, cause: LaneFault) -> RecvError {
        let mut lane = self.remove(index);
        lane.reader.leave();
        self.shared.command(Command::Leave(lane.lane));
        let publisher = lane.publisher().name.clone();
        self.left.push(lane);
        RecvError::Lane { publisher, cause }
    }

    /// Tells all publishers that nothing is read any more.
    pub(super) fn close(&mut self) {
        if self.port.shares && !self.shared.is_gone() {
            // The broker ends the lanes: what publishers write until then is for somebody else.
            return self.port.keep_areas();
        }
        self.port.close();
        for lane in &mut self.lanes {
            lane.reader.leave();
        }
    }

    /// For a forked child: what is left here must not touch what its parent has.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.lanes));
        std::mem::forget(std::mem::take(&mut self.left));
        std::mem::forget(std::mem::take(&mut self.sleepers));
        std::mem::forget(self.port.clone());
    }

    /// Whether the next poll may find something.
    pub(super) fn has_something(&mut self) -> bool {
        // A forked child has something to be told.
        self.mark.is_forked()
            || self.port.mailbox.has_news(self.seen)
            || !self.news.is_empty()
            || (self.lanes.is_empty() && self.shared.is_gone())
            || self
                .lanes
                .iter_mut()
                .any(|lane| lane.behind.is_none() && (lane.ended || lane.reader.has_something()))
    }

    /// The lane at `turn` is empty: tells the publisher so, looks for losses, parts from a publisher who is gone. If
    /// there is nothing in spite of all, it is another lane's turn.
    fn look_dry(&mut self) -> Result<Next, LaneError> {
        let lane = &mut self.lanes[self.turn];
        lane.reader.publish_cursor();
        // Before the last look: what the publisher did before it closed is visible then.
        let mut ending = lane.ending();
        while ending.is_some() {
            let rings = lane.reader.rings();
            let last = lane.reader.next()?;
            if last != Next::Empty {
                return Ok(last);
            }
            if lane.reader.rings() == rings {
                break;
            }
            // It was another ring that has ended.
            ending = lane.ending();
        }
        let next = lane.reader.next_loss()?;
        if next == Next::Empty {
            if ending == Some(Ending::TransportLost) && !lane.told_lost {
                lane.told_lost = true;
                return Ok(Next::Lost {
                    first: lane.sequence(),
                });
            }
            if let Some(ending) = ending {
                self.part(ending);
            } else {
                self.next_turn();
            }
        }
        Ok(next)
    }

    /// The lane at `turn` has ended, and is read to its end.
    #[cold]
    fn part(&mut self, ending: Ending) {
        let lane = self.remove(self.turn);
        let publisher = lane.publisher().name.clone();
        // The end of another member's lane says nothing of this one.
        if lane.origin() != Origin::Inherited {
            if ending == Ending::Disconnected {
                self.tell(RecvError::Disconnected { publisher });
            } else if self.events {
                self.tell(RecvError::Event(SubscriberEvent::PublisherGone {
                    publisher,
                }));
            }
        }
        self.shared.command(match lane.origin() {
            Origin::Own => Command::Finished(lane.lane),
            // Its area says how far it was read until the broker needs that no more.
            _ => Command::ReadUp(Box::new(lane)),
        });
    }

    /// Has the next poll tell something.
    fn tell(&mut self, news: RecvError) {
        self.news.push_back(news);
        self.calm = RESTLESS;
    }

    /// What is to be told, if anything.
    #[cold]
    fn next_news(&mut self) -> Option<RecvError> {
        if self.events {
            self.look_at_water();
        }
        let news = self.news.pop_front();
        if self.news.is_empty() && !self.events {
            self.calm = self.seen;
        }
        news
    }

    fn look_at_water(&mut self) {
        for lane in &mut self.lanes {
            if let Some(is_high) = lane.reader.water_news() {
                let publisher = lane.publisher().name.clone();
                self.news.push_back(RecvError::Event(match is_high {
                    true => SubscriberEvent::HighWater { publisher },
                    false => SubscriberEvent::LowWater { publisher },
                }));
            }
        }
    }

    /// Without a lane and without a broker there is nothing to wait for.
    #[cold]
    fn check_hope(&self) -> Result<(), RecvError> {
        // In this order: what was posted before the end is in the mailbox by then.
        if self.shared.is_gone() && !self.port.mailbox.has_news(self.seen) {
            return Err(RecvError::BrokerGone);
        }
        Ok(())
    }

    #[inline]
    fn found(&mut self, next: Next) -> Found {
        let lane = self.turn;
        match next {
            Next::Message => {
                self.end_run(1);
                Found::Message { lane }
            }
            Next::Gap { counts, first } => Found::Gap {
                lane,
                counts,
                first,
            },
            Next::Lost { first } => Found::Lost { lane, first },
            Next::Empty => unreachable!("the caller has seen that there is something"),
        }
    }

    #[inline]
    fn next_turn(&mut self) {
        self.run = MOST_IN_A_ROW;
        self.turn += 1;
        if self.turn >= self.lanes.len() {
            self.turn = 0;
        }
    }

    fn remove(&mut self, index: usize) -> InLane {
        let removed = self.lanes.swap_remove(index);
        for lane in &mut self.lanes {
            if lane.behind == Some(removed.lane) {
                lane.behind = None;
            }
        }
        self.run = MOST_IN_A_ROW;
        if self.turn >= self.lanes.len() {
            self.turn = 0;
        }
        removed
    }

    #[cold]
    fn take_commands(&mut self) {
        for command in self.port.mailbox.take(&mut self.seen) {
            match command {
                ReaderCommand::Add(mut lane) => {
                    self.left
                        .retain(|left| !(left.ended || left.reader.is_closed()));
                    let publisher = lane.publisher().id;
                    let of_same = self.lanes.iter().filter(|other| {
                        other.publisher().id == publisher && other.origin() != Origin::Inherited
                    });
                    if lane.origin() != Origin::Inherited {
                        lane.behind = of_same.map(|other| other.lane).max();
                    }
                    self.sleepers.add(&lane.page);
                    self.lanes.push(*lane);
                }
                ReaderCommand::End { lane } => {
                    for other in self.lanes.iter_mut().chain(&mut self.left) {
                        other.ended |= other.lane == lane;
                    }
                }
                ReaderCommand::Refused { publisher, refusal } => {
                    if self.news.len() < MOST_REFUSED {
                        self.news.push_back(refused(publisher, refusal));
                    }
                }
            }
        }
        self.calm = match self.news.is_empty() && !self.events {
            true => self.seen,
            false => RESTLESS,
        };
    }
}

/// A version that no mailbox has.
const RESTLESS: u64 = u64::MAX;
/// Looks that find all rings empty, for one that looks everywhere, at the clock too.
const DRY_LOOKS_PER_POLL: u32 = 64;
/// Messages that one lane may give before the others have their turn.
const MOST_IN_A_ROW: u32 = 64;
