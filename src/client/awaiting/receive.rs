//! Receiving in futures.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::client::error::RecvError;
use crate::client::inbound::{Found, Inbound};
use crate::client::sample::Sample;
use crate::client::subscriber::{Receive, Subscriber};

/// The messages of a subscriber as a stream of owned items; see [`Subscriber::into_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct SampleStream<T: ?Sized, F> {
    subscriber: Subscriber<T>,
    map: F,
    has_ended: bool,
}

impl<T: Receive + ?Sized> Subscriber<T> {
    /// Waits for the next message without blocking the thread, on any executor. Does not spin, whatever the
    /// [`Wait`](crate::Wait) of the subscriber.
    ///
    /// Cancel-safe: a message is taken in the same poll that gives it, so dropping the future loses nothing. While
    /// messages are there it is ready at once; a task that is to share its thread has to yield by itself.
    ///
    /// The first wait starts the thread of `async-io`'s reactor: one for the process, however many handles wait. Futures
    /// that run in `async_io::block_on` spare the hop to that thread and back.
    ///
    /// ```no_run
    /// use ringmain::{Client, RecvError, message::Bytes};
    ///
    /// async fn print() -> Result<(), Box<dyn std::error::Error>> {
    ///     let client = Client::connect("demo")?;
    ///     let mut subscriber = client.subscriber::<Bytes>("log/**").open()?;
    ///     loop {
    ///         match subscriber.recv_async().await {
    ///             Ok(sample) => println!("{} {:?}", sample.topic(), &*sample),
    ///             Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Subscriber::recv`].
    ///
    /// # Panics
    /// The first wait, if the system has no thread for the reactor.
    pub async fn recv_async(&mut self) -> Result<Sample<'_, T>, RecvError> {
        loop {
            let found = {
                let wait = RetireOnDrop(self.inbound_mut());
                poll_fn(|context| wait.0.poll_found(context)).await?
            };
            if let Some((lane, checked)) = self.take(found)? {
                return Ok(Sample::new(self.inbound_mut().lane(lane), checked));
            }
        }
    }

    /// A stream of what `map` makes of each message, for where a borrowed [`Sample`] does not fit.
    ///
    /// Errors are items, too; one that is not about a single publisher is the last one. Dropping a future of the stream loses nothing.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let subscriber = client.subscriber::<Bytes>("log/**").open()?;
    /// let lines = subscriber.into_stream(|sample| String::from_utf8_lossy(&sample).into_owned());
    /// # let _ = lines;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_stream<R, F>(self, map: F) -> SampleStream<T, F>
    where
        F: FnMut(Sample<'_, T>) -> R,
    {
        SampleStream {
            subscriber: self,
            map,
            has_ended: false,
        }
    }
}

impl<T: ?Sized, F> SampleStream<T, F> {
    /// The subscriber back.
    pub fn into_inner(mut self) -> Subscriber<T> {
        self.subscriber.inbound_mut().retire();
        self.subscriber
    }
}

impl Inbound {
    /// Looks; if there is nothing, has the context woken when there may be something. Leaves the sleep announced then:
    /// the next poll retires it, or [`Inbound::retire`].
    fn poll_found(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, RecvError>> {
        // Asks for the ring in any case, or it would be taken for one of the next sleep.
        if self.is_announced()
            && !self.shared().mark().is_forked()
            && self.poll_rung(context)?.is_pending()
            && !self.has_something()
        {
            // Polled for something else: the bell still guards the sleep.
            return Poll::Pending;
        }
        loop {
            self.retire();
            if let Some(found) = self.poll()? {
                return Poll::Ready(Ok(found));
            }
            if !self.announce() {
                // Something has come meanwhile, or publishers may not pass fences yet: look again, after other tasks.
                self.retire();
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Ready at once is of a ring from before, whose token may be consumed already: look again.
            ready!(self.poll_rung(context))?;
        }
    }

    fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let rung = self.bell.in_reactor.poll_rung(context);
        rung.map_err(RecvError::System)
    }
}

impl<T: Receive + ?Sized, R, F: FnMut(Sample<'_, T>) -> R> Stream for SampleStream<T, F> {
    type Item = Result<R, RecvError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        if stream.has_ended {
            return Poll::Ready(None);
        }
        let subscriber = &mut stream.subscriber;
        let item = loop {
            let found = ready!(subscriber.inbound_mut().poll_found(context));
            match found.and_then(|found| subscriber.take(found)) {
                Ok(None) => {}
                Ok(Some((lane, checked))) => {
                    let sample = Sample::new(subscriber.inbound_mut().lane(lane), checked);
                    break Ok((stream.map)(sample));
                }
                Err(error) => break Err(error),
            }
        };
        stream.has_ended = matches!(
            item,
            Err(RecvError::BrokerGone | RecvError::System(_) | RecvError::Forked)
        );
        Poll::Ready(Some(item))
    }
}

// Nothing in it is pinned.
impl<T: ?Sized, F> Unpin for SampleStream<T, F> {}

impl<T: ?Sized, F> fmt::Debug for SampleStream<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SampleStream")
            .field(&self.subscriber)
            .finish()
    }
}

/// Ends the announced sleep of a future that is done, or dropped.
struct RetireOnDrop<'a>(&'a mut Inbound);

impl Drop for RetireOnDrop<'_> {
    fn drop(&mut self) {
        self.0.retire();
    }
}
