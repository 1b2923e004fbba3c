//! Brings descriptors from the publisher of a lane to its subscriber, beside the ring: memory that messages lie in, and
//! what is attached to them.
//!
//! A pair of `SOCK_SEQPACKET` sockets. What was sent before a record was committed is there when the record is found, and
//! stays there when its sender dies. Neither side blocks: a full socket is like a full ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
    socketpair, sockopt,
};
use thiserror::Error;

use super::rights;

/// Both ends of a new courier.
#[derive(Debug)]
pub struct Courier {
    /// The end of the publisher.
    pub sender: CourierSender,
    /// The end that goes to the subscriber.
    pub receiver: CourierReceiver,
}

/// The publisher's end.
#[derive(Debug)]
pub struct CourierSender(OwnedFd);

/// The subscriber's end.
#[derive(Debug)]
pub struct CourierReceiver(OwnedFd);

/// What comes at once.
#[derive(Debug)]
pub struct Parcel {
    /// What was written beside the descriptors.
    pub label: Vec<u8>,
    /// The descriptors, in order; closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Why nothing more can come from a courier.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CourierError {
    /// The peer's descriptor is none.
    #[error("the peer sent a descriptor as a courier that is no Unix socket of packets ({found})")]
    NotACourier {
        /// What it is.
        found: String,
    },
    /// Descriptors were lost: more than [`MAX_ATTACHED`] came, or this process' table is full.
    #[error(
        "descriptors were lost on the way: {MAX_ATTACHED} are possible at a time, and the descriptor table must have room for them (`ulimit -n`)"
    )]
    Cut,
    /// The label is longer than [`MAX_LABEL_BYTES`].
    #[error("a label of more than {MAX_LABEL_BYTES} bytes")]
    Label,
    /// A system call failed.
    #[error("{call} failed for a courier")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Courier {
    /// A new pair; nothing is under way.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (sender, receiver) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok(Self {
            sender: CourierSender(sender),
            receiver: CourierReceiver(receiver),
        })
    }
}

impl CourierSender {
    /// Whether all copies of the other end are closed: nobody is left who could have got something. Stays so. Does not block.
    pub fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        // Polling one valid descriptor fails for want of memory only; then the answer comes with the next question.
        let found = poll(&mut polled, PollTimeout::ZERO);
        let hung_up = |polled: &PollFd<'_>| {
            let events = polled.revents().unwrap_or(PollFlags::empty());
            events.contains(PollFlags::POLLHUP)
        };
        found.is_ok() && polled.iter().any(hung_up)
    }

    /// Sends descriptors, at most [`MAX_ATTACHED`], with a label of 1 to [`MAX_LABEL_BYTES`] bytes. Whether there was room;
    /// does not block. The descriptors are duplicated: the caller may close its own.
    ///
    /// # Errors
    /// [`CourierError::System`]: the other end is closed, which `EPIPE` and `ECONNRESET` say, or there is no memory.
    pub fn send(&self, label: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<bool, CourierError> {
        debug_assert!((1..=MAX_LABEL_BYTES).contains(&label.len()));
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        loop {
            match rights::send(self.0.as_fd(), label, &raw) {
                Ok(_) => return Ok(true),
                Err(Errno::EINTR) => {}
                // Too many descriptors of this user are on their way; that passes, too.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => return Ok(false),
                Err(error) => return Err(system("sendmsg", error)),
            }
        }
    }
}

impl CourierReceiver {
    /// Takes a descriptor that a peer sent.
    ///
    /// # Errors
    /// [`CourierError::NotACourier`]
    pub fn from_peer(descriptor: OwnedFd) -> Result<Self, CourierError> {
        let other = |found: String| CourierError::NotACourier { found };
        let kind = getsockopt(&descriptor, sockopt::SockType);
        let kind = kind.map_err(|error| other(error.to_string()))?;
        let address: SockaddrStorage =
            getsockname(descriptor.as_raw_fd()).map_err(|error| other(error.to_string()))?;
        match (kind, address.family()) {
            (SockType::SeqPacket, Some(AddressFamily::Unix)) => Ok(Self(descriptor)),
            (kind, family) => Err(other(format!("{family:?} {kind:?}"))),
        }
    }

