//! Closing a publisher without losing what is on its way.

use std::time::Duration;

use thiserror::Error;

use super::publisher::Publisher;
use super::unclaimed::Unclaimed;

/// What has become of the messages of a publisher that was closed; see [`Publisher::close`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// One for each subscriber; before those, one for each lane that has ended with messages unread.
    /// Whoever subscribed with [`DropOldest`](crate::Overflow::DropOldest) or [`Conflate`](crate::Overflow::Conflate) is neither waited for nor listed.
    pub lanes: Vec<ClosedLane>,
    /// Messages that were unread in further lanes that have ended: only the last 256 of those are listed.
    pub unlisted: u64,
    /// Messages that still waited for a subscriber, oldest first; see [`Publisher::publish_with_ttl`].
    pub unclaimed: Vec<Unclaimed>,
}

/// What one subscriber has not got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosedLane {
    /// Name of the subscribing client.
    pub subscriber: String,
    /// Messages that were written for it and that it has not told to have read: it may have read some of the last ones, if it
    /// has not looked for more since. A subscriber that lives still reads them.
    pub unread: u64,
    /// Whether the lane had ended: the subscriber died, its connection broke, or it has unsubscribed and wants no more, which
    /// looks the same from another host.
    pub has_ended: bool,
    /// Messages that were dropped for it while the lane lasted; it is told of them as gaps.
    pub dropped: u64,
}

/// Why a publisher was not closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// This process is a forked child of the one that opened the publisher.
    #[error("this handle belongs to the parent process: connect anew after fork")]
    Forked,
}

impl<T: ?Sized> Publisher<T> {
    /// Waits until every subscriber has read everything that was published for it, at most `deadline`, then ends the lanes
    /// and says what was not delivered.
    ///
    /// Sleeps until a subscriber tells how far it has read. It does so for every message while somebody waits for it, and when it
    /// looks for more and finds nothing: one that has received its last message and does not look again is waited for in vain. Waits
    /// for nobody who has unsubscribed or died, nor for the broker.
    ///
    /// Dropping the publisher instead ends the lanes at once. In either case subscribers that live read what lies in them.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("log/*").open()?;
    /// publisher.publish("log/boot", Bytes::new(b"up"))?;
    /// let closed = publisher.close(Duration::from_secs(5))?;
    /// for lane in closed.lanes.iter().filter(|lane| !lane.is_complete()) {
    ///     eprintln!("{}: {} unread, {} dropped", lane.subscriber, lane.unread, lane.dropped);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CloseError::Forked`]; nothing was ended then.
    pub fn close(mut self, deadline: Duration) -> Result<Closed, CloseError> {
        self.check_closable()?;
        self.outbound_mut().flush(deadline);
        Ok(self.end())
    }

    pub(super) fn check_closable(&self) -> Result<(), CloseError> {
        match self.outbound().shared().mark().is_forked() {
            true => Err(CloseError::Forked),
            false => Ok(()),
        }
    }

    /// Ends the lanes; what was not delivered.
    pub(super) fn end(mut self) -> Closed {
        self.outbound_mut().shortfalls()
    }
}

impl Closed {
    /// Whether every subscriber has got every message.
    pub fn is_complete(&self) -> bool {
        self.undelivered() == 0
    }

    /// Messages that were not delivered, each counted once for each subscriber that has not got it, or once if nobody has.
    pub fn undelivered(&self) -> u64 {
        let lanes = self.lanes.iter();
        let undelivered: u64 = lanes.map(|lane| lane.unread + lane.dropped).sum();
        undelivered + self.unlisted + self.unclaimed.len() as u64
    }
}

impl ClosedLane {
    /// Whether the subscriber has got every message.
    pub fn is_complete(&self) -> bool {
        self.unread == 0 && self.dropped == 0
    }
}
