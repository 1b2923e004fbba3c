//! The frames, one enum for each direction.

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use super::{ClientInfo, Limits, Listing, Refusal};
use crate::message::MessageType;

/// Correlates a reply with its request; chosen by the client, unique among its open requests.
pub type RequestId = u64;
/// Names a publisher or a subscriber within its client; chosen by the client, never used twice.
pub type HandleId = u32;
/// Names a lane within a broker incarnation; chosen by the broker, never used twice.
pub type LaneId = u64;

/// What a subscriber wants done with a message for which its lane has no room.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits, up to this long; then the message is dropped, counted and reported as a gap.
    Block {
        /// The longest that one `publish` waits for this subscriber.
        deadline: Duration,
    },
    /// The message that finds no room is dropped, counted and reported as a gap; the publisher never waits.
    DropNewest,
    /// The oldest messages give way to the newest; what was not read by then is reported as a gap. The publisher never
    /// waits, nor looks how far the subscriber is. Messages are copied out.
    DropOldest,
    /// Only the last message of each topic is kept for the subscriber, with the number of those that it has replaced. A
    /// batch counts as one. Order holds for each topic, not across them. The publisher never waits. Messages are copied out.
    Conflate,
    /// The lane ends when it has no room for a message: what lies in it is still read, then the subscriber is told. The
    /// publisher never waits.
    Disconnect,
}

/// What a subscriber wants of the messages that were published before it came.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryUse {
    /// Nothing.
    #[default]
    None,
    /// What publishers have kept of the topics, and then what they publish.
    Snapshot,
    /// Only that what they have kept can be looked at, at any time; no messages come.
    Only,
}

/// What a lane lies in.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A ring whose records wait for the subscriber.
    Ring,
    /// A ring whose oldest records give way.
    LossyRing,
    /// A table with the last message of each topic, of this lane alone.
    Table,
    /// The table of what the publisher keeps, which all its subscribers look at.
    History,
}

/// A lane that another member of a queue group had: the rest of it is to be read.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The cursor page of the member that had it: the last descriptor, if it is a `Descriptor`. None if it had not answered:
    /// the lane is read from its beginning.
    pub page: Option<SegmentSource>,
    /// The lane's area in it; 0 without a page.
    pub area: u32,
}

/// Where the memory of a segment is found.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum SegmentSource {
    /// A sealed memfd, the first descriptor of the frame.
    Descriptor,
    /// A named segment of the `shared_memory` backend.
    Named(String),
}

impl SegmentSource {
    /// Descriptors that come along.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Descriptor => 1,
            Self::Named(_) => 0,
        }
    }
}

/// What a client declares when it opens a publisher.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublisherSpec {
    /// Topics that it may publish to: all that this one includes.
    pub topic: String,
    /// Type of its messages.
    pub message_type: MessageType,
    /// Largest payload, in bytes.
    pub max_message_bytes: u64,
    /// The longest deadline that it accepts of a `Block` subscriber.
    pub block_cap: Option<Duration>,
    /// Messages of each topic that it keeps for those who come later.
    pub history: u32,
    /// Whether a message may take the place of an earlier one on its topic.
    pub conflates: bool,
}

/// What a client declares when it opens a subscriber.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SubscriberSpec {
    /// What it listens to; at least one pattern.
    pub patterns: Vec<String>,
    /// Type of the messages that it takes; `None` takes every type.
    pub message_type: Option<MessageType>,
    /// What happens when a lane is full.
    pub overflow: Overflow,
    /// Smallest ring of a lane, in bytes; 0 leaves the size to the publisher.
    pub ring_bytes: u64,
    /// Whether publishers of the same client reach it.
    pub self_delivery: bool,
    /// Topics that it does not take although a pattern selects them.
    pub excludes: Vec<String>,
    /// The queue group that it is a member of: each message goes to one member.
    pub queue: Option<String>,
    /// What it wants of earlier messages.
    pub history: HistoryUse,
}

/// A lane as its publisher's client sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The lane.
    pub lane: LaneId,
    /// The publisher, a handle of the client that gets the frame.
    pub publisher: HandleId,
    /// Name of the subscribing client.
    pub subscriber_name: String,
    /// All patterns of the subscriber.
    pub patterns: Vec<String>,
    /// The subscriber's policy.
    pub overflow: Overflow,
    /// The smallest ring that the subscriber asks for, in bytes.
    pub ring_bytes: u64,
    /// What it does not take.
    pub excludes: Vec<String>,
    /// Its queue group.
    pub queue: Option<String>,
    /// What it wants of earlier messages.
    pub history: HistoryUse,
    /// Whether a relay carries the lane to another host: only what lies in its memory arrives.
    pub far: bool,
}

