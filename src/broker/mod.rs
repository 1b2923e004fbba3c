//! Who talks to whom.
//!
//! The engine decides and knows no socket; the driver carries out and decides nothing. An application embeds the broker
//! as a [`Broker`]; the daemon `shm-broker` does the same.

mod driver;
pub(crate) mod engine;

pub use crate::link::{Address, AddressError, NameTaken, PlaceError};
pub use crate::segment::{Backend, SegmentError};
pub use crate::wake::KernelError;
pub use driver::{Broker, BrokerBuilder, BrokerError};
