//! What a subscriber is told besides messages.

use std::fmt;

/// Messages that a subscriber did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// How many; at least so many where the cause is [`GapCause::TransportLost`].
    pub lost: u64,
    /// The sequence number of the first of them.
    pub first_sequence: u64,
    /// Why.
    pub cause: GapCause,
    /// Name of the client that published them.
    pub publisher: String,
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// The lane was full, and the policy is not to wait.
    Overflow,
    /// The lane was full for longer than the policy has the publisher wait.
    Deadline,
    /// The connection to the publisher's host, or its broker, is gone: how many messages were on their way is not known.
    /// The lane has ended.
    TransportLost,
}

/// What happens to the lanes of a subscriber, for one that wants to be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberEvent {
    /// The last message of a publisher has come: it has closed, or its process has ended.
    #[error("{publisher} is gone")]
    PublisherGone {
        /// Name of the publishing client.
        publisher: String,
    },
    /// The lane of a publisher is filled to more than three quarters: the subscriber is too slow.
    #[error("the lane from {publisher} is filled to three quarters")]
    HighWater {
        /// Name of the publishing client.
        publisher: String,
    },
    /// It was, and is filled to no more than a half.
    #[error("the lane from {publisher} is down to a half")]
    LowWater {
        /// Name of the publishing client.
        publisher: String,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            first_sequence,
            cause,
            publisher,
        } = self;
        match cause {
            GapCause::Overflow | GapCause::Deadline => write!(
                f,
                "{lost} messages of {publisher} are lost from number {first_sequence} on: the lane was full"
            ),
            GapCause::TransportLost => write!(
                f,
                "messages of {publisher} may be lost from number {first_sequence} on: the connection to its host broke"
            ),
        }
    }
}
