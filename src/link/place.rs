//! The directory in which a user's busses are found by name.
//!
//! Whoever can write there can pretend to be the broker, and `/tmp` is open to all, so both client and broker look at
//! owner and mode before they use it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What to do about a missing directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// Make it: a broker is to listen there.
    Create,
    /// Leave it: a client looks for a broker there.
    Expect,
}

/// Why the directory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is not there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is no directory.
    #[error("{} is not a directory: remove it, or set XDG_RUNTIME_DIR", path.display())]
    NotADirectory {
        /// What should be one.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, not to user {user}: remove it, or set XDG_RUNTIME_DIR", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// Others can use it.
    #[error("{} is open to other users (mode {mode:o}): run `chmod 700` on it", path.display())]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A system call failed.
    #[error("{} cannot be made or looked at", path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The directory of this user's busses.
pub(super) fn default_directory() -> PathBuf {
    directory_for(std::env::var_os("XDG_RUNTIME_DIR"), user())
}

fn directory_for(runtime: Option<OsString>, user: u32) -> PathBuf {
    match runtime.map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() => runtime.join("ringmain"),
        // Unset, or against its specification.
        _ => PathBuf::from(format!("/tmp/ringmain-{user}")),
    }
}

impl Provision {
    /// Sees to it that `path` is a directory that only this user can use.
    ///
    /// # Errors
    /// It is not.
    pub fn check(self, path: &Path) -> Result<(), PlaceError> {
        let system = |source| PlaceError::System {
            path: path.to_owned(),
            source,
        };
        if self == Self::Create {
            match std::fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(system(error));
                }
                _ => {}
            }
        }
        let found = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PlaceError::Missing {
                    path: path.to_owned(),
                });
            }
            found => found.map_err(system)?,
        };
        let (owner, user, mode) = (found.uid(), user(), found.mode() & 0o7777);
        if !found.is_dir() {
            Err(PlaceError::NotADirectory {
                path: path.to_owned(),
            })
        } else if owner != user {
            Err(PlaceError::Owner {
                path: path.to_owned(),
                owner,
                user,
            })
        } else if mode & 0o077 != 0 {
            Err(PlaceError::Mode {
                path: path.to_owned(),
                mode,
            })
        } else {
            Ok(())
        }
    }
}

fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_runtime_directory_comes_first() {
        assert_eq!(
            directory_for(Some("/run/user/7".into()), 7),
            Path::new("/run/user/7/ringmain")
        );
        for odd in [None, Some("".into()), Some("relative".into())] {
            assert_eq!(directory_for(odd, 7), Path::new("/tmp/ringmain-7"));
        }
    }

    #[test]
    fn a_made_directory_is_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("place");
        assert!(matches!(
            Provision::Expect.check(&path),
            Err(PlaceError::Missing { .. })
        ));
        Provision::Create.check(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        Provision::Create.check(&path).unwrap();
        Provision::Expect.check(&path).unwrap();
    }

    #[test]
    fn directories_that_others_could_use_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("place");
        Provision::Create.check(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(
            Provision::Create.check(&path),
            Err(PlaceError::Mode { mode: 0o755, .. })
        ));
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            Provision::Create.check(&link),
            Err(PlaceError::NotADirectory { .. })
        ));
        if user() != 0 {
            assert!(matches!(
                Provision::Expect.check(Path::new("/")),
                Err(PlaceError::Owner { owner: 0, .. })
            ));
        }
    }
}
