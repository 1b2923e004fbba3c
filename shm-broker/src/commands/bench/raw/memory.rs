//! The limit of shared memory: the barest mailbox and ring that two processes can have.
//!
//! # Safety
//! The invariant: a word of commit is accessed as an atomic; the words behind it are written only by the one producer, and only
//! while they are free, and read only between an acquire of their commit word and the release that frees them. The
//! processes are parts of one benchmark and trust each other, which is one reason why this is faster than a bus.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use super::super::ends::{Idle, Inlet, Outlet};
use super::super::message::{Body, Seen, Stamp, fill};
use crate::ending::Failure;

/// Memory for two mailboxes, or for a ring with its readers' cursors.
pub fn allocate(message_bytes: usize, readers: usize) -> Result<OwnedFd, Failure> {
    let memory = memfd_create(c"ringmain-bench", MFdFlags::MFD_CLOEXEC)?;
    let ring = START_BYTES + 2 * LINE_BYTES * readers + ring_bytes(message_bytes);
    let mailboxes = 2 * mailbox_bytes(message_bytes);
    ftruncate(
        &memory,
        ring.max(mailboxes).next_multiple_of(START_BYTES) as i64,
    )?;
    Ok(memory)
}

#[derive(Clone)]
struct Memory(Arc<MmapRaw>);

impl Memory {
    fn map(memory: &OwnedFd) -> Result<Self, Failure> {
        let mapped = MmapOptions::new().populate().map_raw(memory)?;
        Ok(Self(Arc::new(mapped)))
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.0.len() && offset.is_multiple_of(8));
        // SAFETY: `allocate` made room for all that the offsets of this file name.
        let word = unsafe { self.0.as_mut_ptr().add(offset) };
        // SAFETY: aligned, mapped as long as `self`; commit words and cursors are accessed in this way only.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    #[inline(always)]
    fn words(&self, offset: usize, count: usize) -> *mut u64 {
        debug_assert!(offset + 8 * count <= self.0.len() && offset.is_multiple_of(8));
        // SAFETY: as in `word`.
        unsafe { self.0.as_mut_ptr().add(offset) }.cast()
    }

    #[inline(always)]
    fn fill(&self, offset: usize, count: usize, stamp: Stamp) {
        let words = self.words(offset, count);
        // SAFETY: the invariant: not committed, so the producer's alone.
        fill(unsafe { slice::from_raw_parts_mut(words, count) }, stamp);
    }

    #[inline(always)]
    fn read(&self, offset: usize, count: usize) -> Seen {
        let words = self.words(offset, count);
        // SAFETY: the invariant: committed and not freed, so nobody writes.
        Seen::of(
            unsafe { slice::from_raw_parts(words, count) }
                .iter()
                .copied(),
        )
    }
}

/// One direction of a ping-pong: a commit word with the message behind it.
pub struct Mailbox<B> {
    memory: Memory,
    body: B,
    offset: usize,
    /// What the commit word held last.
    last: u64,
}

impl<B: Body> Mailbox<B> {
    /// The two directions; one side sends by the first, the other one by the second.
    pub fn pair(memory: &OwnedFd, body: B) -> Result<[Self; 2], Failure> {
        let memory = Memory::map(memory)?;
        Ok([0, 1].map(|direction| Self {
            memory: memory.clone(),
            body,
            offset: direction * mailbox_bytes(8 * body.words()),
            last: 0,
        }))
    }
}

