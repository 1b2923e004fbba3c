//! The bus as a contender.

use std::time::Duration;

use ringmain::counters::{self, Role};
use ringmain::{
    Client, Delivery, Overflow, Publisher, RecvError, ResolvedTopic, Sample, Subscriber, Wait,
};

use super::ends::{Inlet, Outlet};
use super::message::{Body, EXPIRED, Seen, Stamp, fill};
use super::report::LaneCost;
use super::task::{Part, Policy, Question, Stall, Task, Waiting};
use crate::clock::now_ns;
use crate::ending::Failure;

/// Joins the bus of a benchmark.
pub fn connect(task: &Task) -> Result<Client, Failure> {
    let is_far = matches!(task.part, Part::Echo | Part::Subscribe { .. });
    let far = task.far_bus.as_ref().filter(|_| is_far);
    let name = match task.part {
        Part::Stall => STALLED,
        _ => "bench",
    };
    let builder = Client::builder().name(name).memory(task.memory.into());
    Ok(builder.connect(far.unwrap_or(&task.bus))?)
}

/// A publisher with what it has not published yet.
pub struct BusOutlet<B: Body> {
    publisher: Publisher<B::Message>,
    topic: ResolvedTopic,
    subscribers: u32,
    batch: Vec<B::Message>,
    filled: usize,
    stall: Option<Stall>,
    /// Whether a message has been dropped for the subscriber that stalls.
    has_dropped: bool,
}

impl<B: Body> BusOutlet<B> {
    pub fn new(body: B, client: &Client, topic: &str, task: &Task) -> Result<Self, Failure> {
        let mut builder = client
            .publisher::<B::Message>(topic)
            .max_message_bytes(task.size_bytes + HEADER_BYTES);
        if let Some(bytes) = task.ring_bytes {
            builder = builder.ring_bytes(bytes);
        }
        let mut publisher = builder.open()?;
        Ok(Self {
            topic: publisher.resolve(topic)?,
            publisher,
            subscribers: task.subscribers,
            batch: (0..task.batch).map(|_| body.message()).collect(),
            filled: 0,
            stall: task.stall,
            has_dropped: false,
        })
    }

    // Inlined: the delivery stays in registers. Through memory it would be loaded in one piece that was stored in two, which
    // waits until all stores before have left for the ring.
    #[inline(always)]
    fn check(&mut self, delivery: Delivery) -> Result<(), Failure> {
        let Delivery { lanes, dropped, .. } = delivery;
        match lanes + dropped == self.subscribers {
            true => Ok(()),
            false => self.check_others(lanes, dropped),
        }
    }

    #[cold]
    fn check_others(&mut self, lanes: u32, dropped: u32) -> Result<(), Failure> {
        if self.stall.is_some() && lanes >= self.subscribers {
            return self.check_stall(dropped);
        }
        Err(Failure::text(format!(
            "a message went to {lanes} of {} subscribers",
            self.subscribers
        )))
    }

    /// Says once, in the stream, that the deadline of the subscriber that stalls has expired.
    fn check_stall(&mut self, dropped: u32) -> Result<(), Failure> {
        let waited = self.stall.map(|stall| stall.policy) == Some(Policy::Block);
        if dropped == 0 || std::mem::replace(&mut self.has_dropped, true) || !waited {
            return Ok(());
        }
        self.send(Stamp {
            number: EXPIRED,
            time_ns: now_ns(),
        })
    }
}

impl<B: Body> Outlet for BusOutlet<B> {
    #[inline(always)]
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure> {
        let single = self.batch.len() == 1;
        let message = &mut self.batch[self.filled];
        fill(B::words_of(message), stamp);
        if single {
            let delivery = self.publisher.publish_to(&self.topic, message)?;
            return self.check(delivery);
        }
        self.filled += 1;
        if self.filled == self.batch.len() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let messages = &self.batch[..self.filled];
        self.filled = 0;
        if messages.is_empty() {
            return Ok(());
        }
        let delivery = self.publisher.publish_batch(&self.topic, messages)?;
        self.check(delivery)
    }

