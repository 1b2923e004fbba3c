//! The header at the start of every segment, as bytes.
//!
//! All numbers are little-endian; `docs/segment-format.md` has the table. This file knows no memory: it turns a
//! [`Header`] into bytes and checks bytes, which the reader has copied out of the mapping before.

use super::{Incarnation, SegmentError};

/// What every segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the data is.
    pub kind: Kind,
    /// Length of the whole segment in bytes, this page included.
    pub total_bytes: u64,
    /// Tells this segment from every other.
    pub incarnation: Incarnation,
    /// The creating process, as it knows itself; for people, trusted by nobody.
    pub creator_pid: u32,
}

/// What the data of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// The ring of a lane; written by the publisher.
    Ring = 1,
    /// Read positions of a subscriber's lanes; written by the subscriber.
    CursorPage = 2,
    /// One route-epoch word per client; written by the broker.
    Epochs = 3,
    /// What a client counts; written by the client.
    Counters = 4,
    /// Last values; written by the publisher.
    Table = 5,
    /// Payloads of many messages; written by the publisher.
    Pool = 6,
    /// Memory that is attached to messages; written by whoever made it.
    Region = 7,
}

impl Kind {
    /// Hash of the name of the data's layout; another layout has to have another name.
    pub const fn layout_hash(self) -> u64 {
        fnv1a(match self {
            Self::Ring => b"ringmain ring 2",
            Self::CursorPage => b"ringmain cursor page 4",
            Self::Epochs => b"ringmain epochs 1",
            Self::Counters => b"ringmain counters 2",
            Self::Table => b"ringmain table 1",
            Self::Pool => b"ringmain pool 2",
            Self::Region => b"ringmain region 1",
        })
    }

    /// Whether it is a few pages of words, whatever messages there are: in huge pages most of those would be wasted.
    pub(super) const fn is_small(self) -> bool {
        matches!(self, Self::CursorPage | Self::Epochs | Self::Counters)
    }

    /// The name of its memfds, which `/proc/PID/fd` shows; counters are found by theirs.
    pub(super) const fn memfd_name(self) -> &'static str {
        match self {
            Self::Counters => "ringmain-counters",
            _ => "ringmain",
        }
    }
}

