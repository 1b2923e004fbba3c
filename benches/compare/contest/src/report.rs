//! The results as tables, and as lines of JSON.

use compare_harness::{Touch, Wait, Workload};
use serde_json::{Map, Value, json};

use crate::figures::{Figure, Results, Row, Spread, is_limit};
use crate::table::{Table, digits, rate, time};

/// The rows of one case, the best first within a way of waiting.
pub fn figures(results: &Results) -> Table {
    let is_rtt = results.case.is_rtt();
    let mut heading = vec!["contender", "waits", "pinned"];
    heading.extend(match is_rtt {
        true => &["p50", "from", "to", "p99"][..],
        false if results.case.fanout > 1 => &["deliveries/s", "from", "to", "GB/s", "lost"],
        false => &["messages/s", "from", "to", "GB/s", "lost"],
    });
    heading.extend(["processors", "memory"]);
    let mut table = Table::new(heading);
    for row in sorted(results) {
        let mut cells = vec![name(row), wait(row.mode.wait).to_owned()];
        cells.push(if row.mode.pinned { "yes" } else { "no" }.to_owned());
        let Some(spread) = row.spread(Figure::main(&results.case)) else {
            cells.push("failed".to_owned());
            table.row(cells);
            continue;
        };
        let all = [spread.median, spread.min, spread.max];
        if is_rtt {
            cells.extend(all.map(time));
            cells.extend(row.spread(Figure::P99).map(|p99| time(p99.median)));
        } else {
            cells.extend(all.map(rate));
            let bytes_per_s = spread.median * results.case.size_bytes as f64;
            cells.push(match results.case.touch {
                Touch::Full => digits(bytes_per_s / 1e9),
                Touch::Line => String::new(),
            });
            cells.push(lost(row));
        }
        cells.push(format!("{} s", digits(row.median(|figures| figures.cpu_s))));
        let mebibytes = row.median(|figures| figures.memory_bytes as f64) / 1024.0 / 1024.0;
        cells.push(format!("{mebibytes:.0} MiB"));
        table.row(cells);
    }
    table
}

/// What is compared of a workload, and how to read it.
pub fn ratios_of_workload(workload: Workload) -> Vec<(Figure, &'static str)> {
    match workload {
        Workload::Rtt => vec![
            (
                Figure::P50,
                "p50 of ringmain divided by that of others, less is better: median of the rounds, and range",
            ),
            (
                Figure::P99,
                "p99 of ringmain divided by that of others, less is better: median of the rounds, and range",
            ),
        ],
        _ => vec![(
            Figure::Rate,
            "Rate of ringmain divided by that of others, more is better: median of the rounds, and range",
        )],
    }
}

/// Our rows of a workload, each divided by what it is compared with.
pub fn ratios(all: &[Results], workload: Workload, figure: Figure) -> Table {
    let of_workload = || {
        all.iter()
            .filter(|results| results.case.workload == workload)
    };
    let mut names: Vec<&str> = Vec::new();
    for row in of_workload().flat_map(|results| &results.rows) {
        let name = row.mode.contender.strip_suffix("-batch");
        let name = name.unwrap_or(&row.mode.contender);
        if !row.is_ringmain() && !names.contains(&name) {
            names.push(name);
        }
    }
    let heading = ["message", "ringmain"]
        .into_iter()
        .chain(names.iter().copied());
    let mut table = Table::new(heading);
    for results in of_workload() {
        for own in results.rows.iter().filter(|row| row.is_ringmain()) {
            let rivals = results.rivals(own);
            let cells = names.iter().map(|name| {
                let of_name = |rival: &&&Row| {
                    let contender = &rival.mode.contender;
                    contender.strip_suffix("-batch").unwrap_or(contender) == *name
                };
                let rival = rivals.iter().find(of_name);
                let ratio = rival.and_then(|rival| own.ratio(rival, figure));
                ratio.map(of_spread).unwrap_or_default()
            });
            table.row(
                [results.case.name(), described(own)]
                    .into_iter()
                    .chain(cells),
            );
        }
    }
    table
}

/// Where another library is better than the best that we have for receivers that poll, or for those that sleep.
pub fn losses(all: &[Results]) -> Table {
    let mut table = Table::new([
        "workload",
        "message",
        "ringmain",
        "better",
        "by a factor of",
    ]);
    for results in all {
        let figure = Figure::main(&results.case);
        for is_busy in [true, false] {
            let ours = |row: &&Row| row.is_ringmain() && row.is_busy() == is_busy;
            let Some(own) = results.best(results.rows.iter().filter(ours)) else {
                continue;
            };
            let rivals = results.rivals(own).into_iter();
            for rival in rivals.filter(|rival| !is_limit(&rival.mode.contender)) {
                let factor = rival.ratio(own, figure).map(|ratio| match figure {
                    Figure::Rate => ratio.median,
                    Figure::P50 | Figure::P99 => 1.0 / ratio.median,
                });
                if let Some(factor) = factor.filter(|factor| *factor > 1.0) {
                    let workload = format!("{:?}", results.case.workload).to_lowercase();
                    table.row([
                        workload,
                        results.case.name(),
                        described(own),
                        described(rival),
                        digits(factor),
                    ]);
                }
            }
        }
    }
    table
}

