//! Listeners: where new connections come from.

use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use super::connection::Accepted;
use super::hub::Hub;
use super::socket_file::SocketFile;
use super::tcp::{self, Exposure, Relays};
use super::{BrokerError, connection};
use crate::link::{Address, MemoryListener, Provision};

/// One address that the broker listens on; dropping it gives the address up.
#[derive(Debug)]
pub(super) enum Listener {
    Path {
        listener: UnixListener,
        _file: SocketFile,
    },
    Memory {
        accepted: mpsc::UnboundedReceiver<UnixStream>,
        _name: MemoryListener,
    },
    Tcp(TcpListener),
}

impl Listener {
    /// Takes an address, for good; gives it as it is now, with the port that the system chose. To be called within the
    /// runtime.
    pub(super) fn bind(
        address: &Address,
        exposure: Exposure,
    ) -> Result<(Self, Address), BrokerError> {
        if let Address::Tcp { host, port } = address {
            let listener = tcp::bind(address, host, *port, exposure)?;
            let bound = Address::Tcp {
                host: host.clone(),
                port: tcp::port_of(&listener).unwrap_or(*port),
            };
            return Ok((Self::Tcp(listener), bound));
        }
        Self::bind_local(address).map(|listener| (listener, address.clone()))
    }

    fn bind_local(address: &Address) -> Result<Self, BrokerError> {
        match address {
            Address::Memory(name) => {
                let (sender, accepted) = mpsc::unbounded_channel();
                // If the broker is about to end, its end of the connection is dropped, and the client sees that.
                let name = MemoryListener::new(name, move |stream| drop(sender.send(stream)))?;
                Ok(Self::Memory {
                    accepted,
                    _name: name,
                })
            }
            Address::Named(_) | Address::Unix(_) => Self::bind_path(address),
            _ => Err(BrokerError::NotSupported {
                address: address.clone(),
            }),
        }
    }

    fn bind_path(address: &Address) -> Result<Self, BrokerError> {
        let path = address.socket_path().unwrap_or_default();
        if let (Address::Named(_), Some(directory)) = (address, path.parent()) {
            Provision::Create.check(directory)?;
        }
        let (file, listener) = SocketFile::listen(path.clone())?;
        let listener = UnixListener::from_std(listener)
            .map_err(|source| BrokerError::Socket { path, source })?;
        Ok(Self::Path {
            listener,
            _file: file,
        })
    }

    /// Accepts for ever.
    pub(super) async fn run(mut self, hub: Rc<Hub>, relays: Rc<Relays>) {
        loop {
            match self.accept(&relays).await {
                Ok(Some(accepted)) => connection::start(&hub, accepted),
                Ok(None) => {}
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // The connection stays in the queue, so trying again at once would never end.
                    tracing::warn!(%error, retry_ms = BACK_OFF.as_millis() as u64, "cannot accept a connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// The next connection; `None` if it was refused.
    async fn accept(&mut self, relays: &Relays) -> io::Result<Option<Accepted>> {
        let stream = match self {
            Self::Path { listener, .. } => listener.accept().await?.0.into_std()?,
            Self::Memory { accepted, .. } => match accepted.recv().await {
                Some(stream) => stream,
                // The sender lives in the list of names as long as this value.
                None => std::future::pending().await,
            },
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                return relays.start(stream, from);
            }
        };
        Ok(Some(Accepted {
            stream,
            remote: None,
        }))
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}

const BACK_OFF: Duration = Duration::from_millis(100);
