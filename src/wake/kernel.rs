//! Whether the kernel is new enough.
//!
//! Linux 5.3 is the least: a sealed segment needs `F_SEAL_FUTURE_WRITE` (5.1), and without `pidfd_open` (5.3) nobody can
//! know when memory of a dead peer may be used again. What came later is used where it is there: `MADV_POPULATE_WRITE`
//! (5.14), `SO_PEERPIDFD` (6.5).

use std::fmt;

use thiserror::Error;

/// Version of a Linux kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// Before the first dot.
    pub major: u32,
    /// Behind it.
    pub minor: u32,
}

/// Why this system cannot run ringmain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The kernel is too old.
    #[error("Linux {found} is too old: ringmain needs {needed} or newer")]
    TooOld {
        /// What runs here.
        found: KernelVersion,
        /// The least that is needed.
        needed: KernelVersion,
    },
    /// The kernel does not tell its version.
    #[error("the kernel calls itself {release:?}, which is no version of Linux")]
    Unknown {
        /// What it says.
        release: String,
    },
}

impl KernelVersion {
    /// The least that is needed.
    pub const NEEDED: Self = Self { major: 5, minor: 3 };

    /// Checks that the running kernel is new enough; gives its version.
    ///
    /// # Errors
    /// It is not.
    pub fn check() -> Result<Self, KernelError> {
        let release =
            nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        Self::check_release(&release.unwrap_or_default())
    }

    fn check_release(release: &str) -> Result<Self, KernelError> {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => {
                let found = Self { major, minor };
                if found < Self::NEEDED {
                    Err(KernelError::TooOld {
                        found,
                        needed: Self::NEEDED,
                    })
                } else {
                    Ok(found)
                }
            }
            _ => Err(KernelError::Unknown {
                release: release.to_owned(),
            }),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_is_new_enough() {
        KernelVersion::check().unwrap();
    }

    #[test]
    fn old_kernels_are_named() {
        for old in ["4.19.0-26-amd64", "5.2.21", "3.10"] {
            let error = KernelVersion::check_release(old).unwrap_err();
            assert!(
                error.to_string().contains(&old[..3]) && error.to_string().contains("5.3"),
                "{error}"
            );
        }
        for new in ["5.3.0", "5.10.0-rc1", "6.1-custom", "10.0"] {
            assert!(KernelVersion::check_release(new).is_ok(), "{new}");
        }
    }

    #[test]
    fn what_is_no_version_is_an_error() {
        for odd in ["", "linux", "6", "99999999999.1", "v6.1"] {
            assert_eq!(
                KernelVersion::check_release(odd),
                Err(KernelError::Unknown {
                    release: odd.into()
                })
            );
        }
    }
}
