//! The loops that are measured, the same for all contenders.

use std::hint::spin_loop;
use std::thread;

use nix::sys::signal::{Signal, raise};
use quanta::Clock;

use super::ends::{Inlet, Outlet};
use super::latency::Latencies;
use super::message::{END, EXPIRED, MEASURE, Seen, Stamp};
use super::report::Told;
use super::roles::Tell;
use super::task::Task;
use crate::clock::now_ns;
use crate::ending::Failure;

/// Sends, waits for the answer, again and again. With a rate, the latency counts from when a message was to be sent.
pub fn ping(
    task: &Task,
    mut outlet: impl Outlet,
    mut inlet: impl Inlet,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let clock = Clock::new();
    let mut latencies = Latencies::new()?;
    let mut pace = task.period_ns().map(Pace::new);
    let start = clock.raw();
    let (warm_up, end) = (task.warm_up(), task.warm_up() + task.time);
    let (warm_up, end) = (warm_up.as_nanos() as u64, end.as_nanos() as u64);
    for number in 0.. {
        let due_ns = pace.as_mut().map(|pace| pace.wait(task.crowded));
        let sent = clock.raw();
        let stamp = Stamp { number, time_ns: 0 };
        outlet.send(stamp)?;
        let seen = inlet.receive()?;
        check(&seen)?;
        let received = clock.raw();
        if seen.stamp != stamp {
            return Err(Failure::text(format!(
                "message {number} was answered by {}",
                seen.stamp.number
            )));
        }
        let elapsed = clock.delta_as_nanos(start, received);
        if elapsed > warm_up {
            latencies.record(match due_ns {
                Some(due_ns) => now_ns().saturating_sub(due_ns),
                None => clock.delta_as_nanos(sent, received),
            });
        }
        if elapsed > end {
            break;
        }
    }
    outlet.send(mark(END, 0))?;
    outlet.flush()?;
    tell(&Told::RoundTrips(latencies.percentiles()))
}

/// Answers.
pub fn echo(mut outlet: impl Outlet, mut inlet: impl Inlet, tell: Tell<'_>) -> Result<(), Failure> {
    tell(&Told::Ready)?;
    loop {
        let seen = inlet.receive()?;
        if seen.stamp.number == END {
            return Ok(());
        }
        check(&seen)?;
        outlet.send(seen.stamp)?;
    }
}

/// Sends a stream: messages for warming up, a mark, messages, a mark.
pub fn publish(task: &Task, mut outlet: impl Outlet, tell: Tell<'_>) -> Result<(), Failure> {
    let mut number = 0;
    for (time, behind) in [(task.warm_up(), MEASURE), (task.time, END)] {
        let mut pace = task.period_ns().map(Pace::new);
        let end_ns = now_ns() + time.as_nanos() as u64;
        // How seldom the time is asked for: each 64 KiB, and not for each small message.
        let burst = match pace {
            Some(_) => 1,
            None => (BURST_BYTES / task.size_bytes).clamp(1, 1024),
        };
        while now_ns() < end_ns {
            for _ in 0..burst {
                let time_ns = pace.as_mut().map_or(0, |pace| pace.wait(task.crowded));
                outlet.send(Stamp { number, time_ns })?;
                number += 1;
            }
        }
        outlet.send(mark(behind, number))?;
        outlet.flush()?;
    }
    let stalled = outlet.cost_of_stall()?;
    tell(&Told::Published {
        messages: number,
        stalled,
    })
}

/// Receives a stream; counts what comes between the two marks.
pub fn subscribe(task: &Task, mut inlet: impl Inlet, tell: Tell<'_>) -> Result<(), Failure> {
    let mut tally = Tally {
        latencies: task.rate.map(|_| Latencies::new()).transpose()?,
        ..Tally::default()
    };
    tell(&Told::Ready)?;
    while tally.time_ns.is_none() {
        inlet.receive_run(|seen| tally.count(&seen))?;
    }
    let percentiles = |latencies: Latencies| latencies.percentiles();
    tell(&Told::Received {
        messages: tally.messages,
        time_ns: tally.time_ns.unwrap_or_default(),
        lost: tally.lost,
        latencies: tally.latencies.map(percentiles),
        after: tally.after.map(|(_, latencies)| percentiles(latencies)),
    })
}

