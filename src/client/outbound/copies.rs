//! What a publisher writes and nobody has it wait for: lanes whose older messages give way, and its history.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::lane::{CopyWriter, OwnMedium, Parcel, Peer, PeerCursor};
use crate::message::{Message, Scratch, Timestamp};
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
    history: Option<History>,
    /// Who is woken for what comes into the history alone: relays, which have nothing else to wake them.
    watchers: Vec<Watcher>,
    parcel: Parcel,
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
        self.version += 1;
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

    pub(super) fn remove(&mut self, lane: LaneId) {
        self.lanes.retain(|_, other| other.lane != lane);
        self.watchers.retain(|other| other.lane != lane);
        self.version += 1;
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

    /// Writes messages that belong together, to one lane only where one is named: what nobody else gets is not kept either.
    /// On an error nothing was written.
    #[inline(never)]
    pub(super) fn write<'a, T: Message + ?Sized + 'a>(
        &mut self,
        (id, generation, topic): (u32, u64, &Topic),
        only: Option<LaneId>,
        stamp: Option<&Timestamp>,
        messages: impl Iterator<Item = &'a T>,
        (scratch, limit): (&mut Scratch, usize),
    ) -> Result<Copied, PublishError> {
        let Self {
            lanes,
            history,
            watchers,
            parcel,
            topics,
            version,
            hasher,
        } = self;
        if topics.len() <= id as usize {
            topics.resize(id as usize + 1, Matched::default());
        }
        let matched = &mut topics[id as usize];
        if (matched.generation, matched.version) != (generation, *version) {
            matched.matching(lanes, topic, hasher);
            (matched.generation, matched.version) = (generation, *version);
        }
        let mut history = history.as_mut().filter(|_| only.is_none());
        if matched.lanes.is_empty() && history.is_none() {
            return Ok(Copied::default());
        }
        parcel.begin(id, topic.as_str(), stamp);
        for message in messages {
            let len = parcel.push(message, scratch)?;
            if len > limit {
                return Err(PublishError::TooLarge { len, limit });
            }
        }
        let tables = history.iter().map(|history| history.table.longest());
        let longest = matched.lanes.iter().map(|&key| lanes[key].writer.longest());
        check_len(parcel, tables.chain(longest))?;

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
            if !writer.is_closed() && writer.write(matched.key, parcel).is_ok() {
                writer.wake();
                copied.lanes += 1;
                copied.unattached |= !writer.is_attached();
            }
        }
        Ok(copied)
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

/// Refuses messages that are together too long for one of those who are to get them.
fn check_len(parcel: &Parcel, longest: impl Iterator<Item = usize>) -> Result<(), PublishError> {
    let len = parcel.bytes().len();
    match longest.min() {
        Some(limit) if len > limit => Err(PublishError::BatchTooLarge { len, limit }),
        _ => Ok(()),
    }
}
