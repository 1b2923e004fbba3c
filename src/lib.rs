//! Ringmain: a message bus for one machine.
#![cfg_attr(
    not(feature = "broker"),
    allow(
        dead_code,
        unused_imports,
        reason = "the broker uses more of the floors below than a client does"
    )
)]

// The derive macros write `::ringmain::...`, also where they are used in this crate.
extern crate self as ringmain;

pub use ringmain_derive::{Describe, Message};
pub use rkyv;

pub(crate) mod doorbell;
pub(crate) mod pool;
pub(crate) mod ring;
pub(crate) mod sync;
pub(crate) mod table;

pub(crate) mod segment;
pub(crate) mod wake;

pub mod counters;
pub mod message;
pub mod topic;
pub mod wire;

pub(crate) mod lane;
pub(crate) mod link;

pub(crate) mod relay;

#[cfg(feature = "broker")]
pub mod broker;
mod client;

pub use client::{
    AnyMessage, Attachment, Client, ClientBuilder, CloseError, Closed, ClosedLane, ConnectError,
    Delivery, Gap, GapCause, Held, HoldError, LaneFault, LastValue, LastValues, ListTopics, Loan,
    LoanAlign, LoanError, LookError, ProtocolError, PublishError, Publisher, PublisherBuilder,
    Receive, RecvError, RegionRegistry, RequestError, ResolvedTopic, Retry, Sample, Subscriber,
    SubscriberBuilder, SubscriberEvent, Timer, Unclaimed, Undecodable, Wait, Waitable, wait_any,
};
#[cfg(feature = "async")]
pub use client::{MessageSink, SampleStream};
pub use lane::{MappedRegion, PoolError, Region, RegionError, SharedRegion};
pub use link::{Address, AddressError};
pub use message::{Clock, Host, Timestamp};
pub use segment::{Backend, MemoryOptions, SegmentError};
pub use topic::{Pattern, Topic};
pub use wake::PinError;
pub use wire::Overflow;

#[cfg(all(test, feature = "broker"))]
mod pair_tests;
