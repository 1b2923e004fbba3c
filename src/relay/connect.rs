//! Gets a stream to a broker on another host.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use thiserror::Error;

/// Why there is no connection to another host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name cannot be turned into an address.
    #[error("{host} cannot be resolved: check the name ({source})")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name has no address.
    #[error("{host} has no address: check the name")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// None of the host's addresses answers.
    #[error(
        "no broker answers on {}: start one with `shm-broker serve --listen tcp://HOST:{port}`",
        tried(failures)
    )]
    Refused {
        /// The port.
        port: u16,
        /// What each address said.
        failures: Vec<(SocketAddr, io::Error)>,
    },
}

/// Connects to a host by name or number: all its addresses in the resolver's order. Blocks, for `patience` in all at most
/// (and as long as the resolver takes).
///
/// # Errors
/// See [`DialError`].
pub fn dial(host: &str, port: u16, patience: Duration) -> Result<TcpStream, DialError> {
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|source| DialError::Resolve {
            host: host.to_owned(),
            source,
        })?
        .collect();
    if addresses.is_empty() {
        return Err(DialError::NoAddress {
            host: host.to_owned(),
        });
    }
    let deadline = Instant::now() + patience;
    let mut failures = Vec::new();
    let count = addresses.len();
    for (index, address) in addresses.into_iter().enumerate() {
        // Each gets its share of what is left, so that one that swallows packets does not use up the others' time.
        let left = deadline.saturating_duration_since(Instant::now()) / (count - index) as u32;
        let connected = TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)));
        match connected.and_then(|stream| prepare(&stream, patience).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push((address, error)),
        }
    }
    Err(DialError::Refused { port, failures })
}

/// Sets what a relay needs of its socket.
pub fn prepare(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    // Packets are put together here; holding one back would only add to its way.
    stream.set_nodelay(true)?;
    // Data that nobody acknowledges for so long ends the connection.
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &millis).map_err(io::Error::from)
}

fn tried(failures: &[(SocketAddr, io::Error)]) -> String {
    let each = failures
        .iter()
        .map(|(address, error)| format!("{address} ({error})"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_name_that_does_not_resolve_is_named() {
        // Too long for a name, so that no server of names is asked: it might take its time, or make up an address.
        let name = "x".repeat(64);
        let error = dial(&name, 1, PATIENCE).unwrap_err();
        assert!(
            matches!(&error, DialError::Resolve { host, .. } if *host == name),
            "{error}"
        );
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        // Of `localhost`, whatever addresses it has here, one at most has the listener.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(dial("localhost", port, PATIENCE).is_ok());
        // Bound, so that no other test is given the port, but not listening.
        let flags = SockFlag::SOCK_CLOEXEC;
        let bound = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let port = getsockname::<SockaddrIn>(bound.as_raw_fd()).unwrap().port();
        let error = dial("localhost", port, PATIENCE).unwrap_err();
        assert!(matches!(&error, DialError::Refused { failures, .. } if !failures.is_empty()));
        assert!(error.to_string().contains(&format!(":{port}")), "{error}");
    }

    #[test]
    fn ipv6_numbers_are_addresses() {
        // A machine without IPv6 has no such address.
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            return;
        };
        let port = listener.local_addr().unwrap().port();
        assert!(dial("::1", port, PATIENCE).is_ok());
    }
}
