//! What one process of a benchmark does, as it is handed over to it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ringmain::{MemoryOptions, Overflow};
use serde::{Deserialize, Serialize};

use super::ends::Idle;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// How long does a message take there and back?
    Rtt,
    /// How many messages reach one subscriber?
    Throughput,
    /// How many messages reach several subscribers, all counted?
    Fanout,
}

/// How somebody waits for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Polls.
    Spin,
    /// Sleeps; in a stream it polls for a while before.
    Park,
    /// Awaits futures.
    Async,
    /// Sleeps at once, in a stream, too.
    #[value(skip)]
    ParkAtOnce,
}

/// What the messages go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Memory that processes share.
    Shm,
    /// A socket.
    Tcp,
    /// Memory of one process, whose threads measure.
    Memory,
}

/// Whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contender {
    /// The bus.
    Ringmain,
    /// What the machine can do.
    Raw,
}

/// What one process, or thread, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Sends, and measures until the answer is there.
    Ping,
    /// Answers.
    Echo,
    /// Sends a stream.
    Publish,
    /// Receives it; measures.
    Subscribe {
        /// From 0.
        index: u32,
    },
    /// Receives the beginning, then stops.
    Stall,
}

/// What a subscriber that stalls has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The publisher waits, up to the deadline, once.
    Block,
    /// New messages are dropped.
    DropNewest,
    /// Old messages give way.
    DropOldest,
    /// The last message is kept.
    Conflate,
    /// The lane ends.
    Disconnect,
}

/// A subscriber more, which stalls.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stall {
    pub policy: Policy,
    /// How long a publisher waits for it, if that is its policy.
    pub deadline: Duration,
}

/// What one process of a benchmark does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub part: Part,
    pub contender: Contender,
    /// Where the bus is.
    pub bus: String,
    /// Where it is for receivers that are to be on another host.
    pub far_bus: Option<String>,
    pub size_bytes: usize,
    pub subscribers: u32,
    pub wait: Waiting,
    pub transport: Transport,
    pub batch: u32,
    /// Size of the bus' rings, if it is not the usual one.
    pub ring_bytes: Option<usize>,
    /// Messages per second; as many as go unless given.
    pub rate: Option<f64>,
    /// How long is measured, after a fifth of that for warming up.
    pub time: Duration,
    /// The core that it keeps to.
    pub core: Option<usize>,
    /// Whether subscribers receive one message at a time, not all that are there.
    pub one_by_one: bool,
    /// Whether there is a core for everybody.
    pub crowded: bool,
    /// The subscriber that stalls, besides the others.
    pub stall: Option<Stall>,
    pub memory: Memory,
}

/// What the bus' memory is asked to be.
#[derive(Clone, Copy, Debug, Default, Args, Serialize, Deserialize)]
pub struct Memory {
    /// Has the rings of the bus lie in huge pages, which the system has set aside.
    #[arg(long)]
    huge_pages: bool,
    /// Locks the memory of the bus.
    #[arg(long)]
    lock: bool,
}

impl From<Memory> for MemoryOptions {
    fn from(memory: Memory) -> Self {
        Self {
            huge_pages: memory.huge_pages,
            lock: memory.lock,
            ..Self::default()
        }
    }
}

impl Stall {
    pub fn overflow(self) -> Overflow {
        match self.policy {
            Policy::Block => Overflow::Block {
                deadline: self.deadline,
            },
            Policy::DropNewest => Overflow::DropNewest,
            Policy::DropOldest => Overflow::DropOldest,
            Policy::Conflate => Overflow::Conflate,
            Policy::Disconnect => Overflow::Disconnect,
        }
    }
}

impl Task {
    /// How the raw ring waits.
    pub fn idle(&self) -> Idle {
        match self.crowded {
            true => Idle::Crowded,
            false => Idle::Alone,
        }
    }

    /// How long is warmed up.
    pub fn warm_up(&self) -> Duration {
        self.time / 5
    }

    /// Time between two messages, if that is given.
    pub fn period_ns(&self) -> Option<f64> {
        self.rate.map(|rate| 1e9 / rate)
    }
}
