//! A message that is kept beyond its receipt.
//!
//! # Safety
//! The invariant: `view` points into the bytes that `bytes` keeps: a copy in private memory, or a chunk that its publisher does not write while it is
//! held. A publisher of the same user is trusted in this one thing.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use rkyv::util::AlignedVec;
use thiserror::Error;

use crate::lane::{CannotHold, Hold};
use crate::message::ViewError;
use crate::pool::HOLDS;
use crate::topic::Topic;

use super::sample::Sample;
use super::subscriber::Receive;

/// A message that is kept beyond its receipt; see [`Sample::hold`]. It derefs to the message's view, as the sample did.
///
/// May go to any thread, and live longer than its subscriber and the client. Clones are of the same message; it is released with
/// the last of them, in any order.
pub struct Held<T: Receive + ?Sized> {
    view: NonNull<T::View>,
    bytes: Arc<Kept>,
    topic: Topic,
    sequence: u64,
}

enum Kept {
    Copy { _bytes: AlignedVec<16> },
    Chunk { _hold: Hold },
}

/// Why a message cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HoldError {
    /// The subscriber holds as much of this publisher's memory as it may.
    #[error("{most} messages or regions of this publisher are held: release some")]
    UsedUp {
        /// How many can be held at a time.
        most: usize,
    },
    /// The publisher has changed the message, which is no value of the type any more.
    #[error("the publisher has changed the message: {0}")]
    Changed(#[from] ViewError),
    /// This process is a forked child of the one that received the message.
    #[error("this message belongs to the parent process")]
    Forked,
}

impl From<CannotHold> for HoldError {
    fn from(error: CannotHold) -> Self {
        match error {
            CannotHold::UsedUp => Self::UsedUp { most: HOLDS },
            CannotHold::Forked => Self::Forked,
        }
    }
}

// SAFETY: it is a shared reference to a view, which `bytes` keeps, from whatever thread.
unsafe impl<T: Receive + ?Sized> Send for Held<T> where T::View: Send + Sync {}
// SAFETY: as above.
unsafe impl<T: Receive + ?Sized> Sync for Held<T> where T::View: Send + Sync {}

impl<T: Receive + ?Sized> Sample<'_, T> {
    /// Keeps the message beyond the life of the sample: for another thread, or until later ones have come. A message in
    /// its publisher's pool (see [`PublisherBuilder::pool_threshold`](super::PublisherBuilder::pool_threshold)) stays where it is: nothing is copied, and its publisher does not use that memory again
    /// before it is released. Any other is copied.
    ///
    /// Of each publisher 48 messages in its pool can be held at a time, and no more bytes than are a subscriber's share of it: as long as that is used up, its lane is full, and
    /// its policy says what becomes of more messages. Where older messages give way ([`Overflow::DropOldest`](crate::Overflow::DropOldest), [`Conflate`](crate::Overflow::Conflate)) nothing is lost for
    /// that: more messages are copied for the subscriber, by its publisher or as they come.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("frames/*").open()?;
    /// let frame = subscriber.recv()?.hold()?;
    /// let next = subscriber.recv()?;
    /// println!("{} bytes, then {}", frame.len(), next.len());
    /// drop(next);
    /// std::thread::spawn(move || println!("{:?}", frame.first())).join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn hold(&self) -> Result<Held<T>, HoldError> {
        let (view, bytes) = match self.hold_chunk() {
            Ok(Some(hold)) => (self.view(), Kept::Chunk { _hold: hold }),
            Err(error) => return Err(error.into()),
            Ok(None) => {
                let mut copy = AlignedVec::new();
                copy.extend_from_slice(self.payload());
                let view = NonNull::from(T::view(&copy)?);
                (view, Kept::Copy { _bytes: copy })
            }
        };
        Ok(Held {
            view,
            bytes: Arc::new(bytes),
            topic: self.topic().clone(),
            sequence: self.sequence(),
        })
    }
}

impl<T: Receive + ?Sized> Held<T> {
    /// The topic that it was published to.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Its number, as [`Sample::sequence`] gives it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it was copied.
    pub fn is_copy(&self) -> bool {
        matches!(*self.bytes, Kept::Copy { .. })
    }
}

impl<T: Receive + ?Sized> Deref for Held<T> {
    type Target = T::View;

    #[inline]
    fn deref(&self) -> &T::View {
        // SAFETY: a value of the type in bytes that are kept and do not change.
        unsafe { self.view.as_ref() }
    }
}

impl<T: Receive + ?Sized> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            view: self.view,
            bytes: self.bytes.clone(),
            topic: self.topic.clone(),
            sequence: self.sequence,
        }
    }
}

impl<T: Receive + ?Sized> fmt::Debug for Held<T>
where
    T::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("topic", &self.topic)
            .field("sequence", &self.sequence)
            .field("view", &&**self)
            .finish()
    }
}
