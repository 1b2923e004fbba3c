//! `sub`: prints messages of every type, or their rates.

mod rate;
mod show;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmain::{
    AnyMessage, Client, GapCause, Overflow, Pattern, RecvError, RequestError, Sample, Subscriber,
    Wait,
};

use super::connect_as;
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output::Output;
use crate::signals::Signals;
use rate::{Form, Meter};
use show::{Columns, Style};

/// Prints messages of every type, one per line: topic and value. Typed messages are printed as JSON.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Subscribe {
    /// Which topics.
    #[arg(required = true, value_name = "PATTERN", value_parser = cli::pattern)]
    patterns: Vec<Pattern>,
    /// Leaves out topics, as often as it is given.
    #[arg(long, value_name = "PATTERN", value_parser = cli::pattern)]
    exclude: Vec<Pattern>,
    /// Shares the messages with all that name the same group: each goes to one of them.
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Ends after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// What happens to messages that come faster than they are printed; drop-newest unless given, drop-oldest with --rate.
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    /// Prints the messages first that publishers have kept (`pub --history`), and begins each line with `kept` or `live`.
    #[arg(long)]
    snapshot: bool,
    /// Prints how many messages come each second, of what sizes, instead of the messages; at the end a line of all.
    #[arg(long, conflicts_with_all = ["snapshot", "timestamps"])]
    rate: bool,
    /// Ends after this time; with --count that is an error.
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    timeout: Option<Duration>,
    /// Begins each line with clock and nanoseconds of the publish, `-` where the publisher does not tell; JSON has it always.
    #[arg(long)]
    timestamps: bool,
    /// The name by which others know this client, `pub --to` for one.
    #[arg(long, default_value = "shm-broker sub")]
    name: String,
}

/// What happens to messages that find no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// The publisher waits, one second at most.
    Block,
    /// They are lost, counted and reported.
    DropNewest,
    /// The oldest that were not printed are lost, counted and reported. The publisher does not look how far this is.
    DropOldest,
    /// Of each topic only the last message counts. Each line begins with the number of messages that it stands for besides its own.
    Conflate,
    /// This ends, with exit code 3, after the messages that had room.
    Disconnect,
}

/// What is printed.
enum Shown {
    Messages(Style),
    Rates(Meter, Signals),
}

/// What has come so far.
struct Progress {
    output: Output,
    shown: Shown,
    messages: u64,
    lost: u64,
    /// A lane ended before its publisher did.
    faults: u64,
    /// Whether a publisher has ended its lane for want of room.
    disconnected: bool,
}

impl Subscribe {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        // Before there are threads.
        let signals = self.rate.then(Signals::take).transpose()?;
        let client = connect_as(common, &self.name)?;
        let mut subscriber = self.open(&client)?;
        tracing::info!("subscribed");
        let mut progress = Progress {
            output: Output::new(),
            shown: self.shown(common, signals),
            messages: 0,
            lost: 0,
            faults: 0,
            disconnected: false,
        };
        progress.begin()?;
        let result = self.follow(&mut subscriber, &mut progress);
        progress.end()?;
        result?;
        match progress {
            Progress { faults: 1.., .. } => Err(Failure::text(
                "messages are missing: a lane ended before its publisher did",
            )),
            Progress { lost: 1.., .. }
            | Progress {
                disconnected: true, ..
            } => Ok(Ending::Gaps),
            _ => Ok(Ending::Done),
        }
    }

    fn policy(&self) -> Policy {
        self.policy.unwrap_or(match self.rate {
            // Whoever counts must not cost publishers anything.
            true => Policy::DropOldest,
            false => Policy::DropNewest,
        })
    }

    fn shown(&self, common: &Common, signals: Option<Signals>) -> Shown {
        match (signals, common.json) {
            (Some(signals), json) => {
                let form = if json { Form::Json } else { Form::Text };
                Shown::Rates(Meter::new(form, Instant::now()), signals)
            }
            (None, true) => Shown::Messages(Style::Json),
            (None, false) => Shown::Messages(Style::Text(Columns {
                timestamps: self.timestamps,
                snapshot: self.snapshot,
                skipped: self.policy() == Policy::Conflate,
            })),
        }
    }

    fn open(&self, client: &Client) -> Result<Subscriber<AnyMessage>, RequestError> {
        let (first, others) = self.patterns.split_first().expect("one is required");
        let mut builder = client
            .subscriber::<AnyMessage>(first.as_str())
            .wait(Wait::Park)
            .overflow(self.policy().into());
        for pattern in others {
            builder = builder.pattern(pattern.as_str());
        }
        for pattern in &self.exclude {
            builder = builder.exclude(pattern.as_str());
        }
        if let Some(queue) = &self.queue {
            builder = builder.queue(queue);
        }
        if self.snapshot {
            builder = builder.snapshot();
        }
        builder.open()
    }

    fn follow(
        &self,
        subscriber: &mut Subscriber<AnyMessage>,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let end = self.timeout.map(|timeout| Instant::now() + timeout);
        while self.count.is_none_or(|count| progress.messages < count) {
            let found = progress.take(subscriber.try_recv())?;
            if progress.disconnected {
                return Ok(());
            }
            if found && !progress.messages.is_multiple_of(MESSAGES_PER_LOOK) {
                continue;
            }
            let now = Instant::now();
            let Some(rest) = progress.look(now)? else {
                return Ok(());
            };
            let left = end.map_or(rest, |end| end.saturating_duration_since(now).min(rest));
            if left.is_zero() {
                return self.expired(progress.messages);
            }
            if !found {
                // Nothing to do: what was printed goes to the reader before the wait.
                progress.output.flush()?;
                progress.take(subscriber.recv_timeout(left))?;
            }
        }
        Ok(())
    }

    fn expired(&self, messages: u64) -> Result<(), Failure> {
        match self.count {
            None => Ok(()),
            Some(count) => Err(Failure::text(format!(
                "{messages} of {count} messages came in time: check with `shm-broker ls` who publishes them"
            ))),
        }
    }
}

