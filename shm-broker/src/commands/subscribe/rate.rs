//! Messages as rates.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::units;

/// Counts what comes; tells once a second what came in it, and at the end what came in all.
pub struct Meter {
    form: Form,
    opened: Instant,
    /// When the present second began.
    began: Instant,
    due: Instant,
    now: Seen,
    all: Seen,
}

/// How rates are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table.
    Text,
    /// One object per line.
    Json,
}

/// What has come in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: u64,
    bytes: u64,
    /// Of a message, in bytes.
    smallest: Option<usize>,
    largest: usize,
    lost: u64,
    skipped: u64,
}

impl Meter {
    /// Counts from now on.
    pub fn new(form: Form, now: Instant) -> Self {
        Self {
            form,
            opened: now,
            began: now,
            due: now + PERIOD,
            now: Seen::default(),
            all: Seen::default(),
        }
    }

    /// What stands above the first line, if anything.
    pub fn heading(&self) -> Option<String> {
        let columns = [
            "TIME", "MSG/S", "BYTES/S", "SMALLEST", "MEAN", "LARGEST", "LOST", "SKIPPED",
        ];
        (self.form == Form::Text).then(|| row(columns.map(str::to_owned)))
    }

    /// A message has come, in the place of so many others.
    pub fn message(&mut self, len_bytes: usize, skipped: u64) {
        self.now.messages += 1;
        self.now.bytes += len_bytes as u64;
        self.now.smallest = Some(
            self.now
                .smallest
                .map_or(len_bytes, |len| len.min(len_bytes)),
        );
        self.now.largest = self.now.largest.max(len_bytes);
        self.now.skipped += skipped;
    }

    /// Messages are lost.
    pub fn lost(&mut self, messages: u64) {
        self.now.lost += messages;
    }

    /// How long the present second still lasts.
    pub fn left(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// The line of the second that is over by now, if it is. Its rates are those of the time that it took, which is more
    /// than a second where nobody asked.
    pub fn second(&mut self, now: Instant) -> Option<String> {
        if now < self.due {
            return None;
        }
        let seen = self.close();
        let line = self.line(&seen, Some(now - self.opened), now - self.began);
        self.began = now;
        // As the first one began, so that lines do not drift; anew if that is over, too.
        self.due += PERIOD;
        if self.due <= now {
            self.due = now + PERIOD;
        }
        Some(line)
    }

    /// The line of all that came.
    pub fn total(&mut self, now: Instant) -> String {
        self.close();
        self.line(&self.all, None, now - self.opened)
    }

    /// Adds up what came since it was done last; gives that.
    fn close(&mut self) -> Seen {
        let seen = std::mem::take(&mut self.now);
        self.all.add(&seen);
        seen
    }

    /// `at` is where the time ends; `None` for all of it.
    fn line(&self, seen: &Seen, at: Option<Duration>, took: Duration) -> String {
        let Seen {
            messages,
            bytes,
            smallest,
            lost,
            skipped,
            ..
        } = *seen;
        let seconds = took.as_secs_f64();
        let rate = |count: u64| match count {
            0 => 0.0,
            _ => count as f64 / seconds,
        };
        let mean = smallest.map(|_| bytes as f64 / messages as f64);
        let largest = smallest.map(|_| seen.largest);
        let size = |len: Option<usize>| len.map(|len| len as f64);
        match self.form {
            Form::Text => row([
                at.map_or_else(|| "all".into(), |at| format!("{:.1}", at.as_secs_f64())),
                format!("{:.0}", rate(messages)),
                units::bytes(rate(bytes)),
                shown(size(smallest)),
                shown(mean),
                shown(size(largest)),
                lost.to_string(),
                skipped.to_string(),
            ]),
            Form::Json => json!({
                "total": at.is_none(),
                "seconds": seconds,
                "messages": messages,
                "bytes": bytes,
                "messages_per_second": rate(messages),
                "bytes_per_second": rate(bytes),
                "smallest_bytes": smallest,
                "mean_bytes": mean,
                "largest_bytes": largest,
                "lost": lost,
                "skipped": skipped,
            })
            .to_string(),
        }
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.smallest = self.smallest.into_iter().chain(other.smallest).min();
        self.largest = self.largest.max(other.largest);
        self.lost += other.lost;
        self.skipped += other.skipped;
    }
}

/// A size; no message has none.
fn shown(bytes: Option<f64>) -> String {
    bytes.map_or_else(|| "-".into(), units::bytes)
}

/// Columns of one width: what comes next is not known when a line is printed.
fn row(cells: [String; 8]) -> String {
    cells.map(|cell| format!("{cell:>10}")).concat()
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn cells(line: &str) -> Vec<&str> {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect()
    }

    fn json(line: &str) -> Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn nothing_is_zeros() {
        let start = Instant::now();
        let mut meter = Meter::new(Form::Text, start);
        let zeros = |line: &str| cells(line)[1..] == ["0", "0 B", "-", "-", "-", "0", "0"];
        assert!(zeros(&meter.second(start + PERIOD).unwrap()));
        assert!(zeros(&meter.total(start + PERIOD)));
        // Not even a moment has passed.
        let total = Meter::new(Form::Json, start).total(start);
        assert_eq!(json(&total)["messages_per_second"], 0.0);
        assert_eq!(json(&total)["mean_bytes"], Value::Null);
    }

    #[test]
    fn each_second_tells_its_own_and_the_last_line_tells_all() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(Form::Text, start);
        for len in [10, 20, 60] {
            meter.message(len, 0);
        }
        assert_eq!(meter.second(at(999)), None);
        let line = meter.second(at(1000)).unwrap();
        assert_eq!(
            cells(&line),
            ["1.0", "3", "90 B", "10 B", "30 B", "60 B", "0", "0"]
        );
        meter.message(0, 7);
        meter.lost(5);
        let line = meter.second(at(2000)).unwrap();
        assert_eq!(
            cells(&line),
            ["2.0", "1", "0 B", "0 B", "0 B", "0 B", "5", "7"]
        );
        meter.message(110, 0);
        let line = meter.total(at(2500));
        assert_eq!(
            cells(&line),
            ["all", "2", "80 B", "0 B", "40 B", "110 B", "5", "7"]
        );
    }

    #[test]
    fn a_second_that_nobody_asked_about_is_not_told_as_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(Form::Json, start);
        for _ in 0..40 {
            meter.message(8, 0);
        }
        // The process was stopped.
        let line = json(&meter.second(at(4000)).unwrap());
        assert_eq!(
            (&line["seconds"], &line["messages"]),
            (&4.0.into(), &40.into())
        );
        assert_eq!(line["messages_per_second"], 10.0);
        assert_eq!(line["total"], false);
        assert_eq!(json(&meter.total(at(4000)))["total"], true);
    }
}
