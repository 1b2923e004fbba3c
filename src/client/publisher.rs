//! Publishing messages of one type.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Role;
use crate::lane::{DEFAULT_RING_BYTES, MAX_TOPIC_IDS, PoolWriter, SharedRegion};
use crate::message::{Bytes, Clock, Message, MessageType};
use crate::topic::Topic;
use crate::wire::{HandleId, PublisherSpec, ToBroker};

use super::client::Client;
use super::error::{PublishError, RequestError};
use super::mailbox::Mailbox;
use super::open_rings::OpenRings;
use super::outbound::{Delivery, Outbound, Patience, Retry, Settings, Waitlist};
use super::shared::{Command, PublisherPort, Shared};
use super::sizes::{lossy_bytes, table_bytes};
use super::topics::{ResolvedTopic, TooManyTopics, TopicTable};

/// What is attached to a message.
#[derive(Clone, Copy, Debug)]
pub enum Attachment<'a> {
    /// A descriptor, which is duplicated for each subscriber.
    Descriptor(BorrowedFd<'a>),
    /// Memory, which subscribers map.
    Region(&'a SharedRegion),
}

/// Publishes messages of type `T` to the topics that it has declared.
///
/// Used by one thread at a time (`Send`, not shared). A publish takes no lock, allocates nothing and makes no system call,
/// unless a subscriber sleeps, has no room, or the routes have changed.
///
/// Dropping it ends its lanes; its subscribers still read what lies in them, also when the process exits right after.
///
/// ```no_run
/// use ringmain::{Client, message::Bytes};
///
/// let client = Client::connect("demo")?;
/// let mut publisher = client.publisher::<Bytes>("log/*").open()?;
/// let delivery = publisher.publish("log/boot", Bytes::new(b"up"))?;
/// println!("{} subscribers", delivery.lanes);
///
/// let hot = publisher.resolve("log/hot")?;
/// publisher.publish_to(&hot, Bytes::new(b"quick"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher<T: ?Sized> {
    outbound: Outbound,
    id: HandleId,
    declared: Topic,
    /// Keeps the control thread; after `outbound`, which it serves.
    _client: Client,
    message: PhantomData<fn(&T)>,
}

/// Settles how a publisher is opened; see [`Client::publisher`].
#[must_use = "a publisher exists once `open` is called"]
pub struct PublisherBuilder<'a, T: ?Sized> {
    pub(super) client: &'a Client,
    topic: &'a str,
    pub(super) max_message_bytes: usize,
    pub(super) ring_bytes: usize,
    block_cap: Option<Duration>,
    clock: Option<Clock>,
    retry: Retry,
    pub(super) share_rings: bool,
    time_to_live: Option<Duration>,
    waiting_bytes: usize,
    pub(super) history: u32,
    pub(super) history_bytes: usize,
    pub(super) pool_bytes: u64,
    pub(super) pool_threshold: usize,
    /// Instead of the type's own.
    message_type: Option<MessageType>,
    message: PhantomData<fn(&T)>,
}

impl PublisherBuilder<'_, Bytes> {
    /// The bytes are encoded messages of this type, which is known only at run time: for tools. Subscribers check them, so
    /// bytes that are none end the lane.
    ///
    /// ```no_run
    /// use ringmain::message::{Bytes, from_json};
    /// use ringmain::{Client, ListTopics};
    ///
    /// let client = Client::connect("demo")?;
    /// let listing = client.list("md/quote/eurusd", ListTopics::Declared)?;
    /// let mut types = listing.subscribers.into_iter().filter_map(|info| info.message_type);
    /// let message_type = types.next().ok_or("nobody takes typed messages there")?;
    /// let bytes = from_json(&message_type, r#"{"bid": 1.1, "ask": 1.2}"#)?;
    /// let builder = client.publisher::<Bytes>("md/quote/eurusd");
    /// let mut publisher = builder.encoded_as(message_type).open()?;
    /// publisher.publish("md/quote/eurusd", Bytes::new(&bytes))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encoded_as(mut self, message_type: MessageType) -> Self {
        self.message_type = Some(message_type);
        self
    }
}