    /// The next parcel; `None` if there is none now, or none will come. Does not block.
    ///
    /// # Errors
    /// Those of [`CourierError`] but the first; the next call goes on behind it.
    pub fn recv(&self) -> Result<Option<Parcel>, CourierError> {
        // A byte more than is allowed, so that a longer one is noticed.
        let mut label = [0; MAX_LABEL_BYTES + 1];
        loop {
            match rights::receive::<{ rights::words_for(MAX_ATTACHED) }>(self.0.as_fd(), &mut label)
            {
                Ok(arrived) if arrived.cut => return Err(CourierError::Cut),
                Ok(arrived) if arrived.bytes > MAX_LABEL_BYTES => return Err(CourierError::Label),
                // The end; no parcel is without a label.
                Ok(arrived) if arrived.bytes == 0 => return Ok(None),
                Ok(arrived) => {
                    return Ok(Some(Parcel {
                        label: label[..arrived.bytes].to_vec(),
                        descriptors: arrived.descriptors,
                    }));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ECONNRESET) => return Ok(None),
                Err(error) => return Err(system("recvmsg", error)),
            }
        }
    }
}

impl From<CourierReceiver> for OwnedFd {
    fn from(receiver: CourierReceiver) -> Self {
        receiver.0
    }
}

fn system(call: &'static str, error: Errno) -> CourierError {
    CourierError::System {
        call,
        source: error.into(),
    }
}

/// Descriptors that one parcel can bring: what the kernel lets pass in one message (`SCM_MAX_FD`).
pub const MAX_ATTACHED: usize = 253;
/// Bytes of the longest label.
pub const MAX_LABEL_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn parcels_arrive_in_order_with_their_descriptors() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        assert!(receiver.recv().unwrap().is_none());
        assert!(sender.send(b"one", &[]).unwrap());
        assert!(sender.send(b"two", &[file.as_fd(), file.as_fd()]).unwrap());
        drop(sender);
        let one = receiver.recv().unwrap().unwrap();
        assert_eq!((&one.label[..], one.descriptors.len()), (&b"one"[..], 0));
        let two = receiver.recv().unwrap().unwrap();
        assert_eq!((&two.label[..], two.descriptors.len()), (&b"two"[..], 2));
        let mut copy = File::from(two.descriptors.into_iter().next().unwrap());
        let mut text = String::new();
        copy.rewind().unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(receiver.recv().unwrap().is_none());
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_lets_pass() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        let null = File::open("/dev/null").unwrap();
        assert!(sender.send(b"all", &[null.as_fd(); MAX_ATTACHED]).unwrap());
        let parcel = receiver.recv().unwrap().unwrap();
        assert_eq!(parcel.descriptors.len(), MAX_ATTACHED);
    }

    #[test]
    fn a_full_socket_is_no_room_and_nothing_is_lost() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        let null = File::open("/dev/null").unwrap();
        let mut sent = 0_u32;
        while sender.send(&sent.to_le_bytes(), &[null.as_fd()]).unwrap() {
            sent += 1;
        }
        assert!(sent > 1);
        for number in 0..sent {
            let parcel = receiver.recv().unwrap().unwrap();
            assert_eq!(parcel.label, number.to_le_bytes());
        }
        assert!(receiver.recv().unwrap().is_none());
        assert!(sender.send(b"again", &[]).unwrap());
    }

    #[test]
    fn sending_to_somebody_who_is_gone_is_an_error() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        drop(receiver);
        assert!(matches!(
            sender.send(b"x", &[]),
            Err(CourierError::System { .. })
        ));
    }

    #[test]
    fn the_other_end_hangs_up_when_its_last_copy_is_closed() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        sender.send(b"x", &[]).unwrap();
        let copy = receiver.0.try_clone().unwrap();
        drop(receiver);
        assert!(!sender.is_hung_up());
        // Another test may start a process now: that has copies of all descriptors for a moment.
        drop(copy);
        while !sender.is_hung_up() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_label_that_is_too_long_is_refused_and_the_next_one_comes() {
        let (peer, own) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::empty(),
        )
        .unwrap();
        let receiver = CourierReceiver::from_peer(own).unwrap();
        rights::send(peer.as_fd(), &[1; MAX_LABEL_BYTES + 1], &[]).unwrap();
        rights::send(peer.as_fd(), &[2; MAX_LABEL_BYTES], &[]).unwrap();
        assert!(matches!(receiver.recv(), Err(CourierError::Label)));
        assert_eq!(
            receiver.recv().unwrap().unwrap().label.len(),
            MAX_LABEL_BYTES
        );
    }

    #[test]
    fn other_descriptors_are_no_couriers() {
        let (datagram, _other) = UnixDatagram::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        for descriptor in [OwnedFd::from(datagram), file.into()] {
            assert!(matches!(
                CourierReceiver::from_peer(descriptor),
                Err(CourierError::NotACourier { .. })
            ));
        }
    }
}
