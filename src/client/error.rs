//! What the operations of a client's handles can fail with.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::lane::{LaneError, PoolError};
use crate::link::{self, AddressError, LinkError};
use crate::message::{EncodeError, LayoutError, ViewError};
use crate::relay::DialError;
use crate::segment::SegmentError;
use crate::topic::{Topic, TopicError};
use crate::wake::{KernelError, PinError};
use crate::wire::{LaneRefusal, Refusal};

use super::gap::{Gap, SubscriberEvent};
use super::session::ProtocolError;

/// Why a client could not join a bus.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address does not parse.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody could be connected to.
    #[error(transparent)]
    Connect(#[from] link::ConnectError),
    /// The broker's host could not be connected to.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The link broke before the broker had welcomed the client.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The broker does not admit the client.
    #[error("the broker refused: {0}")]
    Refused(Refusal),
    /// The broker did not answer in time; it may be stopped.
    #[error("the broker did not answer within {0:?}: is its process stopped?")]
    Silent(Duration),
    /// The broker broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The broker's route epochs cannot be mapped.
    #[error("the broker's epoch segment is unusable: {0}")]
    Epochs(SegmentError),
    /// Memory as [`ClientBuilder::memory`](super::ClientBuilder::memory) asks for it cannot be had.
    #[error("memory for lanes cannot be made: {0}")]
    Memory(SegmentError),
    /// The control thread cannot run where [`ClientBuilder::control_cpus`](super::ClientBuilder::control_cpus) says.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel is too old.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The system refused a thread, a socket or a descriptor.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a request to the broker failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The broker is gone. Publishers and subscribers that are open go on; new ones need a broker.
    #[error("the broker is gone: open publishers and subscribers go on, new ones need a broker")]
    BrokerGone,
    /// The broker did not answer in time; it may be stopped.
    #[error("the broker did not answer within {0:?}: is its process stopped?")]
    Silent(Duration),
    /// The broker refused.
    #[error("{0}")]
    Refused(Refusal),
    /// A topic does not parse.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The type's layout is more than a bus carries.
    #[error("the message type cannot be described: {0}")]
    Layout(#[from] LayoutError),
    /// A size is beyond what a ring can have.
    #[error("{what} of {asked} bytes is out of range: {least} to {most} bytes are possible")]
    Size {
        /// Which size.
        what: &'static str,
        /// What was asked for, in bytes.
        asked: u64,
        /// The smallest that is possible, in bytes.
        least: u64,
        /// The largest that is possible, in bytes.
        most: u64,
    },
    /// Memory for the handle could not be made.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The system refused a descriptor.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// This process is a forked child of the one that joined the bus.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

/// Why a message was not published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic does not parse.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The topic is not one that the publisher has declared.
    #[error(
        "{topic} is not among the topics of this publisher, {declared}: open one that includes it"
    )]
    NotDeclared {
        /// The topic.
        topic: Topic,
        /// What the publisher may publish to.
        declared: Topic,
    },
    /// The topic was resolved by another publisher.
    #[error("{topic} was resolved by another publisher: resolve it with this one")]
    ForeignTopic {
        /// The topic.
        topic: Topic,
    },
    /// Too many topics are in use at a time.
    #[error("more than {limit} resolved topics are held: drop some")]
    TooManyTopics {
        /// How many can be held.
        limit: u32,
    },
    /// The message is longer than the publisher has declared.
    #[error("the message has {len} bytes, this publisher takes {limit}: raise `max_message_bytes`")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// What was declared, in bytes.
        limit: usize,
    },
    /// There is no memory for the message; see [`PublisherBuilder::pool_bytes`](super::PublisherBuilder::pool_bytes).
    #[error("no memory for the message: {0}; raise `pool_bytes`, or have subscribers hold less")]
    Pool(PoolError),
    /// The messages of a batch take more than every ring holds.
    #[error(
        "the batch takes {len} bytes, {limit} are possible: make it smaller, or raise `ring_bytes`"
    )]
    BatchTooLarge {
        /// What it takes in a ring, in bytes.
        len: usize,
        /// What is possible, in bytes.
        limit: usize,
    },
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection to the broker's host is lost, and with it the subscribers of this publisher. This message was not
    /// published; those before it may not have arrived. Told once.
    #[error(
        "the connection to the broker's host is lost, and up to {unconfirmed} messages with it: connect anew"
    )]
    TransportLost {
        /// Messages that subscribers have not confirmed to have read, of all of them together, with those that waited for
        /// room when the connection broke; at most so many are lost.
        unconfirmed: u64,
    },
    /// No subscriber of a client of this name takes the topic; nothing was published.
    #[error("no client named {receiver:?} takes {topic}: nothing was published")]
    NoReceiver {
        /// The name.
        receiver: String,
        /// The topic.
        topic: Topic,
    },
    /// Nobody takes the topic, and no more can wait for a subscriber; see
    /// [`PublisherBuilder::waiting_bytes`](super::PublisherBuilder::waiting_bytes). A publisher with a
    /// [history](super::PublisherBuilder::history) has kept the message all the same.
    #[error(
        "nobody takes the topic, {waiting} bytes wait for subscribers, and {asked} more are beyond {limit}: raise `waiting_bytes`"
    )]
    TooMuchWaiting {
        /// What was to wait, in bytes.
        asked: usize,
        /// What waits, in bytes.
        waiting: usize,
        /// What may wait, in bytes.
        limit: usize,
    },
    /// What is attached cannot reach one of the subscribers; nothing was published to anybody.
    #[error(
        "nothing was published: {receiver} cannot be sent descriptors if it is on another host or in a queue group, nor anything attached if it lets older messages give way"
    )]
    CannotAttach {
        /// Name of the subscribing client.
        receiver: String,
    },
    /// The regions, or their names where they are not copied, are too long together with the message; nothing was published to anybody.
    #[error(
        "{len} bytes are to be sent with what is attached, this publisher takes {limit}: raise `max_message_bytes` (regions are copied for subscribers on other hosts and in queue groups)"
    )]
    TooMuchAttached {
        /// Name of a subscribing client for whom regions are copied.
        receiver: Option<String>,
        /// Bytes of the message with what is attached.
        len: usize,
        /// What was declared, in bytes.
        limit: usize,
    },
    /// More regions than a message takes; nothing was published.
    #[error("{count} regions are attached, a message takes {limit}: make fewer, larger ones")]
    TooManyRegions {
        /// How many.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A descriptor could not be duplicated; nothing was published.
    #[error("a descriptor cannot be attached; is the descriptor table full (`ulimit -n`)?")]
    Descriptor(#[source] io::Error),
    /// A subscriber with the policy `Block` has no room; nothing was published to anybody.
    #[error("a subscriber has no room")]
    WouldBlock,
    /// This process is a forked child of the one that opened the publisher.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

/// Why `recv` gives no message. `Gap`, `Lane`, `Undecodable`, `Disconnected` and `Event` say something about one publisher; the next
/// `recv` goes on behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Messages are missing here.
    #[error("{0}")]
    Gap(Gap),
    /// A publisher of this subscriber broke the format, or its lane could not be set up. The lane has ended; what it
    /// would have carried from here on is lost.
    #[error("the lane from {publisher} has ended: {cause}")]
    Lane {
        /// Name of the publishing client.
        publisher: String,
        /// What went wrong.
        cause: LaneFault,
    },
    /// A message is no value of the type, and the subscriber wants to be told so; see
    /// [`SubscriberBuilder::undecodable`](super::SubscriberBuilder::undecodable).
    #[error("message {sequence} of {publisher} on {topic} does not decode: {cause}")]
    Undecodable {
        /// Name of the publishing client.
        publisher: String,
        /// The topic that it was published to.
        topic: String,
        /// Its number, as [`Sample::sequence`](super::Sample::sequence) gives it.
        sequence: u64,
        /// What is wrong with it.
        cause: ViewError,
    },
    /// The lane of a publisher had no room, and the subscriber's policy is to be disconnected then. Everything up to that
    /// message has come, which is told as a gap before this; later ones of that publisher do not come. Open the subscriber anew to
    /// take part again.
    #[error("{publisher} found no room and has disconnected this subscriber: open it anew")]
    Disconnected {
        /// Name of the publishing client.
        publisher: String,
    },
    /// Something that the subscriber wants to be told; see [`SubscriberBuilder::events`](super::SubscriberBuilder::events).
    #[error("{0}")]
    Event(SubscriberEvent),
    /// No publisher is left and, as the broker is gone, none can come.
    #[error("no publisher is left and the broker is gone: connect anew")]
    BrokerGone,
    /// The system refused to wait.
    #[error("the system refused to wait: {0}")]
    System(io::Error),
    /// This process is a forked child of the one that opened the subscriber.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

/// What ended a lane before its publisher did.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaneFault {
    /// The publisher broke the format.
    #[error(transparent)]
    Broken(#[from] LaneError),
    /// A payload is not a value of the type.
    #[error(transparent)]
    Payload(#[from] ViewError),
    /// One of the sides could not take part.
    #[error("{0}")]
    Refused(LaneRefusal),
}
