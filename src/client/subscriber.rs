//! Receiving messages of one type, or of any.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Role;
use crate::lane::MAX_RING_BYTES;
use crate::message::{Message, MessageType, ViewError};
use crate::ring::DropCause;
use crate::topic::{Pattern, Selection, TopicError};
use crate::wire::{HandleId, HistoryUse, Overflow, Refusal, SubscriberSpec, ToBroker};

use super::client::Client;
use super::error::{RecvError, RequestError};
use super::gap::{Gap, GapCause};
use super::inbound::{Found, Inbound, Sign, SubscriberPort, Wait, Watch};
use super::mailbox::Mailbox;
use super::sample::{self, Checked, Sample};
use super::session::Reply;
use super::shared::{Command, Shared};
use super::undecodable::{Undecodable, Undecoded};

/// Receives messages that a subscriber of type `T` takes.
///
/// Messages of one publisher arrive in the order in which they were published, across topics, each once. Used by one
/// thread at a time (`Send`, not shared). Receiving takes no lock, allocates nothing and makes no system call, unless
/// there is nothing to receive.
///
/// Dropping it ends its subscription.
///
/// ```no_run
/// use ringmain::{Client, RecvError, message::Bytes};
///
/// let client = Client::connect("demo")?;
/// let mut subscriber = client.subscriber::<Bytes>("log/**").open()?;
/// loop {
///     match subscriber.recv() {
///         Ok(sample) => println!("{} {:?}", sample.topic(), &*sample),
///         Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # #[expect(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscriber<T: ?Sized> {
    inbound: Inbound,
    pub(super) undecodable: Undecoded,
    id: HandleId,
    /// As the broker has them.
    patterns: Vec<String>,
    /// Keeps the control thread; after `inbound`, which it serves.
    _client: Client,
    message: PhantomData<fn() -> Box<T>>,
}

/// What a subscriber can take: every [`Message`], and [`AnyMessage`].
pub trait Receive {
    /// What a sample derefs to.
    type View: ?Sized;

    /// [`Message::ENCODED_LEN`] of the type.
    const ENCODED_LEN: Option<usize> = None;

    /// [`Message::CONFLATES`] of the type.
    const CONFLATES: bool = true;

    /// The type of messages that is taken; `None` takes every type.
    fn accepts() -> Option<&'static MessageType>;

    /// Checks a payload and gives the view of it.
    ///
    /// # Errors
    /// The bytes are not a value of the type.
    fn view(bytes: &[u8]) -> Result<&Self::View, ViewError>;
}

/// Stands for messages of every type, as the bytes that they are encoded to; for tools.
///
/// [`Sample::message_type`] says what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyMessage {}

/// The lane of a message that was found, and what it is.
type Taken<V> = (usize, Checked<V>);

/// Settles how a subscriber is opened; see [`Client::subscriber`].
#[must_use = "a subscriber exists once `open` is called"]
pub struct SubscriberBuilder<'a, T: ?Sized> {
    client: &'a Client,
    patterns: Vec<&'a str>,
    excludes: Vec<&'a str>,
    queue: Option<&'a str>,
    overflow: Overflow,
    wait: Wait,
    ring_bytes: usize,
    self_delivery: bool,
    events: bool,
    history: HistoryUse,
    undecodable: Undecodable,
    message: PhantomData<fn() -> Box<T>>,
}

impl<'a, T: Receive + ?Sized> SubscriberBuilder<'a, T> {
    pub(super) fn new(client: &'a Client, pattern: &'a str) -> Self {
        Self {
            client,
            patterns: vec![pattern],
            excludes: Vec::new(),
            queue: None,
            overflow: Overflow::Block {
                deadline: DEFAULT_DEADLINE,
            },
            wait: Wait::default(),
            ring_bytes: 0,
            self_delivery: true,
            events: false,
            history: HistoryUse::None,
            undecodable: Undecodable::default(),
            message: PhantomData,
        }
    }

    /// One more pattern. A message that several of them match arrives once.
    pub fn pattern(mut self, pattern: &'a str) -> Self {
        self.patterns.push(pattern);
        self
    }

