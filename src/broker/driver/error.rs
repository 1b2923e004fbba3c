//! Why a broker cannot start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::link::{Address, NameTaken, PlaceError};
use crate::segment::SegmentError;
use crate::wake::KernelError;

/// Why a broker cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// There is nothing to listen on.
    #[error("a broker needs an address to listen on: call `listen` before `start`")]
    NoAddress,
    /// This kind of address is planned.
    #[error(
        "listening on {address} is not supported yet: use a bus of this machine, or tcp://HOST:PORT"
    )]
    NotSupported {
        /// The address.
        address: Address,
    },
    /// Whoever can reach the address could join, read and write.
    #[error(
        "{address} can be reached from other hosts, and anybody there could join: listen on a loopback address, or allow it with `--insecure-tcp` (`BrokerBuilder::insecure_tcp`)"
    )]
    Exposed {
        /// The address.
        address: Address,
    },
    /// The port is in use.
    #[error("{address} is in use: listen on another port, or on port 0 for any that is free")]
    PortInUse {
        /// The address.
        address: Address,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address}")]
    Tcp {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Another broker listens there.
    #[error("{} is in use by another broker: use that one, or listen on another address", path.display())]
    AddressInUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// A broker of this process has the name, or the system has no memory left.
    #[error(transparent)]
    Memory(#[from] NameTaken),
    /// The directory for the socket is not there.
    #[error("the directory for {} does not exist: create it first", path.display())]
    MissingDirectory {
        /// The socket's path.
        path: PathBuf,
    },
    /// The user may not make files there.
    #[error("no permission to create {}: listen on a path that this user can write to", path.display())]
    Permission {
        /// The file's path.
        path: PathBuf,
    },
    /// There is no room for a file.
    #[error("no room on the disk for {}: free some, or listen on another address", path.display())]
    DiskFull {
        /// The file's path.
        path: PathBuf,
    },
    /// The kernel's address structure has no room for the path.
    #[error("the path {} is too long for a socket: {len} bytes, {limit} is the most", path.display())]
    PathTooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
        /// The most, in bytes.
        limit: usize,
    },
    /// Something else has the path.
    #[error("{} exists and is no socket: remove it, or listen on another address", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made for another reason.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// The path of the socket, or of the lock file beside it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of this user's busses cannot be trusted.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The broker's shared memory cannot be made.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// This system cannot run ringmain.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A system call failed.
    #[error("{call} failed for the broker")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
