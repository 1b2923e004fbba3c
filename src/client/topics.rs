//! The topics of a publisher: numbered, matched with its lanes once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::lane::{MAX_TOPIC_IDS, TopicRef, Unstamped};
use crate::ring::record_bytes;
use crate::sync::{AtomicU64, Ordering};
use crate::topic::Topic;

/// A topic that a publisher has matched with its lanes, to publish to it without any look-up.
///
/// Made by [`Publisher::resolve`](super::Publisher::resolve), of use with that publisher only. Cheap to clone; the
/// publisher remembers the topic until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct ResolvedTopic {
    publisher: u64,
    id: u32,
    topic: Topic,
    /// Counts the clones; the table holds one more.
    _pin: Arc<()>,
}

/// The topics of one publisher.
pub(super) struct TopicTable {
    publisher: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Look-up by the name as the caller spells it.
    recent: HashMap<Box<str>, ResolvedTopic>,
    /// The names in `recent`, oldest first.
    order: VecDeque<Box<str>>,
    generations: u64,
    matches: u64,
    live: Arc<LiveTopics>,
}

/// The names of the topics in use, for the control thread.
#[derive(Default)]
pub(super) struct LiveTopics(Mutex<HashMap<u32, Topic>>);

/// A topic with the lanes that take it.
pub(super) struct Slot {
    topic: Topic,
    generation: u64,
    pin: Arc<()>,
    /// Keys of the lanes.
    pub(super) lanes: Vec<usize>,
    /// Subscribers who read these.
    pub(super) readers: u32,
    /// Keys of the lanes of each queue group, one of which gets a message.
    pub(super) groups: Vec<Vec<usize>>,
    /// Version of the routes that these are of; 0 is none, or that there are groups.
    routes: u64,
    /// The same where there are groups: [`TopicTable::matched`] does not find such a topic.
    grouped_routes: u64,
}

/// There are too many topics in use at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyTopics;

impl ResolvedTopic {
    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl TopicTable {
    pub(super) fn new() -> Self {
        // Handles count per client, and a process may have several.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            publisher: NEXT.fetch_add(1, Ordering::Relaxed),
            slots: Vec::new(),
            free: Vec::new(),
            recent: HashMap::new(),
            order: VecDeque::new(),
            generations: 0,
            matches: 0,
            live: Arc::default(),
        }
    }

    pub(super) fn live(&self) -> &Arc<LiveTopics> {
        &self.live
    }

    /// How often topics were matched with lanes.
    pub(super) fn matches(&self) -> u64 {
        self.matches
    }

    /// The id of a topic that was published to by this spelling of its name lately.
    #[inline]
    pub(super) fn recent(&self, name: &str) -> Option<u32> {
        self.recent.get(name).map(|resolved| resolved.id)
    }

    /// Remembers the spelling of a topic's name, for a while.
    pub(super) fn remember(&mut self, name: &str, topic: Topic) -> Result<u32, TooManyTopics> {
        if self.recent.len() >= MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        let resolved = self.resolve(topic)?;
        let id = resolved.id;
        self.recent.insert(name.into(), resolved);
        self.order.push_back(name.into());
        Ok(id)
    }

    /// Numbers a topic.
    pub(super) fn resolve(&mut self, topic: Topic) -> Result<ResolvedTopic, TooManyTopics> {
        let id = self.free_id()?;
        self.generations += 1;
        let pin = Arc::new(());
        let resolved = ResolvedTopic {
            publisher: self.publisher,
            id,
            topic: topic.clone(),
            _pin: pin.clone(),
        };
        self.live.insert(id, topic.clone());
        let slot = Slot {
            topic,
            generation: self.generations,
            pin,
            lanes: Vec::new(),
            readers: 0,
            groups: Vec::new(),
            routes: 0,
            grouped_routes: 0,
        };
        match self.slots.get_mut(id as usize) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        Ok(resolved)
    }

    /// The id of a topic that this table resolved; `None` if another publisher did.
    #[inline]
    pub(super) fn id(&self, resolved: &ResolvedTopic) -> Option<u32> {
        (resolved.publisher == self.publisher).then_some(resolved.id)
    }

    /// The topic with its lanes, if these were matched since the routes have changed and none is of a queue group.
    #[inline]
    pub(super) fn matched(&self, id: u32, routes: u64) -> Option<&Slot> {
        let slot = self.slots.get(id as usize)?;
        (slot.routes == routes).then_some(slot)
    }

    /// The topic with its lanes; `matching` finds them, and counts who reads those of no group, if the routes have changed since.
    #[inline]
    pub(super) fn slot(
        &mut self,
        id: u32,
        routes: u64,
        matching: impl FnOnce(&Topic, &mut Vec<usize>, &mut Vec<Vec<usize>>) -> u32,
    ) -> &Slot {
        let slot = &mut self.slots[id as usize];
        if slot.routes != routes && slot.grouped_routes != routes {
            self.matches += 1;
            slot.lanes.clear();
            slot.groups.clear();
            slot.readers = matching(&slot.topic, &mut slot.lanes, &mut slot.groups);
            (slot.routes, slot.grouped_routes) = match slot.groups.is_empty() {
                true => (routes, 0),
                false => (0, routes),
            };
        }
        slot
    }

