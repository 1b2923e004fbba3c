//! A bell that wakes a sleeping process once, however often it is rung.
//!
//! A pair of datagram sockets. Not an eventfd: everybody who holds that can empty it, fill it, or make it blocking for
//! the others. Who holds a [`BellSender`] can do no more than wake its owner for nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage, getsockname,
    getsockopt, recv, send, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;
use thiserror::Error;

/// Both ends of a new bell.
#[derive(Debug)]
pub struct Bell {
    /// The end that stays.
    pub receiver: BellReceiver,
    /// The end that goes to the peers; one for all of the same user, since a holder can use up the queue.
    pub sender: BellSender,
}

/// The end of a bell that is woken. Stays with its owner.
#[derive(Debug)]
pub struct BellReceiver(OwnedFd);

/// The end of a bell that wakes; copies of it go to other processes.
#[derive(Debug)]
pub struct BellSender(OwnedFd);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The bell has been rung since the last [`BellReceiver::drain`].
    Rung,
    /// It has not, for as long as was asked for.
    TimedOut,
}

/// Why a peer's descriptor is no bell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BellError {
    /// It is no socket, or one of another kind.
    #[error("the peer sent a descriptor as a bell that is no Unix datagram socket ({found})")]
    NotABell {
        /// What it is.
        found: String,
    },
}

impl Bell {
    /// A new bell that has not been rung.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn new() -> io::Result<Self> {
        let (receiver, sender) = socketpair(
            AddressFamily::Unix,
            SockType::Datagram,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        setsockopt(&receiver, sockopt::ReceiveTimeout, &BRIEFLY)?;
        Ok(Self {
            receiver: BellReceiver(receiver),
            sender: BellSender(sender),
        })
    }
}

