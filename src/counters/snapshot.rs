//! What a scan has found.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use super::histogram::Histogram;
use super::scan::ScanError;

/// The counters of all clients that a scan has found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// By process, bus and number.
    pub clients: Vec<ClientCounters>,
    /// Processes that the caller may not look at, those of other users as a rule.
    pub hidden_processes: usize,
    /// What looks like counters, and is none: of another version, or made up.
    pub faults: Vec<ScanError>,
}

/// The counters of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientCounters {
    /// Its process.
    pub pid: u32,
    /// Its process' program, as the kernel names it.
    pub program: String,
    /// The run of the broker that it has joined: [`Client::incarnation`](crate::Client::incarnation).
    pub bus: u128,
    /// Its number on that bus: [`Client::id`](crate::Client::id).
    pub client: u64,
    /// The name that it gave itself.
    pub name: String,
    /// What its closed publishers have counted.
    pub closed_publishers: Counts,
    /// What its closed subscribers have counted.
    pub closed_subscribers: Counts,
    /// Its open publishers and subscribers.
    pub handles: Vec<HandleCounters>,
    /// Its lanes.
    pub lanes: Vec<LaneCounters>,
    /// Whether no lane came or went while this was read. If not, sums may count a lane twice, or not at all. Lanes that came
    /// after the scan began may be missing in either case.
    pub is_settled: bool,
}

/// The counters of a publisher or a subscriber.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandleCounters {
    /// Which of the two.
    pub role: Role,
    /// Its number within the client.
    pub handle: u32,
    /// The topic that it has declared, or its patterns; cut off at 1,024 bytes.
    pub topics: String,
    /// The type of its messages; empty if it takes every type.
    pub message_type: String,
    /// When it was opened, in nanoseconds since 1970.
    pub opened_ns: u64,
    /// What its ended lanes have counted; for a subscriber also its sleeps, which are not of one lane.
    pub counts: Counts,
}

/// The counters of one end of a lane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaneCounters {
    /// Which end.
    pub role: Role,
    /// The publisher or subscriber of this end, a number within the client.
    pub handle: u32,
    /// Its number on the bus; the other end has the same.
    pub lane: u64,
    /// Name of the client at the other end.
    pub peer: String,
    /// At a publisher: the subscriber's patterns; at a subscriber: what the publisher has declared. Cut off at 1,024 bytes.
    pub topics: String,
    /// The type of its messages.
    pub message_type: String,
    /// Size of its ring, in bytes.
    pub ring_bytes: u64,
    /// When it was made, in nanoseconds since 1970.
    pub opened_ns: u64,
    /// Bytes of the ring that were written or read, with headers and pads.
    pub position: u64,
    /// What was counted.
    pub counts: Counts,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages written, or read: a subscriber counts one when its sample is dropped.
    pub messages: u64,
    /// Bytes of those, encoded, without headers.
    pub bytes: u64,
    /// Messages dropped at once because the lane was full. A subscriber counts them when it is told, as a gap; those that gave
    /// way to newer ones, with the policy [`DropOldest`](crate::Overflow::DropOldest), nobody else counts.
    pub dropped_full: u64,
    /// Messages dropped because the lane stayed full until the deadline, or was stalled.
    pub dropped_deadline: u64,
    /// How often the other side slept and was woken: a system call each.
    pub wakes: u64,
    /// How often this side went to sleep: a publisher for room in this lane, a subscriber for any message.
    pub parks: u64,
    /// Nanoseconds that the publisher has waited for room.
    pub blocked_ns: u64,
    /// How often a deadline expired; from then on the lane is not waited for until its subscriber moves on.
    pub stalls: u64,
    /// Messages that were not given because later ones of their topics had taken their place, with the policy
    /// [`Conflate`](crate::Overflow::Conflate); as counted by the subscriber. None of them is lost or dropped.
    pub conflated: u64,
    /// Messages that were read, or ended their lane, and whose bytes were no value of the subscriber's type.
    pub undecodable: u64,
    /// Messages that have waited for a subscriber in vain; of a publisher, not of a lane.
    pub expired: u64,
    /// From `publish` to the `recv` that gave the message, as counted by the subscriber; of messages with
    /// [timestamps](crate::PublisherBuilder::timestamps) only.
    pub latency: Histogram,
}

/// Which end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The end that writes.
    Publisher,
    /// The end that reads.
    Subscriber,
}

/// How far a subscriber is behind its publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages that it has not read.
    pub messages: u64,
    /// Bytes of the ring that those take, with headers and pads.
    pub bytes: u64,
}

impl Scan {
    /// How far subscribers are behind, by bus and lane; of lanes both of whose ends were found. Lanes are told apart by the
    /// numbers that their processes give, so one that lies can spoil those of others.
    pub fn lags(&self) -> BTreeMap<(u128, u64), Lag> {
        let ends = |role| {
            self.clients.iter().flat_map(move |client| {
                let lanes = client.lanes.iter().filter(move |lane| lane.role == role);
                lanes.map(|lane| ((client.bus, lane.lane), lane))
            })
        };
        let written: BTreeMap<_, _> = ends(Role::Publisher).collect();
        let lag = |lane, read: &LaneCounters| {
            let written: &&LaneCounters = written.get(&lane)?;
            let messages = written.counts.messages.saturating_sub(read.counts.messages);
            let bytes = written.position.saturating_sub(read.position);
            Some((lane, Lag { messages, bytes }))
        };
        ends(Role::Subscriber)
            .filter_map(|(lane, read)| lag(lane, read))
            .collect()
    }
}

impl ClientCounters {
    /// All that its publishers, or its subscribers, have ever counted.
    pub fn total(&self, role: Role) -> Counts {
        let mut total = match role {
            Role::Publisher => self.closed_publishers.clone(),
            Role::Subscriber => self.closed_subscribers.clone(),
        };
        let handles = self.handles.iter().filter(|handle| handle.role == role);
        for handle in handles {
            total += &self.handle_total(handle);
        }
        total
    }

    /// All that a handle has ever counted: its ended lanes and those that are open.
    pub fn handle_total(&self, handle: &HandleCounters) -> Counts {
        let mut total = handle.counts.clone();
        for lane in &self.lanes {
            if (lane.role, lane.handle) == (handle.role, handle.handle) {
                total += &lane.counts;
            }
        }
        total
    }
}

impl Counts {
    /// Messages dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped_full.wrapping_add(self.dropped_deadline)
    }

    /// Messages that cost no wake: the other side was awake, or was woken by an earlier one.
    pub fn wakes_saved(&self) -> u64 {
        self.messages
            .wrapping_add(self.dropped())
            .saturating_sub(self.wakes)
    }

    /// The time that the publisher has waited for room.
    pub fn blocked(&self) -> Duration {
        Duration::from_nanos(self.blocked_ns)
    }

    /// What was counted since an earlier reading of the same counters.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.combine(earlier, u64::saturating_sub);
        since.latency = self.latency.since(&earlier.latency);
        since
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        let pairs = [
            (&mut self.messages, other.messages),
            (&mut self.bytes, other.bytes),
            (&mut self.dropped_full, other.dropped_full),
            (&mut self.dropped_deadline, other.dropped_deadline),
            (&mut self.wakes, other.wakes),
            (&mut self.parks, other.parks),
            (&mut self.blocked_ns, other.blocked_ns),
            (&mut self.stalls, other.stalls),
            (&mut self.conflated, other.conflated),
            (&mut self.undecodable, other.undecodable),
            (&mut self.expired, other.expired),
        ];
        for (own, other) in pairs {
            *own = with(*own, other);
        }
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_add);
        self.latency.add(&other.latency);
    }
}
