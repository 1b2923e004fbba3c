//! Latencies: what is kept of them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::ending::Failure;

/// Latencies as they are measured, to three digits, up to a minute.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

/// What is told of latencies, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub p999_ns: f64,
    pub max_ns: f64,
}

impl Latencies {
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(Histogram::new_with_bounds(1, MOST_NS, 3)?))
    }

    /// A longer one counts as a minute.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn percentiles(&self) -> Percentiles {
        let quantile = |quantile| self.0.value_at_quantile(quantile) as f64;
        Percentiles {
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: self.0.max() as f64,
        }
    }
}

impl Percentiles {
    /// Of several subscribers of one round: the worst, for whom a percentile is a promise.
    pub fn worst(all: &[Self]) -> Option<Self> {
        all.iter().copied().reduce(|a, b| Self {
            p50_ns: a.p50_ns.max(b.p50_ns),
            p99_ns: a.p99_ns.max(b.p99_ns),
            p999_ns: a.p999_ns.max(b.p999_ns),
            max_ns: a.max_ns.max(b.max_ns),
        })
    }

    /// Of several rounds: the medians, and the highest of all.
    pub fn median(rounds: &[Self]) -> Self {
        Self {
            p50_ns: median(rounds.iter().map(|round| round.p50_ns)),
            p99_ns: median(rounds.iter().map(|round| round.p99_ns)),
            p999_ns: median(rounds.iter().map(|round| round.p999_ns)),
            max_ns: rounds.iter().fold(0.0, |max, round| max.max(round.max_ns)),
        }
    }
}

/// The value in the middle; 0 of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

const MOST_NS: u64 = 60_000_000_000;
