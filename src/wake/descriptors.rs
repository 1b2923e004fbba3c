//! How many descriptors the process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limit of open descriptors, before and after [`raise_descriptor_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The soft limit before.
    pub before: u64,
    /// The soft limit now.
    pub now: u64,
}

/// Raises the soft limit of open descriptors to the hard one; for the whole process.
///
/// Every lane costs some, and the usual soft limit of 1,024 is a relic of `select`.
///
/// # Errors
/// A sandbox forbids it; the limit is as before.
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if before < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(DescriptorLimit { before, now: hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_descriptor_limit().unwrap().now, hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(
            raise_descriptor_limit().unwrap(),
            DescriptorLimit {
                before: hard,
                now: hard
            }
        );
    }
}
