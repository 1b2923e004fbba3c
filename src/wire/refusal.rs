//! Why the broker refuses a request.

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

use super::{HistoryUse, Overflow};

/// Something that a broker limits.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKind {
    /// Clients of the broker.
    Clients,
    /// Publishers of a client.
    Publishers,
    /// Subscribers of a client.
    Subscribers,
    /// Lanes of a client.
    Lanes,
    /// Patterns of a subscriber.
    Patterns,
    /// Unanswered requests of a client.
    Requests,
    /// Bytes of a client's name.
    NameBytes,
    /// Bytes of an encoded message type.
    TypeBytes,
    /// Bytes of a frame: all patterns of a subscriber, or what a publisher declares, have to fit one.
    FrameBytes,
    /// Lists with live topics that a client waits for.
    LiveLists,
}

/// Why the broker refuses a request.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A topic or pattern does not parse; the text points at the place.
    #[error("{0}")]
    Name(String),
    /// A message type contradicts itself; the text says where.
    #[error("the message type is malformed: {0}")]
    Type(String),
    /// A subscriber needs at least one pattern.
    #[error("a subscriber needs at least one pattern")]
    NoPattern,
    /// Publisher and subscriber name the same single topic and do not agree on its type.
    #[error(
        "type mismatch on {topic}: {client} uses {theirs}, this handle {ours}; first difference: {difference}"
    )]
    TypeMismatch {
        /// The topic that both name.
        topic: String,
        /// Name of the client that has it open with the other type.
        client: String,
        /// The type that is open, as `name v1`.
        theirs: String,
        /// The type that was to be opened, as `name v1`.
        ours: String,
        /// The first field in which they differ.
        difference: String,
    },
    /// A subscriber's block deadline is longer than a publisher that it meets accepts.
    #[error(
        "publisher of {topic} in {client} waits {cap:?} for a subscriber at most, not {deadline:?}: ask for a shorter deadline or another policy"
    )]
    BlockCap {
        /// What the publisher declared.
        topic: String,
        /// Name of the publisher's client.
        client: String,
        /// The longest deadline that it accepts.
        cap: Duration,
        /// The deadline that the subscriber asks for.
        deadline: Duration,
    },
    /// A subscriber wants last messages only, of a type that does not permit that.
    #[error(
        "{message_type} of {topic} in {client} does not permit `Conflate`: each of its messages counts; choose another policy"
    )]
    NotConflated {
        /// What the publisher declared.
        topic: String,
        /// Name of the publisher's client.
        client: String,
        /// The type, as `name v1`.
        message_type: String,
    },
    /// A member of a queue group has a policy that replaces messages.
    #[error(
        "a member of queue group {queue} cannot have the policy {policy}: a message that gives way to a later one would reach nobody; choose `Block`, `DropNewest` or `Disconnect`"
    )]
    QueuePolicy {
        /// The group.
        queue: String,
        /// The policy.
        policy: String,
    },
    /// A member of a queue group asks for what was published before.
    #[error(
        "a member of queue group {queue} cannot have what was published before: that is not shared; leave out the snapshot, or the group"
    )]
    QueueHistory {
        /// The group.
        queue: String,
    },
    /// More than the broker allows.
    #[error("the broker allows {limit} ({kind:?}), {asked} were asked for")]
    Limit {
        /// What is limited.
        kind: LimitKind,
        /// How much is allowed.
        limit: u64,
        /// How much was asked for.
        asked: u64,
    },
    /// The handle is not open, or is open already.
    #[error("handle {0} is not one that this request can name")]
    Handle(u32),
    /// The other user's processes are not admitted yet.
    #[error(
        "this bus belongs to user {owner}; user {user} is not admitted: start a broker of your own with `shm-broker serve`"
    )]
    OtherUser {
        /// The broker's user.
        owner: u32,
        /// The client's user.
        user: u32,
    },
    /// The broker serves as many clients on other hosts as it may.
    #[error(
        "the broker serves {limit} clients on other hosts already: raise that with `shm-broker serve --remote-clients`"
    )]
    RemoteClients {
        /// How many it may serve.
        limit: u32,
    },
}

impl Refusal {
    /// Refuses what a member of a queue group cannot have.
    pub(crate) fn check_queue(
        queue: &str,
        overflow: Overflow,
        history: HistoryUse,
    ) -> Result<(), Self> {
        if history != HistoryUse::None {
            let queue = queue.to_owned();
            return Err(Self::QueueHistory { queue });
        }
        match overflow {
            Overflow::Block { .. } | Overflow::DropNewest | Overflow::Disconnect => Ok(()),
            Overflow::DropOldest | Overflow::Conflate => Err(Self::QueuePolicy {
                queue: queue.to_owned(),
                policy: format!("{overflow:?}"),
            }),
        }
    }
}
