//! Waiting for messages: polling for a while, then sleeping on the bell.

use std::io;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use crate::doorbell::SETTLE;
use crate::wake::Wait as Woken;

use super::pace::FIRST_LOOKS;
use super::{Inbound, Wait};

/// A wait for messages, as [`Inbound::watch`] goes on with it.
#[derive(Debug)]
pub(in crate::client) struct Watch {
    deadline: Option<Instant>,
    /// Whether it has begun.
    has_begun: bool,
    /// Since it polls, for the first time or behind a sleep.
    spin: Option<Spin>,
}

#[derive(Debug)]
struct Spin {
    /// From here on the core is offered to others.
    yield_from: Option<Instant>,
    end: Option<Instant>,
}

/// What a wait has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Sign {
    /// A record stands in a ring.
    Record,
    /// What there may be a poll finds.
    Poll,
    /// Its time is over.
    Over,
}

impl Watch {
    /// As long as `timeout`.
    pub(in crate::client) fn new(timeout: Option<Duration>) -> Self {
        Self {
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            has_begun: false,
            spin: None,
        }
    }
}

/// What has become of the bell's token in a sleep.
enum Token {
    /// It may still be there.
    Left,
    /// One was taken.
    Taken,
}

impl Inbound {
    /// Begins a wait, or goes on with it behind a poll that has found nothing. What it has come to goes through registers: a message
    /// that was waited for is not to wait until memory has been written and read.
    #[inline(never)]
    pub(in crate::client) fn watch(&mut self, watch: &mut Watch) -> io::Result<Sign> {
        if !mem::replace(&mut watch.has_begun, true) {
            return Ok(self.begin_watch());
        }
        if self.is_to_spin(watch) {
            return Ok(self.spin());
        }
        watch.spin = None;
        let deadline = watch.deadline;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Sign::Over);
        }
        self.sleep(left)?;
        Ok(Sign::Poll)
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

    /// An answer comes sooner than a poll is done, that looks for whatever there may be besides messages. But publishers are told at once
    /// how far all is read: one that knows its reader close behind prepares for the next message (`Producer::clear_ahead`).
    #[inline(always)]
    fn begin_watch(&mut self) -> Sign {
        // Of lanes that are copied from, too, something may be there.
        if self.wait == Wait::Park || self.is_disturbed() || !self.are_dry() {
            return Sign::Poll;
        }
        let read = self.lanes.iter_mut().filter(|lane| lane.behind.is_none());
        read.for_each(|lane| lane.reader.publish_cursor());
        self.look_at_pace();
        for _ in 0..SOON {
            self.pace.look();
            if self.is_disturbed() {
                break;
            }
            if !self.are_dry() {
                return Sign::Record;
            }
        }
        Sign::Poll
    }

    fn is_to_spin(&mut self, watch: &mut Watch) -> bool {
        if self.wait == Wait::Park {
            return false;
        }
        let Some(spin) = &watch.spin else {
            watch.spin = Some(self.begin_spin(watch.deadline));
            return true;
        };
        if spin.end.is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        if spin.yield_from.is_some_and(|from| Instant::now() >= from) {
            // Whoever is to be waited for may need this core.
            thread::yield_now();
        }
        true
    }

    fn begin_spin(&mut self, deadline: Option<Instant>) -> Spin {
        self.sleepers.look_twice();
        if self.wait == Wait::Spin {
            return Spin {
                yield_from: None,
                end: deadline,
            };
        }
        let now = Instant::now();
        let end = now + SPIN;
        Spin {
            yield_from: Some(now + SPIN_ALONE),
            end: Some(deadline.map_or(end, |deadline| deadline.min(end))),
        }
    }

    /// Looks at the rings until it is time for a poll.
    #[inline(always)]
    fn spin(&mut self) -> Sign {
        loop {
            self.pace.look();
            if !self.rests() {
                return match self.are_dry() {
                    true => Sign::Poll,
                    false => Sign::Record,
                };
            }
        }
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
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
        slept.map(drop)
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
/// Looks, for about as long as it takes a message to come here and its answer to come back.
const SOON: u32 = 32;
/// About as long as a wake takes.
const SPIN: Duration = Duration::from_micros(50);
/// From here on the core is offered to others between two looks: a message that comes at once costs no system call.
const SPIN_ALONE: Duration = Duration::from_micros(15);
