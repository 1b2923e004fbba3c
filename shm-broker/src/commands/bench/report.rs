//! What a benchmark says: the figures of its rounds, then their medians.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contest::Contest;
use super::latency::{Percentiles, median};
use super::task::Question;
use crate::commands::demo::report::grouped;
use crate::table::{Align, Table};

/// A line that one process tells the one that started it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Echo, subscriber: there.
    Ready,
    /// Ping: done.
    RoundTrips(Percentiles),
    /// Publisher: all is sent.
    Published {
        messages: u64,
        /// What the lane of the stalled subscriber has counted.
        stalled: LaneCost,
    },
    /// Subscriber that stalls: this many messages were read, and none will be.
    Stalled { messages: u64 },
    /// Subscriber: all has arrived.
    Received {
        /// Behind the warm-up.
        messages: u64,
        /// From the first of those to the end.
        time_ns: u64,
        /// In all.
        lost: u64,
        /// From when they were to be sent, where that was set.
        latencies: Option<Percentiles>,
        /// The same of messages that were due once the stalled subscriber's deadline had expired.
        after: Option<Percentiles>,
    },
}

/// What a lane has cost its publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCost {
    /// Deadlines that expired.
    pub stalls: u64,
    /// How long the publisher has waited.
    pub blocked_ns: u64,
    /// Messages that were dropped.
    pub dropped: u64,
}

/// What one contender did, in one round or as the median of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Percentiles>,
}

/// How much arrived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Deliveries, where there are several subscribers.
    pub msgs_per_s: f64,
    /// Of payload, 10^9 bytes.
    pub gb_per_s: f64,
    pub lost: u64,
}

/// The last line.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    bench: Question,
    #[serde(flatten)]
    contest: &'a Contest,
    rounds: usize,
    /// What the raw contender is.
    raw_is: &'static str,
    #[serde(flatten)]
    ringmain: Figures,
    raw: Figures,
    /// Ringmain divided by raw: of the p50 where latency is measured, else of the rate; the median of the rounds.
    #[serde(flatten)]
    ratio: Ratio,
}

/// How one figure compares with another: the median of the rounds' ratios, their spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub ratio: f64,
    pub ratio_min: f64,
    pub ratio_max: f64,
}

impl Figures {
    /// Of what a round's processes told.
    pub fn of(told: &[Told], size_bytes: usize) -> Self {
        let mut rate = None;
        let mut latencies = Vec::new();
        for told in told {
            match *told {
                Told::RoundTrips(percentiles) => latencies.push(percentiles),
                Told::Received {
                    messages,
                    time_ns,
                    lost,
                    latencies: more,
                    after: _,
                } => {
                    let sum = rate.get_or_insert(Rate {
                        msgs_per_s: 0.0,
                        gb_per_s: 0.0,
                        lost: 0,
                    });
                    let msgs_per_s = messages as f64 / (time_ns as f64 / 1e9);
                    sum.msgs_per_s += msgs_per_s;
                    sum.gb_per_s += msgs_per_s * size_bytes as f64 / 1e9;
                    sum.lost += lost;
                    latencies.extend(more);
                }
                Told::Ready | Told::Published { .. } | Told::Stalled { .. } => {}
            }
        }
        Self {
            rate,
            latency: Percentiles::worst(&latencies),
        }
    }

    /// Each figure's median; losses are summed up.
    pub fn median(rounds: &[Self]) -> Self {
        let rates: Vec<Rate> = rounds.iter().filter_map(|round| round.rate).collect();
        let latencies: Vec<Percentiles> = rounds.iter().filter_map(|round| round.latency).collect();
        Self {
            rate: (!rates.is_empty()).then(|| Rate {
                msgs_per_s: median(rates.iter().map(|rate| rate.msgs_per_s)).round(),
                gb_per_s: thousandths(median(rates.iter().map(|rate| rate.gb_per_s))),
                lost: rates.iter().map(|rate| rate.lost).sum(),
            }),
            latency: (!latencies.is_empty()).then(|| Percentiles::median(&latencies)),
        }
    }

    /// The figure that contenders are compared by.
    fn main(&self) -> f64 {
        match (self.latency, self.rate) {
            (Some(latency), _) => latency.p50_ns,
            (None, Some(rate)) => rate.msgs_per_s,
            (None, None) => f64::NAN,
        }
    }

    /// Whether messages were lost.
    pub fn lost(&self) -> u64 {
        self.rate.map_or(0, |rate| rate.lost)
    }
}

impl<'a> Summary<'a> {
    /// Of rounds, in each of which both contenders ran.
    pub fn new(
        bench: Question,
        contest: &'a Contest,
        raw_is: &'static str,
        rounds: &[(Figures, Figures)],
    ) -> Self {
        let (ringmain, raw): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        let ratios = rounds
            .iter()
            .map(|(ringmain, raw)| ringmain.main() / raw.main());
        Self {
            bench,
            contest,
            rounds: rounds.len(),
            raw_is,
            ringmain: Figures::median(&ringmain),
            raw: Figures::median(&raw),
            ratio: Ratio::of(ratios),
        }
    }

    /// For people.
    pub fn table(&self) -> Table {
        let latency = self.ringmain.latency.is_some();
        let rate = self.ringmain.rate.is_some();
        let mut heading = vec![""];
        heading.extend(
            rate.then_some(["messages/s", "GB/s", "lost"])
                .into_iter()
                .flatten(),
        );
        let percentiles = ["p50 ns", "p99 ns", "p99.9 ns", "max ns"];
        heading.extend(latency.then_some(percentiles).into_iter().flatten());
        let mut table = Table::new(Align::Numbers, &heading);
        for (name, figures) in [("ringmain", &self.ringmain), (self.raw_is, &self.raw)] {
            let mut cells = vec![name.to_owned()];
            if let Some(rate) = figures.rate {
                cells.push(grouped(rate.msgs_per_s as u64));
                cells.push(format!("{:.3}", rate.gb_per_s));
                cells.push(grouped(rate.lost));
            }
            if let Some(latency) = figures.latency {
                let Percentiles {
                    p50_ns,
                    p99_ns,
                    p999_ns,
                    max_ns,
                } = latency;
                cells.extend([p50_ns, p99_ns, p999_ns, max_ns].map(|ns| grouped(ns as u64)));
            }
            table.cells(cells);
        }
        table
    }

    /// The ratio, for people.
    pub fn ratio(&self) -> String {
        let what = match (self.bench, self.ringmain.latency) {
            (Question::Rtt, _) | (_, Some(_)) => "p50, ringmain / raw (less is better)",
            _ => "rate, ringmain / raw (more is better)",
        };
        format!("{what}: {} in {} rounds", self.ratio, self.rounds)
    }
}

impl Ratio {
    /// Of one ratio for each round.
    pub fn of(ratios: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            ratio: thousandths(median(ratios.clone())),
            ratio_min: thousandths(ratios.clone().fold(f64::INFINITY, f64::min)),
            ratio_max: thousandths(ratios.fold(0.0, f64::max)),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ratio,
            ratio_min,
            ratio_max,
        } = self;
        write!(f, "{ratio:.2}, {ratio_min:.2} to {ratio_max:.2}")
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
