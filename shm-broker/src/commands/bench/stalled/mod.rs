//! What a stalled subscriber costs the others: with one and without, in turns, for each policy.

mod report;

use std::fmt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::round::Stage;
use super::task::{Contender, Memory, Part, Policy, Question, Stall, Task, Transport, Waiting};
use super::{Bus, UnusableSize, as_seconds, check_size, rate};
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output;
use report::{Run, Summary};

/// What a stalled subscriber costs the others, in latency.
///
/// A publisher keeps to a rate; the latency of a message counts from when it was to be sent. Each round has, for each policy, a run
/// with the healthy subscribers alone and one with another that reads the beginning and is then stopped by SIGSTOP. Who goes
/// first changes. Healthy ones sleep when there is nothing to read.
#[derive(Debug, Args, Serialize)]
pub struct Stalled {
    /// What the one that stalls has asked for: all of them in turn, or block, drop-newest, drop-oldest, conflate, disconnect.
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = policies)]
    #[serde(skip)]
    policy: Policies,
    /// Bytes of a message; a multiple of 8, from 16 to 64 MiB.
    #[arg(long, value_name = "B", default_value_t = 64)]
    size: usize,
    /// How many healthy subscribers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    subscribers: u32,
    /// Messages per second.
    #[arg(long, value_name = "R", default_value = "20000", value_parser = rate)]
    rate: f64,
    /// How long each run is, behind a warm-up of a fifth of that.
    #[arg(long, value_name = "S", default_value = "1", value_parser = cli::seconds)]
    #[serde(serialize_with = "as_seconds")]
    seconds: Duration,
    /// How often each is run.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long the publisher waits for the one that stalls, with the policy block.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
}

/// One policy or all.
#[derive(Clone, Debug)]
struct Policies(Vec<Policy>);

/// Why it cannot be measured as it was asked for.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Size(#[from] UnusableSize),
    #[error(
        "{messages} messages of {size} bytes do not fill the smallest ring, so nobody would notice: more --rate or --seconds"
    )]
    TooFew { messages: usize, size: usize },
    #[error(
        "--deadline-ms {0}: a quarter of --seconds at most, for what comes behind it is measured"
    )]
    Deadline(u64),
}

impl Stalled {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let ring_bytes = self.check().map_err(Failure::input)?;
        // Before the broker's thread, which is not to get the signals.
        let mut stage = Stage::new()?;
        let bus = Bus::start(Transport::Shm)?;
        let mut rounds: Vec<Vec<_>> = self.policy.0.iter().map(|_| Vec::new()).collect();
        for number in 1..=self.rounds {
            for (policy, pairs) in self.policy.0.iter().zip(&mut rounds) {
                let mut run = |stall| {
                    let told =
                        stage.round(Question::Fanout, &self.task(&bus, ring_bytes, stall), &[])?;
                    Run::of(&told)
                };
                let stall = Some(Stall {
                    policy: *policy,
                    deadline: Duration::from_millis(self.deadline_ms),
                });
                let (undisturbed, stalled);
                if number % 2 == 0 {
                    stalled = run(stall)?;
                    undisturbed = run(None)?;
                } else {
                    undisturbed = run(None)?;
                    stalled = run(stall)?;
                }
                pairs.push((undisturbed, stalled));
            }
            say(format_args!("round {number} of {}", self.rounds));
        }
        let results = self.policy.0.iter().copied().zip(rounds);
        let summary = Summary::new(&self, ring_bytes, results);
        if !common.json {
            output::print(summary.table())?;
        }
        output::print(serde_json::to_string(&summary)?)?;
        Ok(match summary.lost() {
            0 => Ending::Done,
            _ => Ending::Gaps,
        })
    }

    /// Gives the size of rings that are full after a quarter of a run at the latest.
    fn check(&self) -> Result<usize, Unusable> {
        check_size(self.size)?;
        if self.seconds < Duration::from_millis(4 * self.deadline_ms) {
            return Err(Unusable::Deadline(self.deadline_ms));
        }
        let messages = (self.rate * self.seconds.as_secs_f64()) as usize;
        let quarter = (messages / 4).saturating_mul(self.size + RECORD_BYTES);
        let least = LEAST_RING.max(4 * (self.size + RECORD_BYTES));
        if quarter < least {
            let size = self.size;
            return Err(Unusable::TooFew { messages, size });
        }
        let bytes = quarter.clamp(least, USUAL_RING.max(least));
        // Rounded down.
        Ok((bytes / 2 + 1).next_power_of_two())
    }

    fn task(&self, bus: &Bus, ring_bytes: usize, stall: Option<Stall>) -> Task {
        Task {
            part: Part::Publish,
            contender: Contender::Ringmain,
            bus: bus.address.clone(),
            far_bus: None,
            size_bytes: self.size,
            subscribers: self.subscribers,
            wait: Waiting::ParkAtOnce,
            transport: Transport::Shm,
            batch: 1,
            ring_bytes: Some(ring_bytes),
            rate: Some(self.rate),
            time: self.seconds,
            core: None,
            one_by_one: true,
            // Others want the publisher's core between two messages.
            crowded: true,
            stall,
            memory: Memory::default(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

fn policies(text: &str) -> Result<Policies, String> {
    if text == "all" {
        return Ok(Policies(Policy::value_variants().to_vec()));
    }
    let policy = Policy::from_str(text, false);
    policy.map(|policy| Policies(vec![policy])).map_err(|_| {
        let names: Vec<_> = Policy::value_variants()
            .iter()
            .map(Policy::to_string)
            .collect();
        format!("give all, or one of {}", names.join(", "))
    })
}

/// The smallest that rings may be.
const LEAST_RING: usize = 4096;
/// What publishers take unless they are told otherwise.
const USUAL_RING: usize = 512 * 1024;
/// What a message has around it in a ring, at least.
const RECORD_BYTES: usize = 16;
