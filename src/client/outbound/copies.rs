//! What a publisher writes and nobody has it wait for: lanes whose older messages give way, and its history.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::lane::{Block, CopyWriter, OwnMedium, Parcel, Peer, PeerArea, PeerCursor, PoolWriter};
use crate::message::{Message, Scratch, Timestamp};
use crate::pool::SegmentId;
use crate::ring::{Control, Read};
use crate::sync::Ordering;
use crate::table::TableWriter;
use crate::topic::{Pattern, Selection, Topic};
use crate::wire::LaneId;

use super::PublishError;

/// Lanes whose older messages give way, and the history of a publisher.
#[derive(Default)]
pub(super) struct Copies {
    lanes: Slab<CopyLane>,
    /// Whether messages in the pool are lent to any of them.
    lends: bool,
    history: Option<History>,
    /// Who is woken for what comes into the history alone: relays, which have nothing else to wake them.
    watchers: Vec<Watcher>,
    parcel: Parcel,
    /// One that refers to a message in the pool.
    hint: Parcel,
    /// By topic id.
    topics: Vec<Matched>,
    /// Counts the changes of the lanes, from 1 on.
    version: u64,
    /// Makes keys of names. Of 10,000 topics two have the same one once in 10^11 times.
    hasher: RandomState,
}

/// A lane whose older messages give way.
pub(in crate::client) struct CopyLane {
    pub(in crate::client) lane: LaneId,
    /// Name of the subscribing client.
    pub(in crate::client) subscriber: Box<str>,
    pub(in crate::client) writer: CopyWriter,
    pub(in crate::client) selection: Selection,
}

/// The last messages of each topic, for those who come later.
pub(in crate::client) struct History {
    pub(in crate::client) table: TableWriter<OwnMedium>,
    pub(in crate::client) gate: Arc<Gate>,
}

/// Keeps messages and new lanes apart: a lane begins with a number of the history, so that it can be said which messages
/// came before. The control thread passes it for each new lane, the publisher for each message.
pub(in crate::client) struct Gate {
    memory: OwnMedium,
    /// The number of the next message.
    next: Mutex<u64>,
}

impl Gate {
    pub(in crate::client) fn new(memory: OwnMedium, next: u64) -> Self {
        Self {
            memory,
            next: Mutex::new(next),
        }
    }

    /// What the history lies in.
    pub(in crate::client) fn memory(&self) -> &OwnMedium {
        &self.memory
    }

    /// Has a lane in this memory begin with the next message; `post` tells the publisher of the lane.
    pub(in crate::client) fn begin(&self, lane: &OwnMedium, post: impl FnOnce()) {
        let next = self.lock();
        // Release: the reader that sees it sees all that was kept before.
        let start = lane.control(Control::Start);
        start.store(*next, Ordering::Release);
        post();
    }

    /// Keeps new lanes away while a message is written. It tells which number is the next in the end.
    pub(super) fn lock(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who looks at the history, and sleeps in between.
struct Watcher {
    lane: LaneId,
    cursor: PeerCursor,
    peer: Peer,
}

/// What has become of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    /// Lanes that they were written to.
    pub(super) lanes: u32,
    /// Whether the subscriber of one has not answered yet.
    pub(super) unattached: bool,
}

/// A topic with the lanes that take it.
#[derive(Clone, Default)]
struct Matched {
    /// Tells the topics apart that have had this id.
    generation: u64,
    /// Version of the lanes; 0 is none.
    version: u64,
    /// Stands for the topic in tables, whatever its id is.
    key: u64,
    lanes: Vec<usize>,
}

impl Copies {
    pub(super) fn with_history(history: Option<History>) -> Self {
        Self {
            history,
            version: 1,
            ..Self::default()
        }
    }

    /// Whether there is nothing to write.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.history.is_none()
    }

    /// The number of the next message, where there is a history.
    pub(super) fn next(&self) -> u64 {
        let history = self.history.as_ref();
        history.map_or(0, |history| history.table.sequence())
    }

    /// What new lanes have to pass, where there is a history.
    pub(super) fn gate(&self) -> Option<Arc<Gate>> {
        Some(self.history.as_ref()?.gate.clone())
    }

    pub(super) fn add(&mut self, lane: CopyLane) {
        self.lanes.insert(lane);
        self.changed();
    }

    /// A lane takes something else from now on; whether there is such a lane.
    pub(super) fn change(&mut self, lane: LaneId, patterns: &[Pattern]) -> bool {
        let changed = self.lane_mut(lane).map(|lane| {
            lane.selection.patterns = patterns.to_vec();
            lane.writer
                .counters()
                .rename(&super::news::joined(patterns));
        });
        self.version += 1;
        changed.is_some()
    }