/// What our round trips with messages of which one line is touched take, beside those with messages that are not longer.
pub fn handing_over(all: &[Results]) -> Table {
    let mut table = Table::new(["ringmain", "message", "its p50 / that of 64 B"]);
    let is_small = |results: &&Results| results.case.size_bytes == 64;
    let small = all
        .iter()
        .filter(|results| results.case.is_rtt())
        .find(is_small);
    let is_large = |results: &&Results| results.case.is_rtt() && results.case.touch == Touch::Line;
    for large in all.iter().filter(is_large) {
        for row in large.rows.iter().filter(|row| row.is_ringmain()) {
            let same = |other: &&Row| other.mode == row.mode;
            let other = small.and_then(|small| small.rows.iter().find(same));
            if let Some(ratio) = other.and_then(|other| row.ratio(other, Figure::P50)) {
                table.row([described(row), large.case.name(), of_spread(ratio)]);
            }
        }
    }
    table
}

/// What a subscriber more costs, for all who were measured with 4 and with 16.
pub fn per_subscriber(all: &[Results]) -> Table {
    let mut table = Table::new(["contender", "waits", "message", "ns per extra subscriber"]);
    for few in all {
        let same = |many: &&Results| {
            (many.case.workload, many.case.size_bytes) == (few.case.workload, few.case.size_bytes)
                && many.case.fanout > few.case.fanout
        };
        let Some(many) = all.iter().find(same) else {
            continue;
        };
        for row in &few.rows {
            let Some(other) = many.rows.iter().find(|other| other.mode == row.mode) else {
                continue;
            };
            let per_message = |row: &Row, fanout: usize| {
                Some(fanout as f64 * 1e9 / row.spread(Figure::Rate)?.median)
            };
            let (Some(one), Some(two)) = (
                per_message(row, few.case.fanout),
                per_message(other, many.case.fanout),
            ) else {
                continue;
            };
            let ns = (two - one) / (many.case.fanout - few.case.fanout) as f64;
            table.row([
                name(row),
                wait(row.mode.wait).to_owned(),
                format!("{} B", few.case.size_bytes),
                digits(ns),
            ]);
        }
    }
    table
}

/// One value for each row.
pub fn json(results: &Results) -> Vec<Value> {
    let case = &results.case;
    let values = sorted(results).into_iter().map(|row| {
        let median = |figure| row.spread(figure).map(|spread| spread.median.round());
        let spread = row.spread(Figure::main(case));
        let mut value = json!({
            "workload": case.workload,
            "contender": row.mode.contender,
            "size": case.size_bytes,
            "fanout": case.fanout,
            "wait": row.mode.wait,
            "p50_ns": median(Figure::P50),
            "p99_ns": median(Figure::P99),
            "msgs_per_s": median(Figure::Rate),
            "lost": row.sum(|figures| figures.lost),
            "corrupt": row.sum(|figures| figures.corrupt),
            "touch": case.touch,
            "variant": row.mode.variant,
            "pinned": row.mode.pinned,
            "rounds": row.rounds.iter().flatten().count(),
            "min": spread.map(|spread| spread.min.round()),
            "max": spread.map(|spread| spread.max.round()),
            "cpu_s": thousandths(row.median(|figures| figures.cpu_s)),
            "memory_bytes": row.median(|figures| figures.memory_bytes as f64),
        });
        if row.is_ringmain() {
            value["ratios"] = Value::Object(ratios_of(results, row));
        }
        value
    });
    values.collect()
}

/// Ringmain divided by each other one: median, least, greatest of the rounds.
fn ratios_of(results: &Results, own: &Row) -> Map<String, Value> {
    let figure = Figure::main(&results.case);
    let rivals = results.rivals(own).into_iter();
    let ratios = rivals.filter_map(|rival| {
        let Spread { median, min, max } = own.ratio(rival, figure)?;
        let ratio = [median, min, max].map(thousandths);
        Some((rival.mode.contender.clone(), json!(ratio)))
    });
    ratios.collect()
}

/// By way of waiting, then by what decides.
fn sorted(results: &Results) -> Vec<&Row> {
    let figure = Figure::main(&results.case);
    let mut rows: Vec<&Row> = results.rows.iter().collect();
    rows.sort_by(|one, other| {
        let key = |row: &Row| match (row.spread(figure), figure) {
            (None, _) => f64::INFINITY,
            (Some(spread), Figure::Rate) => -spread.median,
            (Some(spread), _) => spread.median,
        };
        let wait = one.mode.wait.cmp(&other.mode.wait);
        wait.then(key(one).total_cmp(&key(other)))
    });
    rows
}

/// Contender and variant.
pub fn name(row: &Row) -> String {
    match &*row.mode.variant {
        "" => row.mode.contender.clone(),
        variant => format!("{} ({variant})", row.mode.contender),
    }
}

/// The same, with how it waits and where.
fn described(row: &Row) -> String {
    let pinned = if row.mode.pinned { ", pinned" } else { "" };
    format!("{}, {}{pinned}", name(row), wait(row.mode.wait))
}

pub fn wait(wait: Wait) -> &'static str {
    match wait {
        Wait::Spin => "spin",
        Wait::Yield => "yield",
        Wait::Park => "park",
        Wait::Async => "async",
    }
}

fn lost(row: &Row) -> String {
    let lost = row.sum(|figures| figures.lost);
    match row.sum(|figures| figures.corrupt) {
        0 => lost.to_string(),
        corrupt => format!("{lost}, {corrupt} corrupt"),
    }
}

fn of_spread(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{} ({} - {})", digits(median), digits(min), digits(max))
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