impl<'a, T: Message + ?Sized> PublisherBuilder<'a, T> {
    pub(super) fn new(client: &'a Client, topic: &'a str) -> Self {
        Self {
            client,
            topic,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            ring_bytes: DEFAULT_RING_BYTES,
            block_cap: None,
            clock: None,
            retry: Retry::default(),
            share_rings: true,
            time_to_live: None,
            waiting_bytes: DEFAULT_WAITING_BYTES,
            history: 0,
            history_bytes: DEFAULT_HISTORY_BYTES,
            pool_bytes: DEFAULT_POOL_BYTES,
            pool_threshold: DEFAULT_POOL_THRESHOLD,
            message_type: None,
            message: PhantomData,
        }
    }

    /// The largest encoded message, in bytes; 64 KiB unless set. Messages that go through the [pool](Self::pool_bytes) can have up to its limit.
    /// A ring whose subscriber needs copies holds at least two of the largest, so it can have up to half of 1 GiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// The ring that each subscriber gets, in bytes, rounded up to a power of two; 512 KiB unless set, which is
    /// what fits the second-level cache of current processors. A subscriber may ask for more.
    pub fn ring_bytes(mut self, bytes: usize) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// Memory for messages that are not copied for each subscriber, in bytes; 1 GiB unless set. It is taken when messages need it, and
    /// given back when they do not. Each subscriber may pin an equal share of it, by what it has not read or holds. One whose older
    /// messages give way pins only what it holds, and gets copies beyond its share.
    pub fn pool_bytes(mut self, bytes: u64) -> Self {
        self.pool_bytes = bytes;
        self
    }

    /// From which length on, in bytes, a message is written once for all subscribers on this host, which read it where it lies;
    /// 4,096 unless set. Shorter ones are copied into each subscriber's ring, and so are all for subscribers on other hosts, in queue
    /// groups, or behind a [snapshot](super::SubscriberBuilder::snapshot) as far as that goes. With `usize::MAX` no message goes that way but
    /// [loans](Publisher::loan).
    pub fn pool_threshold(mut self, bytes: usize) -> Self {
        self.pool_threshold = bytes;
        self
    }

    /// The longest that `publish` waits for a subscriber with the policy `Block`. A subscriber that asks for more is
    /// refused; one that is open already is waited for no longer than this.
    pub fn block_cap(mut self, cap: Duration) -> Self {
        self.block_cap = Some(cap);
        self
    }

    /// Stamps every message with the time at which it was published, by this clock; see
    /// [`Sample::published_at`](super::Sample::published_at). Costs 16 bytes in the ring, and a look at the clock. Messages are not stamped unless this is
    /// set. For subscribers on other hosts it has to be [`Clock::Realtime`], by clocks that are set alike, if they are to tell
    /// the latency.
    pub fn timestamps(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How a publish waits for room; [`Retry::Wake`] unless set.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Whether subscribers of this host that ask for the same (patterns, exclusions, policy, ring size) read one ring, which is
    /// written once for all of them; they do unless this is set to false. Nobody has less for it: whoever is slow keeps the
    /// ring for itself, the others move on to another one. Rings are not shared where older messages give way, in queue
    /// groups, behind a snapshot, nor with a subscriber on another host; nor by a publisher whose messages can be long enough for the
    /// [pool](PublisherBuilder::pool_threshold), which are written once as it is.
    pub fn share_rings(mut self, share: bool) -> Self {
        self.share_rings = share;
        self
    }

    /// Keeps the last messages of each topic, so many, for subscribers that come later and ask for a
    /// [`snapshot`](super::SubscriberBuilder::snapshot), and for [`Client::last_values`](super::Client::last_values). A batch counts as one.
    /// Nothing is kept unless this is set; 63 are possible. They are gone with the publisher's process.
    ///
    /// Costs a copy for each message, and a lock that nobody but the control thread of this client takes besides, for each
    /// new lane.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("config/*").history(1).open()?;
    /// publisher.publish("config/color", Bytes::new(b"blue"))?;
    /// // Whoever subscribes with a snapshot from now on gets it.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn history(mut self, messages: u32) -> Self {
        self.history = messages;
        self
    }

    /// Memory for what [`history`](Self::history) keeps, in bytes, rounded up to a power of two; 4 MiB unless set, which is
    /// enough for the last quotes of some 10,000 topics. When it is used up, the topics give way that were published to
    /// longest ago.
    pub fn history_bytes(mut self, bytes: usize) -> Self {
        self.history_bytes = bytes;
        self
    }

