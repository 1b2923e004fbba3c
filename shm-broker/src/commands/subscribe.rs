//! `sub`: prints messages of every type.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmain::message::{Kind, TypeIndex, raw_to_text, to_json};
use ringmain::{
    AnyMessage, Client, Overflow, Pattern, RecvError, RequestError, Sample, Subscriber, Timestamp,
    Wait,
};
use serde_json::Value;

use super::connect;
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output::Output;

/// Prints messages of every type, one per line: topic and value. Typed messages are printed as JSON.
#[derive(Debug, Args)]
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
    /// What happens to messages that come faster than they are printed.
    #[arg(long, value_enum, default_value_t = Policy::DropNewest)]
    policy: Policy,
    /// Ends after this time; with --count that is an error.
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    timeout: Option<Duration>,
    /// Begins each line with clock and nanoseconds of the publish, `-` where the publisher does not tell; JSON has it always.
    #[arg(long)]
    timestamps: bool,
}

/// What happens to messages that find no room.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Policy {
    /// The publisher waits, one second at most.
    Block,
    /// They are lost, counted and reported.
    DropNewest,
}

/// How messages are printed.
#[derive(Clone, Copy)]
enum Style {
    Text,
    /// With the time in front.
    TimedText,
    Json,
}

/// What has come so far.
struct Progress {
    output: Output,
    style: Style,
    messages: u64,
    lost: u64,
    /// A lane ended before its publisher did.
    faults: u64,
}

impl Subscribe {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let client = connect(common, "sub")?;
        let mut subscriber = self.open(&client)?;
        tracing::info!("subscribed");
        let style = match (common.json, self.timestamps) {
            (true, _) => Style::Json,
            (false, true) => Style::TimedText,
            (false, false) => Style::Text,
        };
        let mut progress = Progress {
            output: Output::new(),
            style,
            messages: 0,
            lost: 0,
            faults: 0,
        };
        let result = self.follow(&mut subscriber, &mut progress);
        progress.output.flush()?;
        result?;
        match progress {
            Progress { faults: 1.., .. } => Err(Failure::text(
                "messages are missing: a lane ended before its publisher did",
            )),
            Progress { lost: 1.., .. } => Ok(Ending::Gaps),
            _ => Ok(Ending::Done),
        }
    }

    fn open(&self, client: &Client) -> Result<Subscriber<AnyMessage>, RequestError> {
        let (first, others) = self.patterns.split_first().expect("one is required");
        let mut builder = client
            .subscriber::<AnyMessage>(first.as_str())
            .wait(Wait::Park)
            .overflow(self.policy.into());
        for pattern in others {
            builder = builder.pattern(pattern.as_str());
        }
        for pattern in &self.exclude {
            builder = builder.exclude(pattern.as_str());
        }
        if let Some(queue) = &self.queue {
            builder = builder.queue(queue);
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
            if progress.take(subscriber.try_recv())? {
                continue;
            }
            // Nothing to do: what was printed goes to the reader before the wait.
            progress.output.flush()?;
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return self.expired(progress.messages);
            }
            progress.take(subscriber.recv_timeout(left.unwrap_or(LONG)))?;
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
                self.output.line(self.style.show(&sample))?;
                self.messages += 1;
            }
            Err(RecvError::Gap(gap)) => {
                self.lost += gap.lost;
                say(gap);
            }
            Err(error @ RecvError::Lane { .. }) => {
                self.faults += 1;
                say(error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

impl Style {
    fn show(self, sample: &Sample<'_, AnyMessage>) -> String {
        let topic = sample.topic();
        match self {
            Self::Text if is_raw(sample) => {
                // One message stays one line.
                let text = raw_to_text(sample)
                    .replace('\n', "\\n")
                    .replace('\r', "\\r");
                format!("{topic} {text}")
            }
            Self::Text => format!("{topic} {}", value(sample)),
            Self::TimedText => {
                let time = sample.published_at();
                let time = time.map(|time| format!("{}{} {}", time.clock, place(time), time.ns));
                let text = Self::Text.show(sample);
                format!("{} {text}", time.as_deref().unwrap_or("-"))
            }
            Self::Json => format!(
                r#"{{"topic":{},"sequence":{}{}{},"type":{},"publisher":{},"value":{}}}"#,
                quoted(topic.as_str()),
                sample.sequence(),
                if sample.redelivered() {
                    r#","redelivered":true"#
                } else {
                    ""
                },
                published_at(sample),
                quoted(&sample.message_type().to_string()),
                quoted(sample.publisher()),
                value(sample)
            ),
        }
    }
}

impl From<Policy> for Overflow {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Block => Overflow::Block {
                deadline: Duration::from_secs(1),
            },
            Policy::DropNewest => Overflow::DropNewest,
        }
    }
}

fn is_raw(sample: &Sample<'_, AnyMessage>) -> bool {
    let root = sample.message_type().layout.type_at(TypeIndex(0));
    root.is_some_and(|root| root.kind == Kind::Raw)
}

/// The value as JSON; its bytes, if its publisher did not keep to the type that it declared.
fn value(sample: &Sample<'_, AnyMessage>) -> String {
    to_json(sample.message_type(), sample).unwrap_or_else(|error| {
        tracing::warn!(topic = %sample.topic(), publisher = sample.publisher(), "{error}");
        quoted(&raw_to_text(sample))
    })
}

/// The time of the publish as a member of an object, with the comma before it; nothing where it is not told.
fn published_at(sample: &Sample<'_, AnyMessage>) -> String {
    sample.published_at().map_or_else(String::new, |time| {
        format!(
            r#","published_at":{{"clock":"{}{}","ns":{}}}"#,
            time.clock,
            place(time),
            time.ns
        )
    })
}

/// What marks a time that cannot be compared with a clock of this host.
fn place(time: Timestamp) -> &'static str {
    match time.elapsed() {
        Some(_) => "",
        None => "@other",
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// As good as for ever, yet an instant can hold it.
const LONG: Duration = Duration::from_secs(3600);
