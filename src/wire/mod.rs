//! What broker and client say to each other: the frames of the control path.
//!
//! `docs/control-protocol.md` describes the bytes. This module holds no socket: `codec` turns bytes into frames and
//! back, the other files are the frames' plain data.

mod codec;
mod frames;
mod limits;
mod listing;
mod preamble;
mod reason;
mod refusal;

pub use codec::{
    DecodeError, Decoded, Decoder, EncodeError, Frame, HEADER_BYTES, MAX_DESCRIPTORS, encode,
};
pub use frames::{
    HandleId, HistoryUse, Inherited, LaneId, LaneRefusal, Medium, Overflow, PublisherSpec,
    RequestId, Route, RouteChange, SegmentSource, SubscriberSpec, ToBroker, ToClient, Welcome,
};
pub use limits::Limits;
pub use listing::{ClientInfo, Listing, PublisherInfo, SubscriberInfo};
pub use preamble::{PREAMBLE_BYTES, PROTOCOL_VERSION, PreambleError, Versions};
pub(crate) use reason::reason;
pub use refusal::{LimitKind, Refusal};

#[cfg(test)]
mod codec_tests;
