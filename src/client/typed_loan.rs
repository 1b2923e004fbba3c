//! Values, lists and tails that are written where they will be read.

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;

use crate::message::rkyv_codec::FlatValidator;
use crate::message::{Describe, Message, Slice, WithTail, encode_header};

use super::loan::{Loan, LoanError};
use super::publisher::Publisher;
use super::topics::ResolvedTopic;

impl<T: Message + Describe> Publisher<T> {
    /// A value to be written in place, and published without a copy. It begins as zeros, at a multiple of 64 bytes. Otherwise as
    /// [`loan`](Publisher::loan).
    ///
    /// Every pattern of bits has to be a value ([`Describe::ANY_BITS`]), without padding, else this does not compile.
    ///
    /// ```no_run
    /// use ringmain::{Client, rkyv};
    ///
    /// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    /// #[rkyv(crate = ringmain::rkyv)]
    /// #[repr(C)]
    /// #[message(name = "radar.sweep")]
    /// struct Sweep {
    ///     number: u64,
    ///     echoes: [f32; 36_000],
    /// }
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Sweep>("sweeps").max_message_bytes(1 << 18).open()?;
    /// let topic = publisher.resolve("sweeps")?;
    /// let mut sweep = publisher.loan_value(&topic)?;
    /// sweep.number = 1;
    /// sweep.echoes[90] = 0.5;
    /// sweep.publish()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoanError`]
    pub fn loan_value(&mut self, topic: &ResolvedTopic) -> Result<Loan<'_, T>, LoanError> {
        let mut loan = self.lend(topic, size_of::<T>(), LINE_BYTES)?;
        loan.bytes_mut().fill(0);
        Ok(loan)
    }
}

impl<E: Describe> Publisher<Slice<E>> {
    /// Room for so many values, at a multiple of 64 bytes, to be written in place and published without a copy. They may be anything, what
    /// earlier messages were included. Otherwise as [`loan`](Publisher::loan).
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Slice};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Slice<f32>>("noise").open()?;
    /// let topic = publisher.resolve("noise")?;
    /// let mut samples = publisher.loan_slice(&topic, 480)?;
    /// samples.fill(0.25);
    /// samples.trim(441);
    /// samples.publish()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoanError`]
    pub fn loan_slice(
        &mut self,
        topic: &ResolvedTopic,
        count: usize,
    ) -> Result<Loan<'_, Slice<E>>, LoanError> {
        self.lend(topic, count.saturating_mul(size_of::<E>()), LINE_BYTES)
    }
}

impl<E: Describe> Loan<'_, Slice<E>> {
    /// Leaves the last values out, so that `count` are published; if there are as many.
    pub fn trim(&mut self, count: usize) {
        self.cut(count.saturating_mul(size_of::<E>()));
    }
}

impl<H, E, const ALIGN: usize> Publisher<WithTail<H, E, ALIGN>>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    /// A header with room for a tail of so many values behind it, which is written in place and published without a copy. The values may be
    /// anything, what earlier messages were included. They begin at a multiple of the type's `ALIGN` bytes, and of 64. Otherwise as
    /// [`loan`](Publisher::loan).
    ///
    /// ```no_run
    /// use ringmain::message::WithTail;
    /// use ringmain::{Client, rkyv};
    ///
    /// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    /// #[rkyv(crate = ringmain::rkyv)]
    /// #[message(name = "camera.frame")]
    /// struct Frame {
    ///     number: u64,
    /// }
    ///
    /// let client = Client::connect("demo")?;
    /// let builder = client.publisher::<WithTail<Frame, u8, 4096>>("frames/*");
    /// let mut publisher = builder.max_message_bytes(16 << 20).open()?;
    /// let topic = publisher.resolve("frames/left")?;
    /// let mut pixels = publisher.loan_with_tail(&topic, &Frame { number: 1 }, 10_000_000)?;
    /// pixels.fill(128);
    /// pixels.publish()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoanError`]
    pub fn loan_with_tail(
        &mut self,
        topic: &ResolvedTopic,
        header: &H,
        count: usize,
    ) -> Result<Loan<'_, WithTail<H, E, ALIGN>>, LoanError> {
        let len = with_tail_bytes::<H, E, ALIGN>(count);
        let mut loan = self.lend(topic, len, LINE_BYTES.max(ALIGN as u64))?;
        let (bytes, scratch) = loan.bytes_and_scratch();
        let front = &mut bytes[..WithTail::<H, E, ALIGN>::TAIL_OFFSET];
        encode_header(header, front, scratch)?;
        Ok(loan)
    }
}

impl<H, E, const ALIGN: usize> Loan<'_, WithTail<H, E, ALIGN>>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    /// Leaves the last values of the tail out, so that it has `count`; if there are as many.
    pub fn trim(&mut self, count: usize) {
        self.cut(with_tail_bytes::<H, E, ALIGN>(count));
    }
}

/// Bytes of a header with a tail of so many values; more than a publisher takes if they are beyond counting.
fn with_tail_bytes<H: Describe, E: Describe, const ALIGN: usize>(count: usize) -> usize {
    let tail = count.saturating_mul(size_of::<E>());
    tail.saturating_add(WithTail::<H, E, ALIGN>::TAIL_OFFSET)
}

/// A loan begins at a cache line, unless at a page.
const LINE_BYTES: u64 = 64;
