//! The bell of a handle, to be waited on by its thread or in a future.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::segment::fork::ProcessMark;
use crate::wake::{BellReceiver, Wait};

#[cfg(feature = "async")]
use super::awaiting::InReactor;

/// The bell of a handle.
pub(super) struct HandleBell {
    /// Shared with the reactor.
    receiver: Arc<BellReceiver>,
    #[cfg(feature = "async")]
    pub(super) in_reactor: InReactor,
}

impl HandleBell {
    /// The bell of a handle that was made where `mark` was.
    #[cfg_attr(
        not(feature = "async"),
        expect(unused_variables, reason = "only the reactor has to know")
    )]
    pub(super) fn new(receiver: BellReceiver, mark: ProcessMark) -> Self {
        let receiver = Arc::new(receiver);
        Self {
            #[cfg(feature = "async")]
            in_reactor: InReactor::new(receiver.clone(), mark),
            receiver,
        }
    }

    /// As [`BellReceiver::wait`].
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Wait> {
        self.receiver.wait(timeout)
    }

    /// As [`BellReceiver::wait_briefly`].
    pub(super) fn wait_briefly(&self, least: Duration) -> io::Result<Wait> {
        self.receiver.wait_briefly(least)
    }

    /// As [`BellReceiver::drain`].
    pub(super) fn drain(&self) {
        self.receiver.drain();
    }
}

impl AsFd for HandleBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
