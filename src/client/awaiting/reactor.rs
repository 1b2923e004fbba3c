//! A bell in the reactor of `async-io`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};

use crate::segment::fork::ProcessMark;
use crate::wake::BellReceiver;

/// A bell in the reactor, from the first wait on.
pub(in crate::client) struct InReactor {
    bell: Arc<BellReceiver>,
    registered: LeakedByChild<Async<Arc<BellReceiver>>>,
    /// Of the wait that goes on, and when it is over.
    timer: LeakedByChild<(Instant, Timer)>,
}

/// A place for something that a forked child must not drop: it shares the reactor's epoll with its parent, and may have
/// inherited locks that are held.
pub(super) struct LeakedByChild<T> {
    mark: ProcessMark,
    pub(super) place: Option<T>,
}

impl InReactor {
    pub(in crate::client) fn new(bell: Arc<BellReceiver>, mark: ProcessMark) -> Self {
        Self {
            bell,
            registered: LeakedByChild::new(mark),
            timer: LeakedByChild::new(mark),
        }
    }

    /// Ready when the bell has been rung since this was pending; at times also when it has not. While it is pending, the
    /// context is woken when it is rung.
    pub(super) fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let registered = match &mut self.registered.place {
            Some(registered) => registered,
            place => {
                // A bell never blocks: it is made so, and its other holders cannot change that.
                place.insert(Async::new_nonblocking(self.bell.clone())?)
            }
        };
        registered.poll_readable(context)
    }

    /// The same, ready also from this moment on; with `None`, which is too far away for the clock, it never comes.
    pub(super) fn poll_rung_until(
        &mut self,
        moment: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(rung) = self.poll_rung(context) {
            return Poll::Ready(rung);
        }
        let Some(moment) = moment else {
            return Poll::Pending;
        };
        let timer = match &mut self.timer.place {
            Some((until, timer)) if *until == moment => timer,
            place => &mut place.insert((moment, Timer::at(moment))).1,
        };
        Pin::new(timer).poll(context).map(|_| Ok(()))
    }

    /// The wait with an end is over.
    pub(super) fn forget_moment(&mut self) {
        self.timer.clear();
    }
}

impl<T> LeakedByChild<T> {
    pub(super) fn new(mark: ProcessMark) -> Self {
        Self { mark, place: None }
    }

    pub(super) fn clear(&mut self) {
        let thing = self.place.take();
        if self.mark.is_forked() {
            std::mem::forget(thing);
        }
    }
}

impl<T> Drop for LeakedByChild<T> {
    fn drop(&mut self) {
        self.clear();
    }
}
