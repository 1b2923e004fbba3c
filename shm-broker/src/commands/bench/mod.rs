//! `bench`: how fast is the bus, how fast could it be, and what does a stalled subscriber cost the others?

mod bus;
mod contest;
mod ends;
mod latency;
mod measure;
mod message;
mod raw;
mod report;
mod roles;
mod round;
mod stalled;
mod task;

use std::time::Duration;

use clap::Subcommand;
use ringmain::Address;
use ringmain::broker::Broker;
use tempfile::TempDir;

use crate::cli::Common;
use crate::ending::{Failure, Outcome};
use contest::Contest;
pub use roles::BenchRole;
use stalled::Stalled;
use task::{Question, Transport};

/// Measures the bus: beside the raw limit, which is what two processes can do without one; or what a stalled subscriber
/// costs the others.
///
/// Starts a bus of its own and runs both contenders in turns, so that what happens to the machine meanwhile happens to both. Each
/// message is written in full, and checked in full against its number. Prints the medians of the rounds; the last line is JSON.
/// See docs/performance.md.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// A message there and back, beside the raw limit.
    Rtt(Contest),
    /// A stream to one subscriber, beside the raw limit.
    Throughput(Contest),
    /// A stream to several subscribers, beside the raw limit.
    Fanout(Contest),
    Stalled(Stalled),
}

/// A broker of its own, until the value is dropped.
struct Bus {
    address: String,
    /// For receivers that are to be on another host.
    far: Option<String>,
    _broker: Broker,
    _directory: TempDir,
}

/// `--size` is none that messages can have.
#[derive(Debug, thiserror::Error)]
#[error("--size {0}: give a multiple of 8 from {LEAST_BYTES} to {MOST_BYTES}")]
struct UnusableSize(usize);

impl Bench {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Rtt(contest) => contest.run(Question::Rtt, common),
            Self::Throughput(contest) => contest.run(Question::Throughput, common),
            Self::Fanout(contest) => contest.run(Question::Fanout, common),
            Self::Stalled(stalled) => stalled.run(common),
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

fn check_size(bytes: usize) -> Result<(), UnusableSize> {
    match bytes.is_multiple_of(8) && (LEAST_BYTES..=MOST_BYTES).contains(&bytes) {
        true => Ok(()),
        false => Err(UnusableSize(bytes)),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1e-3..=1e9).contains(rate));
    rate.ok_or_else(|| "give a number of messages per second, up to 1e9".to_owned())
}

fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

const LEAST_BYTES: usize = 16;
const MOST_BYTES: usize = 64 * 1024 * 1024;
