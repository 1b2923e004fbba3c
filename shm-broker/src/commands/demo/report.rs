//! What the demo's processes tell their parent, a line of JSON each.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::ending::Failure;
use crate::output;
use crate::table::{Align, Table};

/// A line that a child writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The broker: it listens there.
    Listening(String),
    /// A subscriber: it is subscribed.
    Ready,
    /// The publisher: this begins.
    Begins(String),
    /// The publisher: all is sent.
    Published {
        /// Quotes, each counted once.
        messages: u64,
    },
    /// A subscriber: all has arrived.
    Received(Figures),
}

/// What a subscriber counted and measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Quotes that arrived.
    pub messages: u64,
    /// Quotes that were reported as lost.
    pub gaps: u64,
    /// Quotes per second at full speed.
    pub msgs_per_s: u64,
    /// Half of the latencies are at most this.
    pub p50_ns: u64,
    /// 99 % are.
    pub p99_ns: u64,
    /// 99.9 % are.
    pub p999_ns: u64,
    /// All are.
    pub max_ns: u64,
}

impl Told {
    /// Tells the parent.
    pub fn tell(&self) -> Result<(), Failure> {
        output::print(serde_json::to_string(self)?)
    }
}

impl Figures {
    /// Takes the latencies from a histogram.
    pub fn new(messages: u64, gaps: u64, msgs_per_s: u64, latencies: &Histogram<u64>) -> Self {
        Self {
            messages,
            gaps,
            msgs_per_s,
            p50_ns: latencies.value_at_quantile(0.5),
            p99_ns: latencies.value_at_quantile(0.99),
            p999_ns: latencies.value_at_quantile(0.999),
            max_ns: latencies.max(),
        }
    }
}

/// The result, for programs.
#[derive(Debug, Serialize)]
pub struct Results<'a> {
    /// One after the other.
    pub subscribers: &'a [Figures],
}

/// The result, for people.
pub fn table(subscribers: &[Figures]) -> Table {
    let heading = [
        "subscriber",
        "messages",
        "messages/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "gaps",
    ];
    let microseconds = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
    let mut table = Table::new(Align::Numbers, &heading);
    for (index, figures) in subscribers.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            grouped(figures.messages),
            grouped(figures.msgs_per_s),
            microseconds(figures.p50_ns),
            microseconds(figures.p99_ns),
            microseconds(figures.p999_ns),
            microseconds(figures.max_ns),
            grouped(figures.gaps),
        ]);
    }
    table
}

/// A number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_for_programs_keeps_its_form() {
        let mut latencies = Histogram::new(3).unwrap();
        latencies.record(500).unwrap();
        let figures = Figures::new(10, 0, 7, &latencies);
        assert_eq!(
            serde_json::to_string(&Results {
                subscribers: &[figures]
            })
            .unwrap(),
            r#"{"subscribers":[{"messages":10,"gaps":0,"msgs_per_s":7,"p50_ns":500,"p99_ns":500,"p999_ns":500,"max_ns":500}]}"#
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
