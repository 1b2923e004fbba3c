//! A payload that is written where it will be read.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use thiserror::Error;

use crate::lane::{PoolError, RawLoan};
use crate::message::{Bytes, EncodeError, Lend, Scratch};

use super::error::PublishError;
use super::outbound::{Delivery, Outbound, Patience};
use super::publisher::Publisher;
use super::topics::ResolvedTopic;

/// A message that is being written where subscribers will read it; see [`Publisher::loan`], [`Publisher::loan_value`],
/// [`Publisher::loan_slice`], [`Publisher::loan_with_tail`]. It derefs to its content.
///
/// Bytes, lists and tails may hold anything at first, values begin as zeros. Dropping it publishes nothing.
#[must_use = "a loan that is dropped publishes nothing"]
pub struct Loan<'a, T: Lend + ?Sized = Bytes> {
    outbound: &'a mut Outbound,
    /// The topic in the publisher's table.
    id: u32,
    /// `None` once it is published.
    loan: Option<RawLoan>,
    message: PhantomData<fn(&T)>,
}

/// Where a loan begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoanAlign {
    /// At a cache line: a multiple of 64 bytes.
    #[default]
    Line,
    /// At a page: a multiple of 4,096 bytes.
    Page,
}

/// Why there is no memory to write a message in.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoanError {
    /// The topic was resolved by another publisher, or another thing that is wrong with it.
    #[error(transparent)]
    Topic(PublishError),
    /// It is longer than the publisher has declared.
    #[error("a loan of {len} bytes, this publisher takes {limit}: raise `max_message_bytes`")]
    TooLarge {
        /// What was asked for, in bytes.
        len: usize,
        /// What was declared, in bytes.
        limit: usize,
    },
    /// What stands before the content cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There is no memory for it; see [`PublisherBuilder::pool_bytes`](super::PublisherBuilder::pool_bytes).
    #[error("{0}; raise `pool_bytes`, or have subscribers hold less")]
    Pool(#[from] PoolError),
    /// This process is a forked child of the one that opened the publisher.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

impl Publisher<Bytes> {
    /// Memory for a message of `len` bytes, at a multiple of 64, to be written in place and published without a copy. Its bytes may be
    /// anything, what earlier messages were included. 0 bytes are possible. Waits for nobody.
    ///
    /// Subscribers on this host read it where it was written, however many there are. For others it is copied: those on other
    /// hosts, or in queue groups; and for a [history](super::PublisherBuilder::history).
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("frames/*").max_message_bytes(16 << 20).open()?;
    /// let topic = publisher.resolve("frames/left")?;
    /// let mut frame = publisher.loan(&topic, 10 << 20)?;
    /// frame[..4].copy_from_slice(b"head");
    /// frame.trim(9 << 20);
    /// let delivery = frame.publish()?;
    /// println!("{} subscribers", delivery.lanes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoanError`]
    pub fn loan(&mut self, topic: &ResolvedTopic, len: usize) -> Result<Loan<'_>, LoanError> {
        self.loan_aligned(topic, len, LoanAlign::Line)
    }

    /// As [`loan`](Self::loan), with another alignment.
    ///
    /// # Errors
    /// [`LoanError`]
    pub fn loan_aligned(
        &mut self,
        topic: &ResolvedTopic,
        len: usize,
        align: LoanAlign,
    ) -> Result<Loan<'_>, LoanError> {
        self.lend(topic, len, align.bytes())
    }
}

impl<T: Lend + ?Sized> Publisher<T> {
    /// So many bytes, which may be anything, at a multiple of `align`, a power of two up to 4,096.
    pub(super) fn lend(
        &mut self,
        topic: &ResolvedTopic,
        len: usize,
        align: u64,
    ) -> Result<Loan<'_, T>, LoanError> {
        let id = self.id_of(topic).map_err(LoanError::Topic)?;
        let outbound = self.outbound_mut();
        let loan = outbound.loan_raw(len, align)?;
        Ok(Loan {
            outbound,
            id,
            loan: Some(loan),
            message: PhantomData,
        })
    }
}

impl<T: ?Sized> Publisher<T> {
    /// Bytes of memory that there are for large messages now.
    pub fn pool_bytes(&self) -> u64 {
        self.outbound().pool_bytes()
    }

    /// Gives memory for large messages back to the system in which none lies any more, neither to be read nor held; how many bytes there still
    /// are. Without this it is given back by and by, while others are published.
    pub fn shrink_pool(&mut self) -> u64 {
        self.outbound_mut().shrink_pool()
    }
}

impl Loan<'_> {
    /// Leaves the last bytes out, so that `len` are published; if there are as many.
    pub fn trim(&mut self, len: usize) {
        self.cut(len);
    }
}

impl<T: Lend + ?Sized> Loan<'_, T> {
    /// Publishes it; otherwise as [`Publisher::publish_to`].
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then.
    pub fn publish(mut self) -> Result<Delivery, PublishError> {
        match self.loan.take() {
            Some(loan) => self.outbound.publish_raw(self.id, loan, Patience::Policy),
            None => Ok(Delivery::default()),
        }
    }

    /// The encoded message.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.loan.as_deref_mut().unwrap_or_default()
    }

    /// The encoded message, with what encoders work in.
    pub(super) fn bytes_and_scratch(&mut self) -> (&mut [u8], &mut Scratch) {
        let bytes = self.loan.as_deref_mut().unwrap_or_default();
        (bytes, self.outbound.scratch())
    }

    /// Leaves out what is beyond so many bytes of the encoded message.
    pub(super) fn cut(&mut self, len: usize) {
        if let Some(loan) = &mut self.loan {
            loan.trim(len);
        }
    }

    fn bytes(&self) -> &[u8] {
        self.loan.as_deref().unwrap_or_default()
    }
}

impl<T: Lend + ?Sized> Deref for Loan<'_, T> {
    type Target = T::Content;

    fn deref(&self) -> &T::Content {
        T::content(self.bytes()).expect(FITTING)
    }
}

impl<T: Lend + ?Sized> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T::Content {
        T::content_mut(self.bytes_mut()).expect(FITTING)
    }
}

impl<T: Lend + ?Sized> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.outbound.abort_raw(loan);
        }
    }
}

impl<T: Lend + ?Sized> fmt::Debug for Loan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loan of {} bytes", self.bytes().len())
    }
}

/// Who lends asks for it, and trims no other way.
const FITTING: &str =
    "a loan has a length that its content can have, at a place where that is aligned";

impl LoanAlign {
    fn bytes(self) -> u64 {
        match self {
            Self::Line => 64,
            Self::Page => 4096,
        }
    }
}