/// One step from the routes that a client knows to those that the broker decided.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// The lane is new, or its patterns have changed.
    Set(Route),
    /// The lane ends: its subscriber is gone.
    Remove {
        /// The publisher, a handle of the client that gets the frame.
        publisher: HandleId,
        /// The lane.
        lane: LaneId,
    },
}

/// Why a client does not take part in a lane.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneRefusal {
    /// The publisher could not make the ring; the text is the system's.
    #[error("the publisher could not make a ring: {0}")]
    Ring(String),
    /// The subscriber could not map the ring, or has no area for it; the text says why.
    #[error("the subscriber could not take the ring: {0}")]
    Subscriber(String),
    /// The publisher could not map the cursor page; the text says why.
    #[error("the publisher could not take the cursor page: {0}")]
    Cursor(String),
    /// The connection to the publisher's host broke before its ring was offered: what it has published by then is lost.
    #[error("the connection to the publisher's host broke")]
    TransportLost,
    /// The lane had no room, and the subscriber's policy is to end it then.
    #[error("the lane had no room, and the policy is to disconnect")]
    Overflow,
}

/// The first frame of the broker.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// This client, unique within the incarnation.
    pub client: u64,
    /// This run of the broker: random.
    pub incarnation: u128,
    /// Index of the client's route-epoch word in the segment that comes with the frame.
    pub epoch_index: u32,
    /// Where that segment is found.
    pub epochs: SegmentSource,
    /// What the broker allows.
    pub limits: Limits,
}

/// Frames from a client.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ToBroker {
    /// The first frame.
    Hello {
        /// A name for people, at most [`Limits::name_bytes`] long.
        name: String,
    },
    /// Answered by `Opened`, behind all present routes, or `Refused`.
    OpenPublisher {
        /// To be repeated in the answer.
        request: RequestId,
        /// The new handle.
        publisher: HandleId,
        /// What it declares.
        spec: PublisherSpec,
    },
    /// Ends a publisher and its lanes. Not answered.
    ClosePublisher {
        /// The handle.
        publisher: HandleId,
    },
    /// Answered by `Opened` once the epochs of all clients that it concerns are raised, or `Refused`.
    OpenSubscriber {
        /// To be repeated in the answer.
        request: RequestId,
        /// The new handle.
        subscriber: HandleId,
        /// What it declares.
        spec: SubscriberSpec,
    },
    /// Adds and removes patterns of an open subscriber. Answered like `OpenSubscriber`.
    ChangePatterns {
        /// To be repeated in the answer.
        request: RequestId,
        /// The handle.
        subscriber: HandleId,
        /// Patterns to add; those it has already do not count.
        add: Vec<String>,
        /// Patterns to remove; those it does not have do not count.
        remove: Vec<String>,
    },
    /// Ends a subscriber and its lanes. Not answered.
    CloseSubscriber {
        /// The handle.
        subscriber: HandleId,
    },
    /// The publisher's half of a lane. Descriptors: what it lies in (if `segment` is `Descriptor`), the publisher's bell, then
    /// the subscriber's end of a courier (if `courier`), then what the publisher has kept (if `history` is a `Descriptor`).
    OfferLane {
        /// The lane.
        lane: LaneId,
        /// What it lies in.
        medium: Medium,
        /// That.
        segment: SegmentSource,
        /// What the publisher has kept, where the subscriber wants it first.
        history: Option<SegmentSource>,
        /// Whether a courier comes along. Not for lanes that a relay carries, nor for those of queue groups.
        courier: bool,
        /// Where the memory is shared with other subscribers, or may be: the number of the place in it that says where this
        /// one begins.
        begin: Option<u32>,
    },
    /// The subscriber's half of a lane. Descriptors: the cursor page (if `segment` is `Descriptor`), the subscriber's bell.
    AcceptLane {
        /// The lane.
        lane: LaneId,
        /// The cursor page.
        segment: SegmentSource,
        /// Index of the lane's area in it.
        area: u32,
    },
    /// The sender, on either side of the lane, cannot take part in it; the lane ends.
    RefuseLane {
        /// The lane.
        lane: LaneId,
        /// Why.
        reason: LaneRefusal,
    },
    /// The descriptors of the last `LaneOffered` or `LaneAccepted` have arrived; the next of these may come.
    Received,
    /// Answered by `Pong`.
    Ping {
        /// To be repeated in the answer.
        request: RequestId,
    },
    /// Answered by `Listed`. With `live`, by `Refused` while an earlier one of the same client waits for its topics.
    List {
        /// To be repeated in the answer.
        request: RequestId,
        /// Only what meets this pattern.
        pattern: String,
        /// Also ask the publishers for the topics that they use at the moment.
        live: bool,
    },
    /// Answered by `Clients`.
    ListClients {
        /// To be repeated in the answer.
        request: RequestId,
    },
    /// Answers `QueryTopics`.
    LiveTopics {
        /// Repeated from the query.
        query: u64,
        /// Topics in use, at most [`Limits::listed_topics`].
        topics: Vec<String>,
    },
    /// From a client on another host, which has no route-epoch word: every `publish` that starts from now on knows the
    /// routes of this epoch.
    RoutesSeen {
        /// Of a `Routes` frame.
        epoch: u64,
    },
    /// From a publisher: nothing more comes in a lane of a queue group. Whoever reads it looks for the last time.
    LaneClosed {
        /// The lane.
        lane: LaneId,
    },
    /// From a member of a queue group: a lane that has ended is read to its end. Nobody needs to read on.
    LaneFinished {
        /// The lane, as it was offered to this member.
        lane: LaneId,
    },
}

