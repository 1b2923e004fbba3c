//! What one process does, and what it tells, as both go from process to process.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// How long does a message take there and back?
    Rtt,
    /// How many messages reach one subscriber?
    Throughput,
    /// How many messages reach several subscribers, all counted?
    Fanout,
    /// The same with large frames.
    Frames,
}

/// How receivers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// They poll.
    Spin,
    /// They poll, and offer their core to others.
    Yield,
    /// They sleep, in the way that is best for the workload.
    Park,
    /// They await futures, or get callbacks of a runtime.
    Async,
}

/// How much of a message is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    Full,
    /// The first 64 bytes.
    Line,
}

/// One way of running a contender: a row of the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    pub contender: String,
    /// What tells ways apart that are otherwise the same; empty where there is one.
    pub variant: String,
    pub wait: Wait,
    /// Whether sender and receivers keep to cores of their own.
    pub pinned: bool,
    pub workloads: Vec<Workload>,
    /// The longest message that it carries.
    pub max_bytes: usize,
    /// Whether it needs a process besides sender and receivers.
    pub broker: bool,
}

/// What one process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Is there for the others until it is killed.
    Broker,
    /// Sends, and measures until the answer is there.
    Ping,
    /// Answers.
    Echo,
    /// Sends a stream.
    Publish,
    /// Receives it.
    Subscribe {
        /// From 0.
        index: usize,
    },
}

/// What one process does, in full.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub part: Part,
    pub mode: Mode,
    pub workload: Workload,
    pub size_bytes: usize,
    pub touch: Touch,
    /// How many.
    pub subscribers: usize,
    /// Exists, is empty, lies in memory, and belongs to this run; its last component is like no other one.
    pub folder: PathBuf,
    /// How long is measured.
    pub time: Duration,
    /// The core to keep to.
    pub core: Option<usize>,
}

/// A line that a process tells the one that started it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// Broker, receivers: there.
    Ready,
    /// Ping: done.
    RoundTrips {
        p50_ns: f64,
        p99_ns: f64,
        count: u64,
        /// Answers that were not as they had to be.
        corrupt: u64,
    },
    /// Publisher: all is sent.
    Sent {
        count: u64,
        /// When the first counted message was, by CLOCK_MONOTONIC.
        start_ns: u64,
    },
    /// Subscriber: all has arrived, or nothing comes any more.
    Received {
        /// In order, each once.
        count: u64,
        /// Not as they were written, or not in order.
        corrupt: u64,
        /// When the last one was there.
        end_ns: u64,
    },
}

impl Mode {
    /// A way that carries messages of any length, without a broker.
    pub fn new(contender: &str, wait: Wait, workloads: &[Workload]) -> Self {
        Self {
            contender: contender.to_owned(),
            variant: String::new(),
            wait,
            pinned: false,
            workloads: workloads.to_vec(),
            max_bytes: usize::MAX,
            broker: false,
        }
    }

    pub fn variant(mut self, variant: &str) -> Self {
        self.variant = variant.to_owned();
        self
    }

    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    pub fn broker(mut self) -> Self {
        self.broker = true;
        self
    }
}

impl Task {
    /// How long is warmed up before.
    pub fn warm_up(&self) -> Duration {
        self.time / 4
    }

    /// A name like no other one of this machine.
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