    /// Leaves out topics that the patterns select, as often as it is called. A message to a topic with wildcards is left out
    /// only if one of these includes all of the topic.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client
    ///     .subscriber::<Bytes>("log/**")
    ///     .exclude("log/debug/**")
    ///     .exclude("log/*/heartbeat")
    ///     .open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exclude(mut self, pattern: &'a str) -> Self {
        self.excludes.push(pattern);
        self
    }

    /// Shares messages with all subscribers, of any process, that name the same queue group: each message goes to one of those
    /// whose patterns take it. Publishers take turns among the members with room; if none has room, the policy of the member
    /// whose turn it is decides, and a `Block` wait is over as soon as any of them has room. A batch goes to one member.
    ///
    /// When a member is closed or dies, another one on the broker's host whose patterns take the same topics reads on where it
    /// stopped, in order, also if the publisher is idle, stopped or gone by then. That is *at least once*: what the dead member
    /// had taken and not given back, by dropping the [`Sample`], comes again, a single message of each publisher at most; as can
    /// a [`Gap`](RecvError::Gap) that it was told last. Whatever comes that way says so: [`Sample::redelivered`]. Without another
    /// member, or without a broker, what was not read is lost with the last one. Members should have the same patterns.
    ///
    /// Policies that replace messages, and [`snapshot`](Self::snapshot), are refused by [`open`](Self::open). Costs a record with
    /// the topic's name before each message, and a store for each message that is given back.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// // Any number of these, in any number of processes.
    /// let client = Client::connect("demo")?;
    /// let mut worker = client.subscriber::<Bytes>("jobs/*").queue("workers").open()?;
    /// let job = worker.recv()?;
    /// if job.redelivered() {
    ///     println!("{} may have been begun by another worker", job.topic());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn queue(mut self, name: &'a str) -> Self {
        self.queue = Some(name);
        self
    }

    /// What happens to messages that find the lane full; `Block` with a deadline of one second unless set.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How `recv` waits; `SpinThenPark` unless set.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The least ring that each publisher must make for this subscriber, in bytes; the publisher decides unless set.
    pub fn ring_bytes(mut self, bytes: usize) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// What happens to a message whose bytes are no value of the type; [`Undecodable::EndLane`] unless set.
    ///
    /// ```no_run
    /// use ringmain::{Client, RecvError, Undecodable, rkyv};
    ///
    /// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    /// #[rkyv(crate = ringmain::rkyv)]
    /// #[message(name = "level")]
    /// struct Level {
    ///     is_high: bool,
    /// }
    ///
    /// let client = Client::connect("demo")?;
    /// let builder = client.subscriber::<Level>("levels/*");
    /// let mut subscriber = builder.undecodable(Undecodable::Report).open()?;
    /// match subscriber.recv() {
    ///     Ok(level) => println!("{}", level.is_high),
    ///     Err(RecvError::Undecodable { publisher, topic, .. }) => eprintln!("{publisher} sends junk on {topic}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn undecodable(mut self, choice: Undecodable) -> Self {
        self.undecodable = choice;
        self
    }

    /// Leaves out publishers of the same client.
    pub fn without_self_delivery(mut self) -> Self {
        self.self_delivery = false;
        self
    }

    /// First gives what publishers have kept of the topics that the patterns select
    /// ([`PublisherBuilder::history`](super::PublisherBuilder::history)): of each topic the last messages, oldest first,
    /// marked by [`Sample::is_snapshot`]. Each publisher's messages follow without a gap and without a repetition: a topic
    /// that is published to while its last messages are read comes with what is published only.
    ///
    /// It does not have to wait for a message: what is kept comes while the publisher rests, too, not once its process has
    /// ended. Patterns that are added later select what is published only.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("config/**").snapshot().open()?;
    /// let sample = subscriber.recv()?;
    /// println!("{} {}", sample.topic(), if sample.is_snapshot() { "was" } else { "is now" });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(mut self) -> Self {
        self.history = HistoryUse::Snapshot;
        self
    }

    /// Has `recv` tell of publishers that are gone, each behind its last message, and of lanes that fill up, as
    /// [`RecvError::Event`]. Costs some tens of nanoseconds for each message.
    ///
    /// ```no_run
    /// use ringmain::{Client, RecvError, SubscriberEvent, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("log/**").events().open()?;
    /// loop {
    ///     match subscriber.recv() {
    ///         Err(RecvError::Event(SubscriberEvent::PublisherGone { publisher })) => {
    ///             eprintln!("{publisher} is gone");
    ///         }
    ///         other => drop(other?),
    ///     }
    /// }
    /// # #[expect(unreachable_code)]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(mut self) -> Self {
        self.events = true;
        self
    }

    /// Opens the subscriber. Every message whose `publish` starts after this has returned, in any process joined to the
    /// same broker, is delivered or reported as a gap. Waits for the broker, ten seconds at most, for no publisher.
    ///
    /// # Errors
    /// [`RequestError`]: a pattern or a size is not possible, the broker refuses or is gone.
    pub fn open(self) -> Result<Subscriber<T>, RequestError> {
        self.open_with_lanes().map(|(subscriber, _)| subscriber)
    }

    /// No messages come, only what publishers have kept can be looked at.
    pub(super) fn only_history(mut self) -> Self {
        self.history = HistoryUse::Only;
        self
    }

    /// Opens the subscriber; gives the number of lanes that it gets, too.
    pub(super) fn open_with_lanes(self) -> Result<(Subscriber<T>, u32), RequestError> {
        let patterns = canonical(&self.patterns)?;
        let excludes = canonical(&self.excludes)?;
        if let Some(queue) = self.queue {
            Refusal::check_queue(queue, self.overflow, self.history)
                .map_err(RequestError::Refused)?;
        }
        if self.ring_bytes > MAX_RING_BYTES {
            return Err(RequestError::Size {
                what: "ring_bytes",
                asked: self.ring_bytes as u64,
                least: 0,
                most: MAX_RING_BYTES as u64,
            });
        }
        if let Some(message_type) = T::accepts() {
            message_type.validate()?;
            if self.overflow == Overflow::Conflate && !T::CONFLATES {
                return Err(RequestError::Refused(Refusal::NotConflated {
                    topic: patterns.join(" "),
                    client: self.client.shared().name().to_owned(),
                    message_type: message_type.to_string(),
                }));
            }
        }
        let shared = self.client.shared();
        let bell = shared.new_bell()?;
        let id = shared.next_handle();
        let port = SubscriberPort::new(
            Mailbox::new(bell.sender),
            *shared.options(),
            shared.mark(),
            shared.counters().handle(
                Role::Subscriber,
                id,
                &patterns.join(" "),
                &T::accepts().map_or_else(String::new, ToString::to_string),
            ),
            Selection {
                patterns: parse(&patterns)?,
                excludes: parse(&excludes)?,
            },
        )?;
        let port = Arc::new(match self.queue {
            Some(_) => port.of_member(),
            None => port,
        });
        let spec = SubscriberSpec {
            patterns: patterns.clone(),
            message_type: T::accepts().cloned(),
            overflow: self.overflow,
            ring_bytes: self.ring_bytes as u64,
            self_delivery: self.self_delivery,
            excludes,
            queue: self.queue.map(str::to_owned),
            history: self.history,
        };
        let guard = OpenSubscriber { shared, id };
        shared.command(Command::AddSubscriber(id, port.clone()));
        let (reply, _) = shared.request(|request| ToBroker::OpenSubscriber {
            request,
            subscriber: id,
            spec,
        })?;
        let lanes = match reply {
            Reply::Opened(lanes) => lanes,
            _ => 0,
        };
        std::mem::forget(guard);
        let inbound = Inbound::new(shared.clone(), port, bell.receiver, self.wait, self.events);
        let subscriber = Subscriber {
            inbound,
            undecodable: Undecoded {
                choice: self.undecodable,
                count: 0,
            },
            id,
            patterns,
            _client: self.client.clone(),
            message: PhantomData,
        };
        Ok((subscriber, lanes))
    }
}

