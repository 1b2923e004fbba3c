//! Looking at last values, without a subscription.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::lane::Unpacked;
use crate::message::Timestamp;
use crate::topic::{Topic, TopicError};

use super::client::Client;
use super::error::{LaneFault, RequestError};
use super::inbound::PublisherIdentity;
use super::subscriber::{Receive, Subscriber, SubscriberBuilder};

/// Looks at the last messages that publishers keep of their topics
/// ([`PublisherBuilder::history`](super::PublisherBuilder::history)), at any time, without messages coming in.
///
/// Used by one thread at a time (`Send`, not shared). A look copies the message; it takes no system call, and costs the
/// publisher nothing. Publishers that come and go are followed.
///
/// ```no_run
/// use ringmain::{Client, message::Bytes};
///
/// let client = Client::connect("demo")?;
/// let mut config = client.last_values::<Bytes>("config/**")?;
/// if let Some(color) = config.get("config/color")? {
///     println!("{:?} by {}", &*color, color.publisher());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LastValues<T: Receive + ?Sized> {
    subscriber: Subscriber<T>,
}

/// The last message that was published to a topic, copied. It derefs to the message's view.
pub struct LastValue<T: ?Sized> {
    /// With the message looked at, which was checked to be of the type.
    parcel: Unpacked,
    publisher: Arc<PublisherIdentity>,
    message: PhantomData<fn() -> Box<T>>,
}

/// Why there is no last value to look at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookError {
    /// The topic does not parse.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The broker refuses, or is gone.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A publisher broke the format. It is not looked at any more.
    #[error("what {publisher} keeps is of no use: {cause}")]
    Publisher {
        /// Name of the publishing client.
        publisher: String,
        /// What went wrong.
        cause: LaneFault,
    },
    /// This process is a forked child of the one that made the handle.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

impl Client {
    /// The last message on a topic, if a publisher that is open keeps one. To look more than once, or at several topics,
    /// [`Client::last_values`] is quicker: this asks the broker each time.
    ///
    /// If several publishers keep some, it is that with the latest timestamp; without timestamps, that of the client
    /// which joined last.
    ///
    /// # Errors
    /// [`LookError`].
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let color = client.last_value::<Bytes>("config/color")?;
    /// println!("{:?}", color.as_deref());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_value<T: Receive + ?Sized>(
        &self,
        topic: &str,
    ) -> Result<Option<LastValue<T>>, LookError> {
        self.last_values(topic)?.get(topic)
    }

    /// Opens a look at the last messages on all topics that a pattern selects. Waits for the broker, ten seconds at most, and
    /// for publishers, each of which answers at once unless its process is stopped: those are waited for a second, and come
    /// when they answer.
    ///
    /// # Errors
    /// [`RequestError`]: the pattern does not parse, the broker refuses or is gone.
    pub fn last_values<T: Receive + ?Sized>(
        &self,
        pattern: &str,
    ) -> Result<LastValues<T>, RequestError> {
        let builder = SubscriberBuilder::new(self, pattern).only_history();
        let (mut subscriber, lanes) = builder.open_with_lanes()?;
        subscriber
            .inbound_mut()
            .await_lanes(lanes, Instant::now() + PATIENCE);
        Ok(LastValues { subscriber })
    }
}

impl<T: Receive + ?Sized> LastValues<T> {
    /// The last message on a topic, if a publisher that is open keeps one; of several as for [`Client::last_value`].
    ///
    /// # Errors
    /// [`LookError`].
    pub fn get(&mut self, topic: &str) -> Result<Option<LastValue<T>>, LookError> {
        let topic = Topic::try_from(topic)?;
        let inbound = self.subscriber.inbound_mut();
        inbound.take_changes().map_err(|_| LookError::Forked)?;
        let mut last: Option<LastValue<T>> = None;
        let mut lane = 0;
        while let Some(found) = inbound.find(lane, &topic) {
            let found: Result<Option<LastValue<T>>, _> = found.and_then(|found| match found {
                Some((parcel, publisher)) => {
                    T::view(parcel.message())?;
                    Ok(Some(LastValue {
                        parcel,
                        publisher,
                        message: PhantomData,
                    }))
                }
                None => Ok(None),
            });
            match found {
                Ok(Some(found)) => {
                    let is_last = last.as_ref().is_none_or(|last| !found.is_before(last));
                    if is_last {
                        last = Some(found);
                    }
                    lane += 1;
                }
                Ok(None) => lane += 1,
                Err(cause) => return Err(inbound.look_fault(lane, cause)),
            }
        }
        Ok(last)
    }
}

impl<T: ?Sized> LastValue<T> {
    /// The topic that it was published to.
    pub fn topic(&self) -> &Topic {
        let topic = self.parcel.topic();
        topic.expect("it was found by its topic")
    }

    /// When it was published, by the clock that its publisher has chosen; `None` if that stamps no messages.
    pub fn published_at(&self) -> Option<Timestamp> {
        self.parcel.timestamp()
    }

    /// Name of the client that published it.
    pub fn publisher(&self) -> &str {
        &self.publisher.name
    }

    fn is_before(&self, other: &Self) -> bool {
        match (self.published_at(), other.published_at()) {
            (Some(one), Some(other)) if one.clock == other.clock => one.ns < other.ns,
            _ => self.publisher.id < other.publisher.id,
        }
    }
}

impl<T: Receive + ?Sized> Deref for LastValue<T> {
    type Target = T::View;

    fn deref(&self) -> &T::View {
        T::view(self.parcel.message())
            .expect("it was checked when it was found, and is not changed")
    }
}

impl<T: Receive + ?Sized> fmt::Debug for LastValue<T>
where
    T::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastValue")
            .field("topic", &self.topic())
            .field("view", &&**self)
            .finish()
    }
}

impl<T: Receive + ?Sized> fmt::Debug for LastValues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastValues").finish_non_exhaustive()
    }
}

/// How long publishers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
