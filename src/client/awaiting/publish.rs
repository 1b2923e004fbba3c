//! Publishing in futures.

use std::future::poll_fn;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_io::Timer;
use event_listener::EventListener;

use crate::client::error::PublishError;
use crate::client::outbound::{Delivery, Outbound, Patience, ROUTE_PATIENCE, Retry, To, Written};
use crate::client::publisher::Publisher;
use crate::client::shared::Shared;
use crate::client::topics::ResolvedTopic;
use crate::message::Message;

use super::reactor::LeakedByChild;

impl<T: Message + ?Sized> Publisher<T> {
    /// Publishes a message as [`Publisher::publish`] does, without blocking the thread, on any executor.
    ///
    /// Cancel-safe: a future that is dropped before its first poll has published nothing. One that is dropped while it
    /// waits ends its wait, as a timeout would: those who had room have the message; those who had none lose it, which is
    /// counted before the drop is over, and told to them as a gap in its place. Nobody counts as stalled for that.
    ///
    /// Waiting starts the thread of `async-io`'s reactor, as [`recv_async`](crate::Subscriber::recv_async) does. A
    /// publish that has nobody to wait for never gives way to other tasks.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// async fn greet() -> Result<(), Box<dyn std::error::Error>> {
    ///     let client = Client::connect("demo")?;
    ///     let mut publisher = client.publisher::<Bytes>("log/*").open()?;
    ///     let delivery = publisher.publish_async("log/boot", Bytes::new(b"up")).await?;
    ///     println!("{} subscribers", delivery.lanes);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    ///
    /// # Panics
    /// The first wait, if the system has no thread for the reactor.
    pub async fn publish_async(
        &mut self,
        topic: &str,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of_name(topic)?;
        self.outbound_mut().publish_async(id, message, None).await
    }

    /// Publishes a message to a resolved topic as [`Publisher::publish_to`] does, otherwise as
    /// [`Publisher::publish_async`].
    ///
    /// # Errors
    /// As [`Publisher::publish_to`].
    ///
    /// # Panics
    /// As [`Publisher::publish_async`].
    pub async fn publish_to_async(
        &mut self,
        topic: &ResolvedTopic,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound_mut().publish_async(id, message, None).await
    }

    /// Publishes a message to one subscriber as [`Publisher::publish_to_one`] does, otherwise as
    /// [`Publisher::publish_async`].
    ///
    /// # Errors
    /// As [`Publisher::publish_to_one`].
    ///
    /// # Panics
    /// As [`Publisher::publish_async`].
    pub async fn publish_to_one_async(
        &mut self,
        topic: &ResolvedTopic,
        receiver: &str,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        let outbound = self.outbound_mut();
        let delivery = outbound.publish_async(id, message, Some(receiver)).await?;
        outbound.check_receiver(id, receiver, delivery)
    }
}

impl Outbound {
    async fn publish_async<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        receiver: Option<&str>,
    ) -> Result<Delivery, PublishError> {
        let mut route = RouteWait::new(self.shared());
        poll_fn(|context| self.poll_sync(&mut route, context)).await?;
        while self.next_waiting(Patience::Policy) {
            let wait = GiveUpOnDrop(self);
            poll_fn(|context| wait.0.poll_served(context)).await?;
        }
        let to = match receiver {
            None => To::Rest(0),
            Some(receiver) => self.only(id, receiver)?,
        };
        let wait = GiveUpOnDrop(self);
        let delivery = match wait.0.write(id, message, Patience::Policy, to)? {
            Written::Served(delivery) => delivery,
            Written::Waits => poll_fn(|context| wait.0.poll_served(context)).await?,
        };
        if receiver.is_some() {
            return Ok(delivery);
        }
        let delivery = wait.0.let_wait(id, iter::once(message), delivery, None)?;
        while wait.0.next_waiting(Patience::Policy) {
            poll_fn(|context| wait.0.poll_served(context)).await?;
        }
        Ok(delivery)
    }

    /// Learns what the broker and the peers have changed, as [`Outbound::sync`] does.
    pub(super) fn poll_sync(
        &mut self,
        route: &mut RouteWait,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        if self.shared().mark().is_forked() {
            return Poll::Ready(Err(PublishError::Forked));
        }
        let epoch = route.epoch.unwrap_or_else(|| self.epoch_now());
        let in_time =
            self.is_settled(epoch) || ready!(route.poll_applied(epoch, self.shared(), context));
        route.end();
        self.adopt(epoch, in_time);
        self.take_news();
        Poll::Ready(Ok(()))
    }

    /// Serves the lanes that are waited for; what has become of the message then. Leaves the sleep announced while it is
    /// pending.
    pub(super) fn poll_served(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Delivery, PublishError>> {
        loop {
            if self.shared().mark().is_forked() {
                return Poll::Ready(Err(PublishError::Forked));
            }
            if let Some(end) = self.pause(None) {
                ready!(self.poll_asleep(Some(end), context));
                // One token of the readers; the sleep goes on.
                self.bell.drain();
                continue;
            }
            if let Retry::Wake | Retry::Never = self.retry() {
                self.retire();
            }
            let Some(deadline) = self.try_waiting() else {
                self.retire();
                self.bell.in_reactor.forget_moment();
                return Poll::Ready(Ok(self.served()));
            };
            match self.retry() {
                Retry::Wake | Retry::Never => {
                    let moment = self.moment(deadline);
                    if !self.announce_elsewhere() {
                        // There may be room, or readers may not pass fences yet: look again, after other tasks.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    ready!(self.poll_asleep(moment, context));
                }
                Retry::Yield => {
                    self.announce_for_good();
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Retry::Backoff { .. } => {
                    self.announce_for_good();
                    self.pause(Some(deadline));
                }
            }
        }
    }

    /// Sleeps as announced, until this moment at most.
    pub(super) fn poll_asleep(
        &mut self,
        moment: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let rung = self.bell.in_reactor.poll_rung_until(moment, context);
        if ready!(rung).is_err() {
            // A passing lack of memory: look again, after other tasks.
            self.retire();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Waits for routes that the broker has announced.
pub(super) struct RouteWait {
    /// Those that are waited for.
    epoch: Option<u64>,
    wait: LeakedByChild<(EventListener, Timer)>,
}

impl RouteWait {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            epoch: None,
            wait: LeakedByChild::new(shared.mark()),
        }
    }

    /// Whether they have come, in time.
    fn poll_applied(
        &mut self,
        epoch: u64,
        shared: &Shared,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        self.epoch = Some(epoch);
        loop {
            if shared.applied() >= epoch {
                return Poll::Ready(true);
            }
            let Some((changed, timer)) = &mut self.wait.place else {
                // Listen, then look once more.
                self.wait.place = Some((shared.listen(), Timer::after(ROUTE_PATIENCE)));
                continue;
            };
            if shared.is_gone() || Pin::new(timer).poll(context).is_ready() {
                return Poll::Ready(shared.applied() >= epoch);
            }
            ready!(Pin::new(&mut *changed).poll(context));
            *changed = shared.listen();
        }
    }

    fn end(&mut self) {
        self.epoch = None;
        self.wait.clear();
    }
}

/// Ends the wait of a future that is done, or dropped.
struct GiveUpOnDrop<'a>(&'a mut Outbound);

impl Drop for GiveUpOnDrop<'_> {
    fn drop(&mut self) {
        self.0.give_up();
        self.0.bell.in_reactor.forget_moment();
    }
}