impl<B: Body> Outlet for Mailbox<B> {
    #[inline(always)]
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure> {
        self.memory.fill(self.offset + 8, self.body.words(), stamp);
        self.last += 1;
        // Partner: the acquire in `receive`.
        let commit = self.memory.word(self.offset);
        commit.store(self.last, Ordering::Release);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<B: Body> Inlet for Mailbox<B> {
    #[inline(always)]
    fn receive(&mut self) -> Result<Seen, Failure> {
        let commit = self.memory.word(self.offset);
        // Partner: the release in `send`. The answer frees the mailbox.
        while commit.load(Ordering::Acquire) == self.last {
            std::hint::spin_loop();
        }
        self.last += 1;
        Ok(self.memory.read(self.offset + 8, self.body.words()))
    }
}

/// Where a ring of slots lies: each a commit word with a message behind it. A commit word holds the number of its message,
/// counted from 1, so that it differs from lap to lap, and nothing has to be cleared.
struct Ring<B> {
    memory: Memory,
    body: B,
    start: usize,
    slots: u64,
    /// Number of messages so far, and the slot of the next one.
    count: u64,
    offset: usize,
    idle: Idle,
}

impl<B: Body> Ring<B> {
    fn new(memory: &OwnedFd, body: B, readers: usize, idle: Idle) -> Result<Self, Failure> {
        let bytes = 8 * body.words();
        let start = START_BYTES + 2 * LINE_BYTES * readers;
        Ok(Self {
            memory: Memory::map(memory)?,
            body,
            start,
            slots: (ring_bytes(bytes) / (8 + bytes)) as u64,
            count: 0,
            offset: start,
            idle,
        })
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.count += 1;
        self.offset += 8 + 8 * self.body.words();
        if self.offset == self.start + self.slots as usize * (8 + 8 * self.body.words()) {
            self.offset = self.start;
        }
    }

    #[inline(always)]
    fn cursor(&self, reader: usize) -> &AtomicU64 {
        self.memory.word(START_BYTES + 2 * LINE_BYTES * reader)
    }
}

/// The writing end of a ring with one or several readers, each of which sees every message.
pub struct RingWriter<B> {
    ring: Ring<B>,
    readers: usize,
    /// Messages that there is room for, as far as known.
    limit: u64,
    batch: u64,
    /// Messages that wait for the first one's commit word, and where that is.
    held: u64,
    first: usize,
}

impl<B: Body> RingWriter<B> {
    pub fn new(
        memory: &OwnedFd,
        body: B,
        readers: usize,
        batch: u32,
        idle: Idle,
    ) -> Result<Self, Failure> {
        let ring = Ring::new(memory, body, readers, idle)?;
        Ok(Self {
            readers,
            limit: ring.slots,
            batch: u64::from(batch).min(ring.slots / 2),
            held: 0,
            first: 0,
            ring,
        })
    }

    #[cold]
    fn wait_for_room(&mut self) {
        loop {
            // Partner: the release in `RingReader::free`.
            let cursors = (0..self.readers).map(|reader| self.ring.cursor(reader));
            let slowest = cursors.map(|cursor| cursor.load(Ordering::Acquire)).min();
            self.limit = slowest.unwrap_or(0) + self.ring.slots;
            if self.limit > self.ring.count {
                return;
            }
            self.commit();
            self.ring.idle.pause();
        }
    }

    /// Stores the first commit word of a batch, which makes all of it visible.
    #[inline(always)]
    fn commit(&mut self) {
        if self.held > 0 {
            let number = self.ring.count - self.held + 1;
            // Partner: the acquire in `RingReader::receive`.
            self.ring
                .memory
                .word(self.first)
                .store(number, Ordering::Release);
            self.held = 0;
        }
    }
}

impl<B: Body> Outlet for RingWriter<B> {
    #[inline(always)]
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure> {
        if self.ring.count == self.limit {
            self.wait_for_room();
        }
        let offset = self.ring.offset;
        self.ring
            .memory
            .fill(offset + 8, self.ring.body.words(), stamp);
        if self.held == 0 {
            self.first = offset;
        } else {
            // Relaxed: no reader gets here before the first word of the batch is stored with release.
            let commit = self.ring.memory.word(offset);
            commit.store(self.ring.count + 1, Ordering::Relaxed);
        }
        self.ring.advance();
        self.held += 1;
        if self.held >= self.batch {
            self.commit();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.commit();
        Ok(())
    }
}

/// A reading end of a ring.
pub struct RingReader<B> {
    ring: Ring<B>,
    reader: usize,
    /// What the cursor holds.
    freed: u64,
}

impl<B: Body> RingReader<B> {
    pub fn new(
        memory: &OwnedFd,
        body: B,
        reader: usize,
        readers: usize,
        idle: Idle,
    ) -> Result<Self, Failure> {
        Ok(Self {
            ring: Ring::new(memory, body, readers, idle)?,
            reader,
            freed: 0,
        })
    }

    #[cold]
    fn wait(&mut self) {
        self.free();
        let commit = self.ring.memory.word(self.ring.offset);
        while commit.load(Ordering::Acquire) != self.ring.count + 1 {
            self.ring.idle.pause();
        }
    }

    #[cold]
    fn free(&mut self) {
        self.freed = self.ring.count;
        // Partner: the acquire in `RingWriter::wait_for_room`.
        self.ring
            .cursor(self.reader)
            .store(self.freed, Ordering::Release);
    }
}

impl<B: Body> Inlet for RingReader<B> {
    #[inline(always)]
    fn receive(&mut self) -> Result<Seen, Failure> {
        let commit = self.ring.memory.word(self.ring.offset);
        // Partner: the release in `RingWriter::commit`.
        if commit.load(Ordering::Acquire) != self.ring.count + 1 {
            self.wait();
        }
        let seen = self
            .ring
            .memory
            .read(self.ring.offset + 8, self.ring.body.words());
        self.ring.advance();
        if self.ring.count - self.freed >= self.ring.slots / 8 {
            self.free();
        }
        Ok(seen)
    }
}

fn mailbox_bytes(message_bytes: usize) -> usize {
    (8 + message_bytes).next_multiple_of(START_BYTES)
}

/// As much as the bus uses, at least eight messages.
fn ring_bytes(message_bytes: usize) -> usize {
    (512 * 1024).max(8 * (8 + message_bytes))
}

/// Where the cursors begin; the size of a page.
const START_BYTES: usize = 4096;
/// Lines are fetched in pairs.
const LINE_BYTES: usize = 64;
