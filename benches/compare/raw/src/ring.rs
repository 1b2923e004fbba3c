//! The barest ring: slots of one length, one producer, readers that each see every message.
//!
//! Each slot is a commit word with a message behind it. The word holds the number of the message, counted from 1, so it
//! differs from lap to lap, and nothing has to be cleared.

use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;
use compare_harness::{Inlet, Outlet, Size, Wait};

use crate::memory::{Memory, PAGE_BYTES};

/// What both ends know.
struct Ring<S> {
    memory: Memory,
    size: S,
    /// Where the slots begin, behind the cursors.
    start: usize,
    slots: u64,
    wait: Wait,
    /// Messages so far, and the offset of the next one.
    count: u64,
    offset: usize,
}

/// The writing end.
pub struct RingWriter<S> {
    ring: Ring<S>,
    readers: usize,
    /// Messages that there is room for, as far as known.
    limit: u64,
    batch: u64,
    /// Messages that wait for the first one's commit word, and where that is.
    held: u64,
    first: usize,
}

/// A reading end.
pub struct RingReader<S> {
    ring: Ring<S>,
    reader: usize,
    /// What the cursor holds.
    freed: u64,
}

impl<S: Size> Ring<S> {
    fn map(folder: &Path, size: S, readers: usize, wait: Wait) -> Result<Self> {
        let start = (CURSOR_BYTES * readers).next_multiple_of(PAGE_BYTES);
        let slot_bytes = 8 + size.bytes();
        let slots = (RING_BYTES / slot_bytes).max(LEAST_SLOTS);
        Ok(Self {
            memory: Memory::map(folder, start + slots * slot_bytes)?,
            size,
            start,
            slots: slots as u64,
            wait,
            count: 0,
            offset: start,
        })
    }

    #[inline(always)]
    fn advance(&mut self) {
        let slot_bytes = 8 + self.size.bytes();
        self.count += 1;
        self.offset += slot_bytes;
        if self.offset == self.start + self.slots as usize * slot_bytes {
            self.offset = self.start;
        }
    }

    /// How many messages a reader has freed.
    #[inline(always)]
    fn cursor(&self, reader: usize) -> &AtomicU64 {
        self.memory.word(CURSOR_BYTES * reader)
    }

    /// A rest between two looks: who polls right behind a writer takes its lines away.
    fn pause(&self) {
        for _ in 0..PAUSES {
            spin_loop();
        }
        if self.wait != Wait::Spin {
            thread::yield_now();
        }
    }
}

impl<S: Size> RingWriter<S> {
    /// Commits `batch` messages at a time.
    pub fn map(folder: &Path, size: S, readers: usize, wait: Wait, batch: u64) -> Result<Self> {
        let ring = Ring::map(folder, size, readers, wait)?;
        Ok(Self {
            readers,
            limit: ring.slots,
            batch: batch.min(ring.slots / 2),
            held: 0,
            first: 0,
            ring,
        })
    }

    #[cold]
    fn wait_for_room(&mut self) {
        loop {
            // Partner: the release in `RingReader::free`.
            let cursors =
                (0..self.readers).map(|reader| self.ring.cursor(reader).load(Ordering::Acquire));
            self.limit = cursors.min().unwrap_or(0) + self.ring.slots;
            if self.limit > self.ring.count {
                return;
            }
            self.commit();
            self.ring.pause();
        }
    }

    /// Stores the first commit word of a batch, which makes all of it visible.
    #[inline(always)]
    fn commit(&mut self) {
        if self.held > 0 {
            let number = self.ring.count - self.held + 1;
            // Partner: the acquire in `RingReader::has_come`.
            let commit = self.ring.memory.word(self.first);
            commit.store(number, Ordering::Release);
            self.held = 0;
        }
    }
}

impl<S: Size> Outlet for RingWriter<S> {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        if self.ring.count == self.limit {
            self.wait_for_room();
        }
        let (offset, len) = (self.ring.offset, self.ring.size.bytes());
        fill(self.ring.memory.free(offset + 8, len));
        if self.held == 0 {
            self.first = offset;
        } else {
            // Relaxed: no reader comes here before the first word of the batch is stored with release.
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

    fn flush(&mut self) -> Result<()> {
        self.commit();
        Ok(())
    }
}

impl<S: Size> RingReader<S> {
    /// The reader of this number.
    pub fn map(folder: &Path, size: S, readers: usize, wait: Wait, reader: usize) -> Result<Self> {
        Ok(Self {
            ring: Ring::map(folder, size, readers, wait)?,
            reader,
            freed: 0,
        })
    }

    #[inline(always)]
    fn has_come(&self) -> bool {
        // Partner: the release in `RingWriter::commit`.
        let commit = self.ring.memory.word(self.ring.offset);
        commit.load(Ordering::Acquire) == self.ring.count + 1
    }

    #[cold]
    fn wait(&mut self) {
        self.free();
        while !self.has_come() {
            self.ring.pause();
        }
    }

    #[cold]
    fn free(&mut self) {
        self.freed = self.ring.count;
        // Partner: the acquire in `RingWriter::wait_for_room`.
        let cursor = self.ring.cursor(self.reader);
        cursor.store(self.freed, Ordering::Release);
    }
}

impl<S: Size> Inlet for RingReader<S> {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        if !self.has_come() {
            self.wait();
        }
        let (offset, len) = (self.ring.offset, self.ring.size.bytes());
        take(self.ring.memory.committed(offset + 8, len));
        self.ring.advance();
        if self.ring.count - self.freed >= self.ring.slots / 8 {
            self.free();
        }
        Ok(true)
    }
}

/// Fits the second-level cache.
const RING_BYTES: usize = 512 * 1024;
/// For large messages.
const LEAST_SLOTS: usize = 4;
/// Lines are fetched in pairs.
const CURSOR_BYTES: usize = 128;
/// What was best for a stream of 64 bytes.
const PAUSES: u32 = 64;
