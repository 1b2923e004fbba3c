//! Gets a client connected to the broker at an address.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use thiserror::Error;

use super::{Address, PlaceError, Provision, memory};

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This kind of address is planned, or not one of this host.
    #[error("{address} is not supported yet: use a bus of this machine, or tcp://HOST:PORT")]
    NotSupported {
        /// The address.
        address: Address,
    },
    /// Nobody listens there.
    #[error("no broker listens on {}: start one with `shm-broker serve`, or set RINGMAIN_BUS", path.display())]
    NoBroker {
        /// The socket's path.
        path: PathBuf,
    },
    /// No broker of this process has the name.
    #[error("no broker of this process listens on memory:{name}: start one first and keep it")]
    NoMemoryBroker {
        /// The name.
        name: String,
    },
    /// The broker's queue of new connections is full; it is stopped, or under a burst. Worth another try.
    #[error("the broker on {} does not accept connections at the moment: try again", path.display())]
    Busy {
        /// The socket's path.
        path: PathBuf,
    },
    /// The user may not use the socket.
    #[error("no permission to use {}: run as the user of the broker", path.display())]
    Permission {
        /// The socket's path.
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
    /// The directory of this user's busses cannot be trusted.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A system call failed.
    #[error("cannot connect to {address}")]
    System {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
}

/// Connects to the broker at an address of this host. Does not block.
///
/// # Errors
/// See [`ConnectError`].
pub fn connect(address: &Address) -> Result<UnixStream, ConnectError> {
    let system = |source: io::Error| ConnectError::System {
        address: address.clone(),
        source,
    };
    match address {
        Address::Tcp { .. } | Address::Tls { .. } => Err(ConnectError::NotSupported {
            address: address.clone(),
        }),
        Address::Memory(name) => memory::connect(name)
            .map_err(system)?
            .ok_or_else(|| ConnectError::NoMemoryBroker { name: name.clone() }),
        Address::Named(_) | Address::Unix(_) => {
            let path = address.socket_path().unwrap_or_default();
            if let (Address::Named(_), Some(directory)) = (address, path.parent()) {
                match Provision::Expect.check(directory) {
                    Err(PlaceError::Missing { .. }) => return Err(ConnectError::NoBroker { path }),
                    checked => checked?,
                }
            }
            connect_path(&path).map_err(|error| connect_error(error, path, system))
        }
    }
}

fn connect_path(path: &Path) -> Result<UnixStream, Errno> {
    let address = UnixAddr::new(path)?;
    // Not blocking, or it would wait for room in the queue of a stopped broker.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &address)?;
    Ok(socket.into())
}

fn connect_error(
    error: Errno,
    path: PathBuf,
    system: impl FnOnce(io::Error) -> ConnectError,
) -> ConnectError {
    match error {
        Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR => ConnectError::NoBroker { path },
        Errno::EAGAIN => ConnectError::Busy { path },
        Errno::EACCES | Errno::EPERM => ConnectError::Permission { path },
        Errno::ENAMETOOLONG => ConnectError::PathTooLong {
            len: path.as_os_str().len(),
            limit: SOCKET_PATH_BYTES,
            path,
        },
        error => system(error.into()),
    }
}

/// The most bytes that the path of a socket can have.
pub const SOCKET_PATH_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    fn refused(address: &str) -> ConnectError {
        connect(&address.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn other_hosts_are_not_supported_yet() {
        for address in ["tcp://localhost:1", "tls://localhost:1"] {
            assert!(matches!(
                refused(address),
                ConnectError::NotSupported { .. }
            ));
        }
    }

    #[test]
    fn where_nobody_listens_the_error_says_so() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("bus.sock");
        let address = format!("unix:{}", path.display());
        assert!(matches!(refused(&address), ConnectError::NoBroker { path: p } if p == path));
        drop(UnixListener::bind(&path).unwrap());
        // A process that another test starts now has a copy for a moment.
        while UnixStream::connect(&path).is_ok() {}
        assert!(matches!(refused(&address), ConnectError::NoBroker { .. }));
        assert!(matches!(
            refused("memory:connect-test-nobody"),
            ConnectError::NoMemoryBroker { .. }
        ));
    }

    #[test]
    fn a_path_that_is_too_long_is_named() {
        let address = format!("unix:/{}", "x".repeat(107));
        assert!(matches!(
            refused(&address),
            ConnectError::PathTooLong {
                len: 108,
                limit: 107,
                ..
            }
        ));
    }

    #[test]
    fn a_stopped_broker_does_not_block() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("bus.sock");
        // With a short queue: the usual one may take more than there are descriptors.
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let address = Address::Unix(path);
        let mut connected = Vec::new();
        let error = loop {
            match connect(&address) {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ConnectError::Busy { .. }), "{error}");
    }
}
