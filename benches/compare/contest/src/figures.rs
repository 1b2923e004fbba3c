//! Figures of rounds: medians, spreads, ratios.

use compare_harness::Mode;
use compare_harness::Wait;

use crate::case::Case;

/// What one round of one contender gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Of the round trip; `None` for streams.
    pub p50_ns: Option<f64>,
    pub p99_ns: Option<f64>,
    /// Round trips, or messages received by all subscribers together.
    pub msgs_per_s: f64,
    pub lost: u64,
    pub corrupt: u64,
    /// Used by all processes of the round, their start included.
    pub cpu_s: f64,
    /// What they had in memory at the end.
    pub memory_bytes: u64,
}

/// What a contender gave in all rounds of a case.
#[derive(Clone, Debug)]
pub struct Row {
    pub mode: Mode,
    /// One for each round; `None` where it failed.
    pub rounds: Vec<Option<Figures>>,
}

/// All rows of a case.
#[derive(Clone, Debug)]
pub struct Results {
    pub case: Case,
    pub rows: Vec<Row>,
}

/// The middle of several values, and their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    P50,
    P99,
    Rate,
}

impl Figure {
    /// The one that decides.
    pub fn main(case: &Case) -> Self {
        match case.is_rtt() {
            true => Self::P50,
            false => Self::Rate,
        }
    }

    fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::P50 => figures.p50_ns,
            Self::P99 => figures.p99_ns,
            Self::Rate => Some(figures.msgs_per_s),
        }
    }

    /// Whether the first value is the better one.
    pub fn is_better(self, one: f64, other: f64) -> bool {
        match self {
            Self::P50 | Self::P99 => one < other,
            Self::Rate => one > other,
        }
    }
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            count if count % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        })
    }
}

impl Row {
    /// Over the rounds.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        let rounds = self.rounds.iter().flatten();
        Spread::of(rounds.filter_map(|figures| figure.of(figures)))
    }

    /// This one divided by another one, round by round.
    pub fn ratio(&self, other: &Self, figure: Figure) -> Option<Spread> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        Spread::of(rounds.filter_map(|(own, other)| {
            let (own, other) = (own.as_ref()?, other.as_ref()?);
            Some(figure.of(own)? / figure.of(other)?)
        }))
    }

    /// The middle of what all rounds gave, of something that is not compared.
    pub fn median(&self, of: impl Fn(&Figures) -> f64) -> f64 {
        let spread = Spread::of(self.rounds.iter().flatten().map(of));
        spread.map_or(f64::NAN, |spread| spread.median)
    }

    /// In all rounds.
    pub fn sum(&self, of: impl Fn(&Figures) -> u64) -> u64 {
        self.rounds.iter().flatten().map(of).sum()
    }

    /// Ours.
    pub fn is_ringmain(&self) -> bool {
        self.mode.contender.starts_with("ringmain")
    }

    /// Whether its receivers poll.
    pub fn is_busy(&self) -> bool {
        matches!(self.mode.wait, Wait::Spin | Wait::Yield)
    }
}

impl Results {
    /// Whom one of our rows is compared with: each other contender's best row among those that are as busy, or among all; of round
    /// trips, among those that keep to cores as we do. What the machine can do is compared in the same way of waiting, so that it
    /// tells what the bus costs.
    pub fn rivals(&self, own: &Row) -> Vec<&Row> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| !row.is_ringmain()) {
            let name = row.mode.contender.as_str();
            if !names.contains(&name) && (!is_limit(name) || is_limit_of(name, own)) {
                names.push(name);
            }
        }
        let rivals = names.into_iter().filter_map(|name| {
            let same_wait = |row: &Row| row.mode.wait == own.mode.wait;
            let same_cores = |row: &Row| !self.case.is_rtt() || row.mode.pinned == own.mode.pinned;
            let as_busy = |row: &Row| row.is_busy() == own.is_busy();
            let best = |fits: &dyn Fn(&Row) -> bool| {
                let rows = self.rows.iter().filter(|row| row.mode.contender == name);
                self.best(rows.filter(|row| fits(row)))
            };
            best(&|row| is_limit(name) && same_wait(row) && same_cores(row))
                .or_else(|| best(&|row| is_limit(name) && same_wait(row)))
                .or_else(|| best(&|row| as_busy(row) && same_cores(row)))
                .or_else(|| best(&as_busy))
                .or_else(|| best(&|_| true))
        });
        rivals.collect()
    }

    /// The best of some rows, by the figure that decides.
    pub fn best<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
        let figure = Figure::main(&self.case);
        let known = rows.filter_map(|row| Some((row.spread(figure)?.median, row)));
        let best = known.reduce(|one, other| match figure.is_better(other.0, one.0) {
            true => other,
            false => one,
        });
        best.map(|(_, row)| row)
    }
}

