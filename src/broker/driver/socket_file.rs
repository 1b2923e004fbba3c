//! The socket of a broker in the file system, which at most one broker has at a time.
//!
//! Whoever holds the `flock` of the file `PATH.lock` owns `PATH`. The kernel drops the lock with its holder, however that
//! ends, so a socket whose lock is free is left over from a broker that was killed, and is taken over. Both files are
//! removed by their owner while it holds the lock; somebody who opened the lock file just before that finds that it is
//! not the file at that path any more, and starts again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

use super::BrokerError;
use crate::link::SOCKET_PATH_BYTES;

/// Owns the path of a socket; dropping it removes the files.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    lock_path: PathBuf,
    /// Dropped last, after the files are gone.
    _lock: Flock<File>,
}

impl SocketFile {
    /// Makes a socket at `path` that listens; for this user only.
    pub(super) fn listen(path: PathBuf) -> Result<(Self, UnixListener), BrokerError> {
        let len = path.as_os_str().len();
        if len > SOCKET_PATH_BYTES {
            return Err(BrokerError::PathTooLong {
                path,
                len,
                limit: SOCKET_PATH_BYTES,
            });
        }
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = acquire(&path, &lock_path)?;
        let listener = remove_stale(&path)
            .and_then(|()| make_listener(&path).map_err(|error| failed(error, &path)));
        match listener {
            Ok(listener) => Ok((
                Self {
                    path,
                    lock_path,
                    _lock: lock,
                },
                listener,
            )),
            Err(error) => {
                let _ = std::fs::remove_file(&lock_path);
                Err(error)
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        for path in [&self.path, &self.lock_path] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove the broker's file");
                }
                _ => {}
            }
        }
    }
}

/// The lock of the file that is at `lock_path` while it is held.
fn acquire(path: &Path, lock_path: &Path) -> Result<Flock<File>, BrokerError> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(lock_path)
            .map_err(|error| {
                failed_at(
                    Errno::from_raw(error.raw_os_error().unwrap_or(0)),
                    path,
                    lock_path,
                )
            })?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, error)| match error {
                    Errno::EWOULDBLOCK => BrokerError::AddressInUse {
                        path: path.to_owned(),
                    },
                    error => failed_at(error, path, lock_path),
                },
            )?;
        let same = match (lock.metadata(), lock_path.symlink_metadata()) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        };
        if same {
            return Ok(lock);
        }
    }
}

/// Makes way for a new socket at `path`, whose lock is held.
fn remove_stale(path: &Path) -> Result<(), BrokerError> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(BrokerError::NotASocket {
            path: path.to_owned(),
        }),
        Ok(_) => {
            // Somebody may listen who does not know of the lock.
            let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            match UnixStream::connect(path) {
                Err(error) if refused(&error) => {
                    std::fs::remove_file(path).map_err(|source| BrokerError::Socket {
                        path: path.to_owned(),
                        source,
                    })
                }
                _ => Err(BrokerError::AddressInUse {
                    path: path.to_owned(),
                }),
            }
        }
    }
}

fn make_listener(path: &Path) -> Result<UnixListener, Errno> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The file gets the socket's own mode, so there is no moment in which others could connect; the process' umask, the
    // other way, belongs to all threads.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &address)?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}

fn failed(error: Errno, path: &Path) -> BrokerError {
    failed_at(error, path, path)
}

/// Making `file`, which belongs to the socket at `path`, has failed.
fn failed_at(error: Errno, path: &Path, file: &Path) -> BrokerError {
    match error {
        Errno::ENOENT | Errno::ENOTDIR => BrokerError::MissingDirectory {
            path: path.to_owned(),
        },
        Errno::EACCES | Errno::EPERM | Errno::EROFS => BrokerError::Permission {
            path: file.to_owned(),
        },
        Errno::ENOSPC | Errno::EDQUOT => BrokerError::DiskFull {
            path: file.to_owned(),
        },
        Errno::EADDRINUSE => BrokerError::AddressInUse {
            path: path.to_owned(),
        },
        Errno::ENAMETOOLONG => BrokerError::PathTooLong {
            path: path.to_owned(),
            len: path.as_os_str().len(),
            limit: SOCKET_PATH_BYTES,
        },
        error => BrokerError::Socket {
            path: file.to_owned(),
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn root() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("bus.sock");
        (root, path)
    }

    fn files(root: &tempfile::TempDir) -> usize {
        std::fs::read_dir(root.path()).unwrap().count()
    }

    #[test]
    fn only_the_user_can_connect() {
        let (_root, path) = root();
        let (_file, _listener) = SocketFile::listen(path.clone()).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            path.with_extension("sock.lock").metadata().unwrap().mode() & 0o7777,
            0o600
        );
    }

    #[test]
    fn a_path_has_one_owner_at_a_time_and_is_left_clean() {
        let (root, path) = root();
        let owner = SocketFile::listen(path.clone()).unwrap();
        let second = SocketFile::listen(path.clone()).unwrap_err();
        assert!(
            matches!(&second, BrokerError::AddressInUse { path: p } if *p == path),
            "{second}"
        );
        UnixStream::connect(&path).unwrap();
        drop(owner);
        assert_eq!(files(&root), 0);
        SocketFile::listen(path).unwrap();
    }

    #[test]
    fn what_a_killed_broker_left_is_taken_over() {
        let (_root, path) = root();
        // The files as after SIGKILL: there, but nobody listens or holds the lock.
        drop(UnixListener::bind(&path).unwrap());
        // A process that another test starts now has a copy for a moment.
        while UnixStream::connect(&path).is_ok() {}
        File::create(path.with_extension("sock.lock")).unwrap();
        let (_file, _listener) = SocketFile::listen(path.clone()).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_listener_without_a_lock_is_not_driven_out() {
        let (root, path) = root();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(
            SocketFile::listen(path.clone()),
            Err(BrokerError::AddressInUse { .. })
        ));
        UnixStream::connect(&path).unwrap();
        assert_eq!(files(&root), 1);
    }

    #[test]
    fn other_files_are_left_alone() {
        let (root, path) = root();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            SocketFile::listen(path.clone()),
            Err(BrokerError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(files(&root), 1);
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let (root, path) = root();
        let missing = root.path().join("missing/bus.sock");
        let error = SocketFile::listen(missing.clone()).unwrap_err();
        assert!(
            matches!(&error, BrokerError::MissingDirectory { path: p } if *p == missing),
            "{error}"
        );
        let long = root.path().join("x".repeat(108));
        assert!(matches!(
            SocketFile::listen(long),
            Err(BrokerError::PathTooLong { limit: 107, .. })
        ));
        // Root may do everything; then the case cannot be made.
        if !nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o500)).unwrap();
            assert!(matches!(
                SocketFile::listen(path),
                Err(BrokerError::Permission { .. })
            ));
        }
        let full = failed(Errno::ENOSPC, Path::new("/x"));
        assert!(matches!(full, BrokerError::DiskFull { path } if path == Path::new("/x")));
    }
}
