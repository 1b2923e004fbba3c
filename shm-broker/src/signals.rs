//! SIGINT and SIGTERM as something to look for.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::ending::Failure;

/// SIGINT and SIGTERM, which end nothing by themselves from now on.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Takes them. Threads inherit this: they have to come later.
    pub fn take() -> Result<Self, Failure> {
        let signals = both();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&signals, flags)?))
    }

    /// Has them end the process again, for now: the thread that calls this takes those that come.
    pub fn let_end(&self) -> Result<(), Failure> {
        Ok(both().thread_unblock()?)
    }

    /// Waits for one; to be called by the thread that has called `take`.
    pub fn wait(&self) -> Result<Signal, Failure> {
        both().thread_block()?;
        Ok(both().wait()?)
    }

    /// Whether one has come since this was asked last.
    pub fn has_come(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

/// The signals that ask a process to end.
pub fn both() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM])
}