impl Progress {
    /// Whether there was something.
    fn take(
        &mut self,
        received: Result<Option<Sample<'_, AnyMessage>>, RecvError>,
    ) -> Result<bool, Failure> {
        match received {
            Ok(None) => return Ok(false),
            Ok(Some(sample)) => {
                match &mut self.shown {
                    Shown::Messages(style) => self.output.line(style.show(&sample))?,
                    Shown::Rates(meter, _) => meter.message(sample.len(), sample.skipped()),
                }
                self.messages += 1;
            }
            Err(RecvError::Gap(gap)) => {
                self.lost += gap.lost;
                match &mut self.shown {
                    // Its lines tell how many.
                    Shown::Rates(meter, _) if gap.cause != GapCause::TransportLost => {
                        meter.lost(gap.lost);
                    }
                    _ => say(gap),
                }
            }
            Err(RecvError::Disconnected { publisher }) => {
                self.disconnected = true;
                say(format_args!(
                    "{publisher} found no room and has disconnected this sub: start it again, or choose another --policy if it cannot keep up"
                ));
            }
            Err(error @ RecvError::Lane { .. }) => {
                self.faults += 1;
                say(error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if let Shown::Rates(meter, _) = &self.shown
            && let Some(heading) = meter.heading()
        {
            self.output.line(heading)?;
        }
        Ok(())
    }

    /// Prints what is due by now; how long nothing will be, or `None` if this is to end.
    fn look(&mut self, now: Instant) -> Result<Option<Duration>, Failure> {
        let Shown::Rates(meter, signals) = &mut self.shown else {
            return Ok(Some(LONG));
        };
        if signals.has_come() {
            return Ok(None);
        }
        if let Some(line) = meter.second(now) {
            self.output.line(line)?;
            self.output.flush()?;
        }
        Ok(Some(meter.left(now).min(LOOK_FOR_SIGNALS)))
    }

    fn end(&mut self) -> Result<(), Failure> {
        if let Shown::Rates(meter, _) = &mut self.shown {
            self.output.line(meter.total(Instant::now()))?;
        }
        self.output.flush()
    }
}

impl From<Policy> for Overflow {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Block => Overflow::Block {
                deadline: Duration::from_secs(1),
            },
            Policy::DropNewest => Overflow::DropNewest,
            Policy::DropOldest => Overflow::DropOldest,
            Policy::Conflate => Overflow::Conflate,
            Policy::Disconnect => Overflow::Disconnect,
        }
    }
}

/// As good as for ever, yet an instant can hold it.
const LONG: Duration = Duration::from_secs(3600);
/// Somebody who waits for the last line does not see this, and nobody has to be woken for a signal.
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(100);
/// A stream that never rests is no reason not to look at the clock.
const MESSAGES_PER_LOOK: u64 = 64;

const AFTER_HELP: &str = "\
JSON: topic, sequence, type, publisher, value; `published_at` (clock, ns) where the publisher tells it; `snapshot` (true) of \
kept messages only; `redelivered` (true) where another member of the queue group may have had it; `skipped` where a message has taken the place of others. Losses, and publishers that are lost, are told on \
standard error.
--rate counts what this sub receives. LOST are messages that it did not keep up with, SKIPPED those that were conflated: \
all that was published is the sum. Sizes are those of encoded values. JSON has one object for each line: total, seconds, \
messages, bytes, messages_per_second, bytes_per_second, smallest_bytes, mean_bytes, largest_bytes (null where no message \
came), lost, skipped. SIGINT and SIGTERM end it with the last line.
Exit codes: 3 if messages were lost, also by `--policy disconnect`.";
