//! What two relays say to each other: packets in a stream of bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the body, u32 |
//! | 4..8 | kind, u32 |
//! | 8..16 | first number, u64: the lane; of a frame, the ring's bytes if it offers a lane, else 0 |
//! | 16..24 | second number, u64: see [`Packet`]; 0 where nothing is said |
//! | 24..28 | CRC-32C of the 24 bytes before and of the body, u32 |
//! | 28..32 | 0 |
//!
//! All little-endian; the body follows. `docs/control-protocol.md` has the same for other implementations.

use thiserror::Error;

use crate::ring::{DropCounts, Ending};
use crate::wire::LaneId;

/// A packet; what has a lane in it speaks of the ring of that lane on the side that the sender is not on, but for
/// `Cursor` and `Left`, which speak of the sender's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packet<'a> {
    /// A frame of the control path; the body is its archive. If it offers a lane: bytes of the ring, and of how many
    /// unread bytes on the sender wants to know of each move of the cursor.
    Frame {
        ring_bytes: u64,
        news_above: u64,
        archive: &'a [u8],
    },
    /// Records, the first of which stands at this position. None: the publisher waits until all before is read, so each move
    /// of the cursor up to there is to be told.
    Records {
        lane: LaneId,
        position: u64,
        records: &'a [u8],
    },
    /// The drop counters, behind all records so far.
    Drops { lane: LaneId, counts: DropCounts },
    /// How far the reader has read.
    Cursor { lane: LaneId, position: u64 },
    /// Nothing comes behind the records so far.
    Ended { lane: LaneId, ending: Ending },
    /// The reader reads no more.
    Left { lane: LaneId },
    /// The sender lives.
    Alive,
    /// The sender is done: that the stream ends next is no failure.
    Goodbye,
}

/// How a peer broke the format; the stream is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// No packet has such a header.
    #[error("the peer sent a packet header that is none: kind {kind}, length {len}")]
    Header {
        /// Its kind.
        kind: u32,
        /// Its length in bytes.
        len: u32,
    },
    /// The packet is longer than its kind can be.
    #[error("the peer announced a packet of {len} bytes, {limit} are the most for kind {kind}")]
    TooLarge {
        /// Its kind.
        kind: u32,
        /// Its length in bytes.
        len: u32,
        /// The most, in bytes.
        limit: u32,
    },
    /// The checksum is another one: the bytes were changed on the way.
    #[error("a packet arrived damaged: its checksum is {found:#010x}, not {stated:#010x}")]
    Checksum {
        /// What the packet says.
        stated: u32,
        /// What its bytes have.
        found: u32,
    },
}

/// A packet that is being written: its header stands at `start` already, its body is appended by the caller.
#[must_use = "a packet is whole only when it is finished"]
pub struct Begun {
    start: usize,
    kind: u32,
    first: u64,
    second: u64,
}

impl<'a> Packet<'a> {
    /// A frame that offers no lane.
    pub fn control(archive: &'a [u8]) -> Self {
        Packet::Frame {
            ring_bytes: 0,
            news_above: 0,
            archive,
        }
    }

    /// Asks for each move of the cursor up to this position, where the next record goes.
    pub fn ask(lane: LaneId, position: u64) -> Self {
        Packet::Records {
            lane,
            position,
            records: &[],
        }
    }

    /// Appends a packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, first, second, body): (u32, u64, u64, &[u8]) = match *self {
            Packet::Frame {
                ring_bytes,
                news_above,
                archive,
            } => (FRAME, ring_bytes, news_above, archive),
            Packet::Records {
                lane,
                position,
                records,
            } => (RECORDS, lane, position, records),
            Packet::Drops { lane, counts } => {
                let begun = begin(out, DROPS, lane, 0);
                out.extend(counts.to_bytes());
                return finish(begun, out);
            }
            Packet::Cursor { lane, position } => (CURSOR, lane, position, &[]),
            Packet::Ended { lane, ending } => (ENDED, lane, ending as u64, &[]),
            Packet::Left { lane } => (LEFT, lane, 0, &[]),
            Packet::Alive => (ALIVE, 0, 0, &[]),
            Packet::Goodbye => (GOODBYE, 0, 0, &[]),
        };
        let begun = begin(out, kind, first, second);
        out.extend_from_slice(body);
        finish(begun, out);
    }
}

/// Begins a packet of records, which are to be appended.
pub fn begin_records(out: &mut Vec<u8>, lane: LaneId, position: u64) -> Begun {
    begin(out, RECORDS, lane, position)
}

/// Ends a packet of records; one without a record is taken back. Whether it had some.
pub fn finish_records(begun: Begun, out: &mut Vec<u8>) -> bool {
    if out.len() == begun.start + HEADER_BYTES {
        out.truncate(begun.start);
        return false;
    }
    finish(begun, out);
    true
}

