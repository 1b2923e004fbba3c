//! Listening for other hosts, and the relays beside this broker.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::BrokerError;
use super::connection::Accepted;
use crate::link::Address;
use crate::relay;
use crate::wire::Refusal;

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
    /// Clients on other hosts at a time.
    most: u32,
    threads: RefCell<Vec<JoinHandle<()>>>,
    /// Those that may be told at a time that there are too many.
    refusals: Arc<Semaphore>,
}

impl Relays {
    pub(super) fn new(patience: Duration, frame_bytes: u32, most: u32) -> Self {
        Self {
            patience,
            frame_bytes,
            most,
            threads: RefCell::default(),
            refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
        }
    }

    /// Starts a relay for a connection; `None` if there are too many, which the client is told.
    pub(super) fn start(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<Option<Accepted>> {
        let mut threads = self.threads.borrow_mut();
        threads.retain(|thread| !thread.is_finished());
        if threads.len() >= self.most as usize {
            tracing::warn!(%from, limit = self.most, "a connection is refused: too many clients on other hosts");
            if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
                let telling = refuse(stream, self.most);
                tokio::task::spawn_local(async move {
                    // One that does not listen need not be told.
                    let _ = tokio::time::timeout(REFUSAL_PATIENCE, telling).await;
                    drop(permit);
                });
            }
            return Ok(None);
        }
        let stream = stream.into_std()?;
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

/// Tells a client that it is one too many.
async fn refuse(stream: TcpStream, limit: u32) -> io::Result<()> {
    let mut told = &relay::refusal(Refusal::RemoteClients { limit })[..];
    while !told.is_empty() {
        stream.writable().await?;
        match stream.try_write(told) {
            Ok(count) => told = &told[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    // If this end closed before all had come that the client sends, the system would take back what it was told. No more of
    // that than a client has to say before it is welcome: one that floods would keep this thread from all others.
    let (mut said, mut left) = ([0; 1024], MOST_HEARD_BYTES);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut said) {
            Ok(0) => return Ok(()),
            Ok(count) if count >= left => return Ok(()),
            Ok(count) => left -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Clients on other hosts at a time, unless set. Each costs a thread, a socket, a buffer in either direction.
pub(super) const MOST_RELAYS: u32 = 256;
const MOST_REFUSALS: usize = 64;
const MOST_HEARD_BYTES: usize = 64 << 10;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
