//! The counters of a client: pages for its handles and lanes, taken and given back.
//!
//! A page in use has an odd generation. Whoever takes one writes what it is about, then raises the generation; whoever gives
//! it back raises it first. A reader that finds the same odd generation before and after has read one page.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::message::Clock;
use crate::ring::{DropCause, DropCounts, Position};
use crate::segment::fork::ProcessMark;
use crate::segment::{
    Kind as SegmentKind, MemoryOptions, PAGE_BYTES, Segment, SegmentError, SegmentOptions,
};
use crate::sync::{AtomicU64, Ordering, fence};

use super::histogram::bucket_of;
use super::page::{Counter, Kind, Page, Text};
use super::slot::Slot;
use super::snapshot::Role;

/// The counters of a client.
pub(crate) struct Book {
    name: String,
    /// A forked child must not give its parent's pages back.
    mark: ProcessMark,
    options: SegmentOptions,
    state: Mutex<State>,
}

/// The counters of a handle: what its ended lanes have counted, what it counts itself.
pub(crate) struct HandleSlot {
    leaf: Leaf,
    role: Role,
    book: Arc<Book>,
}

/// The counters of a lane. One thread counts: the one that writes or reads the lane.
pub(crate) struct LaneSlot {
    /// The page of `own`.
    page: Slot,
    own: Arc<Counted>,
    /// Who counts messages for this lane, too. Its page is kept until this is undone.
    leader: Option<Arc<Counted>>,
}

/// What a lane has counted, which its handle takes over in the end.
struct Counted {
    leaf: Leaf,
    handle: Arc<HandleSlot>,
}

#[derive(Default)]
struct State {
    bus: u128,
    client: u64,
    /// By number; `None` where one was given back to the system.
    shelves: Vec<Option<Shelf>>,
    /// Pages that are not in use. The first is taken, so that the last segments run empty.
    free: BTreeSet<Place>,
    /// Pages of the client, of its closed publishers and subscribers; none before the first segment.
    fixed: Option<[Slot; FIXED]>,
}

/// A page with where it goes when it is given back.
struct Leaf {
    slot: Slot,
    /// `None` for a private page.
    place: Option<Place>,
}

/// A segment.
struct Shelf {
    segment: Arc<Segment>,
    /// Pages in use, but for the fixed ones.
    used: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    shelf: usize,
    page: usize,
}

/// What a page is about.
struct About<'a> {
    kind: Kind,
    handle: u32,
    lane: u64,
    ring_bytes: usize,
    name: &'a str,
    topics: &'a str,
    message_type: &'a str,
}

impl Book {
    pub(crate) fn new(name: &str, mark: ProcessMark) -> Self {
        Self {
            name: name.to_owned(),
            mark,
            options: SegmentOptions::default(),
            state: Mutex::default(),
        }
    }

    /// Makes the pages like this; in memfds, whatever rings lie in: nothing else is found by its owner's process.
    pub(crate) fn with_memory(mut self, memory: MemoryOptions) -> Self {
        self.options.memory = memory;
        self
    }

    /// The client has joined a bus; before that it has no handles.
    pub(crate) fn join(&self, bus: u128, client: u64) {
        let mut state = self.lock();
        (state.bus, state.client) = (bus, client);
    }

    /// The counters of a new handle.
    pub(crate) fn handle(
        self: &Arc<Self>,
        role: Role,
        handle: u32,
        topics: &str,
        message_type: &str,
    ) -> Arc<HandleSlot> {
        let leaf = self.take(&About {
            kind: match role {
                Role::Publisher => Kind::Publisher,
                Role::Subscriber => Kind::Subscriber,
            },
            handle,
            lane: 0,
            ring_bytes: 0,
            name: "",
            topics,
            message_type,
        });
        Arc::new(HandleSlot {
            leaf,
            role,
            book: self.clone(),
        })
    }

    /// Segments in use.
    #[cfg(test)]
    pub(super) fn shelves(&self) -> usize {
        self.lock().shelves.iter().flatten().count()
    }