    fn cost_of_stall(&self) -> Result<LaneCost, Failure> {
        let mut cost = LaneCost::default();
        let scan = counters::scan_process(std::process::id())?;
        for client in &scan.clients {
            let total = client.total(Role::Publisher);
            // A lane that has ended is only in there; the others have dropped nothing, or it would have been an error.
            cost.dropped += total.dropped();
            for lane in client.lanes.iter().filter(|lane| lane.peer == STALLED) {
                cost.stalls += lane.counts.stalls;
                cost.blocked_ns += lane.counts.blocked_ns;
            }
        }
        Ok(cost)
    }
}

/// A subscriber.
pub struct BusInlet<B: Body> {
    subscriber: Subscriber<B::Message>,
    awaits: bool,
    /// Most messages of a run.
    run: usize,
}

impl<B: Body> BusInlet<B> {
    pub fn new(_: B, client: &Client, topic: &str, task: &Task) -> Result<Self, Failure> {
        let stream = question(task.part) != Question::Rtt;
        let wait = match task.wait {
            Waiting::Spin => Wait::Spin,
            Waiting::Park if stream => Wait::SpinThenPark,
            Waiting::Park | Waiting::Async | Waiting::ParkAtOnce => Wait::Park,
        };
        let overflow = match (task.part, task.stall) {
            (Part::Stall, Some(stall)) => stall.overflow(),
            _ => Overflow::Block { deadline: DEADLINE },
        };
        let subscriber = client
            .subscriber::<B::Message>(topic)
            .overflow(overflow)
            .wait(wait)
            .open()?;
        Ok(Self {
            subscriber,
            awaits: task.wait == Waiting::Async,
            run: match task.one_by_one || task.wait == Waiting::Async {
                true => 1,
                false => RUN,
            },
        })
    }
}

impl<B: Body> Inlet for BusInlet<B> {
    #[inline(always)]
    fn receive(&mut self) -> Result<Seen, Failure> {
        loop {
            // In branches of their own, or what one of them returns would have to go through memory.
            let seen = if self.awaits {
                // Its executor lets the thread that waits drive the reactor: no other thread has to be woken.
                look::<B>(async_io::block_on(self.subscriber.recv_async()))
            } else {
                look::<B>(self.subscriber.recv())
            };
            // The numbers of the messages tell how many are missing at a gap.
            if let Some(seen) = seen? {
                return Ok(seen);
            }
        }
    }

    #[inline(always)]
    fn receive_run(
        &mut self,
        mut take: impl FnMut(Seen) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.run == 1 {
            return take(self.receive()?);
        }
        let mut failure = None;
        let polled = self
            .subscriber
            .poll_timeout(self.run, Duration::MAX, |sample| {
                if let Err(error) = take(read::<B>(sample)) {
                    failure.get_or_insert(error);
                }
            });
        match polled {
            Ok(_) | Err(RecvError::Gap(_)) => failure.map_or(Ok(()), Err),
            Err(error) => Err(error.into()),
        }
    }
}

/// What was received; `None` at a gap.
#[inline(always)]
fn look<B: Body>(
    received: Result<Sample<'_, B::Message>, RecvError>,
) -> Result<Option<Seen>, Failure> {
    match received {
        Ok(sample) => Ok(Some(read::<B>(&sample))),
        Err(RecvError::Gap(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[inline(always)]
fn read<B: Body>(sample: &Sample<'_, B::Message>) -> Seen {
    Seen::of(B::view(sample).iter().map(|word| word.to_native()))
}

fn question(part: Part) -> Question {
    match part {
        Part::Ping | Part::Echo => Question::Rtt,
        Part::Publish | Part::Subscribe { .. } | Part::Stall => Question::Throughput,
    }
}

/// Longer than a loaded machine keeps a process from running.
const DEADLINE: Duration = Duration::from_secs(30);
/// More than stand ready at a time.
const RUN: usize = 1 << 16;
/// Name of the client that stalls.
const STALLED: &str = "stalled";
/// What a message has beside its words.
const HEADER_BYTES: usize = 64;
