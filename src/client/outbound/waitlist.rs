//! What waits for a subscriber, shared by a publisher and the control thread.
//!
//! A publisher that finds nobody for a message puts it here, and looks whether the control thread has posted something meanwhile. That
//! hands what waits to a new lane, and posts the lane. Each does both under one lock, so a message and its subscriber cannot
//! miss each other: either the message is there when the lane comes, or the publisher finds the lane.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::unclaimed::Unclaimed;
use crate::counters::HandleSlot;
use crate::lane::{PoolWriter, TopicRef, Unstamped};
use crate::message::{EncodedBytes, Timestamp};
use crate::ring::record_bytes;
use crate::topic::Topic;

use super::{OutLane, PublishError};

/// What waits for a subscriber.
pub(in crate::client) struct Waitlist {
    state: Mutex<State>,
    counters: Arc<HandleSlot>,
    /// Bytes that may wait.
    limit: usize,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    messages: VecDeque<Lasting>,
    /// What they take in a ring.
    bytes: usize,
    /// Not told yet.
    expired: VecDeque<Unclaimed>,
    expired_count: u64,
    /// When the first of the messages expires; `None` if none does.
    first_end: Option<Instant>,
}

/// A message that waits.
pub(super) struct Lasting {
    /// Its topic in the publisher's table, which keeps it there.
    pub(super) id: u32,
    pub(super) generation: u64,
    pub(super) _pin: Arc<()>,
    pub(super) topic: Topic,
    pub(super) bytes: EncodedBytes,
    pub(super) stamp: Option<Timestamp>,
    pub(super) published: Instant,
    pub(super) ttl: Duration,
}

impl Waitlist {
    pub(in crate::client) fn new(limit: usize, counters: Arc<HandleSlot>) -> Self {
        Self {
            state: Mutex::default(),
            counters,
            limit,
        }
    }

    /// Adds messages, all or none.
    pub(super) fn put(&self, messages: Vec<Lasting>) -> Result<(), PublishError> {
        let mut state = self.lock();
        let asked: usize = messages.iter().map(Lasting::ring_bytes).sum();
        if state.bytes.saturating_add(asked) > self.limit {
            return Err(PublishError::TooMuchWaiting {
                asked,
                waiting: state.bytes,
                limit: self.limit,
            });
        }
        state.bytes += asked;
        let ends = messages.iter().filter_map(Lasting::end);
        state.first_end = state.first_end.into_iter().chain(ends).min();
        state.messages.extend(messages);
        Ok(())
    }

    /// Writes what waits for this lane, which is new, into it, in order; then `post` tells the publisher of the lane.
    pub(in crate::client) fn hand_over(
        &self,
        mut lane: Box<OutLane>,
        post: impl FnOnce(Box<OutLane>),
    ) {
        let mut state = self.lock();
        let mut from = 0;
        while let Some(found) = state.find(from, |message| lane.claims(&message.topic)) {
            // What finds no room stays, and what is behind it; the publisher goes on with it.
            if !lane.write_lasting(&state.messages[found], None) {
                break;
            }
            state.remove(found);
            from = found;
        }
        post(lane);
    }

    /// What a ring must hold for all that waits on these topics.
    pub(in crate::client) fn ring_bytes(&self, takes: impl Fn(&Topic) -> bool) -> usize {
        let state = self.lock();
        let waiting = state.messages.iter();
        let waiting = waiting.filter(|message| takes(&message.topic));
        waiting.map(Lasting::ring_bytes).sum()
    }

    /// Takes out the oldest message for which `taker` finds somebody, with whom; whether others wait.
    pub(super) fn next<K>(
        &self,
        mut taker: impl FnMut(&Lasting) -> Option<K>,
    ) -> (Option<(K, Lasting)>, bool) {
        let mut state = self.lock();
        let mut found = None;
        let index = state.find(0, |message| {
            found = taker(message);
            found.is_some()
        });
        let message = index.and_then(|index| state.remove(index));
        (found.zip(message), !state.messages.is_empty())
    }

    /// Whether something waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// The messages that have expired, not told yet.
    pub(super) fn take_expired(&self) -> Vec<Unclaimed> {
        std::mem::take(&mut self.lock().expired).into()
    }

    pub(super) fn expired(&self) -> u64 {
        self.lock().expired_count
    }

    /// Takes out what waits.
    pub(super) fn take(&self) -> Vec<Unclaimed> {
        let mut state = self.lock();
        state.bytes = 0;
        let now = Instant::now();
        let messages = std::mem::take(&mut state.messages);
        messages.iter().map(|message| message.at(now)).collect()
    }

    /// Without what has expired by now.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.expired_count;
        state.expire();
        self.counters.expired(state.expired_count - before);
        state
    }
}

impl State {
    fn expire(&mut self) {
        let Some(first_end) = self.first_end else {
            return;
        };
        let now = Instant::now();
        if now < first_end {
            return;
        }
        let mut index = 0;
        while let Some(message) = self.messages.get(index) {
            if message.end().is_none_or(|end| now < end) {
                index += 1;
                continue;
            }
            let expired = message.at(now);
            self.remove(index);
            self.expired_count += 1;
            if self.expired.len() == MOST_EXPIRED {
                self.expired.pop_front();
            }
            self.expired.push_back(expired);
        }
        self.first_end = self.messages.iter().filter_map(Lasting::end).min();
    }

    /// The first message that meets the condition, from an index on.
    fn find(&self, from: usize, mut condition: impl FnMut(&Lasting) -> bool) -> Option<usize> {
        let mut rest = self.messages.iter().enumerate().skip(from);
        let found = rest.find(|(_, message)| condition(message));
        found.map(|(index, _)| index)
    }

    fn remove(&mut self, index: usize) -> Option<Lasting> {
        let removed = self.messages.remove(index)?;
        self.bytes -= removed.ring_bytes();
        Some(removed)
    }
}

impl Lasting {
    /// The topic as lanes know it.
    fn reference(&self) -> TopicRef<'_> {
        TopicRef {
            id: self.id,
            generation: self.generation,
            name: self.topic.as_str(),
            stamp: Unstamped,
        }
    }

    /// When it expires; `None` where the clock ends before.
    fn end(&self) -> Option<Instant> {
        self.published.checked_add(self.ttl)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.published)
    }

    fn at(&self, now: Instant) -> Unclaimed {
        Unclaimed {
            topic: self.topic.clone(),
            age: self.age(now),
            len: self.bytes.len(),
        }
    }

    /// The most that it takes in a ring, with its topic.
    fn ring_bytes(&self) -> usize {
        record_bytes(self.bytes.len() + Timestamp::BYTES) + record_bytes(self.topic.as_str().len())
    }
}

impl OutLane {
    /// Whether it had room.
    pub(super) fn write_lasting(
        &mut self,
        message: &Lasting,
        pool: Option<&mut PoolWriter>,
    ) -> bool {
        let bytes = std::slice::from_ref(&message.bytes);
        let topic = message.reference();
        match &message.stamp {
            None => self.write_copies(topic, bytes, pool),
            Some(stamp) => self.write_copies(topic.stamped(stamp), bytes, pool),
        }
    }
}

/// Expired messages that are kept until they are asked for.
const MOST_EXPIRED: usize = 1024;
