//! What goes into the engine, what comes out of it.

use std::net::SocketAddr;

use thiserror::Error;

use crate::wire::{LaneId, Refusal, ToBroker, ToClient};

/// A connection, as its driver numbers it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// Who is at the other end, as the kernel and the driver say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: u32,
    /// Where the client is on whose behalf a relay of this process has connected.
    pub(crate) remote: Option<SocketAddr>,
}

/// Something that happened outside. `D` is a descriptor.
#[derive(Clone, Debug)]
pub(crate) enum Event<D> {
    Connected {
        session: SessionId,
        peer: Peer,
        /// The peer's process (a pidfd); lanes hand it to the other end.
        process: D,
    },
    /// All frames of a session come before its `Closed`, also those that were still in the socket.
    Frame {
        session: SessionId,
        frame: ToBroker,
        descriptors: Vec<D>,
    },
    Closed {
        session: SessionId,
    },
    /// The time that `next_timeout` named has come.
    Tick,
}

/// Something to be done outside, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Store `value` into the route-epoch word.
    Raise { epoch_index: u32, value: u64 },
    /// Transmit what `poll_transmit` gives, until it gives nothing or the socket is full; in the latter case go on when
    /// the socket takes data again.
    Flush(SessionId),
    /// Transmit like `Flush`, but without waiting; then close the socket, then report `Closed`.
    Close {
        session: SessionId,
        reason: CloseReason,
    },
}

/// A frame to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing<D> {
    pub(crate) frame: ToClient,
    pub(crate) descriptors: Vec<D>,
}

/// Why the broker ends a session.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CloseReason {
    #[error("not admitted: {0}")]
    Refused(Refusal),
    #[error("the first frame was not Hello")]
    BeforeHello,
    #[error("a second Hello")]
    SecondHello,
    #[error("a frame came with {got} descriptors instead of {expected}")]
    Descriptors { expected: usize, got: usize },
    #[error("more than {limit} requests without reading the answers")]
    Requests { limit: u32 },
    #[error("lane {0} is not one that this client may name so")]
    ForeignLane(LaneId),
    #[error("lane {0} is not in the state for this frame")]
    LaneOrder(LaneId),
    #[error("the name of a segment has {len} bytes, {limit} are allowed")]
    SegmentName { len: usize, limit: u32 },
    #[error("an answer to query {0}, which another client was asked")]
    ForeignQuery(u64),
    #[error("a confirmation of routes, which only clients on other hosts give")]
    NotRemote,
    #[error("too many connections without a Hello")]
    Crowded,
}
