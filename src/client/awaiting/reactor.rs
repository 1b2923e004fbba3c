//! A bell in the reactor of `async-io`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
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
    relay: Arc<Relay>,
    /// Of the relay.
    waker: Waker,
    /// Whether the reactor will wake the relay.
    armed: bool,
}

/// What the reactor wakes instead of the task. Some executors give the same task a waker that looks like another one each
/// time, and the reactor wakes the one that it replaces: such a task would be polled without end.
#[derive(Default)]
struct Relay(Mutex<Relayed>);

#[derive(Default)]
struct Relayed {
    rung: bool,
    task: Option<Waker>,
}

/// A place for something that a forked child must not drop: it shares the reactor's epoll with its parent, and may have
/// inherited locks that are held.
pub(super) struct LeakedByChild<T> {
    mark: ProcessMark,
    pub(super) place: Option<T>,
}

impl InReactor {
    pub(in crate::client) fn new(bell: Arc<BellReceiver>, mark: ProcessMark) -> Self {
        let relay = Arc::new(Relay::default());
        Self {
            bell,
            registered: LeakedByChild::new(mark),
            timer: LeakedByChild::new(mark),
            waker: relay.clone().into(),
            relay,
            armed: false,
        }
    }

    /// Ready when the bell has been rung since this was pending; at times also when it has not. While it is pending, the
    /// context is woken when it is rung.
    pub(super) fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.relay.poll_rung(context).is_ready() {
            self.armed = false;
            return Poll::Ready(Ok(()));
        }
        if !self.armed {
            self.arm()?;
        }
        Poll::Pending
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
        let expired = Pin::new(timer).poll(&mut Context::from_waker(&self.waker));
        expired.map(|_| Ok(()))
    }

    fn arm(&mut self) -> io::Result<()> {
        let registered = match &mut self.registered.place {
            Some(registered) => registered,
            place => {
                // A bell never blocks: it is made so, and its other holders cannot change that.
                place.insert(Async::new_nonblocking(self.bell.clone())?)
            }
        };
        // Ready at once is of a ring from before, and is told once. The registration after it fires at once if a token is
        // still there.
        let mut context = Context::from_waker(&self.waker);
        while registered.poll_readable(&mut context)?.is_ready() {}
        self.armed = true;
        Ok(())
    }

    /// The wait with an end is over.
    pub(super) fn forget_moment(&mut self) {
        self.timer.clear();
    }
}

impl Relay {
    fn poll_rung(&self, context: &Context<'_>) -> Poll<()> {
        let mut relayed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut relayed.rung) {
            return Poll::Ready(());
        }
        match &mut relayed.task {
            Some(task) => task.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let mut relayed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relayed.rung = true;
        let task = relayed.task.take();
        drop(relayed);
        if let Some(task) = task {
            task.wake();
        }
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
