//! The limit of sockets: messages of one length over a connected stream, blocking.

use std::io::{Read, Write};

use super::super::ends::{Inlet, Outlet};
use super::super::message::{Body, Seen, Stamp, fill};
use crate::ending::Failure;

/// The writing side of a stream.
pub struct SocketWriter<W, B> {
    stream: W,
    body: B,
    words: Vec<u64>,
    /// Messages that are not written yet.
    bytes: Vec<u8>,
    batch: usize,
}

impl<W: Write, B: Body> SocketWriter<W, B> {
    pub fn new(stream: W, body: B, batch: u32) -> Self {
        Self {
            stream,
            body,
            words: vec![0; body.words()],
            bytes: Vec::new(),
            batch: batch as usize,
        }
    }
}

impl<W: Write, B: Body> Outlet for SocketWriter<W, B> {
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure> {
        fill(&mut self.words, stamp);
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        self.bytes.extend(bytes);
        if self.bytes.len() >= self.batch * 8 * self.body.words() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// The reading side of a stream.
pub struct SocketReader<R, B> {
    stream: R,
    body: B,
    /// What was read, of which everything before `taken` is used.
    bytes: Vec<u8>,
    taken: usize,
    end: usize,
}

impl<R: Read, B: Body> SocketReader<R, B> {
    pub fn new(stream: R, body: B) -> Self {
        Self {
            stream,
            body,
            bytes: vec![0; BUFFER_BYTES.max(16 * body.words())],
            taken: 0,
            end: 0,
        }
    }
}

impl<R: Read, B: Body> Inlet for SocketReader<R, B> {
    fn receive(&mut self) -> Result<Seen, Failure> {
        let len = 8 * self.body.words();
        while self.end - self.taken < len {
            if self.taken > 0 {
                self.bytes.copy_within(self.taken..self.end, 0);
                (self.taken, self.end) = (0, self.end - self.taken);
            }
            match self.stream.read(&mut self.bytes[self.end..])? {
                0 => return Err(Failure::text("the other side has closed its socket")),
                read => self.end += read,
            }
        }
        let message = &self.bytes[self.taken..self.taken + len];
        let (words, _) = message.as_chunks::<8>();
        self.taken += len;
        Ok(Seen::of(words.iter().map(|word| u64::from_le_bytes(*word))))
    }
}

const BUFFER_BYTES: usize = 256 * 1024;