    /// The subscriber of a lane has answered; whether there is such a lane.
    pub(super) fn attach(
        &mut self,
        lane: LaneId,
        answer: (PeerCursor, Peer),
    ) -> Option<(PeerCursor, Peer)> {
        match self.lane_mut(lane) {
            Some(lane) => {
                lane.writer.attach(answer.0, answer.1);
                None
            }
            None => Some(answer),
        }
    }

    /// The subscriber of a lane has said where its words are.
    pub(super) fn watch_holds(&mut self, lane: LaneId, area: Arc<PeerArea>, pool: &mut PoolWriter) {
        if let Some(lane) = self.lane_mut(lane) {
            lane.writer.watch(area, pool);
        }
    }

    /// Whether there are lanes to which messages in the pool are lent.
    #[inline]
    pub(super) fn lends(&self) -> bool {
        self.lends
    }

    /// Whether a message on this topic in the pool would be lent to somebody.
    pub(super) fn lends_on(&mut self, topic: (u32, u64, &Topic), only: Option<LaneId>) -> bool {
        let matched = self.matched(topic);
        let mut lanes = self.topics[matched]
            .lanes
            .iter()
            .map(|&key| &self.lanes[key]);
        lanes.any(|lane| lane.writer.takes_blocks() && only.is_none_or(|only| only == lane.lane))
    }

    /// Gives up the oldest messages of each lane that lie in the pool, so many; whether there were any.
    pub(super) fn give_up(&mut self, messages: usize, pool: &mut PoolWriter) -> bool {
        let mut gave_up = false;
        for (_, lane) in &mut self.lanes {
            gave_up |= lane.writer.give_up(messages, pool);
        }
        gave_up
    }

    /// Tells subscribers of memory that was given up.
    pub(super) fn retire(&mut self, segments: &[SegmentId]) {
        for (_, lane) in &mut self.lanes {
            lane.writer.retire(segments);
        }
    }

    /// Somebody has answered whose lane is the history.
    pub(super) fn watch(&mut self, lane: LaneId, (cursor, peer): (PeerCursor, Peer)) {
        if self.history.is_some() {
            self.watchers.push(Watcher { lane, cursor, peer });
        }
    }

    fn lane_mut(&mut self, lane: LaneId) -> Option<&mut CopyLane> {
        let mut lanes = self.lanes.iter_mut().map(|(_, other)| other);
        lanes.find(|other| other.lane == lane)
    }

    /// A lane has ended; whether it was here.
    pub(super) fn remove(&mut self, lane: LaneId) -> bool {
        let lanes = self.lanes.len();
        self.lanes.retain(|_, other| other.lane != lane);
        self.watchers.retain(|other| other.lane != lane);
        self.changed();
        self.lanes.len() < lanes
    }

    fn changed(&mut self) {
        self.version += 1;
        let mut lanes = self.lanes.iter();
        self.lends = lanes.any(|(_, lane)| lane.writer.takes_blocks());
    }

    /// Says to all subscribers that nothing more will come.
    pub(super) fn close(&mut self) {
        self.lanes.clear();
        if let Some(history) = &self.history {
            history.gate.memory().close();
        }
        self.watchers.iter().for_each(|watcher| watcher.peer.ring());
    }