    fn take(&self, about: &About<'_>) -> Leaf {
        let mut state = self.lock();
        if state.free.is_empty()
            && let Err(error) = state.grow(&self.name, &self.options)
        {
            // Messages matter more than their number.
            tracing::debug!(%error, "counters that nobody can read");
        }
        let Some((place, slot)) = state.take() else {
            return Leaf {
                slot: Slot::private(),
                place: None,
            };
        };
        state.change(|state| slot.open(about, state.bus, state.client));
        Leaf {
            slot,
            place: Some(place),
        }
    }

    /// Takes a page back; `add_up` keeps what it has counted.
    fn give_back(&self, leaf: &Leaf, add_up: impl FnOnce(&[Slot; FIXED])) {
        let Some(place) = leaf.place.filter(|_| !self.mark.is_forked()) else {
            return;
        };
        let mut state = self.lock();
        state.change(|state| {
            if let Some(fixed) = &state.fixed {
                add_up(fixed);
            }
            leaf.slot.close();
        });
        state.give_back(place);
    }

    /// Does something during which sums over pages are wrong; not in a forked child, whose parent's pages these are.
    fn change(&self, step: impl FnOnce()) {
        if !self.mark.is_forked() {
            self.lock().change(|_| step());
        }
    }

    fn rename(&self, leaf: &Leaf, topics: &str) {
        let state = self.lock();
        state.change(|_| {
            leaf.slot.close();
            leaf.slot.topics.set(topics);
            leaf.slot.reopen();
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<(Place, Slot)> {
        let place = self.free.pop_first()?;
        let shelf = self.shelves[place.shelf].as_mut()?;
        shelf.used += 1;
        Some((place, Slot::of(&shelf.segment, place.page)))
    }

    fn give_back(&mut self, place: Place) {
        self.free.insert(place);
        let Some(shelf) = &mut self.shelves[place.shelf] else {
            return;
        };
        shelf.used -= 1;
        // The first one holds what must not disappear.
        if shelf.used == 0 && place.shelf > 0 {
            self.shelves[place.shelf] = None;
            self.free.retain(|free| free.shelf != place.shelf);
        }
    }

    fn grow(&mut self, name: &str, options: &SegmentOptions) -> Result<(), SegmentError> {
        let empty = self.shelves.iter().position(Option::is_none);
        let number = empty.unwrap_or(self.shelves.len());
        let pages = MOST_PAGES.min(FIRST_PAGES << number.min(16));
        let segment = Segment::create(SegmentKind::Counters, pages * PAGE_BYTES, options)?;
        let segment = Arc::new(segment);
        let about = |kind, name| About {
            kind,
            handle: 0,
            lane: 0,
            ring_bytes: 0,
            name,
            topics: "",
            message_type: "",
        };
        let fixed = [
            about(Kind::Client, name),
            about(Kind::Publisher, ""),
            about(Kind::Subscriber, ""),
        ];
        let mut page = 0;
        let fixed = fixed.map(|about| {
            let slot = Slot::of(&segment, page);
            page += 1;
            slot.segment.store(number as u64, Ordering::Relaxed);
            slot.open(&about, self.bus, self.client);
            slot
        });
        self.fixed.get_or_insert(fixed);
        let shelf = Some(Shelf { segment, used: 0 });
        match self.shelves.get_mut(number) {
            Some(empty) => *empty = shelf,
            None => self.shelves.push(shelf),
        }
        self.free.extend((FIXED..pages).map(|page| Place {
            shelf: number,
            page,
        }));
        Ok(())
    }

    /// Does something during which sums over pages are wrong.
    fn change(&self, step: impl FnOnce(&Self)) {
        let Some([client, ..]) = &self.fixed else {
            return step(self);
        };
        add(&client.changes, 1);
        // Keeps the odd number before the change; partner: the fence in `reading::settled`.
        fence(Ordering::Release);
        step(self);
        let changes = client.changes.load(Ordering::Relaxed);
        // Partner: the acquire in `reading::settled`; the change is visible with it.
        client
            .changes
            .store(changes.wrapping_add(1), Ordering::Release);
    }
}

impl HandleSlot {
    /// The counters of a new lane of this handle.
    pub(crate) fn lane(
        self: &Arc<Self>,
        lane: u64,
        peer: &str,
        topics: &str,
        message_type: &str,
        ring_bytes: usize,
    ) -> LaneSlot {
        let leaf = self.book.take(&About {
            kind: match self.role {
                Role::Publisher => Kind::PublisherLane,
                Role::Subscriber => Kind::SubscriberLane,
            },
            handle: self.leaf.slot.handle.load(Ordering::Relaxed) as u32,
            lane,
            ring_bytes,
            name: peer,
            topics,
            message_type,
        });
        LaneSlot {
            page: leaf.slot.clone(),
            own: Arc::new(Counted {
                leaf,
                handle: self.clone(),
            }),
            leader: None,
        }
    }

    /// The handle has other patterns now.
    pub(crate) fn rename(&self, topics: &str) {
        self.book.rename(&self.leaf, topics);
    }

    /// Messages have waited for a subscriber in vain. Only for a publisher, under the lock of what waits; lanes do not count them.
    pub(crate) fn expired(&self, messages: u64) {
        if messages > 0 {
            count(&self.leaf.slot, Counter::Expired, messages);
        }
    }

    /// The handle goes to sleep. Only for a subscriber, whose lanes do not count sleeps: the ended ones add to the same word.
    pub(crate) fn parked(&self) {
        count(&self.leaf.slot, Counter::Parks, 1);
    }
}

impl LaneSlot {
    /// A message was written or read; the lane stands at `position` now.
    #[inline(always)]
    pub(crate) fn message(&self, len_bytes: usize, position: Position) {
        self.messages(1, len_bytes, position);
    }

    /// Messages of so many bytes together were written; the lane stands at `position` now.
    #[inline(always)]
    pub(crate) fn messages(&self, messages: u64, len_bytes: usize, position: Position) {
        let page = &*self.page;
        count(page, Counter::Messages, messages);
        count(page, Counter::Bytes, len_bytes as u64);
        // Relaxed, as all counters: they order nothing.
        page.counts[Counter::Position as usize].store(position.0, Ordering::Relaxed);
    }

    /// From now on the messages that the other lane counts count for this one, too: both lie in one ring, which is written by whoever
    /// calls this.
    pub(crate) fn follow(&mut self, leader: &Self) {
        let leader = &leader.own;
        let follows = self.leader.as_ref();
        if follows.is_some_and(|follows| Arc::ptr_eq(follows, leader)) {
            return;
        }
        self.stand_alone();
        let counted = leader.leaf.slot.lane.load(Ordering::Relaxed);
        self.own.handle.book.change(|| {
            self.page.shift(&leader.leaf.slot, u64::wrapping_sub);
            self.page.follows.store(counted, Ordering::Relaxed);
        });
        self.leader = Some(leader.clone());
    }

    /// From now on it counts by itself.
    pub(crate) fn stand_alone(&mut self) {
        let Some(leader) = self.leader.take() else {
            return;
        };
        self.own.handle.book.change(|| {
            self.page.shift(&leader.leaf.slot, u64::wrapping_add);
            self.page.follows.store(0, Ordering::Relaxed);
        });
    }

    /// The subscriber has other patterns now.
    pub(crate) fn rename(&self, topics: &str) {
        self.own.handle.book.rename(&self.own.leaf, topics);
    }

    /// Messages were dropped.
    pub(crate) fn dropped(&self, cause: DropCause, messages: u64) {
        count(&self.page, of_cause(cause), messages);
    }

    /// The publisher has told of messages that were dropped.
    pub(crate) fn lost(&self, counts: &DropCounts) {
        for cause in [DropCause::Full, DropCause::Deadline] {
            count(&self.page, of_cause(cause), counts.count(cause));
        }
    }

    /// Messages were not given, for later ones on their topics were there.
    pub(crate) fn conflated(&self, messages: u64) {
        count(&self.page, Counter::Conflated, messages);
    }

    /// The peer was woken.
    pub(crate) fn woke(&self) {
        count(&self.page, Counter::Wakes, 1);
    }

    /// The publisher goes to sleep until the lane has room.
    pub(crate) fn parked(&self) {
        count(&self.page, Counter::Parks, 1);
    }

    /// The publisher has waited for room.
    pub(crate) fn blocked(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        count(&self.page, Counter::BlockedNs, ns);
    }

    /// The publisher will not wait again until the subscriber has moved on.
    pub(crate) fn stalled(&self) {
        count(&self.page, Counter::Stalls, 1);
    }

    /// A message that is read was no value of its type.
    pub(crate) fn undecodable(&self) {
        count(&self.page, Counter::Undecodable, 1);
    }

    /// A message took that long.
    #[inline]
    pub(crate) fn latency(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.page.latency[bucket_of(ns)], 1);
    }
}

impl Drop for LaneSlot {
    fn drop(&mut self) {
        self.stand_alone();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let HandleSlot { leaf, book, .. } = &*self.handle;
        book.give_back(&self.leaf, |_| leaf.slot.absorb(&self.leaf.slot));
    }
}

impl Drop for HandleSlot {
    fn drop(&mut self) {
        let Self { leaf, role, book } = self;
        book.give_back(leaf, |[_, publishers, subscribers]| {
            let closed = match role {
                Role::Publisher => publishers,
                Role::Subscriber => subscribers,
            };
            closed.absorb(&leaf.slot);
        });
    }
}

impl Page {
    /// Takes the page, which is not in use.
    fn open(&self, about: &About<'_>, bus: u128, client: u64) {
        let words = [
            (&self.kind, about.kind as u64),
            (&self.handle, about.handle.into()),
            (&self.lane, about.lane),
            (&self.ring_bytes, about.ring_bytes as u64),
            (&self.opened_ns, Clock::Realtime.now().ns),
            (&self.bus[0], bus as u64),
            (&self.bus[1], (bus >> 64) as u64),
            (&self.client, client),
            (&self.follows, 0),
        ];
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        for word in self.counts.iter().chain(&self.latency) {
            word.store(0, Ordering::Relaxed);
        }
        self.name.set(about.name);
        self.topics.set(about.topics);
        self.message_type.set(about.message_type);
        self.reopen();
    }

    /// Takes the page as it is.
    fn reopen(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // Partner: the acquire in `reading::row`; all of the above is visible with it.
        self.generation
            .store(generation.wrapping_add(1), Ordering::Release);
    }

    /// Gives the page back.
    fn close(&self) {
        add(&self.generation, 1);
        // Keeps the even number before whatever the next user writes; partner: the fence in `reading::row`.
        fence(Ordering::Release);
    }

    /// Adds what another page has counted of messages, or takes it off; the position is the same.
    fn shift(&self, other: &Self, by: impl Fn(u64, u64) -> u64) {
        for counter in [Counter::Messages, Counter::Bytes] {
            let word = &self.counts[counter as usize];
            let counted = other.counts[counter as usize].load(Ordering::Relaxed);
            word.store(by(word.load(Ordering::Relaxed), counted), Ordering::Relaxed);
        }
        let position = other.counts[Counter::Position as usize].load(Ordering::Relaxed);
        self.counts[Counter::Position as usize].store(position, Ordering::Relaxed);
    }

    /// Adds what another page has counted.
    fn absorb(&self, other: &Self) {
        let counters = self.counts.iter().zip(&other.counts).enumerate();
        let counters = counters.filter(|(index, _)| *index != Counter::Position as usize);
        let buckets = self.latency.iter().zip(&other.latency);
        for (own, other) in counters.map(|(_, pair)| pair).chain(buckets) {
            let counted = other.load(Ordering::Relaxed);
            // A word that the handle's thread counts in is left alone.
            if counted != 0 {
                add(own, counted);
            }
        }
    }
}

impl<const WORDS: usize> Text<WORDS> {
    fn set(&self, text: &str) {
        let text = &text[..text.floor_char_boundary(8 * WORDS)];
        self.len_bytes.store(text.len() as u64, Ordering::Relaxed);
        for (word, bytes) in self.words.iter().zip(text.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn count(page: &Page, counter: Counter, amount: u64) {
    add(&page.counts[counter as usize], amount);
}

/// Adds to a word that no other thread writes now: no need for a locked instruction.
#[inline(always)]
fn add(word: &AtomicU64, amount: u64) {
    word.store(
        word.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

fn of_cause(cause: DropCause) -> Counter {
    match cause {
        DropCause::Full => Counter::DroppedFull,
        DropCause::Deadline => Counter::DroppedDeadline,
    }
}

/// Pages that each segment begins with.
const FIXED: usize = 3;
/// Pages of a client's first segment; each further one is twice as large.
const FIRST_PAGES: usize = 8;
/// Pages of the largest segment.
const MOST_PAGES: usize = 1024;
