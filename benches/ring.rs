//! What does the library itself cost for a message of 64 bytes?
//!
//! Publisher and subscriber of an in-process bus take turns in one thread, so no cache line moves between cores, nobody waits
//! and nobody is woken: what is left is the code of `publish_to` with `try_recv`. The batch between two turns is
//! the parameter; the ring has its default size, so batches stay in it.
//!
//! `cargo bench --features broker --bench ring`. Without `--bench` it checks the results and measures nothing.

use std::time::{Duration, Instant};

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::{Client, Publisher, ResolvedTopic, Subscriber};

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let _broker = Broker::builder()
        .listen("memory:bench-ring".parse()?)
        .start()?;
    let client = Client::connect("memory:bench-ring")?;
    let mut subscriber = client.subscriber::<Bytes>("bench").open()?;
    let mut publisher = client.publisher::<Bytes>("bench").open()?;
    let topic = publisher.resolve("bench")?;
    let mut bench = Bench {
        publisher: &mut publisher,
        subscriber: &mut subscriber,
        topic,
        next: 0,
    };
    for batch in [1, 16, 256] {
        // Each message is checked here, and in what is measured their sum.
        bench.run(batch, 10_000, Check::Each)?;
        if measured {
            bench.measure(batch)?;
        }
    }
    Ok(())
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Each,
    Sum,
}

struct Bench<'a> {
    publisher: &'a mut Publisher<Bytes>,
    subscriber: &'a mut Subscriber<Bytes>,
    topic: ResolvedTopic,
    /// Number of the next message.
    next: u64,
}

impl Bench<'_> {
    fn measure(&mut self, batch: u64) -> Result<(), AnyError> {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            self.run(batch, MESSAGES, Check::Sum)?;
            times.push(nanoseconds_each(started.elapsed()));
        }
        times.sort_by(f64::total_cmp);
        let (least, median, most) = (times[0], times[RUNS / 2], times[RUNS - 1]);
        println!(
            "64 B, batches of {batch:>3}: {median:6.1} ns a message (median of {RUNS} runs of {MESSAGES}; {least:.1} to {most:.1})"
        );
        Ok(())
    }

    /// Sends at least `messages`, receives them, checks their sum, each one too if asked to.
    fn run(&mut self, batch: u64, messages: u64, check: Check) -> Result<(), AnyError> {
        let first = self.next;
        let end = first + messages.next_multiple_of(batch);
        let mut sum = 0_u64;
        while self.next < end {
            for number in self.next..self.next + batch {
                let mut payload = [number as u8; 64];
                payload[..8].copy_from_slice(&number.to_le_bytes());
                let delivery = self
                    .publisher
                    .publish_to(&self.topic, Bytes::new(&payload))?;
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            }
            for number in self.next..self.next + batch {
                // The first message may be there before the subscriber has mapped the ring.
                let sample = match check {
                    Check::Each => self.subscriber.recv()?,
                    Check::Sum => self.subscriber.try_recv()?.ok_or("a message is missing")?,
                };
                let (head, tail) = sample
                    .split_first_chunk::<8>()
                    .ok_or("a message is short")?;
                sum = sum.wrapping_add(u64::from_le_bytes(*head));
                if check == Check::Each {
                    assert_eq!(u64::from_le_bytes(*head), number);
                    assert_eq!(tail, [number as u8; 56]);
                }
            }
            self.next += batch;
        }
        assert_eq!(
            sum,
            (first..end).sum::<u64>(),
            "what arrives is what was sent"
        );
        Ok(())
    }
}

fn nanoseconds_each(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / MESSAGES as f64
}

/// Whole batches of each size.
const MESSAGES: u64 = 1 << 20;
const RUNS: usize = 7;
