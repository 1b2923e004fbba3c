//! Which chunk goes with which record of which ring.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::space::Part;
use super::{HOLDS, Place};
use crate::sync::{AtomicU64, Ordering, Site, fence};

/// What the publisher sees of a reader. All of it may be written by the reader at any time.
pub trait Watch {
    /// Its cursor: how far it has read.
    fn cursor(&self) -> &AtomicU64;
    /// Words one of which is not 0 once it reads no more.
    fn left(&self) -> [&AtomicU64; 2];
    /// The word of a hold slot, below [`HOLDS`].
    fn slot(&self, index: usize) -> &AtomicU64;
    /// Whether one of the slots is not 0; each is looked at once.
    fn holds_any(&self) -> bool {
        // Partner: as in `held`.
        (0..HOLDS).any(|index| Site::HoldLoad.load_acquire(self.slot(index)) != 0)
    }
}

impl<W: Watch> Watch for Arc<W> {
    fn cursor(&self) -> &AtomicU64 {
        W::cursor(self)
    }

    fn left(&self) -> [&AtomicU64; 2] {
        W::left(self)
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        W::slot(self, index)
    }

    fn holds_any(&self) -> bool {
        W::holds_any(self)
    }
}

/// How the kernel tells of a reader, also of one that has not said yet where its words are.
pub trait Presence {
    /// Whether nobody is left who could read or hold anything: its process has exited, or it has given back the last. Stays so.
    /// May take a system call.
    fn is_gone(&self) -> bool;
}

/// Which chunk goes with which record of which ring.
#[derive(Debug)]
pub(super) struct Ledger<W, P> {
    rings: Slab<Ring<W, P>>,
    chunks: Slab<Chunk>,
}

/// By which the account knows a ring. Clones are of the same ring.
#[derive(Clone, Debug)]
pub struct RingKey {
    index: usize,
    /// Counts the clones; the ring holds one more.
    _pin: Arc<()>,
}

/// By which the account knows a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkKey(usize);

#[derive(Debug)]
struct Ring<W, P> {
    pin: Arc<()>,
    readers: Vec<Reader<W, P>>,
    /// Where the record ends that a chunk goes with; oldest first.
    pushed: VecDeque<(u64, usize)>,
    /// Chunks that all readers are past, and somebody holds; and those whose records were given up, which somebody may hold.
    held: Vec<usize>,
    /// Bytes of both.
    pinned: u64,
    /// Bytes of what is held.
    held_bytes: u64,
    /// Whether records are given up that were not read.
    gives_up: bool,
}

#[derive(Debug)]
struct Reader<W, P> {
    presence: P,
    /// `None` until it has said where that is.
    watch: Option<W>,
    /// Up to here everything was read when that was looked at last.
    seen: u64,
    gone: bool,
}

#[derive(Debug)]
struct Chunk {
    part: Part,
    /// The rings that pin it.
    rings: u32,
    /// How often the publisher has it, to be pushed, or read.
    open: u32,
}

impl<W: Watch, P: Presence> Ledger<W, P> {
    pub(super) fn new() -> Self {
        Self {
            rings: Slab::new(),
            chunks: Slab::new(),
        }
    }

    pub(super) fn open(&mut self, part: Part) -> ChunkKey {
        ChunkKey(self.chunks.insert(Chunk {
            part,
            rings: 0,
            open: 1,
        }))
    }

    /// The publisher has the chunk once more.
    pub(super) fn reopen(&mut self, key: ChunkKey) {
        self.chunks[key.0].open += 1;
    }

    pub(super) fn add_ring(&mut self) -> RingKey {
        let pin = Arc::new(());
        let index = self.rings.insert(Ring {
            pin: pin.clone(),
            readers: Vec::new(),
            pushed: VecDeque::new(),
            held: Vec::new(),
            pinned: 0,
            held_bytes: 0,
            gives_up: false,
        });
        RingKey { index, _pin: pin }
    }

    pub(super) fn rings(&self) -> usize {
        self.rings.len()
    }

