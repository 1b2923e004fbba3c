//! Descriptors that the runtime watches.
#![allow(unsafe_code)]
//! The one invariant: what is registered with the runtime owns its descriptor and is never replaced nor closed before the
//! registration ends. So nothing here gives out a mutable reference to it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::link::{Descriptor, Link, LinkError, Outgoing, Progress, Received};
use crate::wire::{ToBroker, ToClient};

/// A link to a client; any number of its users can come one after the other.
pub(super) struct WatchedLink(AsyncFd<LinkCell>);

/// A process.
pub(super) struct WatchedProcess(AsyncFd<Descriptor>);

/// Borrows the socket of the link inside.
pub(super) type LinkReady<'a> = AsyncFdReadyGuard<'a, LinkCell>;

impl WatchedLink {
    /// Watches a link. To be called within the runtime.
    pub(super) fn new(link: Link<ToBroker, ToClient>) -> io::Result<Self> {
        // SAFETY: a link owns its socket and keeps it until it is dropped; the cell gives out no reference to it.
        let watched = unsafe { AsyncFd::register(LinkCell(RefCell::new(link))) };
        Ok(Self(watched?))
    }

    /// Waits until the socket is ready for one of `interest`.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<LinkReady<'_>> {
        self.0.ready(interest).await
    }

    /// See [`Link::try_send`].
    pub(super) fn try_send(&self, outgoing: Outgoing<ToClient>) -> Result<Progress, LinkError> {
        self.0.get_ref().0.borrow_mut().try_send(outgoing)
    }

    /// See [`Link::flush`].
    pub(super) fn flush(&self) -> Result<Progress, LinkError> {
        self.0.get_ref().0.borrow_mut().flush()
    }

    /// See [`Link::try_recv`].
    pub(super) fn try_recv(&self) -> Result<Received<ToBroker>, LinkError> {
        self.0.get_ref().0.borrow_mut().try_recv()
    }
}

impl WatchedProcess {
    /// Watches a process by its pidfd. To be called within the runtime.
    pub(super) fn new(process: Descriptor) -> io::Result<Self> {
        // SAFETY: the descriptor is shared and owned, so open as long as it is in there, and nothing replaces it.
        let watched = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
        Ok(Self(watched?))
    }

    /// Waits until the process has exited.
    pub(super) async fn exited(&self) {
        // An error means that the runtime ends, and this task with it.
        let _ = self.0.readable().await;
    }

    /// Its pidfd.
    pub(super) fn descriptor(&self) -> Descriptor {
        self.0.get_ref().clone()
    }
}

/// Lets the runtime name the socket while nobody uses the link.
pub(super) struct LinkCell(RefCell<Link<ToBroker, ToClient>>);

impl AsRawFd for LinkCell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.borrow().as_raw_fd()
    }
}