    /// Has every message that nobody takes wait so long for a subscriber, as [`Publisher::publish_with_ttl`] describes. They do not
    /// wait unless this is set.
    pub fn time_to_live(mut self, ttl: Duration) -> Self {
        self.time_to_live = Some(ttl);
        self
    }

    /// How much may wait for subscribers, in bytes, as it would lie in a ring with its topics; 1 MiB unless set. A subscriber's
    /// ring is made large enough for all of it.
    pub fn waiting_bytes(mut self, bytes: usize) -> Self {
        self.waiting_bytes = bytes;
        self
    }

    /// Opens the publisher. When this returns, the lanes to all present subscribers exist. Waits for the broker, ten
    /// seconds at most, for no subscriber.
    ///
    /// # Errors
    /// [`RequestError`]: the topic or a size is not possible, the broker refuses or is gone.
    pub fn open(self) -> Result<Publisher<T>, RequestError> {
        let declared = Topic::try_from(self.topic)?;
        let (ring_bytes, pooled_ring_bytes) = self.checked_ring_bytes()?;
        let message_type = self
            .message_type
            .as_ref()
            .unwrap_or_else(|| T::message_type());
        message_type.validate()?;
        let shared = self.client.shared();
        let history = self.make_history()?;
        let bell = shared.new_bell()?;
        let id = shared.next_handle();
        let topics = TopicTable::new();
        let mailbox = Arc::new(Mailbox::new(bell.sender));
        let counters = shared.counters().handle(
            Role::Publisher,
            id,
            declared.as_str(),
            &message_type.to_string(),
        );
        let waitlist = Arc::new(Waitlist::new(self.waiting_bytes, counters.clone()));
        let rings = Arc::new(OpenRings::default());
        let port = PublisherPort {
            mailbox: mailbox.clone(),
            live: topics.live().clone(),
            ring_bytes,
            pooled_ring_bytes,
            lossy_bytes: lossy_bytes(self.max_message_bytes).max(pooled_ring_bytes),
            table_bytes: table_bytes(self.max_message_bytes, 1).max(pooled_ring_bytes),
            history: history.as_ref().map(|history| history.gate.clone()),
            waitlist: waitlist.clone(),
            rings: self.shares_rings().then(|| rings.clone()),
            message_type: message_type.to_string(),
            counters,
        };
        let spec = PublisherSpec {
            topic: declared.to_string(),
            message_type: message_type.clone(),
            max_message_bytes: self.max_message_bytes as u64,
            block_cap: self.block_cap,
            history: self.history,
            conflates: T::CONFLATES,
        };
        let guard = OpenPublisher { shared, id };
        shared.command(Command::AddPublisher(id, Arc::new(port)));
        shared.request(|request| ToBroker::OpenPublisher {
            request,
            publisher: id,
            spec,
        })?;
        std::mem::forget(guard);
        let mut outbound = Outbound::new(
            shared.clone(),
            mailbox,
            bell.receiver,
            topics,
            Settings {
                max_message_bytes: self.max_message_bytes,
                ring_bytes: pooled_ring_bytes.min(ring_bytes),
                clock: self.clock,
                retry: self.retry,
                time_to_live: self.time_to_live,
                rings,
                pool: PoolWriter::new(self.pool_bytes, *shared.options()),
                copied_up_to: self.copied_up_to(),
            },
            history,
            waitlist,
        );
        outbound.sync();
        Ok(Publisher {
            outbound,
            id,
            declared,
            _client: self.client.clone(),
            message: PhantomData,
        })
    }
}

impl<T: Message + ?Sized> Publisher<T> {
    /// Publishes a message to a topic, which may have wildcards: then it reaches every subscriber that some topic could
    /// reach that fits it.
    ///
    /// Serves the subscribers with room, then waits for those without as their policies say: a `Block` subscriber up to
    /// its deadline. What is dropped is counted before this returns, and told to the subscriber in its place. The
    /// topics of the last 1,024 names are remembered; [`Publisher::publish_to`] spares the look-up.
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then. A message without subscribers is not encoded, so its size
    /// is not checked.
    #[inline]
    pub fn publish(&mut self, topic: &str, message: &T) -> Result<Delivery, PublishError> {
        let id = self.id_of_name(topic)?;
        self.outbound.publish(id, message, Patience::Policy)
    }