    pub(super) fn add_reader(&mut self, ring: &RingKey, presence: P) -> usize {
        let readers = &mut self.rings[ring.index].readers;
        readers.push(Reader {
            presence,
            watch: None,
            seen: 0,
            gone: false,
        });
        readers.len() - 1
    }

    pub(super) fn watch(&mut self, ring: &RingKey, reader: usize, watch: W) {
        self.rings[ring.index].readers[reader].watch = Some(watch);
    }

    pub(super) fn pinned(&self, ring: &RingKey) -> u64 {
        self.rings[ring.index].pinned
    }

    pub(super) fn held(&self, ring: &RingKey) -> u64 {
        self.rings[ring.index].held_bytes
    }

    /// Where the oldest record ends that a chunk goes with, unless it is the newest one.
    pub(super) fn oldest(&self, ring: &RingKey) -> Option<u64> {
        let pushed = &self.rings[ring.index].pushed;
        let oldest = pushed.front().filter(|_| pushed.len() > 1)?;
        Some(oldest.0)
    }

    /// The records of this ring that end here, or before, are given up.
    pub(super) fn give_up(&mut self, ring: &RingKey, end: u64) {
        let ring = &mut self.rings[ring.index];
        while let Some(key) = ring.pop_up_to(end) {
            ring.gives_up = true;
            ring.keep(key, &self.chunks);
        }
    }

    /// The record of this ring that ends here is given up, if a chunk goes with it.
    pub(super) fn give_up_one(&mut self, ring: &RingKey, end: u64) {
        let ring = &mut self.rings[ring.index];
        let found = ring.pushed.binary_search_by_key(&end, |(end, _)| *end);
        if let Some((_, key)) = found.ok().and_then(|index| ring.pushed.remove(index)) {
            ring.gives_up = true;
            ring.keep(key, &self.chunks);
        }
    }

    pub(super) fn push(&mut self, ring: &RingKey, key: ChunkKey, end: u64) {
        let ring = &mut self.rings[ring.index];
        let chunk = &mut self.chunks[key.0];
        debug_assert!(chunk.open > 0 && ring.pushed.back().is_none_or(|(last, _)| *last < end));
        chunk.rings += 1;
        ring.pinned += chunk.part.bytes;
        ring.pushed.push_back((end, key.0));
    }

    /// Gives the memory back if it is free.
    pub(super) fn settle(&mut self, key: ChunkKey) -> Option<Part> {
        let chunk = &mut self.chunks[key.0];
        chunk.open -= 1;
        match (chunk.rings, chunk.open) {
            (0, 0) => Some(self.chunks.remove(key.0).part),
            _ => None,
        }
    }

    /// Looks what the readers of a ring have given back.
    pub(super) fn look_at(&mut self, ring: &RingKey, free: &mut impl FnMut(Part)) {
        self.rings[ring.index].look(&mut self.chunks, free);
    }

    /// The same for all rings; forgets those that nobody pushes on any more.
    pub(super) fn look_at_all(&mut self, mut free: impl FnMut(Part)) {
        for (_, ring) in &mut self.rings {
            ring.look(&mut self.chunks, &mut free);
        }
        self.forget_unused();
    }

    /// The same, with a look for readers that are gone: what they have had is free.
    pub(super) fn part_from_gone(&mut self, free: impl FnMut(Part)) {
        let pinning = self.rings.iter_mut().filter(|(_, ring)| ring.pinned > 0);
        for (_, ring) in pinning {
            for reader in &mut ring.readers {
                reader.gone = reader.gone || reader.presence.is_gone();
            }
        }
        self.look_at_all(free);
    }

    fn forget_unused(&mut self) {
        self.rings
            .retain(|_, ring| Arc::strong_count(&ring.pin) > 1 || ring.pinned > 0);
    }
}

