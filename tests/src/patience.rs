//! Waiting for what the system does in its own time.

use std::time::{Duration, Instant};

/// Waits until the condition holds; the test fails if it does not within 30 seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What `action` gives; the test fails if it takes longer than `limit`.
pub fn within<T>(limit: Duration, what: &str, action: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = action();
    let taken = started.elapsed();
    assert!(taken <= limit, "{what} took {taken:?}, more than {limit:?}");
    value
}

const PATIENCE: Duration = Duration::from_secs(30);
