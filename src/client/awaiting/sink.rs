//! A publisher as a sink.

use std::borrow::Borrow;
use std::fmt;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use crate::client::error::PublishError;
use crate::client::outbound::{Delivery, Patience, To, Written};
use crate::client::publisher::Publisher;
use crate::client::topics::ResolvedTopic;
use crate::message::Message;

use super::publish::RouteWait;

/// A publisher as a sink of messages on one topic; see [`Publisher::into_sink`].
#[must_use = "sinks do nothing unless polled"]
pub struct MessageSink<T: ?Sized, B> {
    publisher: Publisher<T>,
    topic: ResolvedTopic,
    /// Not published yet.
    message: Option<B>,
    route: RouteWait,
    /// Whether lanes are waited for, with the last message or an older one.
    waits: bool,
    /// The last message, while lanes are waited for with it: if none of them stays, it waits for another.
    under_way: Option<B>,
    dropped: u64,
}

impl<T: Message + ?Sized> Publisher<T> {
    /// A sink of messages on one topic: of values, references, boxes or [`Arc`](std::sync::Arc)s.
    ///
    /// Each is published as [`Publisher::publish_async`] does it, when the sink is flushed or made ready for the next
    /// one; `send` does both, `feed` alone holds a message back. Dropping the sink ends the wait of the last one as
    /// dropping that future does, and with it goes one that is held back.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("log/*").open()?;
    /// let topic = publisher.resolve("log/boot")?;
    /// let sink = publisher.into_sink::<Box<Bytes>>(topic)?;
    /// # let _ = sink;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PublishError::ForeignTopic`]: the topic was resolved by another publisher.
    pub fn into_sink<B: Borrow<T>>(
        mut self,
        topic: ResolvedTopic,
    ) -> Result<MessageSink<T, B>, PublishError> {
        self.id_of(&topic)?;
        Ok(MessageSink {
            route: RouteWait::new(self.outbound_mut().shared()),
            publisher: self,
            topic,
            message: None,
            waits: false,
            under_way: None,
            dropped: 0,
        })
    }
}

impl<T: Message + ?Sized, B> MessageSink<T, B> {
    /// How many messages were dropped so far, each counted once for each subscriber that lost it.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The publisher back. Ends the wait of the last message as dropping the sink does.
    pub fn into_inner(mut self) -> Publisher<T> {
        self.publisher.outbound_mut().give_up();
        self.publisher
    }

    fn count(&mut self, delivery: Delivery) {
        self.dropped += u64::from(delivery.dropped);
    }
}

impl<T: Message + ?Sized, B: Borrow<T>> Sink<B> for MessageSink<T, B> {
    type Error = PublishError;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        self.poll_flush(context)
    }

    fn start_send(self: Pin<&mut Self>, message: B) -> Result<(), PublishError> {
        self.get_mut().message = Some(message);
        Ok(())
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        let sink = self.get_mut();
        let id = sink.publisher.id_of(&sink.topic)?;
        loop {
            if sink.waits {
                let delivery = ready!(sink.publisher.outbound_mut().poll_served(context))?;
                sink.waits = false;
                sink.count(delivery);
                if let Some(message) = sink.under_way.take() {
                    let outbound = sink.publisher.outbound_mut();
                    outbound.let_wait(id, iter::once(message.borrow()), delivery, None)?;
                }
            }
            let outbound = sink.publisher.outbound_mut();
            if sink.message.is_some() {
                ready!(outbound.poll_sync(&mut sink.route, context))?;
            }
            sink.waits = outbound.next_waiting(Patience::Policy);
            if sink.waits {
                continue;
            }
            let Some(message) = sink.message.take() else {
                return Poll::Ready(Ok(()));
            };
            match outbound.write(id, message.borrow(), Patience::Policy, To::Rest(0))? {
                Written::Served(delivery) => {
                    outbound.let_wait(id, iter::once(message.borrow()), delivery, None)?;
                    sink.count(delivery);
                }
                Written::Waits => {
                    sink.waits = true;
                    sink.under_way = Some(message);
                }
            }
        }
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        self.poll_flush(context)
    }
}

// Nothing in it is pinned.
impl<T: ?Sized, B> Unpin for MessageSink<T, B> {}

impl<T: Message + ?Sized, B> fmt::Debug for MessageSink<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink")
            .field("publisher", &self.publisher)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