/// Frames from the broker.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ToClient {
    /// The first frame. Descriptors: the epoch segment, if its source is `Descriptor`.
    Welcome(Welcome),
    /// A request that opens or changes something has been carried out.
    Opened {
        /// The request.
        request: RequestId,
        /// Lanes that the handle has now.
        lanes: u32,
    },
    /// A request has been refused; or, with request 0, the `Hello`.
    Refused {
        /// The request.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// Changes of the routes of the client's publishers. The epoch holds when all of them are applied.
    Routes {
        /// Value of the client's route-epoch word that this frame brings it to.
        epoch: u64,
        /// The changes, in order.
        changes: Vec<RouteChange>,
    },
    /// A publisher made its half of a lane for one of the client's subscribers. Descriptors: the publisher's process, then what
    /// the lane lies in (if `segment` is `Descriptor`), then the publisher's bell, then the subscriber's end of a courier (if
    /// `courier`), then the segment of `history` or `inherited` (if that is a `Descriptor`); there is one of the two at most.
    LaneOffered {
        /// The lane.
        lane: LaneId,
        /// The subscriber, a handle of the client.
        subscriber: HandleId,
        /// Number of the publishing client.
        publisher_client: u64,
        /// The publisher, a handle of that client.
        publisher_handle: HandleId,
        /// Name of the publishing client.
        publisher_name: String,
        /// What the publisher declared.
        publisher: PublisherSpec,
        /// What the lane lies in.
        medium: Medium,
        /// That.
        segment: SegmentSource,
        /// What the publisher has kept, where the subscriber wants it first.
        history: Option<SegmentSource>,
        /// As in `OfferLane`.
        courier: bool,
        /// As in `OfferLane`.
        begin: Option<u32>,
        /// The lane was that of another member of the subscriber's queue group.
        inherited: Option<Inherited>,
    },
    /// The subscriber of a lane has mapped its ring. Descriptors: the subscriber's process, then the cursor page (if
    /// `segment` is `Descriptor`), then the subscriber's bell.
    LaneAccepted {
        /// The lane.
        lane: LaneId,
        /// The cursor page.
        segment: SegmentSource,
        /// Index of the lane's area in it.
        area: u32,
    },
    /// The publisher of a lane that had been offered is gone; what lies in the ring is still to be read.
    LaneEnded {
        /// The lane.
        lane: LaneId,
        /// The subscriber, a handle of the client.
        subscriber: HandleId,
        /// Name of the publishing client.
        publisher_name: String,
        /// Why, if it was not simply closed. The lane may not have been offered then.
        refusal: Option<LaneRefusal>,
    },
    /// Answers `Ping`.
    Pong {
        /// The request.
        request: RequestId,
    },
    /// Answers `List`, in parts.
    Listed {
        /// The request.
        request: RequestId,
        /// A part of the answer.
        part: Listing,
        /// Whether this part is the last.
        last: bool,
    },
    /// Answers `ListClients`, in parts.
    Clients {
        /// The request.
        request: RequestId,
        /// A part of the answer.
        part: Vec<ClientInfo>,
        /// Whether this part is the last.
        last: bool,
    },
    /// Asks which topics a publisher uses; answered by `LiveTopics`.
    QueryTopics {
        /// To be repeated in the answer.
        query: u64,
        /// The publisher, a handle of the client.
        publisher: HandleId,
        /// Only topics that meet this pattern.
        pattern: String,
    },
}

impl ToBroker {
    /// The request that the frame is, if it is one that is answered.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::OpenPublisher { request, .. }
            | Self::OpenSubscriber { request, .. }
            | Self::ChangePatterns { request, .. }
            | Self::Ping { request }
            | Self::List { request, .. }
            | Self::ListClients { request } => Some(*request),
            _ => None,
        }
    }
}
