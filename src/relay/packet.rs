//! What two relays say to each other: packets in a stream of bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the body, u32 |
//! | 4..8 | kind, u32 |
//! | 8..16 | first number, u64: the lane; of an offer, the bytes of its ring or table; of another frame 0 |
//! | 16..24 | second number, u64: see [`Packet`]; 0 where nothing is said |
//! | 24..28 | CRC-32C of the 24 bytes before and of the body, u32 |
//! | 28..32 | 0 |
//!
//! All little-endian; the body follows. `docs/control-protocol.md` has the same for other implementations.

use thiserror::Error;

use crate::ring::{DropCounts, Ending};
use crate::table::Stamp;
use crate::wire::LaneId;

/// A packet; what has a lane in it speaks of the memory of that lane on the side that the sender is not on, but for
/// `Cursor` and `Left`, which speak of the sender's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packet<'a> {
    /// A frame of the control path; the body is its archive.
    Frame { archive: &'a [u8] },
    /// A frame that offers a lane.
    Offer { sizes: Sizes, archive: &'a [u8] },
    /// Records, the first of which stands at this position. None: the publisher waits until all before is read, so each move
    /// of the cursor up to there is to be told.
    Records {
        lane: LaneId,
        position: u64,
        records: &'a [u8],
    },
    /// A record of a lossy ring. It ends at this position of the sender's ring, which is how cursors speak of it.
    Parcel {
        lane: LaneId,
        number: u64,
        position: u64,
        bytes: &'a [u8],
    },
    /// A value of a table: of the publisher's history until `Start`, of the lane's own table behind that.
    Value {
        lane: LaneId,
        slot: u32,
        stamp: Stamp,
        bytes: &'a [u8],
    },
    /// A slot of the table has no value any more; with the stamp of its last one.
    Vacated {
        lane: LaneId,
        slot: u32,
        stamp: Stamp,
    },
    /// All values of the table with sequences below this have been sent, or others in their place.
    Complete { lane: LaneId, sequence: u64 },
    /// All that the publisher's history held when the lane began has been sent; the lane begins with this number of it.
    Start { lane: LaneId, number: u64 },
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

/// What a lane that is offered needs on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of its ring or table; 0 if it lies in the history.
    pub bytes: u64,
    /// Of a ring: on more unread bytes than these, each move of the cursor is to be told.
    pub news_above: u64,
    /// Bytes of the publisher's history, if that comes along.
    pub history_bytes: u64,
    /// How many values of each topic it keeps.
    pub kept: u32,
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
            Packet::Frame { archive } => (FRAME, 0, 0, archive),
            Packet::Offer { sizes, archive } => {
                let begun = begin(out, OFFER, sizes.bytes, sizes.news_above);
                out.extend(sizes.history_bytes.to_le_bytes());
                out.extend(u64::from(sizes.kept).to_le_bytes());
                out.extend_from_slice(archive);
                return finish(begun, out);
            }
            Packet::Parcel {
                lane,
                number,
                position,
                bytes,
            } => {
                let begun = begin(out, PARCEL, lane, number);
                out.extend(position.to_le_bytes());
                out.extend_from_slice(bytes);
                return finish(begun, out);
            }
            Packet::Value {
                lane,
                slot,
                stamp,
                bytes,
            } => return encode_value(out, VALUE, lane, (slot, stamp), bytes),
            Packet::Vacated { lane, slot, stamp } => {
                return encode_value(out, VACATED, lane, (slot, stamp), &[]);
            }
            Packet::Complete { lane, sequence } => (COMPLETE, lane, sequence, &[]),
            Packet::Start { lane, number } => (START, lane, number, &[]),
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
        OFFER => frame_bytes.saturating_add(OFFER_BYTES as u32),
        RECORDS | PARCEL | VALUE => MAX_RECORDS_BYTES,
        VACATED => VALUE_BYTES as u32,
        DROPS => DropCounts::BYTES as u32,
        CURSOR | ENDED | LEFT | ALIVE | GOODBYE | COMPLETE | START => 0,
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
    let numbers = (u64_at(header, 8), u64_at(header, 16));
    let packet = of_parts(kind, numbers, body).ok_or(PacketError::Header { kind, len })?;
    Ok(Some((packet, HEADER_BYTES + len as usize)))
}

/// A packet of a kind that there is; `None` if it says what none does.
fn of_parts(kind: u32, (lane, second): (u64, u64), body: &[u8]) -> Option<Packet<'_>> {
    Some(match kind {
        FRAME => Packet::Frame { archive: body },
        OFFER => {
            let (head, archive) = body.split_first_chunk::<OFFER_BYTES>()?;
            let sizes = Sizes {
                bytes: lane,
                news_above: second,
                history_bytes: u64_at(head, 0),
                kept: u32::try_from(u64_at(head, 8)).ok()?,
            };
            Packet::Offer { sizes, archive }
        }
        PARCEL => {
            let (position, bytes) = body.split_first_chunk()?;
            Packet::Parcel {
                lane,
                number: second,
                position: u64::from_le_bytes(*position),
                bytes,
            }
        }
        VALUE | VACATED => {
            let (head, bytes) = body.split_first_chunk::<VALUE_BYTES>()?;
            let slot = u32_at(head, 8);
            let stamp = Stamp {
                sequence: second,
                number: u64_at(head, 0),
                count: u32_at(head, 12),
            };
            match kind {
                VALUE => Packet::Value {
                    lane,
                    slot,
                    stamp,
                    bytes,
                },
                _ => Packet::Vacated { lane, slot, stamp },
            }
        }
        COMPLETE => Packet::Complete {
            lane,
            sequence: second,
        },
        START => Packet::Start {
            lane,
            number: second,
        },
        RECORDS => Packet::Records {
            lane,
            position: second,
            records: body,
        },
        DROPS => Packet::Drops {
            lane,
            counts: DropCounts::from_bytes(body.try_into().ok()?),
        },
        CURSOR => Packet::Cursor {
            lane,
            position: second,
        },
        ENDED => Packet::Ended {
            lane,
            ending: Ending::of(second)?,
        },
        LEFT => Packet::Left { lane },
        ALIVE => Packet::Alive,
        _ => Packet::Goodbye,
    })
}

