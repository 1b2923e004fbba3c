//! The header of a record.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | commit word, u64: bits 0..8 kind (never 0), bit 8 set if more of its batch follows, bits 9..32 zero, bits 32..64 payload length in bytes |
//! | 8..16 | detail, u64: the topic id of a message or of a topic definition, the segment that is given up, who leaves at a switch; else zero |

/// Bytes of a cell: the size of a header, the alignment of every record and of every payload.
pub const CELL_BYTES: usize = 16;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message; the detail is its topic id.
    Message = 1,
    /// Fills the ring up to its end; the payload has no meaning.
    Pad = 2,
    /// Gives a topic id, the detail, a name, the payload. An id may be given another name later.
    Topic = 3,
    /// Messages are missing here; the payload holds the cumulative counts ([`super::DropCounts`]).
    Gap = 4,
    /// A message whose payload begins with a cell that says when it was published; the detail is its topic id.
    Stamped = 5,
    /// A message whose payload lies in a chunk of a pool, which this record's payload names; the detail is its topic id.
    Pooled = 6,
    /// The same, behind a cell that says when it was published.
    StampedPooled = 7,
    /// Says what is attached to the message behind it, in the same batch.
    Attachments = 8,
    /// A segment of a pool, the detail, is not referred to any more; no payload.
    Retire = 9,
    /// Readers leave the ring here, which the detail names ([`super::Switch`]); there is no payload.
    Switch = 10,
}

/// A committed record as found in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Offset of the payload in the ring, in bytes.
    pub offset: usize,
    /// Length of the payload in bytes.
    pub len_bytes: usize,
    /// The header's second word.
    pub detail: u64,
}

/// Bytes that a record with this payload takes, header included.
#[inline(always)]
pub const fn record_bytes(payload_len: usize) -> usize {
    CELL_BYTES + payload_len.next_multiple_of(CELL_BYTES)
}

impl Kind {
    /// Whether it is a message, stamped or not, wherever its payload lies.
    #[inline(always)]
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Stamped) || self.is_pooled()
    }

    /// Whether it is a message whose payload lies in a pool.
    #[inline(always)]
    pub const fn is_pooled(self) -> bool {
        matches!(self, Self::Pooled | Self::StampedPooled)
    }

    /// Whether all that it says lies in the ring, so that it can be carried over to another one.
    pub const fn is_contained(self) -> bool {
        !self.is_pooled() && !matches!(self, Self::Attachments | Self::Retire | Self::Switch)
    }

    /// Whether the consumer passes over it by itself.
    #[inline(always)]
    pub(super) const fn is_passed(self) -> bool {
        matches!(self, Self::Pad | Self::Gap | Self::Switch)
    }

    #[inline(always)]
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Message),
            2 => Some(Self::Pad),
            3 => Some(Self::Topic),
            4 => Some(Self::Gap),
            5 => Some(Self::Stamped),
            6 => Some(Self::Pooled),
            7 => Some(Self::StampedPooled),
            8 => Some(Self::Attachments),
            9 => Some(Self::Retire),
            10 => Some(Self::Switch),
            _ => None,
        }
    }
}

/// Set in the commit word of a record behind which more of its batch follows: whoever carries a ring over keeps them
/// together.
pub(super) const MORE: u64 = 1 << 8;

/// The commit word of a record.
#[inline(always)]
pub(super) const fn commit_word(kind: Kind, payload_len: u32) -> u64 {
    (payload_len as u64) << 32 | kind as u64
}

/// Kind and payload length in a commit word; `None` if it is not one.
#[inline(always)]
pub(super) const fn parse_commit_word(word: u64) -> Option<(Kind, u32)> {
    if word & 0xffff_ff00 & !MORE != 0 {
        return None;
    }
    match Kind::from_byte(word as u8) {
        Some(kind) => Some((kind, (word >> 32) as u32)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_words_have_their_documented_bytes() {
        assert_eq!(
            commit_word(Kind::Message, 40).to_le_bytes(),
            [1, 0, 0, 0, 40, 0, 0, 0]
        );
        assert_eq!(
            commit_word(Kind::Gap, 0x0102_0304).to_le_bytes(),
            [4, 0, 0, 0, 4, 3, 2, 1]
        );
    }

    #[test]
    fn words_that_no_producer_stores_are_refused() {
        for word in [11, 0xff, 0x201, 0x0100_0001, 1 << 31 | 1] {
            assert_eq!(parse_commit_word(word), None, "{word:#x}");
        }
        assert_eq!(
            parse_commit_word(commit_word(Kind::Pad, u32::MAX)),
            Some((Kind::Pad, u32::MAX))
        );
    }
}
