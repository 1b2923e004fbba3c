//! How a ring names a chunk.
//!
//! | bytes of the payload | what |
//! |---|---|
//! | 0..4 | offset in the segment's data, divided by 64, u32 |
//! | 4..8 | number of the segment, plus 1, u32, not 0 |
//! | 8..16 | length in bytes, u64 |
//!
//! With its header such a record takes half a line, and never more than one.

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
    pub const BYTES: usize = 16;

    /// So many bytes from an offset on, which is a multiple of 64.
    #[cfg(test)]
    pub fn at(segment: SegmentId, offset_bytes: u64, len_bytes: u64) -> Self {
        assert!(offset_bytes.is_multiple_of(CHUNK_ALIGN_BYTES));
        let unit = u32::try_from(offset_bytes / CHUNK_ALIGN_BYTES).unwrap();
        Self {
            place: Place::new(segment, unit),
            len_bytes,
        }
    }

    /// As in a ring.
    #[inline]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let words = [self.place.word(), self.len_bytes];
        let mut bytes = [0; Self::BYTES];
        for (part, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *part = word.to_le_bytes();
        }
        bytes
    }

    /// What a ring says; `None` if it is no chunk of any segment. Whether the segment is so long is not known here.
    #[inline]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let [place, len_bytes] = [0, 8].map(word);
        let segment = ((place >> 32) as SegmentId).checked_sub(1)?;
        Some(Self {
            place: Place::new(segment, place as u32),
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

    #[test]
    fn chunks_have_their_documented_bytes() {
        let chunk = Chunk {
            place: Place::new(7, 2),
            len_bytes: 5000,
        };
        let bytes = [2, 0, 0, 0, 8, 0, 0, 0, 0x88, 0x13, 0, 0, 0, 0, 0, 0];
        assert_eq!(chunk.to_bytes(), bytes);
        assert_eq!(Chunk::from_bytes(bytes), Some(chunk));
        assert_eq!(chunk.place.offset_bytes(), 128);
        assert_eq!(chunk.place.word(), 8 << 32 | 2);
    }

    #[test]
    fn what_names_no_chunk_is_refused() {
        let last = Chunk::from_bytes([0xff; Chunk::BYTES]).unwrap();
        assert_eq!(last.place.segment, LAST_SEGMENT);
        assert_eq!(last.place.offset_bytes(), 64 * u64::from(u32::MAX));
        let mut bytes = [0xff; Chunk::BYTES];
        bytes[4..8].fill(0);
        assert_eq!(Chunk::from_bytes(bytes), None);
    }
}
