//! The document: tables and plots in the place that is marked for them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use compare_harness::Workload;

use crate::figures::{Figure, Results, Row};
use crate::plot::{Line, Plot};
use crate::report;

/// Writes the plots into `compare/` of this folder, and all tables into `performance.md`, between the marks.
pub fn write(folder: &Path, all: &[Results], about: &str) -> Result<()> {
    let plots = folder.join(PLOTS);
    fs::create_dir_all(&plots)?;
    let mut text = format!("\n{about}\n");
    let names = contenders(all);
    for workload in WORKLOADS {
        let of_workload: Vec<&Results> = all
            .iter()
            .filter(|results| results.case.workload == workload)
            .collect();
        if of_workload.is_empty() {
            continue;
        }
        text += &format!("\n### {}\n", title(workload));
        for (name, plot) in plots_of(workload, &names, &of_workload) {
            plot.write(&plots.join(&name))?;
            text += &format!("\n![{}]({PLOTS}/{name})\n", plot.title);
        }
        for (figure, what) in report::ratios_of_workload(workload) {
            text += &format!("\n{what}\n\n");
            text += &report::ratios(all, workload, figure).markdown();
        }
        if workload == Workload::Rtt {
            text += "\nWhat it takes to hand over a large message:\n\n";
            text += &report::handing_over(all).markdown();
        }
        if workload == Workload::Fanout {
            text += "\nWhat each further subscriber costs:\n\n";
            text += &report::per_subscriber(all).markdown();
        }
        for results in of_workload {
            let name = results.case.name();
            text += &format!("\n<details><summary>All figures: {name}</summary>\n\n");
            text += &report::figures(results).markdown();
            text += "\n</details>\n";
        }
    }
    text += "\n### Where we lose\n\n";
    text += &report::losses(all).markdown();
    let path = folder.join("performance.md");
    let document = fs::read_to_string(&path)?;
    let (before, rest) = document
        .split_once(BEGIN)
        .context("no place for the tables")?;
    let (_, after) = rest.split_once(END).context("no end of that place")?;
    fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}"))?;
    Ok(())
}

/// One plot of those who are busy while they wait, one of the others; of streams one of all.
fn plots_of(workload: Workload, names: &[&str], all: &[&Results]) -> Vec<(String, Plot)> {
    let parts: &[(&str, &str, Takes)] = match workload {
        Workload::Rtt => &[
            ("rtt-busy.svg", "receivers poll", Row::is_busy),
            ("rtt-asleep.svg", "receivers sleep", |row| !row.is_busy()),
        ],
        Workload::Throughput => &[("throughput.svg", "each in its best way", |_| true)],
        Workload::Fanout => &[("fanout.svg", "each in its best way", |_| true)],
        Workload::Frames => &[("frames.svg", "each in its best way", |_| true)],
    };
    let plots = parts.iter().map(|(file, how, takes)| {
        let figure = match workload {
            Workload::Rtt => "p50, ns",
            Workload::Throughput => "messages per second",
            _ => "deliveries per second",
        };
        let plot = Plot {
            title: format!("{}: {how}", title(workload)),
            figure,
            cases: all.iter().map(|results| results.case.name()).collect(),
            lines: lines(names, all, takes),
        };
        (file.to_string(), plot)
    });
    plots.collect()
}

/// Which rows a plot shows.
type Takes = fn(&Row) -> bool;

/// A line for each contender: its best row of each case.
fn lines(names: &[&str], all: &[&Results], takes: &Takes) -> Vec<Line> {
    let values = |name: &str, results: &Results| {
        let of_name = |row: &&Row| row.mode.contender == name && takes(row);
        let best = results.best(results.rows.iter().filter(of_name))?;
        best.spread(Figure::main(&results.case))
    };
    let lines = names.iter().enumerate().map(|(color, name)| Line {
        name: (*name).to_owned(),
        color,
        values: all.iter().map(|results| values(name, results)).collect(),
    });
    lines
        .filter(|line| line.values.iter().any(Option::is_some))
        .collect()
}

/// Each name once, so that each has one color in all plots.
fn contenders(all: &[Results]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in all.iter().flat_map(|results| &results.rows) {
        let name = row.mode.contender.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn title(workload: Workload) -> &'static str {
    match workload {
        Workload::Rtt => "Round trip",
        Workload::Throughput => "One way",
        Workload::Fanout => "One to several",
        Workload::Frames => "Frames of 10 MB, one to three",
    }
}

const WORKLOADS: [Workload; 4] = [
    Workload::Rtt,
    Workload::Throughput,
    Workload::Fanout,
    Workload::Frames,
];
const PLOTS: &str = "compare";
const BEGIN: &str = "<!-- comparison: written by benches/compare/run.sh --docs -->";
const END: &str = "<!-- end of the comparison -->";
