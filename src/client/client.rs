//! Joining a bus.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lane::MIN_RING_BYTES;
use crate::link::{self, Address, Link};
use crate::message::Message;
use crate::relay;
use crate::segment::fork::ProcessMark;
use crate::segment::{Backend, Kind, MemoryOptions, Segment, SegmentOptions};
use crate::topic::Pattern;
use crate::wake::{Bell, KernelVersion, pin, raise_descriptor_limit};
use crate::wire::{ClientInfo, Limits, Listing, ToBroker, Versions};

use super::control::{Control, Reach};
use super::error::{ConnectError, RequestError};
use super::publisher::PublisherBuilder;
use super::session::Reply;
use super::shared::{Command, REPLY_PATIENCE, Shared, next_reply};
use super::subscriber::{Receive, SubscriberBuilder};

/// A process' connection to a bus.
///
/// Cheap to clone; the connection ends with the last clone, publisher and subscriber. It has one thread, which sleeps
/// unless the broker or a peer has something to say. When the broker dies, publishers and subscribers that are open go
/// on; opening new ones fails.
///
/// ```
/// # #[cfg(feature = "broker")] {
/// use ringmain::{Client, broker::Broker, message::Bytes};
///
/// let _broker = Broker::builder().listen("memory:doc-client".parse()?).start()?;
/// let client = Client::connect("memory:doc-client")?;
/// let mut subscriber = client.subscriber::<Bytes>("greeting/*").open()?;
/// let mut publisher = client.publisher::<Bytes>("greeting/*").open()?;
/// publisher.publish("greeting/world", Bytes::new(b"hello"))?;
/// let sample = subscriber.recv()?;
/// assert_eq!((sample.topic().as_str(), &*sample), ("greeting/world", &b"hello"[..]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// Settles how a client joins; see [`Client::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a client exists once `connect` is called"]
pub struct ClientBuilder {
    name: Option<String>,
    options: SegmentOptions,
    control_cpus: Option<Vec<usize>>,
    peer_timeout: Option<Duration>,
}

struct Inner {
    shared: Arc<Shared>,
    /// The control thread; behind it the relay, if the broker is on another host.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Client {
    /// Joins the bus at an address as `RINGMAIN_BUS` and `--bus` take it: a bus' name, `unix:PATH`, `memory:NAME`,
    /// `tcp://HOST:PORT`. Waits for the broker, ten seconds at most.
    ///
    /// Over TCP the client has a second thread, its relay. Its last handle then waits, when it is dropped, until what was
    /// published has arrived at the broker's host, ten seconds at most.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::builder().connect(address)
    }

    /// Joins the bus that `RINGMAIN_BUS` names, `default` if it is not set.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_default() -> Result<Self, ConnectError> {
        Self::builder().connect_to(&Address::from_env()?)
    }

    /// Settles more than the address.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A publisher of messages of type `T` to the topics that `topic` includes.
    pub fn publisher<'a, T: Message + ?Sized>(&'a self, topic: &'a str) -> PublisherBuilder<'a, T> {
        PublisherBuilder::new(self, topic)
    }

    /// A subscriber to messages of type `T` on the topics that match `pattern`.
    pub fn subscriber<'a, T: Receive + ?Sized>(
        &'a self,
        pattern: &'a str,
    ) -> SubscriberBuilder<'a, T> {
        SubscriberBuilder::new(self, pattern)
    }

    /// Asks the broker whether it is there; gives the time that took.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn ping(&self) -> Result<Duration, RequestError> {
        let started = Instant::now();
        self.shared()
            .request(|request| ToBroker::Ping { request })?;
        Ok(started.elapsed())
    }

    /// The open publishers and subscribers that meet a pattern. With `Live`, each publisher is also asked which topics it
    /// uses at the moment; one that does not answer within half a second has `None` there.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn list(&self, pattern: &str, topics: ListTopics) -> Result<Listing, RequestError> {
        let pattern = Pattern::try_from(pattern)?.to_string();
        let live = topics == ListTopics::Live;
        let mut listing = Listing::default();
        self.collect(
            |request| ToBroker::List {
                request,
                pattern,
                live,
            },
            |reply| {
                if let Reply::Listed { part, .. } = reply {
                    listing.publishers.extend(part.publishers);
                    listing.subscribers.extend(part.subscribers);
                }
            },
        )?;
        Ok(listing)
    }

    /// The clients of the bus.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn clients(&self) -> Result<Vec<ClientInfo>, RequestError> {
        let mut clients = Vec::new();
        self.collect(
            |request| ToBroker::ListClients { request },
            |reply| {
                if let Reply::Clients { part, .. } = reply {
                    clients.extend(part);
                }
            },
        )?;
        Ok(clients)
    }

    /// This client's number, unique within the broker's run.
    pub fn id(&self) -> u64 {
        self.shared().joined().client
    }

    /// The name that it gave itself.
    pub fn name(&self) -> &str {
        self.shared().name()
    }

    /// The run of the broker that it has joined: a random number.
    pub fn incarnation(&self) -> u128 {
        self.shared().joined().incarnation
    }

    /// What the broker allows.
    pub fn limits(&self) -> &Limits {
        &self.shared().joined().limits
    }

    /// Whether the link to the broker is open.
    pub fn is_connected(&self) -> bool {
        !self.shared().is_gone()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn collect(
        &self,
        frame: impl FnOnce(u64) -> ToBroker,
        mut take: impl FnMut(Reply),
    ) -> Result<(), RequestError> {
        let (mut reply, replies): (Reply, Receiver<Reply>) = self.shared().request(frame)?;
        loop {
            let last = reply.is_last();
            take(reply);
            if last {
                return Ok(());
            }
            reply = next_reply(&replies)?;
        }
    }
}