impl Header {
    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.total_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.kind.layout_hash().to_le_bytes());
        bytes[32..48].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.creator_pid.to_le_bytes());
        bytes
    }

    /// Checks the bytes of a header of a segment that should be an `expected`, in a file of `len` bytes in pages of `page_bytes`.
    ///
    /// # Errors
    /// The first field that is not as it should be.
    pub fn decode(
        bytes: &[u8; HEADER_BYTES],
        expected: Kind,
        len: u64,
        page_bytes: u64,
    ) -> Result<Self, SegmentError> {
        let magic = field::<8>(bytes, 0);
        if magic != MAGIC {
            return Err(SegmentError::Magic { found: magic });
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        if version != FORMAT_VERSION {
            return Err(SegmentError::Version {
                found: version,
                known: FORMAT_VERSION,
            });
        }
        let kind = u32::from_le_bytes(field(bytes, 12));
        if kind != expected as u32 {
            return Err(SegmentError::WrongKind {
                found: kind,
                expected,
            });
        }
        let layout = u64::from_le_bytes(field(bytes, 24));
        if layout != expected.layout_hash() {
            return Err(SegmentError::Layout {
                kind: expected,
                found: layout,
                known: expected.layout_hash(),
            });
        }
        let total_bytes = u64::from_le_bytes(field(bytes, 16));
        let whole_pages = total_bytes.checked_next_multiple_of(page_bytes);
        if whole_pages != Some(len) || !total_bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err(SegmentError::TotalBytes {
                stated: total_bytes,
                len,
            });
        }
        Ok(Self {
            kind: expected,
            total_bytes,
            incarnation: Incarnation(u128::from_le_bytes(field(bytes, 32))),
            creator_pid: u32::from_le_bytes(field(bytes, 48)),
        })
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

const fn fnv1a(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Version of the header and of what all segments have in common.
pub const FORMAT_VERSION: u32 = 1;
/// Unit of a segment's length, and distance from its start to its data, in bytes; also where the system's pages are larger.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of the header that carry meaning; the rest of its page is zero.
pub const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"RINGSEG\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::CursorPage,
            total_bytes: 0x3000,
            incarnation: Incarnation(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
            creator_pid: 0x1234,
        }
    }

    /// The table of docs/segment-format.md; a change here is a change of the format.
    #[test]
    fn a_header_has_these_bytes() {
        let mut golden = Vec::new();
        golden.extend_from_slice(b"RINGSEG\0");
        golden.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        golden.extend_from_slice(&[0x00, 0x30, 0, 0, 0, 0, 0, 0]);
        golden.extend_from_slice(&[0x4b, 0x00, 0x73, 0x99, 0xdb, 0xaf, 0xcf, 0x1a]);
        golden.extend(0..16_u8);
        golden.extend_from_slice(&[0x34, 0x12, 0, 0]);
        golden.extend_from_slice(&[0; 12]);
        assert_eq!(header().encode().as_slice(), golden);
    }

    #[test]
    fn layouts_have_these_hashes() {
        let document = include_str!("../../docs/segment-format.md");
        for kind in [
            Kind::Ring,
            Kind::CursorPage,
            Kind::Epochs,
            Kind::Counters,
            Kind::Table,
            Kind::Pool,
        ] {
            let row = format!(
                "| {} | {kind:?} | `{:#018x}` |",
                kind as u32,
                kind.layout_hash()
            );
            assert!(
                document.contains(&row),
                "docs/segment-format.md lacks the row {row}"
            );
        }
        assert!(document.contains(&format!("Format version: {FORMAT_VERSION}\n")));
    }

    #[test]
    fn a_header_survives_the_way_through_bytes() {
        let header = header();
        assert_eq!(
            Header::decode(&header.encode(), header.kind, header.total_bytes, 4096).unwrap(),
            header
        );
    }

    #[test]
    fn every_wrong_field_is_named() {
        let decode = |at: usize| {
            let mut bytes = header().encode();
            bytes[at] ^= 0x40;
            Header::decode(&bytes, Kind::CursorPage, 0x3000, 4096)
        };
        assert!(matches!(decode(7), Err(SegmentError::Magic { .. })));
        assert!(matches!(
            decode(8),
            Err(SegmentError::Version {
                found: 0x41,
                known: 1
            })
        ));
        assert!(matches!(
            decode(12),
            Err(SegmentError::WrongKind {
                found: 0x42,
                expected: Kind::CursorPage
            })
        ));
        assert!(matches!(
            decode(16),
            Err(SegmentError::TotalBytes {
                stated: 0x3040,
                len: 0x3000
            })
        ));
        assert!(matches!(
            decode(31),
            Err(SegmentError::Layout {
                kind: Kind::CursorPage,
                ..
            })
        ));
    }

    #[test]
    fn a_file_of_huge_pages_is_whole_pages_long() {
        const HUGE: u64 = 2 << 20;
        let decode = |total_bytes, len| {
            let header = Header {
                total_bytes,
                ..header()
            };
            Header::decode(&header.encode(), header.kind, len, HUGE)
        };
        for total in [0x2000, HUGE - 4096, HUGE] {
            assert_eq!(decode(total, HUGE).unwrap().total_bytes, total);
        }
        for (total, len) in [
            (0, HUGE),
            (HUGE + 4096, HUGE),
            (HUGE, 2 * HUGE),
            (HUGE - 8, HUGE),
            (u64::MAX, HUGE),
            (u64::MAX - 4095, 0),
        ] {
            assert!(
                matches!(decode(total, len), Err(SegmentError::TotalBytes { stated, .. }) if stated == total),
                "{total} {len}"
            );
        }
    }
}
