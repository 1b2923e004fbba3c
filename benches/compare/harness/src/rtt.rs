//! Both ends of a round trip, without anything that carries it.

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use quanta::Clock;

use crate::message::{Kind, Size, Stamp, check, fill};
use crate::task::{Task, Told};

/// The end that asks, and measures from before it writes until it has checked the answer.
#[derive(Debug)]
pub struct Pinger<S> {
    size: S,
    clock: Clock,
    latencies: Histogram<u64>,
    begun: u64,
    asked: u64,
    warm_up_ns: u64,
    end_ns: u64,
    next: Stamp,
    corrupt: u64,
}

/// The end that answers.
#[derive(Debug)]
pub struct Echo<S> {
    size: S,
    asked: Option<Stamp>,
    is_over: bool,
}

impl<S: Size> Pinger<S> {
    pub fn new(size: S, task: &Task) -> Result<Self> {
        let clock = Clock::new();
        let warm_up = task.warm_up();
        Ok(Self {
            size,
            begun: clock.raw(),
            asked: 0,
            clock,
            latencies: Histogram::new_with_bounds(1, MOST_NS, 3)?,
            warm_up_ns: warm_up.as_nanos() as u64,
            end_ns: (warm_up + task.time).as_nanos() as u64,
            next: Stamp {
                kind: Kind::Counted,
                number: 0,
            },
            corrupt: 0,
        })
    }

    /// Begins a round trip. False when the time is over: then one last message is due, which nobody answers.
    #[inline(always)]
    pub fn begin(&mut self) -> bool {
        self.asked = self.clock.raw();
        let goes_on = self.clock.delta_as_nanos(self.begun, self.asked) < self.end_ns;
        if !goes_on {
            self.next.kind = Kind::End;
        }
        goes_on
    }

    /// Writes the question.
    #[inline(always)]
    pub fn fill(&mut self, bytes: &mut [u8]) {
        fill(self.size, bytes, self.next);
    }

    /// Checks the answer.
    #[inline(always)]
    pub fn take(&mut self, bytes: &[u8]) {
        let stamp = check(self.size, bytes);
        let answered = self.clock.raw();
        self.corrupt += u64::from(stamp != Some(self.next));
        self.next.number += 1;
        if self.clock.delta_as_nanos(self.begun, answered) > self.warm_up_ns {
            let latency_ns = self.clock.delta_as_nanos(self.asked, answered);
            self.latencies.saturating_record(latency_ns);
        }
    }

    pub fn told(&self) -> Told {
        Told::RoundTrips {
            p50_ns: self.latencies.value_at_quantile(0.5) as f64,
            p99_ns: self.latencies.value_at_quantile(0.99) as f64,
            count: self.latencies.len(),
            corrupt: self.corrupt,
        }
    }
}

impl<S: Size> Echo<S> {
    pub fn new(size: S) -> Self {
        Self {
            size,
            asked: None,
            is_over: false,
        }
    }

    /// Checks a question.
    #[inline(always)]
    pub fn take(&mut self, bytes: &[u8]) {
        self.asked = check(self.size, bytes);
        self.is_over = self.asked.is_some_and(|stamp| stamp.kind == Kind::End);
    }

    /// Whether that was the last one.
    #[inline(always)]
    pub fn is_over(&self) -> Result<bool> {
        ensure!(self.asked.is_some(), "a question is not as it was written");
        Ok(self.is_over)
    }

    /// Writes the answer.
    #[inline(always)]
    pub fn fill(&mut self, bytes: &mut [u8]) {
        if let Some(stamp) = self.asked {
            fill(self.size, bytes, stamp);
        }
    }
}

const MOST_NS: u64 = 60_000_000_000;
