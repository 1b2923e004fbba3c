//! The barest mailbox: one message in each direction, a number in front of it that says which one it is.

use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Result;
use compare_harness::{Channel, Inlet, Outlet, Size};

use crate::memory::{Memory, PAGE_BYTES};

/// One end of one direction. An answer frees the mailbox of the question.
pub struct Mailbox<S> {
    memory: Memory,
    size: S,
    offset: usize,
    /// What the number was last.
    last: u64,
}

impl<S: Size> Mailbox<S> {
    pub fn map(folder: &Path, size: S, channel: Channel) -> Result<Self> {
        let mailbox_bytes = (8 + size.bytes()).next_multiple_of(PAGE_BYTES);
        Ok(Self {
            memory: Memory::map(folder, 2 * mailbox_bytes)?,
            size,
            offset: match channel {
                Channel::There => 0,
                Channel::Back => mailbox_bytes,
            },
            last: 0,
        })
    }

    #[inline(always)]
    fn has_come(&self) -> bool {
        // Partner: the release in `send`.
        self.memory.word(self.offset).load(Ordering::Acquire) != self.last
    }
}

impl<S: Size> Outlet for Mailbox<S> {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        fill(self.memory.free(self.offset + 8, self.size.bytes()));
        self.last += 1;
        // Partner: the acquire in `has_come`.
        let number = self.memory.word(self.offset);
        number.store(self.last, Ordering::Release);
        Ok(())
    }
}

impl<S: Size> Inlet for Mailbox<S> {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        while !self.has_come() {
            spin_loop();
        }
        self.last += 1;
        take(self.memory.committed(self.offset + 8, self.size.bytes()));
        Ok(true)
    }
}
