//! Closing a publisher in a future.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::client::closing::{CloseError, Closed};
use crate::client::outbound::{FlushDeadline, Outbound};
use crate::client::publisher::Publisher;

impl<T: ?Sized> Publisher<T> {
    /// Closes the publisher as [`Publisher::close`] does, without blocking the thread, on any executor.
    ///
    /// A future that is dropped drops the publisher, which ends its lanes at once.
    ///
    /// # Errors
    /// As [`Publisher::close`].
    ///
    /// # Panics
    /// As [`Publisher::publish_async`](Publisher::publish_async).
    pub async fn close_async(mut self, deadline: Duration) -> Result<Closed, CloseError> {
        self.check_closable()?;
        let outbound = self.outbound_mut();
        outbound.give_up();
        let deadline = FlushDeadline::after(deadline);
        poll_fn(|context| outbound.poll_flushed(&deadline, context)).await;
        // It may have gone on in a forked child.
        self.check_closable()?;
        Ok(self.end())
    }
}

impl Outbound {
    /// As [`Outbound::flush`]. Leaves the sleep announced while it is pending.
    fn poll_flushed(&mut self, deadline: &FlushDeadline, context: &mut Context<'_>) -> Poll<()> {
        while !self.shared().mark().is_forked() {
            self.retire();
            if self.look_for_unread(deadline).is_none() {
                break;
            }
            if !self.announce_elsewhere() {
                // Something has moved, or readers may not pass fences yet: look again, after other tasks.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.prompt();
            ready!(self.poll_asleep(deadline.moment(), context));
        }
        self.bell.in_reactor.forget_moment();
        Poll::Ready(())
    }
}
