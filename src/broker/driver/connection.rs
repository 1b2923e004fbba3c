//! One connection: its link, its process, the task that waits for both.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::sync::Notify;

use super::hub::{Hub, Reading};
use super::watched::{WatchedLink, WatchedProcess};
use crate::broker::engine::{Peer, SessionId};
use crate::link::{Descriptor, Link, LinkError, Progress};
use crate::wake::{Credentials, Pidfd, ProcessError};
use crate::wire::Versions;

/// A connection as the hub and its task share it.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) link: WatchedLink,
    process: WatchedProcess,
    outlet: Cell<Outlet>,
    /// Notified when the task has to look at `outlet` again.
    changed: Notify,
}

/// Whether a connection takes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// As far as known.
    Open,
    /// Not before the socket is writable.
    Full,
    /// Not before some time has passed: too many descriptors are on their way.
    Delayed,
    /// Never again; what the peer has sent before is still to be received.
    Gone,
    /// Never again, in neither direction: this side ends it.
    Ended,
}

/// A new connection.
pub(super) struct Accepted {
    /// Its stream; of a client on another host, that of the relay beside this broker.
    pub(super) stream: UnixStream,
    /// Where that client is.
    pub(super) remote: Option<SocketAddr>,
}

/// Starts to serve a new connection.
pub(super) fn start(hub: &Rc<Hub>, accepted: Accepted) {
    let connection = match Connection::new(accepted, hub.frame_bytes()) {
        Ok(connection) => connection,
        Err(Unwatched::Process(ProcessError::Exited { pid })) => {
            tracing::debug!(pid, "a client was gone before it was accepted");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a new connection cannot be served");
            return;
        }
    };
    let (session, connection) = hub.connected(connection);
    tokio::task::spawn_local(serve(hub.clone(), session, connection));
}

/// Waits for the connection's socket and process until it ends.
async fn serve(hub: Rc<Hub>, session: SessionId, connection: Rc<Connection>) {
    while connection.outlet() != Outlet::Ended {
        let full = connection.outlet() == Outlet::Full;
        let interest = if full {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        tokio::select! {
            ready = connection.link.ready(interest) => {
                let Ok(mut ready) = ready else { break };
                if full && ready.ready().is_writable() {
                    hub.resume(session);
                    if connection.outlet() == Outlet::Full {
                        ready.clear_ready_matching(Ready::WRITABLE);
                    }
                }
                if ready.ready().is_readable() {
                    match hub.receive(session, FRAMES_PER_TURN) {
                        Reading::More => tokio::task::yield_now().await,
                        Reading::Later => ready.clear_ready_matching(Ready::READABLE),
                        Reading::Ended => break,
                    }
                }
            }
            () = connection.process.exited() => {
                // Everything it sent lies in the socket by now; the end comes behind it.
                while hub.receive(session, FRAMES_PER_TURN) == Reading::More {
                    tokio::task::yield_now().await;
                }
                break;
            }
            () = tokio::time::sleep(RETRY), if connection.outlet() == Outlet::Delayed => hub.resume(session),
            () = connection.changed.notified() => {}
        }
    }
    hub.closed(session);
}

impl Connection {
    fn new(accepted: Accepted, frame_bytes: u32) -> Result<Self, Unwatched> {
        let Accepted { stream, remote } = accepted;
        let credentials = Credentials::of_peer(stream.as_fd()).map_err(Unwatched::System)?;
        let process = OwnedFd::from(Pidfd::of_peer(stream.as_fd()).map_err(Unwatched::Process)?);
        let mut link = Link::new(stream, Versions::OURS, frame_bytes);
        let progress = link.flush();
        let connection = Self {
            peer: Peer {
                uid: credentials.uid,
                pid: credentials.pid,
                remote,
            },
            link: WatchedLink::new(link).map_err(Unwatched::System)?,
            process: WatchedProcess::new(Descriptor::new(process)).map_err(Unwatched::System)?,
            outlet: Cell::new(Outlet::Open),
            changed: Notify::new(),
        };
        connection.sent(progress).map_err(Unwatched::Link)?;
        Ok(connection)
    }

    /// The peer's process.
    pub(super) fn process(&self) -> Descriptor {
        self.process.descriptor()
    }

    pub(super) fn outlet(&self) -> Outlet {
        self.outlet.get()
    }

    /// Takes note of how far sending has come.
    pub(super) fn sent(&self, progress: Result<Progress, LinkError>) -> Result<(), LinkError> {
        let outlet = match progress? {
            Progress::Sent => Outlet::Open,
            Progress::Blocked => Outlet::Full,
            Progress::TooManyInFlight => Outlet::Delayed,
            Progress::Closed => Outlet::Gone,
        };
        self.set_outlet(outlet);
        Ok(())
    }

    /// Lets the task end; the socket is closed with it.
    pub(super) fn end(&self) {
        self.set_outlet(Outlet::Ended);
    }

    /// Tells people why the connection ends.
    pub(super) fn warn(&self, reason: &dyn fmt::Display) {
        let Peer { pid, uid, remote } = self.peer;
        tracing::warn!(pid, uid, ?remote, %reason, "a client is dropped");
    }

    fn set_outlet(&self, outlet: Outlet) {
        if self.outlet.replace(outlet) != outlet {
            self.changed.notify_one();
        }
    }
}

/// Why a connection cannot be served.
#[derive(Debug, thiserror::Error)]
enum Unwatched {
    #[error(transparent)]
    Process(ProcessError),
    #[error(transparent)]
    Link(LinkError),
    #[error("a system call failed")]
    System(#[source] io::Error),
}

/// So that one busy client does not keep the others waiting.
const FRAMES_PER_TURN: usize = 32;
const RETRY: Duration = Duration::from_millis(10);
