//! Messages that wait for a subscriber.

use std::time::Duration;

use crate::message::Message;
use crate::topic::Topic;

use super::error::PublishError;
use super::outbound::Delivery;
use super::publisher::Publisher;
use super::topics::ResolvedTopic;

/// A message that no subscriber has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unclaimed {
    /// The topic that it was published to.
    pub topic: Topic,
    /// How long ago that was, when it was found to be over, or the publisher was closed.
    pub age: Duration,
    /// Its length, encoded, in bytes.
    pub len: usize,
}

impl<T: Message + ?Sized> Publisher<T> {
    /// Publishes a message as [`Publisher::publish_to`] does. If nobody takes the topic now, the message waits for a subscriber, so long
    /// at most, in the memory of this process: the first one that comes gets it, before anything newer, and in order. The client's
    /// control thread sees to that, whatever the publisher's thread does; only where a present subscriber takes other patterns
    /// than before, it gets it with the publisher's next operation. [`Delivery::waiting`] says that it waits.
    ///
    /// If a present subscriber has no room for it, an operation waits as its policy says; one that may wait less, or not at all, leaves
    /// it waiting, and is refused if it would overtake it.
    ///
    /// Who subscribes with [`Overflow::DropOldest`](crate::Overflow::DropOldest) or
    /// [`Overflow::Conflate`](crate::Overflow::Conflate), or with a snapshot of what this publisher keeps, gets none of them.
    ///
    /// When the time is over, [`Publisher::take_expired`] tells; there is no timer: it is looked for at each operation, and when
    /// somebody subscribes. A publisher that is dropped takes with it what waits; [`Publisher::close`] tells what that was.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("jobs/*").open()?;
    /// let topic = publisher.resolve("jobs/print")?;
    /// let delivery = publisher.publish_with_ttl(&topic, Bytes::new(b"page"), Duration::from_secs(60))?;
    /// assert!(delivery.waiting || delivery.lanes > 0);
    /// for expired in publisher.take_expired() {
    ///     eprintln!("nobody took a message on {} for {:?}", expired.topic, expired.age);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then, and does not wait. [`PublishError::TooMuchWaiting`]: there is no room for
    /// more that waits; a [history](super::PublisherBuilder::history) has kept the message all the same, for who asks for it later.
    pub fn publish_with_ttl(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
        ttl: Duration,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound_mut().publish_with_ttl(id, message, ttl)
    }
}

impl<T: ?Sized> Publisher<T> {
    /// The messages whose time was over before somebody took them, oldest first, each told once. Of those that were not taken
    /// from here yet, the last 1,024 are kept; [`Publisher::expired`] counts all.
    pub fn take_expired(&mut self) -> Vec<Unclaimed> {
        self.outbound_mut().take_expired()
    }

    /// How many messages have waited for a subscriber in vain so far.
    pub fn expired(&mut self) -> u64 {
        self.outbound_mut().expired()
    }
}
