//! Counters as a table.

use std::time::Duration;

use ringmain::counters::Scan;

use super::By;
use super::rows::{Sum, headings, rows};
use crate::table::{Align, Table};

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

fn time(time: Duration) -> String {
    let ns = time.as_nanos() as f64;
    match ns {
        0.0 => "0".into(),
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} us", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.1} s", ns / 1e9),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        ..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

const TOTALS: &[&str] = &[
    "MESSAGES",
    "BYTES",
    "DROPPED",
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
    "LAG",
    "WAKES/S",
    "PARKS/S",
    "BLOCKED",
    "P50",
    "P99",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let times = [0, 999, 1_500, 2_500_000, 60_000_000_000].map(Duration::from_nanos);
        assert_eq!(
            times.map(time),
            ["0", "999 ns", "1.5 us", "2.5 ms", "60.0 s"]
        );
        let sizes = [9_999.0, 12_345.0, 1.5e6, 2e9];
        assert_eq!(sizes.map(bytes), ["9999 B", "12.3 kB", "1.5 MB", "2.0 GB"]);
    }
}
