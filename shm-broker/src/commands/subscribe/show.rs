//! Messages as lines.

use ringmain::message::{Kind, TypeIndex, raw_to_text, to_json};
use ringmain::{AnyMessage, Sample, Timestamp};
use serde_json::Value;

/// How messages are printed.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Columns, as many as were asked for, then topic and value.
    Text(Columns),
    /// One object per line.
    Json,
}

/// What stands before the topic.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// When it was published.
    pub timestamps: bool,
    /// Whether it was published before the subscription.
    pub snapshot: bool,
    /// How many messages it has taken the place of.
    pub skipped: bool,
}

impl Style {
    /// The line, without its end.
    pub fn show(self, sample: &Sample<'_, AnyMessage>) -> String {
        match self {
            Self::Text(columns) => format!(
                "{}{} {}",
                columns.show(sample),
                sample.topic(),
                text(sample)
            ),
            Self::Json => format!(
                r#"{{"topic":{},"sequence":{}{}{}{}{},"type":{},"publisher":{},"value":{}}}"#,
                quoted(sample.topic().as_str()),
                sample.sequence(),
                mark("redelivered", sample.redelivered()),
                published_at(sample),
                mark("snapshot", sample.is_snapshot()),
                skipped(sample),
                quoted(&sample.message_type().to_string()),
                quoted(sample.publisher()),
                value(sample)
            ),
        }
    }
}

impl Columns {
    /// Each with a space behind it.
    fn show(self, sample: &Sample<'_, AnyMessage>) -> String {
        let mut shown = String::new();
        if self.timestamps {
            shown += &match sample.published_at() {
                Some(time) => format!("{}{} {} ", time.clock, place(time), time.ns),
                None => "- ".into(),
            };
        }
        if self.snapshot {
            shown += match sample.is_snapshot() {
                true => "kept ",
                false => "live ",
            };
        }
        if self.skipped {
            shown += &format!("{} ", sample.skipped());
        }
        shown
    }
}

/// The value on one line.
fn text(sample: &Sample<'_, AnyMessage>) -> String {
    match is_raw(sample) {
        true => raw_to_text(sample)
            .replace('\n', "\\n")
            .replace('\r', "\\r"),
        false => value(sample),
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

/// A member of an object that is there only where it is true, with the comma before it.
fn mark(name: &str, is_so: bool) -> String {
    match is_so {
        true => format!(r#","{name}":true"#),
        false => String::new(),
    }
}

/// How many messages it has taken the place of as a member of an object; nothing where it has not.
fn skipped(sample: &Sample<'_, AnyMessage>) -> String {
    match sample.skipped() {
        0 => String::new(),
        skipped => format!(r#","skipped":{skipped}"#),
    }
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
