//! Which processors a thread runs on.

use std::io;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use thiserror::Error;

/// Why a thread cannot be bound to processors.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PinError {
    /// There are none of these numbers that the process may use.
    #[error(
        "of processors {asked:?} this process may use only {allowed:?}: choose among those that `taskset -p` shows, or widen its cpuset"
    )]
    NotAllowed {
        /// What was asked for.
        asked: Vec<usize>,
        /// Those of them that the system grants.
        allowed: Vec<usize>,
    },
    /// The system refused for another reason.
    #[error("the system refused to bind the thread to processors: {0}")]
    System(io::Error),
}

/// Binds the calling thread to these processors.
pub fn pin(cpus: &[usize]) -> Result<(), PinError> {
    let refused = |allowed| PinError::NotAllowed {
        asked: cpus.to_vec(),
        allowed,
    };
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).map_err(|_| refused(Vec::new()))?;
    }
    let this = Pid::from_raw(0);
    match sched_setaffinity(this, &set) {
        Ok(()) => {}
        Err(Errno::EINVAL) => return Err(refused(Vec::new())),
        Err(error) => return Err(PinError::System(error.into())),
    }
    // The kernel takes what is granted of a set, and fails only if that is nothing.
    let granted = sched_getaffinity(this).map_err(|error| PinError::System(error.into()))?;
    match granted == set {
        true => Ok(()),
        false => Err(refused(
            (0..CpuSet::count())
                .filter(|cpu| granted.is_set(*cpu).unwrap_or(false))
                .collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread of its own, which the test binds.
    fn pinned(cpus: &'static [usize]) -> Result<CpuSet, PinError> {
        let thread = std::thread::spawn(move || {
            pin(cpus).map(|()| sched_getaffinity(Pid::from_raw(0)).unwrap())
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_thread_runs_where_it_is_bound_to() {
        let mut first = CpuSet::new();
        first.set(0).unwrap();
        match pinned(&[0]) {
            Ok(granted) => assert_eq!(granted, first),
            // A cpuset without the first processor.
            Err(error) => assert!(matches!(error, PinError::NotAllowed { .. }), "{error}"),
        }
    }

    #[test]
    fn processors_that_there_are_not_are_named() {
        for cpus in [&[][..], &[1023], &[usize::MAX], &[0, 1023]] {
            let error = pinned(cpus).unwrap_err();
            let PinError::NotAllowed { asked, allowed } = error else {
                panic!("{error}")
            };
            assert_eq!(asked, cpus);
            assert!(allowed.iter().all(|cpu| cpus.contains(cpu)), "{allowed:?}");
        }
    }
}
