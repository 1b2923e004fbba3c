//! A subscriber process of the demo.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use ringmain::{Overflow, RecvError};

use super::quote::{ArchivedPhase, ArchivedQuote, Place, Quote, TOPIC};
use super::report::{Figures, Told};
use crate::cli::Common;
use crate::clock::now_ns;
use crate::commands::children::{DeathSignal, die_with_parent};
use crate::commands::connect;
use crate::ending::{Ending, Failure, Outcome, say};
use crate::ticks::{self, Tick};

/// Checks and measures what arrives.
#[derive(Debug, Args)]
pub struct Check {
    #[arg(long)]
    parent: i32,
    #[arg(long)]
    ticks: Option<PathBuf>,
}

/// A check under way.
struct Checker {
    ticks: Vec<Tick>,
    /// What comes next.
    place: Place,
    messages: u64,
    lost: u64,
    latencies: Histogram<u64>,
    /// Start of the full-speed phase, with the messages before it.
    full_speed: Option<(Instant, u64)>,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Ended,
}

impl Check {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        die_with_parent(self.parent, DeathSignal::Kill)?;
        let ticks = ticks::load(self.ticks.as_deref()).map_err(Failure::input)?;
        let client = connect(common, "demo subscriber")?;
        let mut subscriber = client
            .subscriber::<Quote>(TOPIC)
            .overflow(Overflow::Block { deadline: DEADLINE })
            .open()?;
        let mut checker = Checker::new(ticks)?;
        Told::Ready.tell()?;
        loop {
            match subscriber.recv() {
                Ok(sample) => {
                    if checker.take(sample.sequence(), &sample)? == Stage::Ended {
                        break;
                    }
                }
                Err(RecvError::Gap(gap)) => {
                    checker.skip(gap.lost);
                    say(gap);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Told::Received(checker.figures()).tell()?;
        Ok(Ending::Done)
    }
}

impl Checker {
    fn new(ticks: Vec<Tick>) -> Result<Self, Failure> {
        Ok(Self {
            ticks,
            place: Place::default(),
            messages: 0,
            lost: 0,
            latencies: Histogram::new_with_bounds(1, LONGEST_LATENCY_NS, LATENCY_DIGITS)?,
            full_speed: None,
        })
    }

    #[inline]
    fn take(&mut self, sequence: u64, quote: &ArchivedQuote) -> Result<Stage, Failure> {
        if sequence != self.messages + self.lost {
            return Err(self.out_of_order(sequence));
        }
        let tick = &self.ticks[self.place.index as usize];
        if !quote.is(tick, self.place) {
            let place = self.place;
            return Err(Failure::text(format!(
                "wrong value: message {sequence} should be {tick:?} at {place:?}, but is {quote:?}"
            )));
        }
        match quote.phase {
            ArchivedPhase::WarmUp => {}
            ArchivedPhase::Paced => {
                let latency_ns = now_ns().saturating_sub(quote.sent_ns.to_native());
                self.latencies.saturating_record(latency_ns);
            }
            ArchivedPhase::FullSpeed => {
                let messages = self.messages;
                self.full_speed
                    .get_or_insert_with(|| (Instant::now(), messages));
            }
            ArchivedPhase::End => return Ok(Stage::Ended),
        }
        self.messages += 1;
        self.place = self.place.next(self.ticks.len());
        Ok(Stage::Running)
    }

    fn skip(&mut self, lost: u64) {
        self.lost += lost;
        for _ in 0..lost {
            self.place = self.place.next(self.ticks.len());
        }
    }

    fn out_of_order(&self, sequence: u64) -> Failure {
        Failure::text(format!(
            "message {sequence} came where {} was due: some were neither delivered nor reported, or came twice",
            self.messages + self.lost
        ))
    }

    fn figures(&self) -> Figures {
        let rate = self.full_speed.map_or(0.0, |(start, before)| {
            (self.messages - before) as f64 / start.elapsed().as_secs_f64()
        });
        Figures::new(self.messages, self.lost, rate as u64, &self.latencies)
    }
}

const DEADLINE: Duration = Duration::from_secs(30);
const LONGEST_LATENCY_NS: u64 = 60_000_000_000;
const LATENCY_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::super::quote::Phase;
    use super::*;

    /// Gives the checker a quote as it would arrive.
    fn give(checker: &mut Checker, sequence: u64, quote: &Quote) -> Result<Stage, String> {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(quote).unwrap();
        let quote = rkyv::access::<ArchivedQuote, rkyv::rancor::Error>(&bytes).unwrap();
        let taken = checker.take(sequence, quote);
        taken.map_err(|failure| failure.to_string())
    }

    fn quote(ticks: &[Tick], number: usize) -> Quote {
        let place = Place {
            pass: (number / ticks.len()) as u64,
            index: (number % ticks.len()) as u32,
        };
        Quote::new(&ticks[place.index as usize], place, Phase::FullSpeed, 0)
    }

    fn fresh() -> (Checker, Vec<Tick>) {
        let ticks = ticks::load(None).unwrap()[..3].to_vec();
        (Checker::new(ticks.clone()).unwrap(), ticks)
    }

    #[test]
    fn whole_passes_with_reported_losses_are_right() {
        let (mut checker, ticks) = fresh();
        for number in 0..20 {
            match number {
                5..12 => checker.skip(1),
                _ => assert_eq!(
                    give(&mut checker, number as u64, &quote(&ticks, number)),
                    Ok(Stage::Running)
                ),
            }
        }
        let end = Quote {
            phase: Phase::End,
            ..quote(&ticks, 20)
        };
        assert_eq!(give(&mut checker, 20, &end), Ok(Stage::Ended));
        let figures = checker.figures();
        assert_eq!((figures.messages, figures.gaps), (13, 7));
    }

    #[test]
    fn a_silent_loss_and_a_duplicate_are_found() {
        for second in [0, 2] {
            let (mut checker, ticks) = fresh();
            give(&mut checker, 0, &quote(&ticks, 0)).unwrap();
            let error = give(&mut checker, second, &quote(&ticks, second as usize)).unwrap_err();
            assert!(error.contains("neither delivered nor reported"), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_is_found_in_every_field() {
        let changes: [fn(&mut Quote); 7] = [
            |quote| quote.bid += 1.0,
            |quote| quote.ask += 1.0,
            |quote| quote.bid_size += 1.0,
            |quote| quote.ask_size += 1.0,
            |quote| quote.ts_ns += 1,
            |quote| quote.pass += 1,
            |quote| quote.index += 1,
        ];
        for change in changes {
            let (mut checker, ticks) = fresh();
            let mut wrong = quote(&ticks, 0);
            change(&mut wrong);
            let error = give(&mut checker, 0, &wrong).unwrap_err();
            assert!(error.contains("wrong value"), "{error}");
        }
    }
}
