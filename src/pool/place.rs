//! How a ring names a chunk.
//!
//! | bytes of the payload | what |
//! |---|---|
//! | 0..8 | segment, u64, below 2^32 - 1 |
//! | 8..16 | offset in the segment's data, u64, a multiple of 64 |
//! | 16..24 | length in bytes, u64 |
//! | 24..32 | zero |

/// A segment of a publisher, as it numbers them; below 2^32 - 1, never given twice.
pub type SegmentId = u32;

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which segment.
    pub segment: SegmentId,
    /// Where in its data, in units of [`CHUNK_ALIGN_BYTES`].
    unit: u32,
}

/// A chunk as it goes through a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it lies.
    pub place: Place,
    /// Its length in bytes.
    pub len_bytes: u64,
}

impl Place {
    /// So many units into a segment.
    pub(super) const fn new(segment: SegmentId, unit: u32) -> Self {
        Self { segment, unit }
    }

    /// That of a region, which is no part of a pool. Another one can have the same, which then is taken for held with it.
    pub fn of_region(number: u64) -> Self {
        let segment = FIRST_REGION + number % u64::from(u32::MAX / 2 - 1);
        Self::new(segment as SegmentId, 0)
    }

    /// Offset in the segment's data, in bytes.
    pub const fn offset_bytes(self) -> u64 {
        self.unit as u64 * CHUNK_ALIGN_BYTES
    }

    /// What a hold slot says that names it; never 0.
    pub(super) const fn word(self) -> u64 {
        (self.segment as u64 + 1) << 32 | self.unit as u64
    }
}

impl Chunk {
    /// Bytes in a ring.
    pub const BYTES: usize = 32;

    /// As in a ring.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&u64::from(self.place.segment).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.place.offset_bytes().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.len_bytes.to_le_bytes());
        bytes
    }

    /// What a ring says; `None` if it is no chunk of any segment. Whether the segment is so long is not known here.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let [segment, offset, len_bytes, reserved] = [0, 8, 16, 24].map(word);
        let segment = SegmentId::try_from(segment)
            .ok()
            .filter(|id| *id <= LAST_SEGMENT)?;
        let unit = u32::try_from(offset / CHUNK_ALIGN_BYTES).ok()?;
        let is_chunk = offset % CHUNK_ALIGN_BYTES == 0 && reserved == 0;
        is_chunk.then_some(Self {
            place: Place { segment, unit },
            len_bytes,
        })
    }
}

/// All chunks begin at a multiple of this many bytes.
pub const CHUNK_ALIGN_BYTES: u64 = 64;
/// Above what any pool numbers its segments.
const FIRST_REGION: u64 = 1 << 31;
/// So that the word of a place is never 0, nor too long.
pub(super) const LAST_SEGMENT: SegmentId = u32::MAX - 1;

#[cfg(all(test, not(ring_loom)))]
mod tests {
    use super::*;

    fn chunk(words: [u64; 4]) -> Option<Chunk> {
        let mut bytes = [0; Chunk::BYTES];
        for (part, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *part = word.to_le_bytes();
        }
        Chunk::from_bytes(bytes)
    }

    #[test]
    fn chunks_have_their_documented_bytes() {
        let found = chunk([7, 128, 5000, 0]).unwrap();
        assert_eq!(found.place.segment, 7);
        assert_eq!(found.place.offset_bytes(), 128);
        assert_eq!(found.len_bytes, 5000);
        assert_eq!(Chunk::from_bytes(found.to_bytes()), Some(found));
        assert_eq!(found.place.word(), 8 << 32 | 2);
    }

    #[test]
    fn what_names_no_chunk_is_refused() {
        let last = u64::from(LAST_SEGMENT);
        assert!(chunk([last, 64 * u64::from(u32::MAX), u64::MAX, 0]).is_some());
        for words in [
            [last + 1, 0, 1, 0],
            [1 << 32, 0, 1, 0],
            [0, 16, 1, 0],
            [0, 64 << 32, 1, 0],
            [0, 0, 1, 1],
        ] {
            assert_eq!(chunk(words), None, "{words:?}");
        }
    }
}
