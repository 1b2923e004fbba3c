//! Packets over a connected stream socket, without blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use thiserror::Error;

use super::packet::{self, Packet, PacketError};
use crate::wire::{PREAMBLE_BYTES, PreambleError, Versions};

/// What comes: bytes until they are whole packets.
pub struct Incoming {
    frame_bytes: u32,
    /// Whether the other side's preamble has come.
    greeted: bool,
    buffer: Vec<u8>,
    /// What has come and was not taken: `buffer[start..end]`.
    start: usize,
    end: usize,
}

/// What goes: bytes until the socket takes them.
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Of `buffer`.
    sent: usize,
    /// Bytes of answers, less all that the socket has taken since: no more of them can lie in the buffer.
    answers: usize,
}

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Bytes.
    Some,
    /// Nothing at the moment.
    Nothing,
    /// The end of the stream.
    End,
}

/// Why a stream cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The two sides do not speak the same protocol.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// The peer broke the format.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The peer asks for more and more, and takes no answers.
    #[error("the peer does not take {0} bytes of answers to what it sends")]
    Deaf(usize),
}

impl Incoming {
    /// Takes frames of up to `frame_bytes`.
    pub fn new(frame_bytes: u32) -> Self {
        Self {
            frame_bytes,
            greeted: false,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Reads what there is, one buffer full at most.
    ///
    /// # Errors
    /// [`StreamError::Broken`].
    pub fn fill(&mut self, mut socket: &TcpStream) -> Result<Arrived, StreamError> {
        self.make_room();
        match socket.read(&mut self.buffer[self.end..]) {
            Ok(0) => Ok(Arrived::End),
            Ok(count) => {
                self.end += count;
                Ok(Arrived::Some)
            }
            Err(error) if is_for_later(&error) => Ok(Arrived::Nothing),
            Err(error) => Err(StreamError::Broken(error)),
        }
    }

    /// The next packet that has come whole.
    ///
    /// # Errors
    /// All but [`StreamError::Broken`].
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, StreamError> {
        if !self.greeted {
            let waiting = &self.buffer[self.start..self.end];
            let Some(preamble) = waiting.first_chunk::<PREAMBLE_BYTES>() else {
                return Ok(None);
            };
            Versions::OURS.agree(Versions::decode(preamble)?)?;
            self.start += PREAMBLE_BYTES;
            self.greeted = true;
        }
        let waiting = &self.buffer[self.start..self.end];
        match packet::decode(waiting, self.frame_bytes)? {
            Some((packet, len)) => {
                self.start += len;
                Ok(Some(packet))
            }
            None => Ok(None),
        }
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEPT_BYTES {
                self.buffer.truncate(BUFFER_BYTES);
                self.buffer.shrink_to_fit();
            }
        }
        if self.buffer.len() - self.end >= BUFFER_BYTES / 2 {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() - self.end < BUFFER_BYTES / 2 {
            // Grows as bytes come, not as they are announced.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}

impl Outgoing {
    /// The preamble is to be sent.
    pub fn new() -> Self {
        Self {
            buffer: Versions::OURS.encode().to_vec(),
            sent: 0,
            answers: 0,
        }
    }

    /// Where packets are appended; only while there [is room](Self::is_roomy), or memory grows. What has to be said
    /// whether or not there is room is [counted](Self::count_answers).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.sent >= BUFFER_BYTES / 2 {
            self.buffer.drain(..std::mem::take(&mut self.sent));
        }
        &mut self.buffer
    }

    /// Whether more may be appended.
    pub fn is_roomy(&self) -> bool {
        self.unsent() < BUFFER_BYTES
    }

    /// Bytes that the socket has not taken yet.
    pub fn unsent(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Notes that all beyond `before` unsent bytes was appended because the peer has sent something.
    ///
    /// # Errors
    /// [`StreamError::Deaf`].
    pub fn count_answers(&mut self, before: usize) -> Result<(), StreamError> {
        self.answers += self.unsent().saturating_sub(before);
        match self.answers {
            answers if answers > MOST_ANSWERS => Err(StreamError::Deaf(answers)),
            _ => Ok(()),
        }
    }

    /// Sends as much as the socket takes; gives how many bytes that was.
    ///
    /// # Errors
    /// [`StreamError::Broken`].
    pub fn flush(&mut self, mut socket: &TcpStream) -> Result<usize, StreamError> {
        let mut total = 0;
        while self.sent < self.buffer.len() {
            match socket.write(&self.buffer[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.answers = self.answers.saturating_sub(count);
                    total += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_for_later(&error) => return Ok(total),
                Err(error) => return Err(StreamError::Broken(error)),
            }
        }
        self.buffer.clear();
        self.sent = 0;
        Ok(total)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// What is read at once, and what is kept for a socket that takes nothing: some packets of records.
const BUFFER_BYTES: usize = 256 * 1024;
/// A buffer that grew beyond this for one packet is given back behind it.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Answers that may wait for a peer: refusals of all lanes that it can have.
const MOST_ANSWERS: usize = 4 * 1024 * 1024;
