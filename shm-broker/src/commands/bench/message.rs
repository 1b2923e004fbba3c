//! The messages of the benchmarks: words that follow from a number, so that each can be checked in full.

use ringmain::message::Message;
use rkyv::rend::u64_le;

/// What tells messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts from 0; [`EXPIRED`], [`MEASURE`] and [`END`] are no messages.
    pub number: u64,
    /// When it was to be sent, by CLOCK_MONOTONIC; 0 where nobody asks.
    pub time_ns: u64,
}

/// What was found in a message.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub stamp: Stamp,
    sum: u64,
    words: u64,
}

/// Messages of one length: as a type of the bus, and as plain words.
pub trait Body: Copy {
    /// The type of the bus.
    type Message: Message;
    /// Its words of 8 bytes, at least two.
    fn words(self) -> usize;
    /// A message to be filled.
    fn message(self) -> Self::Message;
    /// The words to be filled.
    fn words_of(message: &mut Self::Message) -> &mut [u64];
    /// The words of a message that was received.
    fn view(view: &<Self::Message as Message>::View) -> &[u64_le];
}

/// Messages of a length that the compiler knows.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const WORDS: usize>;

/// Messages of any other length.
#[derive(Clone, Copy, Debug)]
pub struct Any {
    pub words: usize,
}

macro_rules! fixed {
    ($($message:ident: $words:literal, $name:literal;)+) => {$(
        /// A message without pointers.
        #[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
        #[message(name = $name)]
        pub struct $message {
            words: [u64; $words],
        }

        impl Body for Fixed<$words> {
            type Message = $message;

            #[inline(always)]
            fn words(self) -> usize {
                $words
            }

            fn message(self) -> $message {
                $message { words: [0; $words] }
            }

            #[inline(always)]
            fn words_of(message: &mut $message) -> &mut [u64] {
                &mut message.words
            }

            #[inline(always)]
            fn view(view: &<$message as Message>::View) -> &[u64_le] {
                &view.words
            }
        }
    )+};
}

fixed! {
    Block16: 2, "bench.16";
    Block48: 6, "bench.48";
    Block64: 8, "bench.64";
    Block256: 32, "bench.256";
    Block1024: 128, "bench.1024";
}

/// A message whose length only the value knows.
#[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "bench.any")]
pub struct AnyBlock {
    words: Vec<u64>,
}

impl Body for Any {
    type Message = AnyBlock;

    fn words(self) -> usize {
        self.words
    }

    fn message(self) -> AnyBlock {
        AnyBlock {
            words: vec![0; self.words],
        }
    }

    fn words_of(message: &mut AnyBlock) -> &mut [u64] {
        &mut message.words
    }

    fn view(view: &<AnyBlock as Message>::View) -> &[u64_le] {
        &view.words
    }
}

/// Calls a function, generic over [`Body`], with the body of so many bytes, a multiple of 8.
macro_rules! with_body {
    ($bytes:expr, $function:ident($($argument:expr),*)) => {{
        use $crate::commands::bench::message::{Any, Fixed};
        match $bytes {
            16 => $function(Fixed::<2>, $($argument),*),
            48 => $function(Fixed::<6>, $($argument),*),
            64 => $function(Fixed::<8>, $($argument),*),
            256 => $function(Fixed::<32>, $($argument),*),
            1024 => $function(Fixed::<128>, $($argument),*),
            bytes => $function(Any { words: bytes / 8 }, $($argument),*),
        }
    }};
}
pub(crate) use with_body;

/// Writes every word of a message.
#[inline(always)]
pub fn fill(words: &mut [u64], stamp: Stamp) {
    words[0] = stamp.number;
    words[1] = stamp.time_ns;
    for (index, word) in words.iter_mut().enumerate().skip(2) {
        *word = stamp.number.wrapping_add(index as u64);
    }
}

impl Seen {
    /// Reads every word of a message.
    #[inline(always)]
    pub fn of(words: impl ExactSizeIterator<Item = u64> + Clone) -> Self {
        let count = words.len() as u64;
        let mut first = words.clone();
        let stamp = Stamp {
            number: first.next().unwrap_or(END),
            time_ns: first.next().unwrap_or(0),
        };
        Self {
            stamp,
            sum: words.fold(0, u64::wrapping_add),
            words: count,
        }
    }

    /// Whether every word is the one that was written.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        let Stamp { number, time_ns } = self.stamp;
        let indices = (self.words * self.words.wrapping_sub(1) / 2).wrapping_sub(1);
        let sum = number
            .wrapping_mul(self.words.wrapping_sub(1))
            .wrapping_add(time_ns)
            .wrapping_add(indices);
        self.sum == sum
    }
}

/// Number of the mark behind the message with which a deadline has expired; its time tells when.
pub const EXPIRED: u64 = u64::MAX - 2;
/// Number of the mark behind the messages of the warm-up.
pub const MEASURE: u64 = u64::MAX - 1;
/// Number of the mark behind the last message.
pub const END: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_sees_every_word() {
        for words in [2, 3, 8, 128] {
            let mut message = vec![0; words];
            let stamp = Stamp {
                number: u64::MAX / 3,
                time_ns: 77,
            };
            fill(&mut message, stamp);
            let seen = Seen::of(message.iter().copied());
            assert!(seen.is_whole() && seen.stamp == stamp);
            for index in 0..words {
                message[index] ^= 1 << 40;
                // The first two words are the stamp, which the sum is compared with.
                let whole = Seen::of(message.iter().copied()).is_whole();
                assert!(!whole || index == 1 || words == 2, "{index} of {words}");
                message[index] ^= 1 << 40;
            }
        }
    }
}
