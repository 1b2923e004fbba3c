//! The counters of a client: pages for its handles and lanes, taken and given back.
//!
//! A page in use has an odd generation. Whoever takes one writes what it is about, then raises the generation; whoever gives
//! it back raises it first. A reader that finds the same odd generation before and after has read one page.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::message::Clock;
use crate::segment::fork::ProcessMark;
use crate::segment::{
    Kind as SegmentKind, MemoryOptions, PAGE_BYTES, Segment, SegmentError, SegmentOptions,
};
use crate::sync::{AtomicU64, Ordering, fence};

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
    pub(super) leaf: Leaf,
    pub(super) role: Role,
    pub(super) book: Arc<Book>,
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
pub(super) struct Leaf {
    pub(super) slot: Slot,
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
pub(super) struct About<'a> {
    pub(super) kind: Kind,
    pub(super) handle: u32,
    pub(super) lane: u64,
    pub(super) ring_bytes: usize,
    pub(super) name: &'a str,
    pub(super) topics: &'a str,
    pub(super) message_type: &'a str,
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

    pub(super) fn take(&self, about: &About<'_>) -> Leaf {
        let mut state = self.lock();
        if state.free.is_empty()
            && let Err(error) = state.grow(&self.name, &self.options)
        {
            // Messages matter more than their number.
            tracing::debug!(%error, "counters that nobody can read");
        }
        let Some((place, slot)) = state.take() else {
            let slot = Slot::private();
            slot.open(about, state.bus, state.client);
            return Leaf { slot, place: None };
        };
        state.change(|state| slot.open(about, state.bus, state.client));
        Leaf {
            slot,
            place: Some(place),
        }
    }

    /// Takes a page back; `add_up` keeps what it has counted.
    pub(super) fn give_back(&self, leaf: &Leaf, add_up: impl FnOnce(&[Slot; FIXED])) {
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
    pub(super) fn change(&self, step: impl FnOnce()) {
        if !self.mark.is_forked() {
            self.lock().change(|_| step());
        }
    }

    pub(super) fn rename(&self, leaf: &Leaf, topics: &str) {
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

    /// Adds what another page has counted.
    pub(super) fn absorb(&self, other: &Self) {
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
pub(super) fn count(page: &Page, counter: Counter, amount: u64) {
    add(&page.counts[counter as usize], amount);
}

/// Adds to a word that no other thread writes now: no need for a locked instruction.
#[inline(always)]
pub(super) fn add(word: &AtomicU64, amount: u64) {
    word.store(
        word.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

/// Pages that each segment begins with.
const FIXED: usize = 3;
/// Pages of a client's first segment; each further one is twice as large.
const FIRST_PAGES: usize = 8;
/// Pages of the largest segment.
const MOST_PAGES: usize = 1024;