/// What [`Client::list`] tells about topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListTopics {
    /// What publishers have declared.
    Declared,
    /// Also the topics that they use.
    Live,
}

impl ClientBuilder {
    /// A name for people, shown by `shm-broker clients`, and for [`Publisher::publish_to_one`](super::Publisher::publish_to_one);
    /// the program's name unless set. Several clients may have the same. At most 255 bytes.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Where the memory of this client's rings comes from.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.options.backend = backend;
        self
    }

    /// What is asked of the memory of lanes. Joining tries it with the smallest ring, and fails if that cannot be had; a lane
    /// whose memory cannot be had later is refused, which its two ends are told.
    ///
    /// ```no_run
    /// use ringmain::{Client, MemoryOptions};
    ///
    /// let memory = MemoryOptions { huge_pages: true, lock: true, ..MemoryOptions::default() };
    /// let client = Client::builder().memory(memory).control_cpus(&[0]).connect("demo")?;
    /// # Ok::<(), ringmain::ConnectError>(())
    /// ```
    pub fn memory(mut self, memory: MemoryOptions) -> Self {
        self.options.memory = memory;
        self
    }

    /// The processors that the control thread may run on, by the system's numbers, so that it disturbs none that is kept for something else. It
    /// may run wherever the thread that connects may, unless set.
    pub fn control_cpus(mut self, cpus: &[usize]) -> Self {
        self.control_cpus = Some(cpus.to_vec());
        self
    }

    /// How long a broker on another host may be silent before it counts as gone, and how long connecting to it may take;
    /// 10 seconds unless set.
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peer_timeout = Some(timeout);
        self
    }

    /// Joins the bus at an address; see [`Client::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(self, address: &str) -> Result<Client, ConnectError> {
        self.connect_to(&address.parse()?)
    }

    /// Joins the bus at an address; see [`Client::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_to(self, address: &Address) -> Result<Client, ConnectError> {
        let system = |what| move |source| ConnectError::System { what, source };
        KernelVersion::check()?;
        // A sandbox may forbid it; then the error comes with the descriptor that is one too many.
        let _ = raise_descriptor_limit();
        let mark = ProcessMark::here().map_err(system("a page"))?;
        self.try_memory()?;
        let (stream, relay) = self.dial(address)?;
        stream.set_nonblocking(true).map_err(system("a socket"))?;
        let bell = Bell::new().map_err(system("a bell"))?;
        let name = self.name.clone().unwrap_or_else(program_name);
        let shared = Arc::new(Shared::new(name, mark, self.options, bell.sender));
        let link = Link::new(stream, Versions::OURS, Limits::default().frame_bytes);
        let (joining, joined) = sync_channel(1);
        let reach = match relay {
            Some(_) => Reach::OtherHost,
            None => Reach::ThisHost,
        };
        let refused = joining.clone();
        let control = Control::new(shared.clone(), link, bell.receiver, reach, joining);
        let thread = std::thread::Builder::new()
            .name("ringmain".into())
            .spawn(
                move || match self.control_cpus.as_deref().map_or(Ok(()), pin) {
                    Ok(()) => control.run(),
                    Err(error) => drop(refused.try_send(Err(error.into()))),
                },
            )
            .map_err(system("a thread"))?;
        let inner = Inner {
            shared,
            threads: Mutex::new(std::iter::once(thread).chain(relay).collect()),
        };
        match joined.recv_timeout(REPLY_PATIENCE) {
            Ok(result) => result.map(|()| Client {
                inner: Arc::new(inner),
            }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(ConnectError::Silent(REPLY_PATIENCE))
            }
        }
    }
}

impl ClientBuilder {
    /// Tells at once what could not be had for any lane.
    fn try_memory(&self) -> Result<(), ConnectError> {
        if self.options.memory == MemoryOptions::default() {
            return Ok(());
        }
        let probe = Segment::create(Kind::Ring, MIN_RING_BYTES, &self.options);
        probe.map(drop).map_err(ConnectError::Memory)
    }

    /// A connection to the broker, or to the relay that stands for it here.
    fn dial(
        &self,
        address: &Address,
    ) -> Result<(UnixStream, Option<JoinHandle<()>>), ConnectError> {
        let Address::Tcp { host, port } = address else {
            return Ok((link::connect(address)?, None));
        };
        let patience = self.peer_timeout.unwrap_or(relay::DEFAULT_PATIENCE);
        let far = relay::dial(host, *port, patience)?;
        let frame_bytes = Limits::default().frame_bytes;
        let (stream, thread) =
            relay::beside_client(far, patience, frame_bytes).map_err(|source| {
                ConnectError::System {
                    what: "a relay",
                    source,
                }
            })?;
        Ok((stream, Some(thread)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.mark().is_forked() {
            return;
        }
        self.shared.command(Command::Stop);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // It has not panicked, or has said so itself.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shared().name())
    }
}

fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program
        .as_ref()
        .and_then(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "unknown".into())
}
