//! Listening for other hosts, and the relays beside this broker.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;

use super::BrokerError;
use super::connection::Accepted;
use crate::link::Address;
use crate::relay;

/// Who may reach a listener for TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exposure {
    /// This host only.
    #[default]
    Loopback,
    /// Whoever can reach one of its addresses: nothing is encrypted, nobody is asked who he is.
    Anybody,
}

/// Binds the first of the host's addresses that can be bound.
pub(super) fn bind(
    address: &Address,
    host: &str,
    port: u16,
    exposure: Exposure,
) -> Result<TcpListener, BrokerError> {
    let failed = |source| BrokerError::Tcp {
        address: address.clone(),
        source,
    };
    let addresses: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
        .map_err(failed)?
        .collect();
    if exposure == Exposure::Loopback && addresses.iter().any(|address| !address.ip().is_loopback())
    {
        return Err(BrokerError::Exposed {
            address: address.clone(),
        });
    }
    let listener =
        std::net::TcpListener::bind(&addresses[..]).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BrokerError::PortInUse {
                address: address.clone(),
            },
            _ => failed(source),
        })?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

/// The port that a listener has.
pub(super) fn port_of(listener: &TcpListener) -> Option<u16> {
    listener.local_addr().ok().map(|address| address.port())
}

/// The relays beside this broker, a thread each.
pub(super) struct Relays {
    patience: Duration,
    frame_bytes: u32,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

impl Relays {
    pub(super) fn new(patience: Duration, frame_bytes: u32) -> Self {
        Self {
            patience,
            frame_bytes,
            threads: RefCell::default(),
        }
    }

    /// Starts a relay for a connection; `None` if there are too many.
    pub(super) fn start(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<Option<Accepted>> {
        let mut threads = self.threads.borrow_mut();
        threads.retain(|thread| !thread.is_finished());
        if threads.len() >= MOST_RELAYS {
            tracing::warn!(%from, limit = MOST_RELAYS, "a connection is refused: too many clients on other hosts");
            return Ok(None);
        }
        let (stream, thread) = relay::beside_broker(stream, from, self.patience, self.frame_bytes)?;
        threads.push(thread);
        Ok(Some(Accepted {
            stream,
            remote: Some(from),
        }))
    }

    /// Waits until all have ended, which they do when the broker has dropped their links.
    pub(super) fn join(self) {
        for thread in self.threads.into_inner() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Clients on other hosts at a time. Each costs a thread, a socket, a buffer in either direction.
const MOST_RELAYS: usize = 256;