    /// The topic as lanes know it.
    #[inline]
    pub(super) fn reference(&self, id: u32) -> TopicRef<'_> {
        self.slots[id as usize].reference(id)
    }

    /// The topic with this id, which is kept as long as the last of these.
    pub(super) fn pinned(&self, id: u32) -> (Topic, u64, Arc<()>) {
        let slot = &self.slots[id as usize];
        (slot.topic.clone(), slot.generation, slot.pin.clone())
    }

    /// The topic with this id.
    pub(super) fn topic(&self, id: u32) -> &Topic {
        &self.slots[id as usize].topic
    }

    fn free_id(&mut self) -> Result<u32, TooManyTopics> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        // All ids are taken: those that nobody holds any more come back, seldom enough to cost nothing per topic.
        if self.slots.len().is_power_of_two() && self.slots.len() > MAX_RECENT || self.is_full() {
            self.sweep();
        }
        match self.free.pop() {
            Some(id) => Ok(id),
            None if self.is_full() => Err(TooManyTopics),
            None => Ok(self.slots.len() as u32),
        }
    }

    fn is_full(&self) -> bool {
        self.slots.len() >= MAX_TOPIC_IDS as usize
    }

    fn sweep(&mut self) {
        for (id, slot) in self.slots.iter_mut().enumerate() {
            if Arc::strong_count(&slot.pin) == 1 {
                slot.lanes = Vec::new();
                slot.groups = Vec::new();
                self.live.remove(id as u32);
                self.free.push(id as u32);
            }
        }
    }
}

impl Slot {
    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nobody takes the topic.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.groups.is_empty()
    }

    /// Bytes that each message takes in a ring for its topic's name: in those of queue groups, where each has it.
    pub(super) fn named_bytes(&self) -> usize {
        match self.groups.is_empty() {
            true => 0,
            false => record_bytes(self.topic.as_str().len()),
        }
    }

    #[inline]
    pub(super) fn reference(&self, id: u32) -> TopicRef<'_> {
        TopicRef {
            id,
            generation: self.generation,
            name: self.topic.as_str(),
            stamp: Unstamped,
        }
    }
}

impl LiveTopics {
    /// Names of the topics in use that meet the condition.
    pub(super) fn names(&self, condition: impl Fn(&Topic) -> bool, most: usize) -> Vec<String> {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = topics
            .values()
            .filter(|topic| condition(topic))
            .take(most)
            .map(Topic::to_string)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn insert(&self, id: u32, topic: Topic) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, topic);
    }

    fn remove(&self, id: u32) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

/// Topics that are remembered by name; one that was not published to for so many others is matched anew.
const MAX_RECENT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(index: usize) -> Topic {
        Topic::try_from(format!("t/{index}")).unwrap()
    }

    #[test]
    fn ten_thousand_topics_one_after_the_other_use_a_bounded_table() {
        let mut table = TopicTable::new();
        for index in 0..100_000 {
            let topic = topic(index);
            table.remember(topic.as_str(), topic.clone()).unwrap();
        }
        assert!(
            table.slots.len() <= 4 * MAX_RECENT,
            "{} slots",
            table.slots.len()
        );
        assert_eq!(table.recent.len(), MAX_RECENT);
    }

    #[test]
    fn held_topics_keep_their_ids_apart() {
        let mut table = TopicTable::new();
        let held: Vec<_> = (0..MAX_TOPIC_IDS as usize)
            .map(|index| table.resolve(topic(index)).unwrap())
            .collect();
        assert_eq!(table.resolve(topic(0)).unwrap_err(), TooManyTopics);
        let mut ids: Vec<_> = held.iter().map(|resolved| resolved.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), held.len());
        drop(held);
        assert!(table.resolve(topic(0)).is_ok());
    }

    #[test]
    fn a_topic_is_matched_once_until_the_routes_change() {
        let mut table = TopicTable::new();
        let id = table.resolve(topic(0)).unwrap().id;
        for _ in 0..1000 {
            table.slot(id, 7, |_, lanes, _| {
                lanes.push(3);
                1
            });
        }
        assert_eq!(
            (
                table.matches(),
                table.slot(id, 7, |_, _, _| 0).lanes.as_slice()
            ),
            (1, &[3][..])
        );
        table.slot(id, 8, |_, _, _| 0);
        assert_eq!(table.matches(), 2);
    }

    #[test]
    fn a_topic_of_a_group_is_matched_once_too_and_never_found_at_once() {
        let mut table = TopicTable::new();
        let id = table.resolve(topic(0)).unwrap().id;
        for _ in 0..1000 {
            table.slot(id, 7, |_, _, groups| {
                groups.push(vec![3]);
                0
            });
            assert!(table.matched(id, 7).is_none());
        }
        assert_eq!(table.matches(), 1);
        table.slot(id, 8, |_, lanes, _| {
            lanes.push(3);
            1
        });
        assert!(table.matched(id, 8).is_some());
    }
}
