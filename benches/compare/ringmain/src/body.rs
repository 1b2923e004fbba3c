//! The messages as types of the bus.

use rend::u64_le;
use ringmain::message::{Bytes, Message};
use ringmain::rkyv;
use zerocopy::IntoBytes;

/// A type of messages, whose values are written and read as bytes.
pub trait Body: Message {
    /// What holds a message while it is written.
    type Draft;
    fn draft(len_bytes: usize) -> Self::Draft;
    fn bytes_of(draft: &mut Self::Draft) -> &mut [u8];
    fn message(draft: &Self::Draft) -> &Self;
    fn bytes(view: &Self::View) -> &[u8];
}

/// Types that can be published in batches.
pub trait SizedBody: Body<Draft = Self> + Sized {}

macro_rules! block {
    ($($block:ident: $words:literal, $name:literal;)+) => {$(
        /// A message of a length that the compiler knows.
        #[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
        #[rkyv(crate = ringmain::rkyv)]
        #[message(name = $name)]
        pub struct $block {
            words: [u64; $words],
        }

        impl Body for $block {
            type Draft = Self;

            fn draft(_: usize) -> Self {
                Self { words: [0; $words] }
            }

            #[inline(always)]
            fn bytes_of(draft: &mut Self) -> &mut [u8] {
                draft.words.as_mut_bytes()
            }

            #[inline(always)]
            fn message(draft: &Self) -> &Self {
                draft
            }

            #[inline(always)]
            fn bytes(view: &Self::View) -> &[u8] {
                let words: &[u64_le; $words] = &view.words;
                words.as_bytes()
            }
        }

        impl SizedBody for $block {}
    )+};
}

block! {
    Block16: 2, "compare.16";
    Block64: 8, "compare.64";
    Block1024: 128, "compare.1024";
}

/// Any other length.
impl Body for Bytes {
    type Draft = Vec<u8>;

    fn draft(len_bytes: usize) -> Vec<u8> {
        vec![0; len_bytes]
    }

    fn bytes_of(draft: &mut Vec<u8>) -> &mut [u8] {
        draft
    }

    fn message(draft: &Vec<u8>) -> &Self {
        Self::new(draft)
    }

    fn bytes(view: &[u8]) -> &[u8] {
        view
    }
}