impl<W: Watch, P: Presence> Ring<W, P> {
    fn look(&mut self, chunks: &mut Slab<Chunk>, free: &mut impl FnMut(Part)) {
        let unknown = |reader: &Reader<W, P>| reader.watch.is_none() && !reader.gone;
        // Who has not said yet where its slots are may hold whatever was given up.
        if self.pinned == 0 || self.gives_up && self.readers.iter().any(unknown) {
            return;
        }
        let early = (!Site::SlotsLast.holds()).then(|| self.names());
        let passed = self.readers.iter_mut().map(Reader::passed).min();
        let passed = passed.unwrap_or(u64::MAX);
        // Between giving up, by the caller, and the look at the slots. Partner: the fence in `LossyConsumer::stands`.
        if self.gives_up && Site::GivenUpFence.holds() {
            fence(Ordering::SeqCst);
        }
        // Behind the cursors: what is held by whoever is past a record stands in a slot by now, or was given back.
        let names = early.unwrap_or_else(|| self.names());
        let mut still = std::mem::take(&mut self.held);
        still.retain(|&key| {
            let named = names.contains(&chunks[key].part.place.word());
            if !named {
                self.held_bytes -= chunks[key].part.bytes;
                self.unpin(key, chunks, free);
            }
            named
        });
        self.held = still;
        while let Some(key) = self.pop_up_to(passed) {
            match names.contains(&chunks[key].part.place.word()) {
                true => self.keep(key, chunks),
                false => self.unpin(key, chunks, free),
            }
        }
    }

    /// The oldest chunk whose record ends here, or before.
    fn pop_up_to(&mut self, end: u64) -> Option<usize> {
        let oldest = self.pushed.pop_front_if(|(other, _)| *other <= end);
        oldest.map(|(_, key)| key)
    }

    fn keep(&mut self, key: usize, chunks: &Slab<Chunk>) {
        self.held_bytes += chunks[key].part.bytes;
        self.held.push(key);
    }

    /// What the readers hold.
    fn names(&self) -> Vec<u64> {
        self.readers.iter().flat_map(Reader::names).collect()
    }

    fn unpin(&mut self, key: usize, chunks: &mut Slab<Chunk>, free: &mut impl FnMut(Part)) {
        let chunk = &mut chunks[key];
        chunk.rings -= 1;
        self.pinned -= chunk.part.bytes;
        if chunk.rings == 0 && chunk.open == 0 {
            free(chunks.remove(key).part);
        }
    }
}

impl<W: Watch, P> Reader<W, P> {
    /// Up to here it reads no more.
    fn passed(&mut self) -> u64 {
        let Some(watch) = self.watch.as_ref().filter(|_| !self.gone) else {
            return if self.gone { u64::MAX } else { 0 };
        };
        self.seen = self.seen.max(come_to(watch));
        self.seen
    }

    /// What stands in its slots. As a rule that is nothing.
    fn names(&self) -> impl Iterator<Item = u64> {
        let watch = self.watch.iter().filter(|_| !self.gone);
        watch.filter(|watch| watch.holds_any()).flat_map(held)
    }
}

/// Whether a reader reads a place no more that goes with the record that ends here, and never will. `None` is one that has not said where
/// its words are.
pub fn is_done(
    watch: Option<&impl Watch>,
    presence: &impl Presence,
    place: Place,
    end: u64,
) -> bool {
    // Cursor first, then slots: as in `Ring::look`.
    let has_passed = |watch| come_to(watch) >= end && !held(watch).any(|word| word == place.word());
    watch.is_some_and(has_passed) || presence.is_gone()
}

/// Up to here a reader reads no more.
fn come_to(watch: &impl Watch) -> u64 {
    // Partner: the release in `leave`.
    let left = |word: &AtomicU64| Site::LeftLoad.load_acquire(word) != 0;
    if watch.left().into_iter().any(left) {
        return u64::MAX;
    }
    // Partner: the release in `Consumer::publish`; what was read is read, what is held is in its slot. A peer's word: it
    // can lie about itself only.
    Site::ChunkCursorLoad.load_acquire(watch.cursor())
}

/// What a reader holds.
fn held(watch: &impl Watch) -> impl Iterator<Item = u64> {
    let slots = (0..HOLDS).map(|index| watch.slot(index));
    // Partner: the releases in `Holds`; what stood here before is read no more.
    let words = slots.map(|slot| Site::HoldLoad.load_acquire(slot));
    words.filter(|word| *word != 0)
}
