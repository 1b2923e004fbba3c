//! Time that all processes share.

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    // The clock is there on every Linux.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC can be read");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
