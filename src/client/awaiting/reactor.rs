//! A bell in the reactor of `async-io`.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_io::Async;

use crate::segment::fork::ProcessMark;
use crate::wake::BellReceiver;

/// A bell in the reactor, from the first wait on.
pub(in crate::client) struct InReactor {
    mark: ProcessMark,
    bell: Arc<BellReceiver>,
    registered: Option<ManuallyDrop<Async<Arc<BellReceiver>>>>,
}

impl InReactor {
    pub(in crate::client) fn new(bell: Arc<BellReceiver>, mark: ProcessMark) -> Self {
        Self {
            mark,
            bell,
            registered: None,
        }
    }

    /// Ready when the bell has been rung since this was pending; at times also when it has not. While it is pending, the
    /// context is woken when it is rung.
    pub(in crate::client) fn poll_rung(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let registered = match &mut self.registered {
            Some(registered) => registered,
            None => {
                // A bell never blocks: it is made so, and its other holders cannot change that.
                let registered = Async::new_nonblocking(self.bell.clone())?;
                self.registered.insert(ManuallyDrop::new(registered))
            }
        };
        registered.poll_readable(context)
    }
}

impl Drop for InReactor {
    fn drop(&mut self) {
        // A forked child shares the reactor's epoll with its parent, and may have inherited its locks held.
        if !self.mark.is_forked()
            && let Some(registered) = self.registered.take()
        {
            drop(ManuallyDrop::into_inner(registered));
        }
    }
}
