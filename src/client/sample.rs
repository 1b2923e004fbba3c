//! A message where it lies, in the publisher's memory.
//!
//! # Safety
//! The invariant: while a sample lives, its lane is not polled, and the message that was found last is not released, so its bytes do not change. A
//! publisher of the same user is trusted in this one thing: not to change a committed record.
#![allow(unsafe_code)]

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use crate::lane::MappedRegion;
use crate::lane::{CannotHold, Hold};
use crate::message::{MessageType, Timestamp, ViewError};
use crate::topic::Topic;

use super::held::HoldError;
use super::inbound::{InLane, Origin};
use super::subscriber::Receive;

/// A message where it lies, in the publisher's memory. It derefs to the message's view: the archived value, or the bytes.
///
/// It borrows the subscriber; dropping it gives the memory back to the publisher.
pub struct Sample<'a, T: Receive + ?Sized> {
    lane: &'a mut InLane,
    /// Into the payload of the message that the lane's last poll found; checked.
    view: NonNull<T::View>,
}

/// A payload that was checked to be a value of the type; valid until its record is released.
pub(super) struct Checked<V: ?Sized>(NonNull<V>);

/// Checks the payload of the message that the lane's last poll found.
#[inline(always)]
pub(super) fn check<T: Receive + ?Sized>(lane: &InLane) -> Result<Checked<T::View>, ViewError> {
    // SAFETY: the lane's last poll found it; the bytes are not used beyond a `Sample`, which keeps it unreleased.
    let payload = unsafe { lane.reader().payload() };
    T::view(payload).map(|view| Checked(NonNull::from(view)))
}

/// Checks the payload of the message that stands next, where the lane is a ring; `None` if there is none, or it is no value
/// of the type.
#[inline(always)]
pub(super) fn ready<T: Receive + ?Sized>(lane: &mut InLane) -> Option<Checked<T::View>> {
    // SAFETY: as in `check`.
    let payload = unsafe { lane.reader_mut().ready_payload(T::ENCODED_LEN) }?;
    T::view(payload)
        .ok()
        .map(|view| Checked(NonNull::from(view)))
}

/// The same behind a message that was found in this way, and passed.
#[inline(always)]
pub(super) fn next<T: Receive + ?Sized>(lane: &mut InLane) -> Option<Checked<T::View>> {
    // SAFETY: as in `check`.
    let payload = unsafe { lane.reader_mut().next_payload(T::ENCODED_LEN) }?;
    T::view(payload)
        .ok()
        .map(|view| Checked(NonNull::from(view)))
}

impl<'a, T: Receive + ?Sized> Sample<'a, T> {
    /// `checked` comes from `check` with the same lane, which was not polled since.
    #[inline(always)]
    pub(super) fn new(lane: &'a mut InLane, checked: Checked<T::View>) -> Self {
        Self {
            lane,
            view: checked.0,
        }
    }

    /// The topic that it was published to.
    #[inline]
    pub fn topic(&self) -> &Topic {
        let topic = self.lane.reader().topic();
        topic.expect("a message on an unknown topic is not given out")
    }

    /// The publisher's number for the topic, below 65,536; it may be given to another topic later.
    #[inline]
    pub fn topic_id(&self) -> u32 {
        self.lane.reader().topic_id()
    }

    /// Its number among all that its publisher sent, or had to drop, for this subscriber, from 0 on.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.lane.sequence()
    }

    /// When `publish` was called for it, by the clock that its publisher has chosen with
    /// [`timestamps`](super::PublisherBuilder::timestamps); `None` if that stamps no messages.
    /// Names whose clock it was: a monotonic one of another host says nothing here ([`Timestamp::elapsed`]).
    #[inline]
    pub fn published_at(&self) -> Option<Timestamp> {
        self.lane.reader().timestamp()
    }

    /// Whether it was published before the subscription, and kept by its publisher; see
    /// [`snapshot`](super::SubscriberBuilder::snapshot). Its [`sequence`](Self::sequence) is then its number among all that
    /// the publisher has kept.
    pub fn is_snapshot(&self) -> bool {
        self.lane.reader().is_snapshot()
    }

    /// How many earlier messages on its topic it has taken the place of since the last one that came; more than 0 only
    /// with the policy [`Overflow::Conflate`](crate::Overflow::Conflate).
    pub fn skipped(&self) -> u64 {
        self.lane.reader().skipped()
    }

    /// Keeps it where it is, if it lies in a pool.
    pub(super) fn hold_chunk(&self) -> Result<Option<Hold>, CannotHold> {
        self.lane.reader().hold()
    }

    pub(super) fn view(&self) -> NonNull<T::View> {
        self.view
    }

    /// What is looked at as the view.
    pub(super) fn payload(&self) -> &[u8] {
        // SAFETY: the lane's last poll found it, and `self` keeps it unreleased.
        unsafe { self.lane.reader().payload() }
    }

    /// Whether another member of the queue group may have got it already: it had the message, or could have taken it, when it
    /// was closed or died; see [`queue`](super::SubscriberBuilder::queue).
    #[inline]
    pub fn redelivered(&self) -> bool {
        self.lane.origin() == Origin::Inherited
    }

    /// The descriptors that its publisher [attached](super::Publisher::publish_with) to it, in the same order;
    /// they are closed on exec. The first call gives them, later ones nothing; what nobody takes is closed.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        let attachments = self.lane.attachments();
        attachments.map_or_else(Vec::new, |attachments| {
            mem::take(&mut attachments.descriptors)
        })
    }

    /// The regions that its publisher [attached](super::Publisher::publish_with) to it, in the same order, mapped; copies, if it is on
    /// another host. They outlive the sample, the subscriber and the publisher, which does not write them again before they
    /// are dropped, in whatever order. The first call gives them, later ones nothing.
    ///
    /// Of each publisher 48 regions and messages together can be held at a time.
    ///
    /// # Errors
    /// [`HoldError`]; none was taken then, and another call may give them.
    pub fn take_regions(&mut self) -> Result<Vec<MappedRegion>, HoldError> {
        Ok(self.lane.take_regions()?)
    }

    /// The type that its publisher declared.
    pub fn message_type(&self) -> &MessageType {
        &self.lane.publisher().message_type
    }

    /// Name of the client that published it.
    pub fn publisher(&self) -> &str {
        &self.lane.publisher().name
    }
}

impl<T: Receive + ?Sized> Deref for Sample<'_, T> {
    type Target = T::View;

    #[inline]
    fn deref(&self) -> &T::View {
        // SAFETY: `check` made it from a value of the type in the record, which `self` keeps unreleased.
        unsafe { self.view.as_ref() }
    }
}

impl<T: Receive + ?Sized> Drop for Sample<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lane.release();
    }
}

impl<T: Receive + ?Sized> fmt::Debug for Sample<'_, T>
where
    T::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("topic", &self.topic())
            .field("sequence", &self.sequence())
            .field("view", &&**self)
            .finish()
    }
}