fn encode_value(
    out: &mut Vec<u8>,
    kind: u32,
    lane: LaneId,
    (slot, stamp): (u32, Stamp),
    bytes: &[u8],
) {
    let begun = begin(out, kind, lane, stamp.sequence);
    out.extend(stamp.number.to_le_bytes());
    out.extend(slot.to_le_bytes());
    out.extend(stamp.count.to_le_bytes());
    out.extend_from_slice(bytes);
    finish(begun, out);
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

fn u32_at(header: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(header: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Bytes of a packet's header.
pub const HEADER_BYTES: usize = 32;
/// Longest body of a packet of records, a parcel or a value: the longest record of the largest ring that is carried over, and
/// what may stand before it.
pub const MAX_RECORDS_BYTES: u32 = (super::MAX_RING_BYTES / 2 + 2 * super::RECORDS_AT_ONCE) as u32;

const FRAME: u32 = 1;
const RECORDS: u32 = 2;
const DROPS: u32 = 3;
const CURSOR: u32 = 4;
const ENDED: u32 = 5;
const LEFT: u32 = 6;
const ALIVE: u32 = 7;
const GOODBYE: u32 = 8;
const OFFER: u32 = 9;
const PARCEL: u32 = 10;
const VALUE: u32 = 11;
const VACATED: u32 = 12;
const COMPLETE: u32 = 13;
const START: u32 = 14;

/// What stands before the archive of an offer: the history's bytes, how many values of a topic it keeps.
const OFFER_BYTES: usize = 16;
/// What stands before the bytes of a value: number, slot, count.
const VALUE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp {
        sequence: 0x0304,
        number: 0x0506,
        count: 0x07,
    };

    fn packets() -> Vec<Packet<'static>> {
        vec![
            Packet::Frame {
                archive: b"archive",
            },
            Packet::Offer {
                sizes: Sizes {
                    bytes: 4096,
                    news_above: 1,
                    history_bytes: 1 << 20,
                    kept: 3,
                },
                archive: b"archive",
            },
            Packet::Parcel {
                lane: 7,
                number: 3,
                position: 48,
                bytes: b"parcel",
            },
            Packet::Value {
                lane: 7,
                slot: 2,
                stamp: STAMP,
                bytes: b"value",
            },
            Packet::Vacated {
                lane: 7,
                slot: 2,
                stamp: STAMP,
            },
            Packet::Complete {
                lane: 7,
                sequence: 12,
            },
            Packet::Start {
                lane: 7,
                number: 11,
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
        bytes.clear();
        let (lane, slot, stamp) = (0x0102, 0x08, STAMP);
        let value = Packet::Value {
            lane,
            slot,
            stamp,
            bytes: b"v",
        };
        value.encode(&mut bytes);
        let expected = [
            [17, 0, 0, 0, 11, 0, 0, 0],
            [2, 1, 0, 0, 0, 0, 0, 0],
            [4, 3, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..24], expected);
        let body = [
            [6, 5, 0, 0, 0, 0, 0, 0],
            [8, 0, 0, 0, 7, 0, 0, 0],
            [b'v', 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[32..], body[..17]);
        bytes.clear();
        let (sizes, archive) = (
            Sizes {
                bytes: 0x1000,
                news_above: 2,
                history_bytes: 0x2000,
                kept: 3,
            },
            &b"a"[..],
        );
        Packet::Offer { sizes, archive }.encode(&mut bytes);
        let expected = [
            [17, 0, 0, 0, 9, 0, 0, 0],
            [0, 0x10, 0, 0, 0, 0, 0, 0],
            [2, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..24], expected);
        let body = [
            [0, 0x20, 0, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0, 0, 0],
            [b'a', 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[32..], body[..17]);
        bytes.clear();
        let (number, position) = (0x0304, 0x0506);
        let parcel = Packet::Parcel {
            lane,
            number,
            position,
            bytes: b"p",
        };
        parcel.encode(&mut bytes);
        let expected = [
            [9, 0, 0, 0, 10, 0, 0, 0],
            [2, 1, 0, 0, 0, 0, 0, 0],
            [4, 3, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..24], expected);
        assert_eq!(bytes[32..], [6, 5, 0, 0, 0, 0, 0, 0, b'p']);
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
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..16u32, len in 0..80u32) {
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
