//! The limit of a connection to another host: the framing that the bus has there, with nothing around it.
//!
//! A packet of records: a header of 32 bytes with length and CRC-32C, then messages, each behind a header of 16 bytes. A
//! stream leaves in packets of 64 KiB, which is the most that the bus puts into one.

use std::io::{Read, Write};

use super::super::ends::{Inlet, Outlet};
use super::super::message::{Body, Seen, Stamp, fill};
use crate::ending::Failure;

/// The writing side of a stream.
pub struct PacketWriter<W, B> {
    stream: W,
    body: B,
    words: Vec<u64>,
    packet: Vec<u8>,
    /// From so many bytes on a packet leaves.
    enough: usize,
}

impl<W: Write, B: Body> PacketWriter<W, B> {
    /// Sends each message at once.
    pub fn single(stream: W, body: B) -> Self {
        Self::new(stream, body, 1)
    }

    /// Sends packets as long as the bus makes them.
    pub fn stream(stream: W, body: B) -> Self {
        Self::new(stream, body, PACKET_BYTES)
    }

    fn new(stream: W, body: B, enough: usize) -> Self {
        Self {
            stream,
            body,
            words: vec![0; body.words()],
            packet: Vec::new(),
            enough,
        }
    }
}

impl<W: Write, B: Body> Outlet for PacketWriter<W, B> {
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure> {
        if self.packet.is_empty() {
            self.packet.resize(PACKET_HEADER_BYTES, 0);
        }
        fill(&mut self.words, stamp);
        let len = 8 * self.body.words();
        let start = self.packet.len();
        self.packet.resize(start + record_bytes(len), 0);
        let record = &mut self.packet[start..];
        record[..8].copy_from_slice(&(len as u64).to_le_bytes());
        let (payload, _) = record[RECORD_HEADER_BYTES..].as_chunks_mut::<8>();
        for (bytes, word) in payload.iter_mut().zip(&self.words) {
            *bytes = word.to_le_bytes();
        }
        if self.packet.len() >= self.enough {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.packet.is_empty() {
            return Ok(());
        }
        let (header, body) = self.packet.split_at_mut(PACKET_HEADER_BYTES);
        header[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        header[8..12].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        self.stream.write_all(&self.packet)?;
        self.packet.clear();
        Ok(())
    }
}

/// The reading side of a stream.
pub struct PacketReader<R, B> {
    stream: R,
    body: B,
    bytes: Vec<u8>,
    /// What has come is `bytes[taken..end]`; up to `whole` it is a packet that was checked.
    taken: usize,
    whole: usize,
    end: usize,
}

impl<R: Read, B: Body> PacketReader<R, B> {
    pub fn new(stream: R, body: B) -> Self {
        let packet = PACKET_BYTES + PACKET_HEADER_BYTES + record_bytes(8 * body.words());
        Self {
            stream,
            body,
            bytes: vec![0; 4 * packet],
            taken: 0,
            whole: 0,
            end: 0,
        }
    }

    /// Waits for a whole packet, and checks it.
    fn next_packet(&mut self) -> Result<(), Failure> {
        loop {
            if let Some((header, rest)) =
                self.bytes[self.taken..self.end].split_first_chunk::<PACKET_HEADER_BYTES>()
            {
                let ([len, ..], _) = header.as_chunks::<8>() else {
                    return Err(Failure::text("a packet has no length"));
                };
                let len = u64::from_le_bytes(*len) as usize;
                if let Some(body) = rest.get(..len) {
                    if header[8..12] != crc32c::crc32c(body).to_le_bytes() {
                        return Err(Failure::text("a packet arrived damaged"));
                    }
                    self.taken += PACKET_HEADER_BYTES;
                    self.whole = self.taken + len;
                    return Ok(());
                }
            }
            if self.bytes.len() - self.end < self.bytes.len() / 2 {
                self.bytes.copy_within(self.taken..self.end, 0);
                (self.taken, self.end) = (0, self.end - self.taken);
            }
            match self.stream.read(&mut self.bytes[self.end..])? {
                0 => return Err(Failure::text("the other side has closed its socket")),
                read => self.end += read,
            }
        }
    }
}

impl<R: Read, B: Body> Inlet for PacketReader<R, B> {
    fn receive(&mut self) -> Result<Seen, Failure> {
        if self.taken == self.whole || self.whole == 0 {
            self.next_packet()?;
        }
        let len = 8 * self.body.words();
        let start = self.taken + RECORD_HEADER_BYTES;
        let (words, _) = self.bytes[start..start + len].as_chunks::<8>();
        self.taken += record_bytes(len);
        Ok(Seen::of(words.iter().map(|word| u64::from_le_bytes(*word))))
    }
}

const fn record_bytes(len: usize) -> usize {
    RECORD_HEADER_BYTES + len.next_multiple_of(16)
}

const PACKET_BYTES: usize = 64 * 1024;
const PACKET_HEADER_BYTES: usize = 32;
const RECORD_HEADER_BYTES: usize = 16;