impl<T: Receive + ?Sized> Subscriber<T> {
    /// Waits for the next message.
    ///
    /// # Errors
    /// [`RecvError::Gap`]: messages are missing here; the next call goes on behind them. The other errors are described
    /// at [`RecvError`].
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Sample<'_, T>, RecvError> {
        if let Some((lane, checked)) = self.ready()? {
            return Ok(Sample::new(self.inbound.lane(lane), checked));
        }
        loop {
            if let Some((lane, checked)) = self.wait(None)? {
                return Ok(Sample::new(self.inbound.lane(lane), checked));
            }
        }
    }

    /// Waits for the next message, at most `timeout`; `None` when that is over.
    ///
    /// # Errors
    /// As [`Subscriber::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Sample<'_, T>>, RecvError> {
        let waited = self.wait(Some(timeout))?;
        Ok(waited.map(|(lane, checked)| Sample::new(self.inbound.lane(lane), checked)))
    }

    /// The next message if there is one. Never waits. A publisher's first messages may take a moment to show, for its
    /// ring is mapped in the background; they are not lost.
    ///
    /// # Errors
    /// As [`Subscriber::recv`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Sample<'_, T>>, RecvError> {
        if let Some((lane, checked)) = self.ready()? {
            return Ok(Some(Sample::new(self.inbound.lane(lane), checked)));
        }
        if self.inbound.rests() {
            return Ok(None);
        }
        while let Some(found) = self.inbound.poll()? {
            if let Some((lane, checked)) = self.take(found)? {
                return Ok(Some(Sample::new(self.inbound.lane(lane), checked)));
            }
        }
        Ok(None)
    }

    /// Adds a pattern. Messages published after this has returned are delivered if they match it.
    ///
    /// # Errors
    /// As for [`SubscriberBuilder::open`].
    pub fn add_pattern(&mut self, pattern: &str) -> Result<(), RequestError> {
        self.change_patterns(&[pattern], &[])
    }

    /// Removes a pattern. Messages published after this has returned are not delivered for its sake; those that were
    /// published before may still come.
    ///
    /// # Errors
    /// As for [`SubscriberBuilder::open`]; also if it was the last pattern.
    pub fn remove_pattern(&mut self, pattern: &str) -> Result<(), RequestError> {
        self.change_patterns(&[], &[pattern])
    }

    /// Adds patterns and removes others, at once: all or none, with a single trip to the broker. One that is in both lists stays.
    /// Otherwise as [`Subscriber::add_pattern`] and [`Subscriber::remove_pattern`].
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("log/old").open()?;
    /// subscriber.change_patterns(&["log/new", "log/newer"], &["log/old"])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`SubscriberBuilder::open`]; also if no pattern would be left. Nothing has changed then.
    pub fn change_patterns(&mut self, add: &[&str], remove: &[&str]) -> Result<(), RequestError> {
        let (add, remove) = (canonical(add)?, canonical(remove)?);
        let subscriber = self.id;
        let frame = |request| ToBroker::ChangePatterns {
            request,
            subscriber,
            add: add.clone(),
            remove: remove.clone(),
        };
        self.inbound.shared().request(frame)?;
        self.patterns.retain(|pattern| !remove.contains(pattern));
        for pattern in add {
            if !self.patterns.contains(&pattern) {
                self.patterns.push(pattern);
            }
        }
        self.inbound.set_patterns(parse(&self.patterns)?);
        self.inbound.counters().rename(&self.patterns.join(" "));
        Ok(())
    }

    /// The next message, if all is as it is as a rule.
    #[inline(always)]
    fn ready(&mut self) -> Result<Option<Taken<T::View>>, RecvError> {
        match self.inbound.ready(T::ENCODED_LEN) {
            Some(lane) => Ok(self.check(lane)?.map(|checked| (lane, checked))),
            None => Ok(None),
        }
    }

    /// The next message, as soon as there is one; `None` when `timeout` is over.
    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Taken<T::View>>, RecvError> {
        let mut watch = Watch::new(timeout);
        loop {
            match self.inbound.watch(&mut watch).map_err(RecvError::System)? {
                Sign::Record => {
                    if let Some(taken) = self.ready()? {
                        return Ok(Some(taken));
                    }
                }
                Sign::Poll => {}
                Sign::Over => return Ok(None),
            }
            if let Some(found) = self.inbound.poll()?
                && let Some(taken) = self.take(found)?
            {
                return Ok(Some(taken));
            }
        }
    }

    /// The lane of the message that was found, and what it is; `None` if it is passed over.
    #[inline]
    pub(super) fn take(&mut self, found: Found) -> Result<Option<Taken<T::View>>, RecvError> {
        match found {
            Found::Message { lane } => Ok(self.check(lane)?.map(|checked| (lane, checked))),
            Found::Gap {
                lane,
                counts,
                first,
            } => Err(RecvError::Gap(Gap {
                lost: counts.total(),
                first_sequence: first,
                cause: match counts.count(DropCause::Deadline) {
                    0 => GapCause::Overflow,
                    _ => GapCause::Deadline,
                },
                publisher: self.inbound.lane(lane).publisher().name.clone(),
            })),
            Found::Lost { lane, first } => Err(RecvError::Gap(Gap {
                lost: 0,
                first_sequence: first,
                cause: GapCause::TransportLost,
                publisher: self.inbound.lane(lane).publisher().name.clone(),
            })),
        }
    }

    /// Checks the message that was found in this lane; `None` if it is passed over.
    #[inline(always)]
    fn check(&mut self, lane: usize) -> Result<Option<Checked<T::View>>, RecvError> {
        // In this branch the length is a constant, and little is left of the check.
        let found = self.inbound.lane(lane);
        if T::ENCODED_LEN.is_some()
            && T::ENCODED_LEN == found.reader().len_in_ring()
            && let Ok(checked) = sample::check::<T>(found)
        {
            return Ok(Some(checked));
        }
        self.check_any(lane)
    }
}

