//! Both ends of a stream, without anything that carries it.

use std::time::Duration;

use crate::clock::now_ns;
use crate::message::{Kind, Size, Stamp, check, fill};
use crate::task::{Task, Told};

/// What a sender does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// So many messages, each of which [`Sender::fill`] writes.
    Messages(u32),
    /// Everything sent leaves; then so long a rest, in which the receivers come to their end of the warm-up.
    Rest(Duration),
    /// Everything sent leaves; that was all.
    Over,
}

/// The sending end: messages for warming up, a rest, counted messages, a last one.
#[derive(Debug)]
pub struct Sender<S> {
    size: S,
    next: Stamp,
    until_ns: u64,
    time: Duration,
    start_ns: u64,
    sent: u64,
    is_over: bool,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<S> {
    size: S,
    count: u64,
    next: u64,
    corrupt: u64,
    end_ns: u64,
    is_over: bool,
    /// Count and time when nothing had come for a while.
    idle: Option<(u64, u64)>,
}

impl<S: Size> Sender<S> {
    pub fn new(size: S, task: &Task) -> Self {
        Self {
            size,
            next: Stamp {
                kind: Kind::WarmUp,
                number: 0,
            },
            until_ns: now_ns() + task.warm_up().as_nanos() as u64,
            time: task.time,
            start_ns: 0,
            sent: 0,
            is_over: false,
        }
    }

    pub fn burst(&mut self) -> Burst {
        let now_ns = now_ns();
        match self.next.kind {
            Kind::WarmUp | Kind::Counted if now_ns < self.until_ns => {
                // How seldom the time is asked for: each 16 KiB, and not for each small message.
                let burst = (BURST_BYTES / self.size.bytes()).clamp(1, 256);
                Burst::Messages(burst as u32)
            }
            Kind::WarmUp => {
                self.next = Stamp {
                    kind: Kind::Counted,
                    number: 0,
                };
                self.start_ns = 0;
                // Until the rest is over, which the next burst finds out.
                self.until_ns = 0;
                Burst::Rest(REST)
            }
            Kind::Counted if self.start_ns == 0 => {
                self.start_ns = now_ns;
                self.until_ns = now_ns + self.time.as_nanos() as u64;
                Burst::Messages(1)
            }
            Kind::Counted => {
                self.sent = self.next.number;
                self.next.kind = Kind::End;
                Burst::Messages(1)
            }
            Kind::End => {
                self.is_over = true;
                Burst::Over
            }
        }
    }

    /// Writes the next message.
    #[inline(always)]
    pub fn fill(&mut self, bytes: &mut [u8]) {
        fill(self.size, bytes, self.next);
        self.next.number += 1;
    }

    pub fn told(&self) -> Told {
        Told::Sent {
            count: self.sent,
            start_ns: self.start_ns,
        }
    }
}

impl<S: Size> Receiver<S> {
    pub fn new(size: S) -> Self {
        Self {
            size,
            count: 0,
            next: 0,
            corrupt: 0,
            end_ns: 0,
            is_over: false,
            idle: None,
        }
    }

    /// Checks a message.
    #[inline(always)]
    pub fn take(&mut self, bytes: &[u8]) {
        match check(self.size, bytes) {
            Some(Stamp {
                kind: Kind::Counted,
                number,
            }) if number >= self.next => {
                self.next = number + 1;
                self.count += 1;
            }
            Some(Stamp {
                kind: Kind::WarmUp, ..
            }) => {}
            other => self.take_rare(other),
        }
    }

    #[cold]
    fn take_rare(&mut self, stamp: Option<Stamp>) {
        match stamp {
            Some(Stamp {
                kind: Kind::End, ..
            }) => self.end(now_ns()),
            _ => self.corrupt += 1,
        }
    }

    /// Nothing has come for [`PATIENCE`]. Twice so with nothing in between, and the last message counts as lost, too.
    pub fn idle(&mut self) {
        let now_ns = now_ns();
        match self.idle {
            Some((count, since_ns)) if count == self.count && count > 0 => self.end(since_ns),
            _ => self.idle = Some((self.count, now_ns - PATIENCE.as_nanos() as u64)),
        }
    }

    fn end(&mut self, end_ns: u64) {
        self.end_ns = end_ns;
        self.is_over = true;
    }

    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn told(&self) -> Told {
        Told::Received {
            count: self.count,
            corrupt: self.corrupt,
            end_ns: self.end_ns,
        }
    }
}

/// How long a receiver waits before it says that nothing comes.
pub const PATIENCE: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_millis(100);
const BURST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Fixed;

    fn message(kind: Kind, number: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        fill(Fixed::<16>, &mut bytes, Stamp { kind, number });
        bytes
    }

    #[test]
    fn a_receiver_counts_each_message_once_and_what_is_wrong() {
        let mut receiver = Receiver::new(Fixed::<16>);
        receiver.take(&message(Kind::WarmUp, 7));
        for number in [0, 1, 1, 4, 3] {
            receiver.take(&message(Kind::Counted, number));
        }
        receiver.take(&[1; 16]);
        assert!(!receiver.is_over());
        receiver.take(&message(Kind::End, 5));
        assert!(receiver.is_over());
        let Told::Received { count, corrupt, .. } = receiver.told() else {
            panic!("it has received");
        };
        assert_eq!((count, corrupt), (3, 3));
    }

    #[test]
    fn a_receiver_gives_up_when_the_last_message_is_lost() {
        let mut receiver = Receiver::new(Fixed::<16>);
        receiver.idle();
        receiver.idle();
        assert!(!receiver.is_over(), "nothing has begun");
        receiver.take(&message(Kind::Counted, 0));
        receiver.idle();
        receiver.take(&message(Kind::Counted, 1));
        receiver.idle();
        assert!(!receiver.is_over());
        receiver.idle();
        assert!(receiver.is_over());
    }
}
