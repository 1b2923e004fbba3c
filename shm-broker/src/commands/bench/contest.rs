//! The bus and the raw limit, measured in turns.

use std::time::Duration;

use clap::Args;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use serde::Serialize;

use super::report::{Figures, Summary};
use super::round::Stage;
use super::task::{Contender, Memory, Part, Question, Task, Transport, Waiting};
use super::{Bus, UnusableSize, as_seconds, check_size, rate};
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output;

/// What is to be measured of both, and how.
#[derive(Debug, Args, Serialize)]
pub struct Contest {
    /// Bytes of a message; a multiple of 8, from 16 to 64 MiB.
    #[arg(long, value_name = "B", default_value_t = 64)]
    size: usize,
    /// How many subscribers; 4 unless given. For fanout.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    subscribers: Option<u32>,
    /// How receivers wait; spin, but park for fanout and over TCP, unless given.
    #[arg(long, value_enum)]
    wait: Option<Waiting>,
    /// What the messages go through.
    #[arg(long, value_enum, default_value = "shm")]
    transport: Transport,
    /// Messages that are published together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Messages per second; the latency then counts from when each was to be sent.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Keeps the sender to one core, each receiver to another.
    #[arg(long)]
    pin: bool,
    /// Receives a stream message by message, not in runs of those that are there.
    #[arg(long)]
    one_by_one: bool,
    #[command(flatten)]
    #[serde(flatten)]
    memory: Memory,
    /// How long, for all rounds.
    #[arg(long, value_name = "S", default_value = "6", value_parser = cli::seconds)]
    #[serde(serialize_with = "as_seconds")]
    seconds: Duration,
}

/// Why a benchmark cannot be run as it was asked for.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Size(#[from] UnusableSize),
    #[error("--batch {0}: an answer is waited for after each message of rtt")]
    Batch(u32),
    #[error("--subscribers {0}: rtt and throughput have one")]
    Subscribers(u32),
    #[error(
        "--transport tcp: rtt and throughput have a bare connection to be compared with, fanout has not"
    )]
    TcpFanout,
    #[error("--pin needs two cores, {0} can be used")]
    Cores(usize),
}

impl Contest {
    /// Runs the command.
    pub fn run(self, question: Question, common: &Common) -> Outcome {
        self.check(question).map_err(Failure::input)?;
        let cores = usable_cores()?;
        if self.pin && cores.len() < 2 {
            return Err(Failure::input(Unusable::Cores(cores.len())));
        }
        // Before the broker's thread, which is not to get the signals.
        let mut stage = Stage::new()?;
        let bus = Bus::start(self.transport)?;
        let task = self.task(question, &bus, cores.len());
        let pinned = if self.pin { &cores[..] } else { &[] };
        let mut rounds = Vec::new();
        for number in 1..=ROUNDS {
            let mut round = |contender| {
                let task = Task {
                    contender,
                    ..task.clone()
                };
                let told = stage.round(question, &task, pinned)?;
                Ok::<_, Failure>(Figures::of(&told, task.size_bytes))
            };
            // Who goes first changes, for who goes second finds the machine warm.
            let (ringmain, raw): (Figures, Figures);
            if number % 2 == 0 {
                raw = round(Contender::Raw)?;
                ringmain = round(Contender::Ringmain)?;
            } else {
                ringmain = round(Contender::Ringmain)?;
                raw = round(Contender::Raw)?;
            }
            rounds.push((ringmain, raw));
            say(format_args!("round {number} of {ROUNDS}"));
        }
        let summary = Summary::new(question, &self, self.raw_is(question), &rounds);
        if !common.json {
            output::print(summary.table())?;
            output::print(summary.ratio())?;
        }
        output::print(serde_json::to_string(&summary)?)?;
        let lost: u64 = rounds.iter().map(|(ringmain, _)| ringmain.lost()).sum();
        Ok(if lost > 0 { Ending::Gaps } else { Ending::Done })
    }

    fn check(&self, question: Question) -> Result<(), Unusable> {
        check_size(self.size)?;
        match (question, self) {
            (Question::Rtt, Self { batch: 2.., .. }) => Err(Unusable::Batch(self.batch)),
            (
                Question::Fanout,
                Self {
                    transport: Transport::Tcp,
                    ..
                },
            ) => Err(Unusable::TcpFanout),
            (
                Question::Rtt | Question::Throughput,
                Self {
                    subscribers: Some(several @ 2..),
                    ..
                },
            ) => Err(Unusable::Subscribers(*several)),
            _ => Ok(()),
        }
    }

    fn task(&self, question: Question, bus: &Bus, cores: usize) -> Task {
        let subscribers = self.subscribers(question);
        Task {
            part: Part::Ping,
            contender: Contender::Raw,
            bus: bus.address.clone(),
            far_bus: bus.far.clone(),
            size_bytes: self.size,
            subscribers,
            wait: self.wait.unwrap_or(match (question, self.transport) {
                // Their relays need the cores; a bare connection sleeps, too.
                (Question::Fanout, _) | (_, Transport::Tcp) => Waiting::Park,
                (Question::Rtt | Question::Throughput, _) => Waiting::Spin,
            }),
            transport: self.transport,
            batch: self.batch,
            ring_bytes: None,
            rate: self.rate,
            time: self.seconds / (2 * ROUNDS as u32),
            core: None,
            one_by_one: self.one_by_one,
            crowded: subscribers as usize + 1 > cores,
            stall: None,
            memory: self.memory,
        }
    }

    fn subscribers(&self, question: Question) -> u32 {
        match question {
            Question::Rtt | Question::Throughput => 1,
            Question::Fanout => self.subscribers.unwrap_or(4),
        }
    }

    fn raw_is(&self, question: Question) -> &'static str {
        match (question, self.transport, self.wait) {
            (_, Transport::Tcp, _) => "bare connection",
            (Question::Rtt, _, None | Some(Waiting::Spin)) => "bare mailbox",
            (Question::Rtt, ..) => "bare socket pair",
            (Question::Throughput, ..) => "bare ring",
            (Question::Fanout, ..) => "bare ring that all read",
        }
    }
}

fn usable_cores() -> Result<Vec<usize>, Failure> {
    let cores = sched_getaffinity(Pid::from_raw(0))?;
    let all = 0..nix::sched::CpuSet::count();
    Ok(all.filter(|core| cores.is_set(*core) == Ok(true)).collect())
}

/// An odd number, so that there is one in the middle.
const ROUNDS: usize = 7;