impl BellReceiver {
    /// Makes the bell as if it had not been rung. Does not block.
    ///
    /// Takes a bounded number of tokens, so that somebody who rings without end cannot hold the owner here; what is left
    /// wakes it once more.
    pub fn drain(&self) {
        let mut token = [0; 1];
        for _ in 0..MOST_TOKENS {
            match recv(self.0.as_raw_fd(), &mut token, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Blocks until the bell is rung, or a signal comes, for a few milliseconds at the longest, but not less than `least`, unless that is
    /// longer: a sleep by it costs one system call, and no timer of its own. Takes one token; there may be more.
    ///
    /// # Errors
    /// Those of `recv(2)`: no memory.
    pub fn wait_briefly(&self, least: Duration) -> io::Result<Wait> {
        let began = Instant::now();
        let mut token = [0; 1];
        match recv(self.0.as_raw_fd(), &mut token, MsgFlags::empty()) {
            Ok(_) | Err(Errno::EINTR) => Ok(Wait::Rung),
            Err(Errno::EAGAIN) => match least.saturating_sub(began.elapsed()) {
                Duration::ZERO => Ok(Wait::TimedOut),
                // Whoever was lent the descriptor has made it one that does not block.
                left => self.wait(Some(left)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Blocks until the bell is rung, for `timeout` at the longest; leaves it rung.
    ///
    /// # Errors
    /// Those of `ppoll(2)`: no memory.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Wait> {
        let ready = wait_readable(self.as_fd(), timeout)?;
        Ok(if ready { Wait::Rung } else { Wait::TimedOut })
    }
}

impl BellSender {
    /// Takes a descriptor that a peer sent.
    ///
    /// # Errors
    /// It is no Unix datagram socket: ringing it could have other effects.
    pub fn from_peer(descriptor: OwnedFd) -> Result<Self, BellError> {
        let not_a_bell = |found: String| BellError::NotABell { found };
        let kind = getsockopt(&descriptor, sockopt::SockType)
            .map_err(|error| not_a_bell(error.to_string()))?;
        let address: SockaddrStorage =
            getsockname(descriptor.as_raw_fd()).map_err(|error| not_a_bell(error.to_string()))?;
        match (kind, address.family()) {
            (SockType::Datagram, Some(AddressFamily::Unix)) => Ok(Self(descriptor)),
            (kind, family) => Err(not_a_bell(format!("{family:?} {kind:?}"))),
        }
    }

    /// Wakes the owner. Does not block, and cannot fail: a full queue means that it has been rung, and nobody is left to
    /// wake when the owner is gone.
    pub fn ring(&self) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while send(self.0.as_raw_fd(), &[1], flags) == Err(Errno::EINTR) {}
    }

    /// Another sender of the same bell.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for BellReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for BellSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<BellSender> for OwnedFd {
    fn from(sender: BellSender) -> Self {
        sender.0
    }
}

/// Blocks until `descriptor` is readable or closed (`true`), or `timeout` is over (`false`).
pub(super) fn wait_readable(
    descriptor: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    // A time beyond the clock's range is no time limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left =
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).into());
        let mut polled = [PollFd::new(descriptor, PollFlags::POLLIN)];
        match ppoll(&mut polled, left, None) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Of [`BellReceiver::wait_briefly`]. The system counts it in ticks of its own, up to 10 ms long, and rounds up.
const BRIEFLY: TimeVal = TimeVal::new(0, 1000);
/// Above the usual `net.unix.max_dgram_qlen` (10, or 512 where systemd raises it) there is no use in more.
const MOST_TOKENS: usize = 600;

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);
    const SETTLED: Duration = Duration::from_millis(1);

    #[test]
    fn a_bell_remembers_that_it_was_rung() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::TimedOut);
        sender.ring();
        assert_eq!(receiver.wait(None).unwrap(), Wait::Rung);
        assert_eq!(receiver.wait(None).unwrap(), Wait::Rung);
        receiver.drain();
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::TimedOut);
    }

    #[test]
    fn a_brief_wait_takes_the_token_and_is_no_briefer_than_asked_for() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        sender.ring();
        assert_eq!(receiver.wait_briefly(SETTLED).unwrap(), Wait::Rung);
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::TimedOut);
        for does_block in [true, false] {
            let lent = UnixDatagram::from(receiver.0.try_clone().unwrap());
            lent.set_nonblocking(!does_block).unwrap();
            let began = Instant::now();
            assert_eq!(receiver.wait_briefly(SETTLED).unwrap(), Wait::TimedOut);
            assert!(began.elapsed() >= SETTLED);
        }
    }

    #[test]
    fn ringing_without_end_neither_blocks_nor_leaves_anything() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        for _ in 0..10_000 {
            sender.ring();
        }
        receiver.drain();
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::TimedOut);
    }

    #[test]
    fn a_ring_from_another_thread_ends_a_wait() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        let waiting = std::thread::spawn(move || receiver.wait(None).unwrap());
        sender.try_clone().unwrap().ring();
        assert_eq!(waiting.join().unwrap(), Wait::Rung);
    }

    #[test]
    fn ringing_for_somebody_who_is_gone_is_ignored() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        drop(receiver);
        sender.ring();
    }

    #[test]
    fn a_holder_cannot_make_the_bell_block_others() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        let holder = UnixDatagram::from(OwnedFd::from(sender.try_clone().unwrap()));
        holder.set_nonblocking(false).unwrap();
        for _ in 0..1000 {
            sender.ring();
        }
        receiver.drain();
        assert!(holder.peer_addr().is_ok());
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::TimedOut);
    }

    #[test]
    fn a_sender_goes_through_a_descriptor() {
        let Bell { receiver, sender } = Bell::new().unwrap();
        BellSender::from_peer(sender.into()).unwrap().ring();
        assert_eq!(receiver.wait(NOW).unwrap(), Wait::Rung);
    }

    #[test]
    fn other_descriptors_are_no_bells() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for descriptor in [OwnedFd::from(file), stream.into(), udp.into()] {
            assert!(matches!(
                BellSender::from_peer(descriptor),
                Err(BellError::NotABell { .. })
            ));
        }
    }
}