/// What came of a stream.
#[derive(Default)]
struct Tally {
    /// Number of the next message.
    next: u64,
    messages: u64,
    lost: u64,
    start_ns: u64,
    /// From the first mark to the second one.
    time_ns: Option<u64>,
    /// With a rate.
    latencies: Option<Latencies>,
    /// When a deadline has expired; those of messages that were due from then on.
    after: Option<(u64, Latencies)>,
}

impl Tally {
    #[inline(always)]
    fn count(&mut self, seen: &Seen) -> Result<(), Failure> {
        if seen.stamp.number != self.next {
            return self.count_other(seen);
        }
        self.count_message(seen)
    }

    #[inline(always)]
    fn count_message(&mut self, seen: &Seen) -> Result<(), Failure> {
        check(seen)?;
        self.next = seen.stamp.number + 1;
        self.messages += 1;
        match self.latencies {
            Some(_) if self.start_ns > 0 => self.record(seen.stamp.time_ns),
            _ => Ok(()),
        }
    }

    /// A mark, or a message behind some that are lost.
    #[cold]
    fn count_other(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Stamp { number, time_ns } = seen.stamp;
        match number {
            MEASURE => (self.start_ns, self.messages) = (now_ns(), 0),
            EXPIRED => self.after = Some((time_ns, Latencies::new()?)),
            END => {
                self.lost += time_ns - self.next;
                self.time_ns = Some(now_ns() - self.start_ns);
            }
            _ if number > self.next => {
                self.lost += number - self.next;
                self.count_message(seen)?;
            }
            _ => {
                let text = format!("message {number} came behind {}", self.next);
                return Err(Failure::text(text));
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn record(&mut self, due_ns: u64) -> Result<(), Failure> {
        let latency_ns = now_ns().saturating_sub(due_ns);
        if let Some(latencies) = &mut self.latencies {
            latencies.record(latency_ns);
        }
        if let Some((expired_ns, after)) = &mut self.after
            && due_ns >= *expired_ns
        {
            after.record(latency_ns);
        }
        Ok(())
    }
}

/// Receives the messages of the warm-up, then stops the process: not only this thread, for a client's other one would still
/// answer the bus.
pub fn stall(task: &Task, mut inlet: impl Inlet, tell: Tell<'_>) -> Result<(), Failure> {
    let (mut messages, mut end_ns) = (0, None);
    tell(&Told::Ready)?;
    loop {
        let seen = inlet.receive()?;
        match seen.stamp.number {
            END => {
                return Err(Failure::text(
                    "the stream ended before its subscriber stalled",
                ));
            }
            MEASURE => break,
            EXPIRED => continue,
            _ => check(&seen)?,
        }
        messages += 1;
        // Who conflates may not see the mark.
        let due_ns = seen.stamp.time_ns;
        if due_ns > *end_ns.get_or_insert(due_ns + task.warm_up().as_nanos() as u64) {
            break;
        }
    }
    tell(&Told::Stalled { messages })?;
    raise(Signal::SIGSTOP)?;
    Err(Failure::text("somebody has woken the stalled subscriber"))
}

/// When the messages of an open loop are to be sent.
struct Pace {
    start_ns: f64,
    period_ns: f64,
    number: u64,
}

impl Pace {
    fn new(period_ns: f64) -> Self {
        Self {
            start_ns: now_ns() as f64,
            period_ns,
            number: 0,
        }
    }

    /// Waits until the next message is to be sent; tells when that was. Who is late does not wait.
    fn wait(&mut self, crowded: bool) -> u64 {
        let due_ns = (self.start_ns + self.number as f64 * self.period_ns) as u64;
        self.number += 1;
        while now_ns() < due_ns {
            match crowded {
                true => thread::yield_now(),
                false => spin_loop(),
            }
        }
        due_ns
    }
}

#[inline(always)]
fn check(seen: &Seen) -> Result<(), Failure> {
    match seen.is_whole() {
        true => Ok(()),
        false => Err(Failure::text(format!(
            "message {} is not as it was sent",
            seen.stamp.number
        ))),
    }
}

/// What stands behind so many messages.
fn mark(number: u64, messages: u64) -> Stamp {
    Stamp {
        number,
        time_ns: messages,
    }
}

const BURST_BYTES: usize = 64 * 1024;