impl<T: ?Sized> Subscriber<T> {
    pub(super) fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    pub(super) fn inbound_mut(&mut self) -> &mut Inbound {
        &mut self.inbound
    }
}

impl<T: Message + ?Sized> Receive for T {
    type View = T::View;

    const ENCODED_LEN: Option<usize> = T::ENCODED_LEN;
    const CONFLATES: bool = T::CONFLATES;

    fn accepts() -> Option<&'static MessageType> {
        Some(T::message_type())
    }

    #[inline]
    fn view(bytes: &[u8]) -> Result<&Self::View, ViewError> {
        T::view(bytes)
    }
}

impl Receive for AnyMessage {
    type View = [u8];

    fn accepts() -> Option<&'static MessageType> {
        None
    }

    fn view(bytes: &[u8]) -> Result<&[u8], ViewError> {
        Ok(bytes)
    }
}

impl<T: ?Sized> Drop for Subscriber<T> {
    fn drop(&mut self) {
        if self.inbound.shared().mark().is_forked() {
            self.inbound.abandon();
            return;
        }
        self.inbound.close();
        self.inbound
            .shared()
            .command(Command::CloseSubscriber(self.id));
    }
}

impl<T: ?Sized> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Takes an open that has failed back.
struct OpenSubscriber<'a> {
    shared: &'a Shared,
    id: HandleId,
}

impl Drop for OpenSubscriber<'_> {
    fn drop(&mut self) {
        self.shared.command(Command::CloseSubscriber(self.id));
    }
}

fn canonical(patterns: &[&str]) -> Result<Vec<String>, TopicError> {
    patterns
        .iter()
        .map(|pattern| Pattern::try_from(*pattern).map(|pattern| pattern.to_string()))
        .collect()
}

fn parse(patterns: &[String]) -> Result<Vec<Pattern>, TopicError> {
    let patterns = patterns.iter().map(|pattern| pattern.as_str().try_into());
    patterns.collect()
}

const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);
