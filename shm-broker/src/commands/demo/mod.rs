//! `demo`: replays quotes through a bus of its own.

pub mod publisher;
mod quote;
pub mod report;
pub mod subscriber;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;

use super::children::{DeathSignal, Event, Process, watch_signals};
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output;
use crate::ticks;
use report::{Figures, Results, Told, grouped};

/// Replays quotes through a bus of its own, checks and measures every message.
///
/// Starts a broker, a publisher and subscribers, each a process. The publisher sends 100,000 quotes per second for half of
/// the time, for the latency, counted from when each was to be sent; then it sends as fast as the subscribers take it, for
/// the rate, to the end of a pass. Each subscriber checks order and value of every quote.
#[derive(Debug, Args)]
pub struct Demo {
    /// Quotes to replay, CSV with time, bid and ask, or trades in JSON; made up unless given.
    ///
    /// CSV: columns are named by a heading (timestamp or time, bid, ask, and optionally bid_size, ask_size, volume), or are
    /// time, bid, ask, volume without one.
    ///
    /// JSON: {"result": {"PAIR": [[price, volume, time, side, ..], ..]}}, as Kraken answers a request for trades. Price
    /// and volume are numbers or strings, the time is in seconds since 1970, the side "b" (bought) or "s" (sold); what
    /// follows is not looked at. A trade becomes a quote with its price as bid and ask, and its volume on the side that
    /// was taken: the ask if it was bought.
    #[arg(long, value_name = "FILE")]
    ticks: Option<PathBuf>,
    /// How many subscribers.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    subscribers: u32,
    /// How long.
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::seconds)]
    seconds: Duration,
}

/// The processes of the demo, with what they have told.
struct Cast {
    /// Broker, publisher, subscribers; dropped before their directory is removed.
    processes: Vec<Option<Process>>,
    events: Receiver<Event>,
    to_events: Sender<Event>,
    ready: u32,
    published: Option<u64>,
    received: Vec<Option<Figures>>,
    directory: TempDir,
}

impl Demo {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let ticks = ticks::load(self.ticks.as_deref()).map_err(Failure::input)?;
        let count = ticks.len() as u64;
        drop(ticks);
        let subscribers = self.subscribers;
        say(format_args!(
            "{} quotes, {subscribers} subscribers",
            grouped(count)
        ));
        let mut cast = Cast::new(self.subscribers)?;
        cast.start(&self)?;
        cast.play()?;
        cast.end()?;
        let figures = cast.checked(count)?;
        if common.json {
            let results = Results {
                subscribers: &figures,
            };
            output::print(serde_json::to_string(&results)?)?;
        } else {
            output::print(report::table(&figures))?;
        }
        let lost = figures.iter().any(|figures| figures.gaps > 0);
        Ok(if lost { Ending::Gaps } else { Ending::Done })
    }
}

impl Cast {
    fn new(subscribers: u32) -> Result<Self, Failure> {
        let (to_events, events) = mpsc::channel();
        watch_signals(to_events.clone())?;
        let directory = tempfile::Builder::new()
            .prefix("ringmain-demo-")
            .tempdir()
            .map_err(|error| Failure::text(format!("cannot make a directory: {error}")))?;
        let children = SUBSCRIBERS + subscribers as usize;
        Ok(Self {
            processes: (0..children).map(|_| None).collect(),
            events,
            to_events,
            ready: 0,
            published: None,
            received: vec![None; subscribers as usize],
            directory,
        })
    }

    /// Starts all, the publisher last, when the others are ready.
    fn start(&mut self, demo: &Demo) -> Result<(), Failure> {
        let bus = format!("unix:{}", self.directory.path().join("bus.sock").display());
        let file = demo.ticks.as_deref();
        let mut broker_listens = false;
        self.launch(BROKER, &["--json", "serve", "--bus", &bus], None)?;
        while !broker_listens {
            broker_listens = matches!(self.next(None)?, Some(Told::Listening(_)));
        }
        for number in 0..self.received.len() {
            self.launch(
                SUBSCRIBERS + number,
                &["demo-subscriber", "--bus", &bus],
                file,
            )?;
        }
        while self.ready < demo.subscribers {
            if let Some(Told::Ready) = self.next(None)? {
                self.ready += 1;
            }
        }
        let seconds = demo.seconds.as_secs_f64().to_string();
        let subscribers = demo.subscribers.to_string();
        let args = ["demo-publisher", "--bus", &bus, "--seconds", &seconds];
        let args = [&args[..], &["--subscribers", &subscribers]].concat();
        self.launch(PUBLISHER, &args, file)
    }

