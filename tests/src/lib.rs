//! What the tests across processes and transports share.
//!
//! A test runs once on each transport through [`on_each_transport`]. It talks to a [`Bus`]; other parties of the test are
//! [`roles`], run by [`Bus::peer`] in a process of their own where the transport allows it.

pub mod allocations;
pub mod bus;
pub mod dice;
pub mod forged;
pub mod frame;
pub mod message;
pub mod patience;
pub mod peer;
pub mod raw;
pub mod raw_publisher;
pub mod raw_remote;
#[cfg(doctest)]
mod readme;
pub mod roles;
pub mod silence;
pub mod streams;
pub mod telling;
pub mod usage;

pub use bus::{
    Bus, Transport, on_each_local_transport, on_each_transport, on_each_transport_of_processes,
};
pub use message::Tick;
pub use patience::{eventually, within};
pub use peer::Peer;
pub use raw::Raw;
pub use raw_remote::RawRemote;
pub use roles::policy;
