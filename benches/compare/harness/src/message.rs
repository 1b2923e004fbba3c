//! The messages that all contenders carry: words that follow from a number, so that each can be checked in full.

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not counted.
    WarmUp,
    Counted,
    /// The last one.
    End,
}

/// What tells messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub kind: Kind,
    /// Counts from 0 in each kind; less than 2^62.
    pub number: u64,
}

/// How long messages are. Of a type, so that the compiler knows the usual lengths.
pub trait Size: Copy + Send + Sync + 'static {
    /// Bytes of a message, a multiple of 8, at least 16.
    fn bytes(self) -> usize;
    /// How many of them, from the front, are written and read; the same unless only the first line is touched.
    fn touched(self) -> usize;
}

/// A length that the compiler knows.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const BYTES: usize>;

/// Any other one.
#[derive(Clone, Copy, Debug)]
pub struct Any {
    pub bytes: usize,
    pub touched: usize,
}

impl<const BYTES: usize> Size for Fixed<BYTES> {
    #[inline(always)]
    fn bytes(self) -> usize {
        BYTES
    }

    #[inline(always)]
    fn touched(self) -> usize {
        BYTES
    }
}

impl Size for Any {
    #[inline(always)]
    fn bytes(self) -> usize {
        self.bytes
    }

    #[inline(always)]
    fn touched(self) -> usize {
        self.touched
    }
}

impl Stamp {
    #[inline(always)]
    fn word(self) -> u64 {
        (self.kind as u64) << KIND_SHIFT | self.number
    }

    #[inline(always)]
    fn from_word(word: u64) -> Option<Self> {
        let kind = match word >> KIND_SHIFT {
            0 => Kind::WarmUp,
            1 => Kind::Counted,
            2 => Kind::End,
            _ => return None,
        };
        let number = word & NUMBER_BITS;
        Some(Self { kind, number })
    }
}

/// Writes a message, as far as it is to be touched.
#[inline(always)]
pub fn fill(size: impl Size, bytes: &mut [u8], stamp: Stamp) {
    let (words, _) = bytes[..size.touched()].as_chunks_mut::<8>();
    for (index, word) in words.iter_mut().enumerate() {
        *word = stamp.number.wrapping_add(index as u64).to_le_bytes();
    }
    bytes[..8].copy_from_slice(&stamp.word().to_le_bytes());
}

/// Sums a message up, as far as it is to be touched; `None` if it is not as it was written.
#[inline(always)]
pub fn check(size: impl Size, bytes: &[u8]) -> Option<Stamp> {
    if bytes.len() != size.bytes() {
        return None;
    }
    let (words, _) = bytes[..size.touched()].as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| {
        sum.wrapping_add(u64::from_le_bytes(*word))
    });
    let first = u64::from_le_bytes(*words.first()?);
    let stamp = Stamp::from_word(first)?;
    let count = words.len() as u64;
    let others = (count - 1)
        .wrapping_mul(stamp.number)
        .wrapping_add(count * (count - 1) / 2);
    (sum == first.wrapping_add(others)).then_some(stamp)
}

const KIND_SHIFT: u32 = 62;
const NUMBER_BITS: u64 = (1 << KIND_SHIFT) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_sees_every_touched_byte() {
        let sizes = [(16, 16), (24, 24), (64, 64), (4096, 4096), (4096, 64)];
        for (bytes, touched) in sizes {
            let size = Any { bytes, touched };
            let stamp = Stamp {
                kind: Kind::Counted,
                number: 0x0123_4567_89ab_cdef,
            };
            let mut message = vec![0xa5; bytes];
            fill(size, &mut message, stamp);
            assert_eq!(check(size, &message), Some(stamp));
            for place in 0..touched {
                message[place] ^= 0x10;
                assert_ne!(check(size, &message), Some(stamp), "{place} of {bytes}");
                message[place] ^= 0x10;
            }
            assert_eq!(check(size, &message[8..]), None);
        }
    }
}
