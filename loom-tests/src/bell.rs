//! A bell that remembers a ring, as a datagram socket does.

use loom::sync::{Condvar, Mutex};

/// Sleepers wait on it; a ring that comes before the wait is not lost.
#[derive(Debug)]
pub struct Bell {
    token: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    /// A bell that was not rung.
    #[expect(clippy::new_without_default, reason = "only inside a loom model")]
    pub fn new() -> Self {
        Self {
            token: Mutex::new(false),
            rung: Condvar::new(),
        }
    }

    /// Leaves the token.
    pub fn ring(&self) {
        *self.token.lock().unwrap() = true;
        self.rung.notify_one();
    }

    /// Blocks until there is a token, and leaves it there. If there never is one, loom reports a deadlock.
    pub fn wait(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.rung.wait(token).unwrap();
        }
    }

    /// Takes the token, if there is one.
    pub fn consume(&self) {
        *self.token.lock().unwrap() = false;
    }
}
