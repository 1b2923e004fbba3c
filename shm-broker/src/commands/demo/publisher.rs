//! The publisher process of the demo.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ringmain::{Delivery, Publisher, ResolvedTopic};

use super::quote::{Phase, Place, Quote, TOPIC};
use super::report::{Told, grouped};
use crate::cli::{self, Common};
use crate::clock::now_ns;
use crate::commands::children::{DeathSignal, die_with_parent};
use crate::commands::connect;
use crate::ending::{Ending, Failure, Outcome};
use crate::ticks::{self, Tick};

/// Replays ticks.
#[derive(Debug, Args)]
pub struct Replay {
    #[arg(long)]
    parent: i32,
    #[arg(long)]
    ticks: Option<PathBuf>,
    #[arg(long)]
    subscribers: u32,
    #[arg(long, value_parser = cli::seconds)]
    seconds: Duration,
}

/// A replay under way.
struct Player {
    publisher: Publisher<Quote>,
    topic: ResolvedTopic,
    ticks: Vec<Tick>,
    place: Place,
    messages: u64,
    subscribers: u32,
}

impl Replay {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        die_with_parent(self.parent, DeathSignal::Kill)?;
        let ticks = ticks::load(self.ticks.as_deref()).map_err(Failure::input)?;
        let client = connect(common, "demo publisher")?;
        let mut publisher = client.publisher::<Quote>(TOPIC).open()?;
        let topic = publisher.resolve(TOPIC)?;
        let mut player = Player {
            publisher,
            topic,
            ticks,
            place: Place::default(),
            messages: 0,
            subscribers: self.subscribers,
        };
        let paced = self.seconds / 2;
        let warm_up = (paced / 5).min(LONGEST_WARM_UP);
        player.pace(Phase::WarmUp, warm_up)?;
        player.pace(Phase::Paced, paced - warm_up)?;
        player.hurry(self.seconds - paced)?;
        let messages = player.messages;
        player.publish(Phase::End, 0)?;
        Told::Published { messages }.tell()?;
        Ok(Ending::Done)
    }
}

impl Player {
    /// Sends at a steady pace. Who is late hurries on; the latency counts from when a quote was to be sent.
    fn pace(&mut self, phase: Phase, time: Duration) -> Result<(), Failure> {
        let text = match phase {
            Phase::WarmUp => "warming up",
            _ => "measuring latency",
        };
        let rate = grouped(1_000_000_000 / PACE_NS);
        begins(format!("{text}: {rate} quotes per second for {time:.1?}"))?;
        let start_ns = now_ns();
        let quotes = time.as_nanos() as u64 / PACE_NS;
        for number in 0..quotes {
            let due_ns = start_ns + number * PACE_NS;
            while now_ns() < due_ns {
                // The subscribers may need this core.
                thread::yield_now();
            }
            self.publish(phase, due_ns)?;
        }
        Ok(())
    }

    /// Sends as fast as the subscribers take it, up to the end of a pass.
    fn hurry(&mut self, time: Duration) -> Result<(), Failure> {
        begins(format!("measuring the rate: full speed for {time:.1?}"))?;
        let end = Instant::now() + time;
        while Instant::now() < end {
            for _ in 0..QUOTES_PER_LOOK {
                self.publish(Phase::FullSpeed, 0)?;
            }
        }
        while self.place.index > 0 || self.messages == 0 {
            self.publish(Phase::FullSpeed, 0)?;
        }
        Ok(())
    }

    fn publish(&mut self, phase: Phase, sent_ns: u64) -> Result<(), Failure> {
        let tick = &self.ticks[self.place.index as usize];
        let quote = Quote::new(tick, self.place, phase, sent_ns);
        let Delivery { lanes, dropped, .. } = self.publisher.publish_to(&self.topic, &quote)?;
        if lanes + dropped != self.subscribers {
            return Err(Failure::text(format!(
                "quote {} went to {} of {} subscribers",
                self.messages,
                lanes + dropped,
                self.subscribers
            )));
        }
        self.messages += 1;
        self.place = self.place.next(self.ticks.len());
        Ok(())
    }
}

fn begins(what: String) -> Result<(), Failure> {
    Told::Begins(what).tell()
}

/// 100,000 per second.
const PACE_NS: u64 = 10_000;
const QUOTES_PER_LOOK: u32 = 1024;
const LONGEST_WARM_UP: Duration = Duration::from_secs(1);
