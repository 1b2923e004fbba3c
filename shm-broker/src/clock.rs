//! The clock that all processes of a machine share.

use nix::time::{ClockId, clock_gettime};

/// The time by CLOCK_MONOTONIC, the same for all processes of the machine.
pub fn now_ns() -> u64 {
    // The clock exists on every Linux.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}