    /// Matches a topic with the subscribers, to publish to it many times.
    ///
    /// # Errors
    /// The topic does not parse, is not among those declared, or too many are held.
    pub fn resolve(&mut self, topic: &str) -> Result<ResolvedTopic, PublishError> {
        let topic = self.declared(topic)?;
        self.outbound.topics.resolve(topic).map_err(too_many)
    }

    /// Publishes a message to a resolved topic: the fast way. Otherwise as [`Publisher::publish`].
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then.
    #[inline(always)]
    pub fn publish_to(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound.publish(id, message, Patience::Policy)
    }

    /// Publishes messages to a resolved topic that become visible together: each subscriber gets all of them or, where its
    /// policy drops, none, which counts as so many losses. It costs less than one by one: the subscribers are looked after
    /// once. Waits for subscribers without room as [`Publisher::publish`] does.
    ///
    /// # Errors
    /// [`PublishError`]; the messages went to nobody then. [`PublishError::BatchTooLarge`]: half of a ring is what they
    /// may take, each with 16 bytes more, rounded up to 16.
    ///
    /// ```no_run
    /// use ringmain::{Client, rkyv};
    ///
    /// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    /// #[rkyv(crate = ringmain::rkyv)]
    /// #[message(name = "leg")]
    /// struct Leg {
    ///     price: f64,
    /// }
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Leg>("legs").open()?;
    /// let topic = publisher.resolve("legs")?;
    /// publisher.publish_batch(&topic, &[Leg { price: 1.0 }, Leg { price: 2.0 }])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_batch(
        &mut self,
        topic: &ResolvedTopic,
        messages: &[T],
    ) -> Result<Delivery, PublishError>
    where
        T: Sized,
    {
        let id = self.id_of(topic)?;
        self.outbound.publish_batch(id, messages)
    }

    /// Publishes a message if no subscriber has to be waited for.
    ///
    /// # Errors
    /// [`PublishError::WouldBlock`]: a `Block` subscriber has no room, for this message or an older one that
    /// [waits](Publisher::publish_with_ttl) for it; the message went to nobody.
    pub fn try_publish_to(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound.publish(id, message, Patience::None)
    }

    /// Publishes a message, waiting no longer than `timeout` even where policies allow more. Whoever has no room by then
    /// loses it, counted and told.
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then. [`PublishError::WouldBlock`]: a `Block` subscriber had no room for an older
    /// message that [waits](Publisher::publish_with_ttl) for it, and goes on waiting.
    pub fn publish_to_timeout(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
        timeout: Duration,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound
            .publish(id, message, Patience::AtMost(timeout))
    }

    /// Publishes a message to one subscriber of those that take the topic: that of the client with this
    /// [name](super::ClientBuilder::name); if there are several, to the one whose lane is the oldest. Everybody else gets
    /// nothing, and sees no gap. Otherwise as [`Publisher::publish_to`].
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then. [`PublishError::NoReceiver`]: no client of that name takes the topic.
    ///
    /// ```no_run
    /// use ringmain::{Client, PublishError, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("orders/*").open()?;
    /// let topic = publisher.resolve("orders/new")?;
    /// match publisher.publish_to_one(&topic, "matcher-2", Bytes::new(b"buy")) {
    ///     Err(PublishError::NoReceiver { receiver, .. }) => eprintln!("{receiver} is not there"),
    ///     published => println!("{:?}", published?),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_to_one(
        &mut self,
        topic: &ResolvedTopic,
        receiver: &str,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound.publish_to_one(id, receiver, message)
    }

    /// Publishes a message with descriptors and regions attached. Otherwise as [`Publisher::publish_to`]; a publisher with a
    /// [history](PublisherBuilder::history) keeps the message without them.
    ///
    /// Each subscriber gets duplicates of the descriptors ([`Sample::take_descriptors`](super::Sample::take_descriptors)); those
    /// given here stay open. Any number of them: they travel 253 at a time. A region is not copied: subscribers map its memory
    /// ([`Sample::take_regions`](super::Sample::take_regions)). Up to 16 to a message. What a subscriber does not take is closed with the sample.
    ///
    /// What is attached counts as a part of the message: where the kernel has no room for it, the subscriber has none. For
    /// subscribers on other hosts and in queue groups regions are copied, and are within `max_message_bytes` together with the message.
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then. [`PublishError::CannotAttach`]: descriptors, and one of the subscribers is on
    /// another host or in a queue group, or anything, and one has a policy by which older messages give way.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use std::os::fd::AsFd;
    ///
    /// use ringmain::{Attachment, Client, Region, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("logs/*").open()?;
    /// let topic = publisher.resolve("logs/today")?;
    /// let file = File::open("/var/log/syslog")?;
    /// let index = Region::new(1 << 20)?.share();
    /// let attached = [Attachment::Descriptor(file.as_fd()), Attachment::Region(&index)];
    /// publisher.publish_with(&topic, Bytes::new(b"syslog"), &attached)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_with(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
        attached: &[Attachment<'_>],
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        if attached.is_empty() {
            return self.outbound.publish(id, message, Patience::Policy);
        }
        let (mut descriptors, mut regions) = (Vec::new(), Vec::new());
        for attachment in attached {
            match attachment {
                Attachment::Descriptor(descriptor) => {
                    let copy = descriptor.try_clone_to_owned();
                    descriptors.push(copy.map_err(PublishError::Descriptor)?);
                }
                Attachment::Region(region) => regions.push((*region).clone()),
            }
        }
        self.outbound
            .publish_attached(id, message, descriptors, regions)
    }

    /// What was declared: topics that this one includes can be published to.
    pub fn topic(&self) -> &Topic {
        &self.declared
    }

    /// How often a topic was matched with the subscribers' patterns: once for each topic and change of the routes, however
    /// many messages are published.
    pub fn matches(&self) -> u64 {
        self.outbound.topics.matches()
    }

    #[inline]
    pub(super) fn id_of_name(&mut self, topic: &str) -> Result<u32, PublishError> {
        match self.outbound.topics.recent(topic) {
            Some(id) => Ok(id),
            None => self.remember(topic),
        }
    }

    #[inline]
    pub(super) fn id_of(&self, topic: &ResolvedTopic) -> Result<u32, PublishError> {
        let foreign = || PublishError::ForeignTopic {
            topic: topic.topic().clone(),
        };
        self.outbound.topics.id(topic).ok_or_else(foreign)
    }

    #[cold]
    fn remember(&mut self, name: &str) -> Result<u32, PublishError> {
        let topic = self.declared(name)?;
        self.outbound.topics.remember(name, topic).map_err(too_many)
    }

    fn declared(&self, name: &str) -> Result<Topic, PublishError> {
        // Before the table of live topics is locked: the parent's other thread may have held it at the fork.
        if self.outbound.shared().mark().is_forked() {
            return Err(PublishError::Forked);
        }
        let topic = Topic::try_from(name)?;
        if !self.declared.includes(&topic) {
            return Err(PublishError::NotDeclared {
                topic,
                declared: self.declared.clone(),
            });
        }
        Ok(topic)
    }
}