/// The first packet in `bytes`, with its length; `None` while it has not come whole.
///
/// # Errors
/// See [`PacketError`]. A header is judged before its body is awaited.
pub fn decode(bytes: &[u8], frame_bytes: u32) -> Result<Option<(Packet<'_>, usize)>, PacketError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let (len, kind) = (u32_at(header, 0), u32_at(header, 4));
    let limit = match kind {
        FRAME => frame_bytes,
        RECORDS => MAX_RECORDS_BYTES,
        DROPS => DropCounts::BYTES as u32,
        CURSOR | ENDED | LEFT | ALIVE | GOODBYE => 0,
        _ => return Err(PacketError::Header { kind, len }),
    };
    if len > limit {
        return Err(PacketError::TooLarge { kind, len, limit });
    }
    if u32_at(header, 28) != 0 {
        return Err(PacketError::Header { kind, len });
    }
    let Some(body) = rest.get(..len as usize) else {
        return Ok(None);
    };
    let (stated, found) = (u32_at(header, 24), checksum(header, body));
    if stated != found {
        return Err(PacketError::Checksum { stated, found });
    }
    let (lane, second) = (u64_at(header, 8), u64_at(header, 16));
    let packet = match kind {
        FRAME => Packet::Frame {
            ring_bytes: lane,
            news_above: second,
            archive: body,
        },
        RECORDS => Packet::Records {
            lane,
            position: second,
            records: body,
        },
        DROPS => match body.try_into() {
            Ok(counts) => Packet::Drops {
                lane,
                counts: DropCounts::from_bytes(counts),
            },
            Err(_) => return Err(PacketError::Header { kind, len }),
        },
        CURSOR => Packet::Cursor {
            lane,
            position: second,
        },
        ENDED => match Ending::of(second) {
            Some(ending) => Packet::Ended { lane, ending },
            None => return Err(PacketError::Header { kind, len }),
        },
        LEFT => Packet::Left { lane },
        ALIVE => Packet::Alive,
        _ => Packet::Goodbye,
    };
    Ok(Some((packet, HEADER_BYTES + len as usize)))
}

fn begin(out: &mut Vec<u8>, kind: u32, first: u64, second: u64) -> Begun {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    Begun {
        start,
        kind,
        first,
        second,
    }
}

fn finish(begun: Begun, out: &mut [u8]) {
    let Begun {
        start,
        kind,
        first,
        second,
    } = begun;
    let (header, body) = out[start..].split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[4..8].copy_from_slice(&kind.to_le_bytes());
    header[8..16].copy_from_slice(&first.to_le_bytes());
    header[16..24].copy_from_slice(&second.to_le_bytes());
    let checksum = checksum(header, body);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..24]), body)
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Bytes of a packet's header.
pub const HEADER_BYTES: usize = 32;
/// Longest body of a packet of records: the longest record of the largest ring that is carried over, and what may stand
/// before it.
pub const MAX_RECORDS_BYTES: u32 = (super::MAX_RING_BYTES / 2 + 2 * super::RECORDS_AT_ONCE) as u32;

const FRAME: u32 = 1;
const RECORDS: u32 = 2;
const DROPS: u32 = 3;
const CURSOR: u32 = 4;
const ENDED: u32 = 5;
const LEFT: u32 = 6;
const ALIVE: u32 = 7;
const GOODBYE: u32 = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets() -> Vec<Packet<'static>> {
        vec![
            Packet::Frame {
                ring_bytes: 4096,
                news_above: 1,
                archive: b"archive",
            },
            Packet::Records {
                lane: 7,
                position: 1 << 40,
                records: &[1; 48],
            },
            Packet::Drops {
                lane: 7,
                counts: DropCounts::from_bytes([3; 16]),
            },
            Packet::Cursor {
                lane: 7,
                position: 64,
            },
            Packet::Ended {
                lane: 7,
                ending: Ending::TransportLost,
            },
            Packet::Left { lane: 7 },
            Packet::Alive,
            Packet::Goodbye,
        ]
    }

    #[test]
    fn packets_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let mut bytes = Vec::new();
        packets()
            .iter()
            .for_each(|packet| packet.encode(&mut bytes));
        let mut rest = &bytes[..];
        for expected in packets() {
            let (packet, len) = decode(rest, 64).unwrap().unwrap();
            assert_eq!(packet, expected);
            for cut in 0..len {
                assert_eq!(decode(&rest[..cut], 64), Ok(None));
            }
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_packet_has_these_bytes() {
        let mut bytes = Vec::new();
        Packet::Cursor {
            lane: 0x0102,
            position: 0x0304,
        }
        .encode(&mut bytes);
        let expected = [
            [0, 0, 0, 0, 4, 0, 0, 0],
            [2, 1, 0, 0, 0, 0, 0, 0],
            [4, 3, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..24], expected);
        // The polynomial is Castagnoli's: this is the check value of RFC 3720 for 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        for packet in packets() {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                // A length that has grown within its limit waits for more, which then has the wrong checksum.
                assert!(
                    !matches!(decode(&changed, 64), Ok(Some(_))),
                    "{packet:?} {bit}"
                );
            }
        }
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused_before_it_is_awaited() {
        let mut bytes = Vec::new();
        packets()[0].encode(&mut bytes);
        assert!(matches!(
            decode(&bytes[..HEADER_BYTES], 6),
            Err(PacketError::TooLarge {
                len: 7,
                limit: 6,
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..10u32, len in 0..80u32) {
            let _ = decode(&bytes, 64);
            let mut bytes = bytes;
            bytes.resize(bytes.len().max(HEADER_BYTES), 0);
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            bytes[4..8].copy_from_slice(&kind.to_le_bytes());
            bytes[28..32].fill(0);
            if let Some(body) = bytes.get(HEADER_BYTES..HEADER_BYTES + len as usize) {
                let checksum = checksum(&bytes, body).to_le_bytes();
                bytes[24..28].copy_from_slice(&checksum);
            }
            let _ = decode(&bytes, 64);
        }
    }
}
