//! Counters as a table.

use std::time::Duration;

use ringmain::counters::Scan;

use super::By;
use super::rows::{Sum, headings, rows};
use crate::table::{Align, Table};
use crate::units::{bytes, time};

/// The table: what was counted in all, or each second since an earlier scan.
pub fn table(scan: &Scan, by: By, since: Option<(&Scan, Duration)>) -> Table {
    let about = headings(by).iter().map(|name| (*name, Align::Text));
    let counted = match since {
        None => TOTALS,
        Some(_) => RATES,
    };
    let counted = counted.iter().map(|name| (*name, Align::Numbers));
    let mut table = Table::of_columns(&about.chain(counted).collect::<Vec<_>>());
    let earlier = since.map(|(scan, time)| (rows(scan, by), time));
    for (key, sum) in rows(scan, by) {
        let cells = match &earlier {
            None => totals(&sum, by, &key),
            Some((earlier, time)) => {
                let before = earlier.get(&key).cloned().unwrap_or_default();
                rates(&sum, by, &key, &before, *time)
            }
        };
        table.row([key, cells].concat());
    }
    table
}

fn totals(sum: &Sum, by: By, key: &[String]) -> Vec<String> {
    let Sum { counts, .. } = sum;
    vec![
        counts.messages.to_string(),
        bytes(counts.bytes as f64),
        counts.dropped().to_string(),
        counts.conflated.to_string(),
        lag(sum),
        counts.wakes.to_string(),
        counts.wakes_saved().to_string(),
        parks(by, key, counts.parks.to_string()),
        counts.stalls.to_string(),
        counts.undecodable.to_string(),
        time(counts.blocked()),
        quantile(sum, 0.5),
        quantile(sum, 0.99),
    ]
}

fn rates(sum: &Sum, by: By, key: &[String], before: &Sum, period: Duration) -> Vec<String> {
    let since = Sum {
        counts: sum.counts.since(&before.counts),
        lag: sum.lag,
    };
    let seconds = period.as_secs_f64();
    let rate = |count: u64| format!("{:.0}", count as f64 / seconds);
    let Sum { counts, .. } = &since;
    vec![
        rate(counts.messages),
        bytes(counts.bytes as f64 / seconds),
        rate(counts.dropped()),
        rate(counts.conflated),
        lag(sum),
        rate(counts.wakes),
        parks(by, key, rate(counts.parks)),
        format!("{:.0}%", 100.0 * counts.blocked().as_secs_f64() / seconds),
        quantile(&since, 0.5),
        quantile(&since, 0.99),
    ]
}

/// A subscriber sleeps for all of its lanes, so none of them counts it.
fn parks(by: By, key: &[String], parks: String) -> String {
    let end = headings(by)
        .iter()
        .zip(key)
        .find(|(name, _)| **name == "END");
    match (by, end) {
        (By::Lane, Some((_, end))) if end == "sub" => "-".into(),
        _ => parks,
    }
}

fn lag(sum: &Sum) -> String {
    sum.lag
        .map_or_else(|| "-".into(), |lag| lag.messages.to_string())
}

fn quantile(sum: &Sum, share: f64) -> String {
    let latency = sum.counts.latency.quantile(share);
    latency.map_or_else(|| "-".into(), time)
}

const TOTALS: &[&str] = &[
    "MESSAGES",
    "BYTES",
    "DROPPED",
    "CONFLATED",
    "LAG",
    "WAKES",
    "SAVED",
    "PARKS",
    "STALLS",
    "UNDECODABLE",
    "BLOCKED",
    "P50",
    "P99",
];
const RATES: &[&str] = &[
    "MSG/S",
    "BYTES/S",
    "DROPPED/S",
    "CONFLATED/S",
    "LAG",
    "WAKES/S",
    "PARKS/S",
    "BLOCKED",
    "P50",
    "P99",
];
