//! What a broker allows its clients, with the reason for each number.

use rkyv::{Archive, Deserialize, Serialize};

/// Limits of a broker; a client learns them in its `Welcome`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients at a time. Each costs the broker a socket, a pidfd and a word of the epoch segment.
    pub clients: u32,
    /// Publishers of one client at a time.
    pub publishers: u32,
    /// Subscribers of one client at a time.
    pub subscribers: u32,
    /// Lanes of one client at a time, both directions together. Each costs two descriptors and a ring.
    pub lanes: u32,
    /// Patterns of one subscriber. Bounds the work of one match and the size of a route.
    pub patterns: u32,
    /// Unanswered requests of one client. Bounds the replies that the broker keeps for a client that does not read.
    pub requests: u32,
    /// Bytes of a client's name.
    pub name_bytes: u32,
    /// Bytes of an encoded message type. It travels with every offered lane.
    pub type_bytes: u32,
    /// Payload bytes of a frame. Bounds what a receiver allocates before it has checked anything.
    pub frame_bytes: u32,
    /// Topics that one publisher names in an answer to `QueryTopics`.
    pub listed_topics: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 1024,
            publishers: 1024,
            subscribers: 4096,
            lanes: 8192,
            patterns: 128,
            requests: 64,
            name_bytes: 255,
            type_bytes: 64 * 1024,
            frame_bytes: 256 * 1024,
            listed_topics: 1024,
        }
    }
}
