//! `pub`: publishes messages of plain bytes, or typed ones from JSON.

mod tally;
mod typed;

use std::io::{self, BufRead};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmain::message::Bytes;
use ringmain::wire::PublisherInfo;
use ringmain::{Client, Clock, ListTopics, Publisher, RequestError, Retry, Topic};

use super::connect;
use crate::cli::{self, Common};
use crate::ending::{Failure, Outcome};
use crate::signals::Signals;
use tally::Tally;
use typed::{Encoding, unknown_type, used_type};

/// Publishes messages of plain bytes, or typed ones from JSON. Without a value, each line of standard input is a message.
#[derive(Debug, Args)]
pub struct Publish {
    /// Where to; with wildcards to all whom some topic could reach.
    #[arg(value_parser = cli::topic)]
    topic: Topic,
    /// The message.
    value: Option<String>,
    /// Takes JSON, and sends it as the type that others on the topic publish or take; a name chooses one of several.
    #[arg(long, value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    typed: Option<String>,
    /// Waits until so many subscribers match.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_for: u32,
    /// The longest that --wait-for waits.
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    timeout: Option<Duration>,
    /// Stamps each message with the time by this clock.
    #[arg(long, value_enum, value_name = "CLOCK")]
    timestamps: Option<ClockName>,
    /// Keeps the last messages of each topic, so many, for whoever comes later with `sub --snapshot`. They are gone with this
    /// process, so it takes --hold with a message of the command line.
    #[arg(long, value_name = "N", default_value_t = 0)]
    history: u32,
    /// Stays behind the last message until SIGINT or SIGTERM.
    #[arg(long)]
    hold: bool,
    /// Publishes to the client of this name only (`sub --name`); if it does not take the topic, to nobody, with exit code 1.
    #[arg(long, value_name = "CLIENT")]
    to: Option<String>,
    /// How it waits for a subscriber with the policy `block` that has no room.
    #[arg(long, value_enum, default_value_t = RetryName::Wake)]
    retry: RetryName,
    /// Waits at the end until everything is read, at most so long; exit code 4 if it is not. Otherwise one second at most, and what is
    /// unread then is told only: subscribers that live still read it. Those with drop-oldest or conflate are not waited for.
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    flush: Option<Duration>,
}

/// A clock of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClockName {
    /// Nanoseconds since 1970.
    Realtime,
    /// Nanoseconds since some moment, the same for all processes of the machine; never set back.
    Monotonic,
}

/// A way to wait for room.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RetryName {
    /// Sleeps until the subscriber wakes it.
    Wake,
    /// Not at all: such a message is published to nobody, and told of, with exit code 4.
    Never,
    /// Tries again and again.
    Yield,
    /// Sleeps between attempts, longer each time, from 10 us to 10 ms.
    Backoff,
}

