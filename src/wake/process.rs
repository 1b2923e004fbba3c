//! Who is at the other end of a socket, and whether it still runs.
#![allow(unsafe_code)]
//! The one invariant: a descriptor that `pidfd_open` returns is owned by nobody else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use thiserror::Error;

use super::bell::wait_readable;

/// A process, by a descriptor that never comes to mean another one.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

/// Who a process is, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its id; 0 if it cannot be seen from here (another pid namespace).
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Why a process cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It is gone. What it has sent can still be read.
    #[error("process {pid} has exited")]
    Exited {
        /// Its id, as far as known; 0 otherwise.
        pid: u32,
    },
    /// A system call failed.
    #[error("{call} failed for a peer process")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Pidfd {
    /// The process that connected `socket`, or listened on its address, or made the pair.
    ///
    /// # Errors
    /// [`ProcessError::Exited`] if it can be told for sure no more which process that was.
    pub fn of_peer(socket: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        let credentials = Credentials::of_peer(socket)
            .map_err(ProcessError::system("getsockopt(SO_PEERCRED)"))?;
        match getsockopt(&socket, sockopt::PeerPidfd) {
            Ok(descriptor) => Ok(Self(descriptor)),
            // Linux before 6.5.
            Err(Errno::ENOPROTOOPT | Errno::EINVAL) => Self::of_credentials(socket, credentials),
            Err(Errno::ESRCH | Errno::ENODATA) => Err(ProcessError::Exited {
                pid: credentials.pid,
            }),
            Err(error) => Err(ProcessError::system("getsockopt(SO_PEERPIDFD)")(error)),
        }
    }

    /// The id may have passed to another process since the socket was connected, so look again once it cannot any more:
    /// the same user owns it, and somebody still has the other end of the socket open.
    fn of_credentials(
        socket: BorrowedFd<'_>,
        credentials: Credentials,
    ) -> Result<Self, ProcessError> {
        let gone = ProcessError::Exited {
            pid: credentials.pid,
        };
        let pidfd = Self::open(credentials.pid)?;
        let mut polled = [PollFd::new(socket, PollFlags::POLLHUP)];
        let hung_up =
            poll(&mut polled, PollTimeout::ZERO).map_err(ProcessError::system("poll"))? > 0;
        let same_user = std::fs::metadata(format!("/proc/{}", credentials.pid))
            .map_or(true, |process| {
                process.uid() == credentials.uid || process.uid() == 0
            });
        if hung_up || !same_user || pidfd.has_exited() {
            Err(gone)
        } else {
            Ok(pidfd)
        }
    }

    /// The process with this id.
    ///
    /// # Errors
    /// [`ProcessError::Exited`] if there is none.
    pub fn open(pid: u32) -> Result<Self, ProcessError> {
        // SAFETY: takes two integers.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if descriptor >= 0 {
            // SAFETY: the kernel has just made it (close-on-exec) and it fits, since it is a descriptor.
            return Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }));
        }
        match Errno::last() {
            Errno::ESRCH => Err(ProcessError::Exited { pid }),
            error => Err(ProcessError::system("pidfd_open")(error)),
        }
    }

    /// Whether the process has ended: all its threads, so its memory is unmapped or about to be. Does not block.
    pub fn has_exited(&self) -> bool {
        has_exited(self.as_fd())
    }

    /// Another descriptor of the same process.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Pidfd> for OwnedFd {
    fn from(pidfd: Pidfd) -> Self {
        pidfd.0
    }
}

/// Whether the process of a pidfd, as the broker hands them out, has ended. Does not block.
pub fn has_exited(pidfd: BorrowedFd<'_>) -> bool {
    // Polling one valid descriptor fails for want of memory only; then the answer comes with the next question.
    wait_readable(pidfd, Some(Duration::ZERO)).unwrap_or(false)
}

impl Credentials {
    /// Those of the process that connected `socket`, or listened on its address, or made the pair, at that moment.
    ///
    /// # Errors
    /// `socket` is no Unix socket.
    pub fn of_peer(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let found = getsockopt(&socket, sockopt::PeerCredentials)?;
        Ok(Self {
            pid: found.pid() as u32,
            uid: found.uid(),
            gid: found.gid(),
        })
    }
}

impl ProcessError {
    /// Makes the `map_err` argument for a failed call.
    fn system<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::System {
            call,
            source: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_seen_to_end() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pidfd = Pidfd::open(child.id()).unwrap();
        assert!(!pidfd.has_exited());
        let copy = pidfd.try_clone().unwrap();
        drop(child.stdin.take());
        assert!(wait_readable(pidfd.as_fd(), None).unwrap());
        assert!(pidfd.has_exited() && copy.has_exited());
        child.wait().unwrap();
        assert!(pidfd.has_exited());
        assert!(
            matches!(Pidfd::open(child.id()), Err(ProcessError::Exited { pid }) if pid == child.id())
        );
    }

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (socket, other) = UnixStream::pair().unwrap();
        let credentials = Credentials::of_peer(socket.as_fd()).unwrap();
        assert_eq!(credentials.pid, std::process::id());
        assert_eq!(credentials.uid, nix::unistd::getuid().as_raw());
        assert!(!Pidfd::of_peer(socket.as_fd()).unwrap().has_exited());
        assert!(
            !Pidfd::of_credentials(socket.as_fd(), credentials)
                .unwrap()
                .has_exited()
        );
        drop(other);
        // Not closed yet if another test starts a process now: that has copies of all descriptors for a moment.
        let mut hung_up = [PollFd::new(socket.as_fd(), PollFlags::POLLHUP)];
        let ready = poll(&mut hung_up, PollTimeout::from(20_000_u16)).unwrap();
        assert_eq!(ready, 1);
        assert!(matches!(
            Pidfd::of_credentials(socket.as_fd(), credentials),
            Err(ProcessError::Exited { .. })
        ));
    }

    #[test]
    fn what_is_no_unix_socket_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(
            Pidfd::of_peer(file.as_fd()),
            Err(ProcessError::System { .. })
        ));
    }
}
