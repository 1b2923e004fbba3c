//! A message where it lies, in the publisher's memory.
//!
//! # Safety
//! The invariant: while a sample lives, the record that it was made for is not released, so its bytes do not change. A
//! publisher of the same user is trusted in this one thing: not to change a committed record.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::message::{MessageType, Timestamp, ViewError};
use crate::ring::Record;
use crate::segment::fork::ProcessMark;
use crate::topic::Topic;

use super::inbound::InLane;
use super::subscriber::Receive;

/// A message where it lies, in the publisher's memory. It derefs to the message's view: the archived value, or the bytes.
///
/// It borrows the subscriber; dropping it gives the memory back to the publisher.
pub struct Sample<'a, T: Receive + ?Sized> {
    lane: &'a mut InLane,
    mark: ProcessMark,
    record: Record,
    /// Into the record's payload; checked.
    view: NonNull<T::View>,
}

/// A payload that was checked to be a value of the type; valid until its record is released.
pub(super) struct Checked<V: ?Sized>(NonNull<V>);

/// Checks the payload of a message that the lane's last poll gave.
#[inline]
pub(super) fn check<T: Receive + ?Sized>(
    lane: &mut InLane,
    record: &Record,
) -> Result<Checked<T::View>, ViewError> {
    // SAFETY: the lane's last poll gave the record; the bytes are not used beyond a `Sample`, which holds it unreleased.
    let payload = unsafe { lane.reader().payload(record) };
    T::view(payload).map(|view| Checked(NonNull::from(view)))
}

impl<'a, T: Receive + ?Sized> Sample<'a, T> {
    /// `checked` comes from `check` with the same lane and record, which is not released since.
    #[inline]
    pub(super) fn new(
        lane: &'a mut InLane,
        mark: ProcessMark,
        record: Record,
        checked: Checked<T::View>,
    ) -> Self {
        Self {
            lane,
            mark,
            record,
            view: checked.0,
        }
    }

    /// The topic that it was published to.
    #[inline]
    pub fn topic(&self) -> &Topic {
        self.lane.topic(&self.record)
    }

    /// The publisher's number for the topic, below 65,536; it may be given to another topic later.
    #[inline]
    pub fn topic_id(&self) -> u32 {
        self.record.detail as u32
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
        self.lane.timestamp(&self.record)
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
    #[inline]
    fn drop(&mut self) {
        // A forked child's copy must not move the cursor: its parent may still read the record.
        if !self.mark.is_forked() {
            self.lane.reader().release(self.record);
        }
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