impl Publish {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let started = Instant::now();
        if self.history > 0 && self.value.is_some() && !self.hold {
            return Err(Failure::input(
                "what --history keeps is gone with this process: add --hold",
            ));
        }
        // Before there are threads.
        let signals = self.hold.then(Signals::take).transpose()?;
        let client = connect(common, "pub")?;
        if let Some(signals) = &signals {
            // Until it holds, they end it as ever.
            signals.let_end()?;
        }
        let encoding = self.encoding(&client, started)?;
        let value = self.value.as_ref().map(|value| value.as_bytes());
        let value = value.map(|value| encoding.encode(value)).transpose()?;
        let longest = value.as_ref().map_or(MAX_LINE_BYTES, |value| value.len());
        let mut builder = client
            .publisher::<Bytes>(self.topic.as_str())
            .max_message_bytes(longest.max(MIN_MESSAGE_BYTES));
        builder = builder.history(self.history).retry(self.retry.into());
        if let Some(clock) = self.timestamps {
            builder = builder.timestamps(clock.into());
        }
        if let Encoding::Typed(message_type) = &encoding {
            builder = builder.encoded_as(message_type.clone());
        }
        let mut publisher = builder.open()?;
        self.wait_for_subscribers(&client, started)?;
        let mut tally = Tally::new(self.to.clone());
        match &value {
            Some(value) => tally.publish(&mut publisher, &self.topic, value)?,
            None => self.publish_lines(&encoding, &mut publisher, &mut tally)?,
        }
        tally.report(&self.topic, || self.mismatches(&client));
        if let Some(signals) = signals {
            signals.wait()?;
            signals.let_end()?;
        }
        let closed = publisher.close(self.flush.unwrap_or(FLUSH))?;
        tally.report_unread(&closed);
        Ok(tally.ending(self.flush.map(|_| &closed)))
    }

    fn encoding(&self, client: &Client, started: Instant) -> Result<Encoding, Failure> {
        let Some(name) = &self.typed else {
            return Ok(Encoding::Plain);
        };
        loop {
            if let Some(found) = used_type(client, &self.topic, name)? {
                return Ok(Encoding::Typed(found));
            }
            if self.wait_for == 0 || self.is_over(started) {
                return Err(unknown_type(&self.topic, name));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn publish_lines(
        &self,
        encoding: &Encoding,
        publisher: &mut Publisher<Bytes>,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input
                .read_until(b'\n', &mut line)
                .map_err(|error| Failure::text(format!("cannot read standard input: {error}")))?;
            if read == 0 {
                return Ok(());
            }
            let message = line.strip_suffix(b"\n").unwrap_or(&line);
            if message.len() > MAX_LINE_BYTES {
                return Err(Failure::input(format!(
                    "line {} has {} bytes, a line can have {MAX_LINE_BYTES}: split it",
                    tally.messages + 1,
                    message.len()
                )));
            }
            let message = encoding
                .encode(message)
                .map_err(|error| Failure::input(format!("line {}: {error}", tally.messages + 1)))?;
            tally.publish(publisher, &self.topic, &message)?;
        }
    }

    /// The broker counts a lane once the publisher is told of it, and what is published after that goes there.
    fn wait_for_subscribers(&self, client: &Client, started: Instant) -> Result<(), Failure> {
        loop {
            let matching = own_info(client, &self.topic)?.map_or(0, |info| info.lanes);
            if matching >= self.wait_for {
                return Ok(());
            }
            if self.is_over(started) {
                return Err(Failure::text(format!(
                    "{matching} of {} subscribers to {} are there: start the others, or wait longer with --timeout",
                    self.wait_for, self.topic
                )));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn is_over(&self, started: Instant) -> bool {
        self.timeout.is_some_and(|limit| started.elapsed() >= limit)
    }

    fn mismatches(&self, client: &Client) -> String {
        match own_info(client, &self.topic) {
            Ok(Some(info)) if info.type_mismatches > 0 => format!(
                " ({} subscribers take another type than {}{})",
                info.type_mismatches,
                info.message_type,
                match self.typed {
                    Some(_) => "",
                    None => ": --typed sends them JSON",
                }
            ),
            _ => String::new(),
        }
    }
}

impl From<RetryName> for Retry {
    fn from(name: RetryName) -> Self {
        match name {
            RetryName::Wake => Self::Wake,
            RetryName::Never => Self::Never,
            RetryName::Yield => Self::Yield,
            RetryName::Backoff => Self::Backoff {
                first: Duration::from_micros(10),
                longest: Duration::from_millis(10),
            },
        }
    }
}

impl From<ClockName> for Clock {
    fn from(name: ClockName) -> Self {
        match name {
            ClockName::Realtime => Self::Realtime,
            ClockName::Monotonic => Self::Monotonic,
        }
    }
}

/// This client's only publisher, as the broker sees it.
fn own_info(client: &Client, topic: &Topic) -> Result<Option<PublisherInfo>, RequestError> {
    let listing = client.list(topic.as_str(), ListTopics::Declared)?;
    let mut publishers = listing.publishers.into_iter();
    Ok(publishers.find(|info| info.client == client.id()))
}

const MAX_LINE_BYTES: usize = 1 << 20;
const MIN_MESSAGE_BYTES: usize = 1 << 16;
/// Subscribers that look for messages have read them long before.
const FLUSH: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