    /// For a forked child.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.lanes));
        std::mem::forget(self.history.take());
        std::mem::forget(std::mem::take(&mut self.watchers));
    }

    /// Somebody who takes the topic.
    pub(super) fn any(&self, topic: &Topic) -> Option<&str> {
        let mut lanes = self.lanes.iter().map(|(_, lane)| lane);
        let open = lanes.find(|lane| !lane.writer.is_closed() && lane.selection.takes(topic));
        open.map(|lane| &*lane.subscriber)
    }

    /// The oldest lane of the client of this name, of those that take the topic.
    pub(super) fn named(&self, subscriber: &str, topic: &Topic) -> Option<LaneId> {
        let lanes = self.lanes.iter().map(|(_, lane)| lane);
        let named = lanes.filter(|lane| *lane.subscriber == *subscriber);
        let open = named.filter(|lane| !lane.writer.is_closed() && lane.selection.takes(topic));
        open.map(|lane| lane.lane).min()
    }

    /// Writes messages that belong together, to one lane only where one is named: what nobody else gets is not kept either. One
    /// that lies in the pool is lent to those who can have it. On an error nothing was written.
    #[inline(never)]
    pub(super) fn write<'a, T: Message + ?Sized + 'a>(
        &mut self,
        topic: (u32, u64, &Topic),
        only: Option<LaneId>,
        stamp: Option<&Timestamp>,
        messages: impl Iterator<Item = &'a T> + Clone,
        (scratch, limit): (&mut Scratch, usize),
        mut pooled: Option<(&Block, &mut PoolWriter)>,
    ) -> Result<Copied, PublishError> {
        let matched = self.matched(topic);
        let Self {
            lanes,
            history,
            watchers,
            parcel,
            hint,
            topics,
            ..
        } = self;
        let matched = &topics[matched];
        let mut history = history.as_mut().filter(|_| only.is_none());
        if matched.lanes.is_empty() && history.is_none() {
            return Ok(Copied::default());
        }
        let (id, _, name) = topic;
        let is_lent = |key: &&usize| pooled.is_some() && lanes[**key].writer.takes_blocks();
        let mut is_packed =
            pooled.is_none() || history.is_some() || matched.lanes.iter().any(|key| !is_lent(&key));
        if is_packed {
            parcel.begin(id, name.as_str(), stamp);
            fill(parcel, messages.clone(), scratch, limit)?;
            let tables = history.iter().map(|history| history.table.longest());
            let longest = matched.lanes.iter().filter(|key| !is_lent(key));
            let longest = longest.map(|&key| lanes[key].writer.longest());
            check_len(parcel, tables.chain(longest))?;
        }
        if let Some((block, _)) = &pooled {
            hint.begin(id, name.as_str(), stamp);
            hint.refer_to(block.chunk());
        }

        if let Some(history) = &mut history {
            history.keep(matched.key, parcel);
            for Watcher { cursor, peer, .. } in watchers {
                peer.wake_if_parked(cursor.parked());
            }
        }
        let mut copied = Copied::default();
        for &key in &matched.lanes {
            if only.is_some_and(|only| only != lanes[key].lane) {
                continue;
            }
            let writer = &mut lanes[key].writer;
            // One that has gone is removed by its route's end.
            if writer.is_closed() {
                continue;
            }
            let lent = pooled.as_mut();
            if !lent.is_some_and(|(block, pool)| writer.write_block(matched.key, hint, block, pool))
            {
                if !is_packed {
                    parcel.begin(id, name.as_str(), stamp);
                    // Which cannot fail any more: what lies in the pool is encoded.
                    fill_late(parcel, messages.clone(), scratch, limit)?;
                    is_packed = true;
                }
                if writer.write(matched.key, parcel).is_err() {
                    continue;
                }
            }
            writer.wake();
            copied.lanes += 1;
            copied.unattached |= !writer.is_attached();
        }
        Ok(copied)
    }

    /// Finds the lanes that take a topic; where it stands among the topics.
    #[inline(always)]
    fn matched(&mut self, (id, generation, topic): (u32, u64, &Topic)) -> usize {
        let index = id as usize;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, Matched::default());
        }
        let matched = &mut self.topics[index];
        if (matched.generation, matched.version) != (generation, self.version) {
            matched.matching(&self.lanes, topic, &self.hasher);
            (matched.generation, matched.version) = (generation, self.version);
        }
        index
    }
}

impl Matched {
    fn matching(&mut self, lanes: &Slab<CopyLane>, topic: &Topic, hasher: &RandomState) {
        self.key = hasher.hash_one(topic.as_str());
        self.lanes.clear();
        let taking = lanes.iter().filter(|(_, lane)| lane.selection.takes(topic));
        self.lanes.extend(taking.map(|(key, _)| key));
    }
}

impl History {
    fn keep(&mut self, key: u64, parcel: &Parcel) {
        let kept = self.table.store(key, parcel.messages(), &[parcel.bytes()]);
        debug_assert!(kept.is_ok(), "the length was checked");
    }
}

/// Puts messages into a parcel.
#[inline(always)]
fn fill<'a, T: Message + ?Sized + 'a>(
    parcel: &mut Parcel,
    messages: impl Iterator<Item = &'a T>,
    scratch: &mut Scratch,
    limit: usize,
) -> Result<(), PublishError> {
    for message in messages {
        let len = parcel.push(message, scratch)?;
        if len > limit {
            return Err(PublishError::TooLarge { len, limit });
        }
    }
    Ok(())
}

/// The same for somebody who could not be lent what lies in the pool.
#[cold]
fn fill_late<'a, T: Message + ?Sized + 'a>(
    parcel: &mut Parcel,
    messages: impl Iterator<Item = &'a T>,
    scratch: &mut Scratch,
    limit: usize,
) -> Result<(), PublishError> {
    fill(parcel, messages, scratch, limit)
}

/// Refuses messages that are together too long for one of those who are to get them.
fn check_len(parcel: &Parcel, longest: impl Iterator<Item = usize>) -> Result<(), PublishError> {
    let len = parcel.bytes().len();
    match longest.min() {
        Some(limit) if len > limit => Err(PublishError::BatchTooLarge { len, limit }),
        _ => Ok(()),
    }
}
