//! What the broker tells about those who are joined to it.

use rkyv::{Archive, Deserialize, Serialize};

use super::Overflow;
use crate::message::MessageType;

/// A client as the broker sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Unique within the broker's incarnation.
    pub client: u64,
    /// The name that it gave itself.
    pub name: String,
    /// Its process, as the kernel says.
    pub pid: u32,
    /// Its user, as the kernel says.
    pub uid: u32,
    /// Where it is, if that is another host; process and user are the broker's own then.
    pub remote: Option<String>,
    /// Open publishers.
    pub publishers: u32,
    /// Open subscribers.
    pub subscribers: u32,
    /// Lanes, both directions together.
    pub lanes: u32,
}

/// A publisher as the broker sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublisherInfo {
    /// Its client.
    pub client: u64,
    /// Name of its client.
    pub client_name: String,
    /// What it may publish to.
    pub topic: String,
    /// Type of its messages.
    pub message_type: MessageType,
    /// Subscribers that it has a lane to.
    pub lanes: u32,
    /// Subscribers that it would have a lane to if they took its type.
    pub type_mismatches: u32,
    /// How many messages of each topic it keeps; 0: none.
    pub history: u32,
    /// Topics that it uses at the moment, where they were asked for and the publisher answered in time.
    /// As many as fit a frame.
    pub live_topics: Option<Vec<String>>,
}

/// A subscriber as the broker sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Its client.
    pub client: u64,
    /// Name of its client.
    pub client_name: String,
    /// What it listens to.
    pub patterns: Vec<String>,
    /// Topics that it does not take although a pattern selects them.
    pub excludes: Vec<String>,
    /// Type of the messages that it takes; `None` takes every type.
    pub message_type: Option<MessageType>,
    /// What happens when a lane is full.
    pub overflow: Overflow,
    /// The queue group that it is a member of.
    pub queue: Option<String>,
    /// Publishers that it has a lane from.
    pub lanes: u32,
}

/// A part of an answer to `List`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Publishers.
    pub publishers: Vec<PublisherInfo>,
    /// Subscribers.
    pub subscribers: Vec<SubscriberInfo>,
}
