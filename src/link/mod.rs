//! The control path between client and broker.
//!
//! All transports of one machine end in a connected Unix socket, so [`Link`] is the same for client and broker, over a
//! path or within the process; [`Address`] says where, [`connect`] and the broker's listeners get the socket.

mod address;
mod connect;
mod memory;
mod peers;
mod place;
mod socket;

pub use address::{Address, AddressError};
pub use connect::{ConnectError, SOCKET_PATH_BYTES, connect};
pub use memory::{MemoryListener, NameTaken};
pub use peers::Peers;
pub use place::{PlaceError, Provision};
pub use socket::{Descriptor, Link, LinkError, Outgoing, Progress, Received};
