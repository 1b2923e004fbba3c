//! `bench`: how fast is the bus, and how fast could it be?

mod bus;
mod ends;
mod latency;
mod measure;
mod message;
mod raw;
mod report;
mod roles;
mod round;
mod task;

use std::time::Duration;

use clap::Args;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use ringmain::Address;
use ringmain::broker::Broker;
use serde::Serialize;
use tempfile::TempDir;

use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output;
use report::{Figures, Summary};
pub use roles::BenchRole;
use round::Stage;
use task::{Contender, Part, Question, Task, Transport, Waiting};

/// Measures the bus beside the raw limit: what two processes can do without one.
///
/// Starts a bus of its own and runs both in turns, so that what happens to the machine meanwhile happens to both. Each
/// message is written in full, and checked in full against its number. Prints the medians of the rounds; the last line is JSON.
/// See docs/performance.md.
#[derive(Debug, Args, Serialize)]
pub struct Bench {
    /// rtt: there and back. throughput: a stream to one subscriber. fanout: a stream to several.
    #[arg(value_enum)]
    #[serde(rename = "bench")]
    question: Question,
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
    /// How long, for all rounds.
    #[arg(long, value_name = "S", default_value = "6", value_parser = cli::seconds)]
    #[serde(serialize_with = "as_seconds")]
    seconds: Duration,
}

/// Why a benchmark cannot be run as it was asked for.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("--size {0}: give a multiple of 8 from {LEAST_BYTES} to {MOST_BYTES}")]
    Size(usize),
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

/// A broker of its own, until the value is dropped.
struct Bus {
    address: String,
    /// For receivers that are to be on another host.
    far: Option<String>,
    _broker: Broker,
    _directory: TempDir,
}

impl Bench {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        self.check().map_err(Failure::input)?;
        let cores = usable_cores()?;
        if self.pin && cores.len() < 2 {
            return Err(Failure::input(Unusable::Cores(cores.len())));
        }
        // Before the broker's thread, which is not to get the signals.
        let mut stage = Stage::new()?;
        let bus = Bus::start(self.transport)?;
        let task = self.task(&bus, cores.len());
        let pinned = if self.pin { &cores[..] } else { &[] };
        let mut rounds = Vec::new();
        for number in 1..=ROUNDS {
            let mut round = |contender| {
                let task = Task {
                    contender,
                    ..task.clone()
                };
                stage.round(self.question, &task, pinned)
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
        let summary = Summary::new(&self, self.raw_is(), &rounds);
        if !common.json {
            output::print(summary.table())?;
            output::print(summary.ratio())?;
        }
        output::print(serde_json::to_string(&summary)?)?;
        let lost: u64 = rounds.iter().map(|(ringmain, _)| ringmain.lost()).sum();
        Ok(if lost > 0 { Ending::Gaps } else { Ending::Done })
    }

    fn check(&self) -> Result<(), Unusable> {
        match self {
            Self {
                question: Question::Rtt,
                batch: 2..,
                ..
            } => Err(Unusable::Batch(self.batch)),
            Self {
                question: Question::Fanout,
                transport: Transport::Tcp,
                ..
            } => Err(Unusable::TcpFanout),
            Self { size, .. }
                if !size.is_multiple_of(8) || !(LEAST_BYTES..=MOST_BYTES).contains(size) =>
            {
                Err(Unusable::Size(*size))
            }
            Self {
                question: Question::Rtt | Question::Throughput,
                subscribers: Some(several @ 2..),
                ..
            } => Err(Unusable::Subscribers(*several)),
            _ => Ok(()),
        }
    }

    fn task(&self, bus: &Bus, cores: usize) -> Task {
        let subscribers = self.subscribers();
        Task {
            part: Part::Ping,
            contender: Contender::Raw,
            bus: bus.address.clone(),
            far_bus: bus.far.clone(),
            size_bytes: self.size,
            subscribers,
            wait: self.wait.unwrap_or(match (self.question, self.transport) {
                // Their relays need the cores; a bare connection sleeps, too.
                (Question::Fanout, _) | (_, Transport::Tcp) => Waiting::Park,
                (Question::Rtt | Question::Throughput, _) => Waiting::Spin,
            }),
            transport: self.transport,
            batch: self.batch,
            rate: self.rate,
            time: self.seconds / (2 * ROUNDS as u32),
            core: None,
            crowded: subscribers as usize + 1 > cores,
        }
    }

    fn subscribers(&self) -> u32 {
        match self.question {
            Question::Rtt | Question::Throughput => 1,
            Question::Fanout => self.subscribers.unwrap_or(4),
        }
    }

    pub(crate) fn question(&self) -> Question {
        self.question
    }

    fn raw_is(&self) -> &'static str {
        match (self.question, self.transport, self.wait) {
            (_, Transport::Tcp, _) => "bare connection",
            (Question::Rtt, _, None | Some(Waiting::Spin)) => "bare mailbox",
            (Question::Rtt, ..) => "bare socket pair",
            (Question::Throughput, ..) => "bare ring",
            (Question::Fanout, ..) => "bare ring that all read",
        }
    }
}

impl Bus {
    fn start(transport: Transport) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("ringmain-bench-")
            .tempdir()
            .map_err(|error| Failure::text(format!("cannot make a directory: {error}")))?;
        let address = match transport {
            Transport::Memory => format!("memory:bench-{}", std::process::id()),
            Transport::Shm | Transport::Tcp => {
                format!("unix:{}", directory.path().join("bus.sock").display())
            }
        };
        let mut builder = Broker::builder().listen(address.parse()?);
        if transport == Transport::Tcp {
            builder = builder.listen("tcp://127.0.0.1:0".parse()?);
        }
        let broker = builder.start()?;
        Ok(Self {
            address,
            far: broker.addresses().get(1).map(Address::to_string),
            _broker: broker,
            _directory: directory,
        })
    }
}

fn usable_cores() -> Result<Vec<usize>, Failure> {
    let cores = sched_getaffinity(Pid::from_raw(0))?;
    let all = 0..nix::sched::CpuSet::count();
    Ok(all.filter(|core| cores.is_set(*core) == Ok(true)).collect())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1e-3..=1e9).contains(rate));
    rate.ok_or_else(|| "give a number of messages per second, up to 1e9".to_owned())
}

fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// An odd number, so that there is one in the middle.
const ROUNDS: usize = 7;
const LEAST_BYTES: usize = 16;
const MOST_BYTES: usize = 64 * 1024 * 1024;
