//! The messages as types of the bus.

use anyhow::Result;
use rend::u64_le;
use ringmain::message::{Bytes, Message};
use ringmain::{Delivery, Publisher, ResolvedTopic, rkyv};
use zerocopy::IntoBytes;

/// A type of messages, whose values are written and read as bytes.
pub trait Body: Message {
    /// What a message is made from.
    type Draft;
    fn draft(len_bytes: usize) -> Self::Draft;
    /// Writes a message, and publishes it.
    fn publish(
        publisher: &mut Publisher<Self>,
        topic: &ResolvedTopic,
        draft: &mut Self::Draft,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Delivery>;
    fn bytes(view: &Self::View) -> &[u8];
}

/// Types that can be published in batches.
pub trait SizedBody: Body<Draft = Self> + Sized {
    fn bytes_of(&mut self) -> &mut [u8];
}

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
            fn publish(
                publisher: &mut Publisher<Self>,
                topic: &ResolvedTopic,
                draft: &mut Self,
                fill: impl FnOnce(&mut [u8]),
            ) -> Result<Delivery> {
                fill(draft.bytes_of());
                Ok(publisher.publish_to(topic, draft)?)
            }

            #[inline(always)]
            fn bytes(view: &Self::View) -> &[u8] {
                let words: &[u64_le; $words] = &view.words;
                words.as_bytes()
            }
        }

        impl SizedBody for $block {
            #[inline(always)]
            fn bytes_of(&mut self) -> &mut [u8] {
                self.words.as_mut_bytes()
            }
        }
    )+};
}

block! {
    Block16: 2, "compare.16";
    Block64: 8, "compare.64";
    Block1024: 128, "compare.1024";
}

/// Any other length: written where it will be read.
impl Body for Bytes {
    /// Its length.
    type Draft = usize;

    fn draft(len_bytes: usize) -> usize {
        len_bytes
    }

    fn publish(
        publisher: &mut Publisher<Self>,
        topic: &ResolvedTopic,
        draft: &mut usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Delivery> {
        let mut loan = publisher.loan(topic, *draft)?;
        fill(&mut loan);
        Ok(loan.publish()?)
    }

    fn bytes(view: &[u8]) -> &[u8] {
        view
    }
}
