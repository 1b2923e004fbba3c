//! Runs the broker's engine: sockets, clock, thread.
//!
//! The engine decides, the driver carries out. One thread of its own holds all of it, so nothing here is locked:
//! [`hub`] has the engine with the connections' state, each connection has a task that waits for its socket
//! ([`connection`]), each listener one that accepts ([`accept`]).

mod accept;
mod connection;
mod error;
mod hub;
mod socket_file;
mod tcp;
mod watched;

use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;

pub use error::BrokerError;

use super::engine::Engine;
use crate::link::{Address, Descriptor};
use crate::relay;
use crate::segment::fork::ProcessMark;
use crate::segment::{Backend, Incarnation, Kind, Segment, SegmentHandle, SegmentOptions};
use crate::wake::{KernelVersion, raise_descriptor_limit};
use crate::wire::{Limits, SegmentSource};
use accept::Listener;
use hub::{EPOCH_SPACING_BYTES, Hub};
use tcp::{Exposure, Relays};

/// A broker that runs in a thread of this process.
///
/// It ends with this value: the thread is joined, the sockets are removed. Clients that are joined go on with the lanes
/// that they have.
///
/// ```no_run
/// use ringmain::broker::Broker;
///
/// let broker = Broker::builder().listen("default".parse()?).start()?;
/// println!("listening on {:?}", broker.addresses());
/// broker.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    addresses: Vec<Address>,
    /// Sent to, or dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    mark: ProcessMark,
}

/// What a broker is to be like; made by [`Broker::builder`].
#[derive(Clone, Debug, Default)]
pub struct BrokerBuilder {
    addresses: Vec<Address>,
    limits: Limits,
    backend: Backend,
    exposure: Exposure,
    patience: Option<Duration>,
    remote_clients: Option<u32>,
}

impl Broker {
    /// A broker with default limits that listens nowhere yet.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Ends the broker. Blocks until its thread has ended and its sockets are removed.
    pub fn shutdown(self) {}
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A forked child has neither the thread nor a right to the files.
        if self.mark.is_forked() {
            return;
        }
        drop(self.stop.take());
        // A panic of the thread has been reported by the panic hook.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl BrokerBuilder {
    /// Adds an address to listen on.
    #[must_use]
    pub fn listen(mut self, address: Address) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sets what the broker allows its clients.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets where the broker's own shared memory comes from.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Allows to listen for TCP where other hosts can connect. Nothing is encrypted and nobody is asked who he is: whoever
    /// reaches the address may do all that a client may.
    #[must_use]
    pub fn insecure_tcp(mut self) -> Self {
        self.exposure = Exposure::Anybody;
        self
    }

    /// Sets how long a client on another host may be silent before it counts as gone; 10 seconds unless set.
    #[must_use]
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.patience = Some(timeout);
        self
    }

    /// Sets how many clients on other hosts are served at a time; 256 unless set. Each costs this process a thread, a socket
    /// and up to a mebibyte of buffers, and what its lanes take. One more is refused, with an error that names the limit.
    ///
    /// One that connects has as long as [`peer_timeout`](Self::peer_timeout) to join; then its place is free again.
    #[must_use]
    pub fn remote_clients(mut self, most: u32) -> Self {
        self.remote_clients = Some(most);
        self
    }

    /// Starts the broker; when this returns, clients can connect.
    ///
    /// Raises the process' soft limit of open descriptors to the hard one, since each client costs some.
    ///
    /// # Errors
    /// See [`BrokerError`]; nothing is left behind then.
    pub fn start(self) -> Result<Broker, BrokerError> {
        if self.addresses.is_empty() {
            return Err(BrokerError::NoAddress);
        }
        KernelVersion::check()?;
        if let Err(error) = raise_descriptor_limit() {
            tracing::warn!(%error, "the limit of open descriptors stays as it is");
        }
        let system =
            |call: &'static str| move |source: io::Error| BrokerError::System { call, source };
        let mark = ProcessMark::here().map_err(system("madvise(MADV_WIPEONFORK)"))?;
        let (epochs, engine) = self.engine()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("epoll_create"))?;
        let (listeners, addresses): (Vec<_>, Vec<_>) = {
            let _context = runtime.enter();
            let bind = |address| Listener::bind(address, self.exposure);
            let bound = self.addresses.iter().map(bind);
            bound.collect::<Result<Vec<_>, _>>()?.into_iter().unzip()
        };
        let (stop, stopped) = oneshot::channel();
        let frame_bytes = self.limits.frame_bytes;
        let patience = self.patience.unwrap_or(relay::DEFAULT_PATIENCE);
        let remote_clients = self.remote_clients.unwrap_or(tcp::MOST_RELAYS);
        let thread = std::thread::Builder::new()
            .name("ringmain-broker".into())
            .spawn(move || {
                let hub = Rc::new(Hub::new(engine, epochs, frame_bytes));
                let relays = Rc::new(Relays::new(patience, frame_bytes, remote_clients));
                let tasks = LocalSet::new();
                tasks.block_on(&runtime, run(hub, relays.clone(), listeners, stopped));
                // The links of the relays go with the tasks.
                drop(tasks);
                if let Some(relays) = Rc::into_inner(relays) {
                    relays.join();
                }
            })
            .map_err(system("clone"))?;
        Ok(Broker {
            addresses,
            stop: Some(stop),
            thread: Some(thread),
            mark,
        })
    }

    fn engine(&self) -> Result<(Segment, Engine<Descriptor>), BrokerError> {
        let options = SegmentOptions {
            backend: self.backend,
            ..SegmentOptions::default()
        };
        let epochs = Segment::create(
            Kind::Epochs,
            self.limits.clients as usize * EPOCH_SPACING_BYTES,
            &options,
        )?;
        let (source, descriptor) = match epochs.handle()? {
            SegmentHandle::Descriptor(descriptor) => {
                (SegmentSource::Descriptor, Some(Descriptor::new(descriptor)))
            }
            SegmentHandle::Named(name) => (SegmentSource::Named(name), None),
        };
        let incarnation = Incarnation::random().map_err(|source| BrokerError::System {
            call: "getrandom",
            source,
        })?;
        let owner = nix::unistd::geteuid().as_raw();
        let engine = Engine::new(
            self.limits.clone(),
            owner,
            incarnation.0,
            source,
            descriptor,
        );
        Ok((epochs, engine))
    }
}

/// Runs until the [`Broker`] is dropped; ending drops the tasks with all that they own.
async fn run(
    hub: Rc<Hub>,
    relays: Rc<Relays>,
    listeners: Vec<Listener>,
    stopped: oneshot::Receiver<()>,
) {
    for listener in listeners {
        tokio::task::spawn_local(listener.run(hub.clone(), relays.clone()));
    }
    tokio::task::spawn_local(hub::tick(hub));
    let _ = stopped.await;
}

#[cfg(test)]
mod tests;
