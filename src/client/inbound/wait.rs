//! Waiting for messages: polling for a while, then sleeping on the bell.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::doorbell::SETTLE;
use crate::wake::Wait as Woken;

use super::pace::FIRST_LOOKS;
use super::{Found, Inbound, RecvError, Wait};

/// What has become of the bell's token in a sleep.
enum Token {
    /// It may still be there.
    Left,
    /// One was taken.
    Taken,
}

impl Inbound {
    /// Waits, as long as `timeout`, until there is something.
    pub(in crate::client) fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<Found>, RecvError> {
        if let Some(found) = self.poll()? {
            return Ok(Some(found));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(found) = self.spin(deadline)? {
                return Ok(Some(found));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.sleep(left)?;
            if let Some(found) = self.poll()? {
                return Ok(Some(found));
            }
        }
    }

    /// Begins a wait: whether a message came meanwhile. Looks a few times, and rests before, if they come in a stream.
    #[inline(never)]
    pub(in crate::client) fn linger(&mut self) -> bool {
        if self.wait == Wait::Park || self.is_disturbed() || !self.are_dry() {
            return false;
        }
        self.look_at_pace();
        (0..FIRST_LOOKS).any(|_| {
            self.pace.look();
            !self.are_dry()
        })
    }

    /// The rings have run dry.
    fn look_at_pace(&mut self) {
        let received = self.lanes.iter().map(|lane| lane.sequence());
        self.pace.dry(received.fold(0, u64::wrapping_add));
    }

    /// First half of a wait that somebody else does: says that this side is about to sleep on `bell`. Whether it may;
    /// `retire` must follow in either case.
    pub(in crate::client) fn announce(&mut self) -> bool {
        if self.mark.is_forked() {
            return false;
        }
        self.sleepers.look_once() && self.announce_sleep()
    }

    /// Whether a sleep is announced and not retired. The bell keeps its token until then.
    #[cfg(feature = "async")]
    pub(in crate::client) fn is_announced(&self) -> bool {
        self.sleepers.are_announced()
    }

    /// Says that this side is about to sleep. Whether it may.
    fn announce_sleep(&mut self) -> bool {
        // A future that was leaked, not dropped, leaves a sleep announced.
        self.retire();
        self.sleepers.announce();
        let may_sleep = !self.has_something();
        if may_sleep {
            self.port.counters.parked();
        }
        may_sleep
    }

    /// Second half. Does nothing if no sleep is announced.
    pub(in crate::client) fn retire(&mut self) {
        if self.retire_counters() {
            self.bell.drain();
        }
    }

    /// The same without what the bell has; whether a sleep was announced.
    fn retire_counters(&mut self) -> bool {
        // The counter and the token belong to the parent.
        if !self.sleepers.are_announced() || self.mark.is_forked() {
            return false;
        }
        self.sleepers.retire();
        // Whatever ended the sleep, the next poll finds it.
        self.dry = 0;
        true
    }

    fn spin(&mut self, deadline: Option<Instant>) -> Result<Option<Found>, RecvError> {
        let patience = match self.wait {
            Wait::Park => return Ok(None),
            Wait::Spin => None,
            Wait::SpinThenPark => Some(SPIN),
        };
        self.sleepers.look_twice();
        self.look_at_pace();
        let yield_from = patience.map(|_| Instant::now() + SPIN_ALONE);
        let end = match (patience.map(|patience| Instant::now() + patience), deadline) {
            (Some(patience), Some(deadline)) => Some(patience.min(deadline)),
            (patience, deadline) => patience.or(deadline),
        };
        loop {
            self.pace.look();
            if self.rests() {
                continue;
            }
            if let Some(lane) = self.ready(None) {
                return Ok(Some(Found::Message { lane }));
            }
            if let Some(found) = self.poll()? {
                return Ok(Some(found));
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(None);
            }
            if yield_from.is_some_and(|from| Instant::now() >= from) {
                // Whoever is to be waited for may need this core.
                thread::yield_now();
            }
        }
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<(), RecvError> {
        if self.mark.is_forked() {
            return Ok(());
        }
        self.sleepers.look_twice();
        let slept = match self.announce_sleep() {
            true => self.sleep_on_bell(timeout),
            false => Ok(Token::Left),
        };
        // Of one publisher there is one token for a sleep. Any other that there may be costs no more than a look, later.
        match (&slept, self.lanes.len()) {
            (Ok(Token::Taken), 1) => _ = self.retire_counters(),
            _ => self.retire(),
        }
        slept.map(drop).map_err(RecvError::System)
    }

    fn sleep_on_bell(&mut self, timeout: Option<Duration>) -> io::Result<Token> {
        let mut left = timeout;
        if self.sleepers.do_look_twice() {
            if timeout.is_none_or(|timeout| timeout >= LONG) {
                if self.bell.wait_briefly(SETTLE)? == Woken::Rung {
                    return Ok(Token::Taken);
                }
            } else {
                let first = timeout.map_or(SETTLE, |timeout| timeout.min(SETTLE));
                if self.bell.wait(Some(first))? == Woken::Rung {
                    return Ok(Token::Left);
                }
                left = timeout.map(|timeout| timeout - first);
            }
            if self.has_something() {
                return Ok(Token::Left);
            }
        }
        if left != Some(Duration::ZERO) {
            self.bell.wait(left)?;
        }
        Ok(Token::Left)
    }
}

/// From here on the first part of a sleep may be some milliseconds longer than asked for.
const LONG: Duration = Duration::from_millis(100);
/// About as long as a wake takes.
const SPIN: Duration = Duration::from_micros(50);
/// From here on the core is offered to others between two looks: a message that comes at once costs no system call.
const SPIN_ALONE: Duration = Duration::from_micros(15);
