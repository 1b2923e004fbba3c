//! What a session asks its driver for.

use crate::wire::{
    ClientInfo, HandleId, LaneId, LaneRefusal, Listing, Medium, PublisherSpec, Refusal, RequestId,
    Route, ToBroker, Welcome,
};

/// A frame for the broker.
#[derive(Debug, PartialEq)]
pub(crate) struct Outgoing<D> {
    /// The frame.
    pub frame: ToBroker,
    /// What goes along.
    pub descriptors: Vec<D>,
}

/// The memory of a peer, as it came with a frame.
#[derive(Debug, PartialEq)]
pub(crate) enum PeerSegment<D> {
    /// A memfd.
    Descriptor(D),
    /// A named segment.
    Named(String),
}

/// The half of a lane that a peer has sent.
#[derive(Debug, PartialEq)]
pub(crate) struct PeerHalf<D> {
    /// Its process.
    pub process: D,
    /// Its ring, or its cursor page.
    pub segment: PeerSegment<D>,
    /// Its bell.
    pub bell: D,
}

/// What the driver has to do, in order.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect<D> {
    /// The broker has admitted the client; its route epochs lie in the segment.
    Welcomed(Box<Welcome>, PeerSegment<D>),
    /// A request is answered.
    Reply(RequestId, Reply),
    /// A publisher has a new lane: make its ring, then call `offer` or `refuse`.
    AddWriter(Route),
    /// A lane's patterns have changed.
    ChangeWriter(Route),
    /// The subscriber has mapped the ring.
    AttachWriter {
        publisher: HandleId,
        lane: LaneId,
        half: PeerHalf<D>,
        area: u32,
    },
    /// The lane of a publisher has ended; `exited`: because the subscriber's process has exited.
    EndWriter {
        publisher: HandleId,
        lane: LaneId,
        exited: bool,
    },
    /// A subscriber has a new lane: map its ring, then call `accept` or `refuse`.
    AddReader(Box<Offer<D>>),
    /// The publisher of a lane is gone; the ring is to be read to its end.
    EndReader { subscriber: HandleId, lane: LaneId },
    /// A lane that was to come to a subscriber does not.
    RefusedReader {
        subscriber: HandleId,
        publisher_name: String,
        refusal: LaneRefusal,
    },
    /// A publisher has closed, maybe before it knew this subscriber's bell.
    WakeReader { subscriber: HandleId, lane: LaneId },
    /// All routes up to this epoch are told.
    Applied(u64),
    /// Call `answer_topics`.
    AnswerTopics {
        query: u64,
        publisher: HandleId,
        pattern: String,
    },
}

/// A lane that a publisher offers.
#[derive(Debug, PartialEq)]
pub(crate) struct Offer<D> {
    pub lane: LaneId,
    pub subscriber: HandleId,
    pub publisher_id: (u64, HandleId),
    pub publisher_name: String,
    pub publisher: PublisherSpec,
    pub medium: Medium,
    pub half: PeerHalf<D>,
    /// What the publisher has kept.
    pub history: Option<PeerSegment<D>>,
    /// By which descriptors come.
    pub courier: Option<D>,
    /// The place in the memory that says where this subscriber begins, if it says so.
    pub begin: Option<u32>,
    /// The lane was that of another member of a queue group: its cursor page, if it had one, its area there.
    pub inherited: Option<(Option<PeerSegment<D>>, u32)>,
}

/// The half of a lane that this side offers.
#[derive(Debug, PartialEq)]
pub(crate) struct OwnHalf<D> {
    pub medium: Medium,
    pub segment: PeerSegment<D>,
    pub bell: D,
    pub courier: Option<D>,
    pub begin: Option<u32>,
    pub history: Option<PeerSegment<D>>,
}

/// The answer to a request, or a part of it.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// With the lanes that the handle has.
    Opened(u32),
    Refused(Refusal),
    Pong,
    Listed {
        part: Listing,
        last: bool,
    },
    Clients {
        part: Vec<ClientInfo>,
        last: bool,
    },
}

impl Reply {
    /// Whether no more parts follow.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Listed { last: false, .. } | Self::Clients { last: false, .. }
        )
    }
}

/// How a broker broke the protocol; the link is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame that cannot come in this phase.
    #[error("the broker sent a {frame} frame {when}")]
    Unexpected {
        /// Name of the frame.
        frame: &'static str,
        /// The phase.
        when: &'static str,
    },
    /// A frame with more or fewer descriptors than it must have.
    #[error("the broker sent a {frame} frame with {found} descriptors, {needed} belong to it")]
    Descriptors {
        /// Name of the frame.
        frame: &'static str,
        /// How many came.
        found: usize,
        /// How many belong to it.
        needed: usize,
    },
}