/// Whether a contender is what the machine can do.
pub fn is_limit(name: &str) -> bool {
    [RAW, RAW_BATCH].contains(&name)
}

/// What the machine can do if messages go in batches is the limit of batches only.
fn is_limit_of(name: &str, own: &Row) -> bool {
    own.mode.contender.ends_with("-batch") == (name == RAW_BATCH)
}

const RAW: &str = "raw";
const RAW_BATCH: &str = "raw-batch";

#[cfg(test)]
mod tests {
    use compare_harness::{Touch, Workload};

    use super::*;

    fn row(contender: &str, wait: Wait, rates: &[Option<f64>]) -> Row {
        let rounds = rates.iter().map(|rate| {
            rate.map(|msgs_per_s| Figures {
                msgs_per_s,
                ..Figures::default()
            })
        });
        Row {
            mode: Mode::new(contender, wait, &[Workload::Throughput]),
            rounds: rounds.collect(),
        }
    }

    fn results(rows: Vec<Row>) -> Results {
        let case = Case {
            workload: Workload::Throughput,
            fanout: 1,
            size_bytes: 64,
            touch: Touch::Full,
        };
        Results { case, rows }
    }

    #[test]
    fn a_ratio_is_of_rounds_in_which_both_ran() {
        let one = row("one", Wait::Spin, &[Some(8.0), None, Some(2.0), Some(6.0)]);
        let other = row(
            "other",
            Wait::Spin,
            &[Some(4.0), Some(1.0), Some(4.0), None],
        );
        let ratio = one.ratio(&other, Figure::Rate).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (1.25, 0.5, 2.0));
        assert_eq!(one.ratio(&other, Figure::P50), None);
    }

    #[test]
    fn a_rival_is_the_best_of_those_that_are_as_busy() {
        let results = results(vec![
            row("ringmain", Wait::Spin, &[Some(5.0)]),
            row("ringmain", Wait::Park, &[Some(5.0)]),
            row("ringmain-batch", Wait::Spin, &[Some(5.0)]),
            row("raw", Wait::Spin, &[Some(7.0)]),
            row("raw", Wait::Yield, &[Some(9.0)]),
            row("raw-batch", Wait::Spin, &[Some(11.0)]),
            row("both", Wait::Spin, &[Some(3.0)]),
            row("both", Wait::Yield, &[Some(4.0)]),
            row("both", Wait::Async, &[Some(6.0)]),
            row("sleeper", Wait::Park, &[Some(1.0)]),
        ]);
        let rivals = |own: usize| {
            let rivals = results.rivals(&results.rows[own]);
            let described = rivals.into_iter().map(|row| {
                let rate = row.spread(Figure::Rate).unwrap().median;
                (row.mode.contender.as_str(), rate)
            });
            described.collect::<Vec<_>>()
        };
        assert_eq!(rivals(0), [("raw", 7.0), ("both", 4.0), ("sleeper", 1.0)]);
        // Nobody of raw sleeps: then the best of all.
        assert_eq!(rivals(1), [("raw", 9.0), ("both", 6.0), ("sleeper", 1.0)]);
        assert_eq!(rivals(2)[0], ("raw-batch", 11.0));
    }
}