    fn launch(&mut self, number: usize, args: &[&str], file: Option<&Path>) -> Result<(), Failure> {
        let (name, ending) = match number {
            BROKER => ("broker".to_owned(), DeathSignal::Terminate),
            PUBLISHER => ("publisher".to_owned(), DeathSignal::Kill),
            _ => (
                format!("subscriber {}", number - SUBSCRIBERS + 1),
                DeathSignal::Kill,
            ),
        };
        let ticks = file.map(|file| [OsStr::new("--ticks"), file.as_os_str()]);
        let args = args.iter().map(OsStr::new);
        let args = args.chain(ticks.into_iter().flatten());
        let (stdin, events) = (Stdio::null(), &self.to_events);
        let process = Process::start(name, number, ending, args, stdin, events)?;
        self.processes[number] = Some(process);
        Ok(())
    }

    /// Until all is sent and received.
    fn play(&mut self) -> Result<(), Failure> {
        let mut end = None;
        while self.published.is_none() || self.received.iter().any(Option::is_none) {
            self.next(end)?;
            if self.published.is_some() && end.is_none() {
                end = Some(Instant::now() + PATIENCE);
            }
        }
        Ok(())
    }

    /// Waits until each process has ended, the broker last.
    fn end(&mut self) -> Result<(), Failure> {
        while let Some(process) = self.processes.pop() {
            if let Some(mut process) = process {
                if self.processes.is_empty() {
                    process.terminate()?;
                }
                process.end()?;
            }
        }
        Ok(())
    }

    /// The next thing that a child tells. `None` is news of another kind.
    fn next(&mut self, end: Option<Instant>) -> Result<Option<Told>, Failure> {
        let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
        match self.events.recv_timeout(left) {
            Ok(Event::Line { from, line }) => {
                let told = serde_json::from_str(&line)?;
                self.note(from, &told);
                Ok(Some(told))
            }
            Ok(Event::Closed { from }) => self.closed(from).map(|()| None),
            Ok(Event::Signal(signal)) => Err(Failure::text(format!("ended by {signal}"))),
            Err(RecvTimeoutError::Timeout) if end.is_none() => Ok(None),
            Err(_) => Err(Failure::text(format!(
                "a subscriber did not get to the end within {PATIENCE:?} after the last quote"
            ))),
        }
    }

    fn note(&mut self, from: usize, told: &Told) {
        match told {
            Told::Begins(what) => say(what),
            Told::Published { messages } => self.published = Some(*messages),
            Told::Received(figures) => {
                self.received[from - SUBSCRIBERS] = Some(figures.clone());
            }
            Told::Listening(_) | Told::Ready => {}
        }
    }

    fn closed(&mut self, from: usize) -> Result<(), Failure> {
        let done = match from {
            BROKER => false,
            PUBLISHER => self.published.is_some(),
            subscriber => self.received[subscriber - SUBSCRIBERS].is_some(),
        };
        match &mut self.processes[from] {
            Some(process) if done => process.end(),
            Some(process) => Err(process.ended_early()),
            None => Ok(()),
        }
    }

    /// The figures, if each message was delivered or reported, in whole passes.
    fn checked(self, ticks: u64) -> Result<Vec<Figures>, Failure> {
        let published = self.published.unwrap_or(0);
        let figures: Vec<Figures> = self.received.iter().flatten().cloned().collect();
        for (number, figures) in figures.iter().enumerate() {
            let known = figures.messages + figures.gaps;
            if known != published {
                return Err(Failure::text(format!(
                    "subscriber {} knows of {known} quotes, {published} were published: the others were neither delivered nor reported",
                    number + 1
                )));
            }
        }
        let passes = grouped(published / ticks);
        say(format_args!(
            "{} quotes sent in {passes} passes",
            grouped(published)
        ));
        Ok(figures)
    }
}

/// The broker among the children.
const BROKER: usize = 0;
/// The publisher among the children.
const PUBLISHER: usize = 1;
/// The first subscriber among the children.
const SUBSCRIBERS: usize = 2;
/// How long a subscriber may take for what lies in its ring.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