impl<T: ?Sized> Publisher<T> {
    pub(super) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    pub(super) fn outbound_mut(&mut self) -> &mut Outbound {
        &mut self.outbound
    }
}

impl<T: ?Sized> Drop for Publisher<T> {
    fn drop(&mut self) {
        if self.outbound.shared().mark().is_forked() {
            self.outbound.abandon();
            return;
        }
        self.outbound.close();
        self.outbound
            .shared()
            .command(Command::ClosePublisher(self.id));
    }
}

impl<T: Message + ?Sized> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher<{}>({})", T::message_type(), self.declared)
    }
}

/// Takes an open that has failed back.
struct OpenPublisher<'a> {
    shared: &'a Shared,
    id: HandleId,
}

impl Drop for OpenPublisher<'_> {
    fn drop(&mut self) {
        self.shared.command(Command::ClosePublisher(self.id));
    }
}

fn too_many(_: TooManyTopics) -> PublishError {
    PublishError::TooManyTopics {
        limit: MAX_TOPIC_IDS,
    }
}

const DEFAULT_WAITING_BYTES: usize = 1 << 20;
/// Of the pool, in bytes, unless told otherwise.
const DEFAULT_POOL_BYTES: u64 = 1 << 30;
/// Bytes of a message from which on it goes through the pool, unless told otherwise.
const DEFAULT_POOL_THRESHOLD: usize = 4096;
/// A quarter of what the default ring could take.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Memory of a history, in bytes, unless told otherwise.
const DEFAULT_HISTORY_BYTES: usize = 4 * 1024 * 1024;
