//! `demo`: nothing is lost, nothing is left.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Running, run};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Children of a process whose command line contains a text.
fn children(of: i32, text: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    // Other processes may end meanwhile.
    let read = |pid: i32, file| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let parent = format!("PPid:\t{of}");
    pids.filter(|pid| {
        read(*pid, "status").is_ok_and(|status| status.lines().any(|line| line == parent))
            && read(*pid, "cmdline").is_ok_and(|line| line.contains(text))
    })
    .collect()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn all_quotes_of_all_passes_are_delivered() {
    for (file, rows) in [("compact.csv", 5), ("heading.csv", 3), ("trades.json", 4)] {
        let temporary = tempfile::tempdir().unwrap();
        let ticks = fixture(file);
        let args = [
            "demo",
            "--ticks",
            &ticks,
            "--seconds",
            "1",
            "--subscribers",
            "2",
            "--json",
        ];
        let lines = Running::start_in(&args, temporary.path()).end().done();
        let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        let subscribers = last["subscribers"].as_array().unwrap();
        assert_eq!(subscribers.len(), 2);
        for figures in subscribers {
            let messages = figures["messages"].as_u64().unwrap();
            // Half a second is paced: 50,000 quotes.
            assert!(
                messages > 50_000 && messages.is_multiple_of(rows),
                "{figures}"
            );
            assert_eq!(figures["messages"], subscribers[0]["messages"]);
            assert_eq!(figures["gaps"], 0);
            let figure = |name: &str| figures[name].as_u64().unwrap();
            assert!(0 < figure("p50_ns") && figure("p50_ns") <= figure("p99_ns"));
            assert!(figure("p99_ns") <= figure("p999_ns") && figure("p999_ns") <= figure("max_ns"));
            assert!(figure("msgs_per_s") > 0);
        }
        assert!(is_empty(temporary.path()));
    }
}

#[test]
fn without_a_file_quotes_are_made_up_and_a_table_is_printed() {
    let lines = run(&["demo", "--seconds", "0.5", "--subscribers", "1"]).done();
    assert!(
        lines[0].contains("p99.9 us") && lines.len() == 2,
        "{lines:?}"
    );
}

#[test]
fn a_file_that_is_not_understood_is_refused() {
    let complaint = |name: &str| run(&["demo", "--ticks", &fixture(name)]).failed(2);
    let bad_row = complaint("bad_row.csv");
    assert!(
        bad_row.contains("line 3 of") && bad_row.contains("86.6x6"),
        "{bad_row}"
    );
    let bad_trade = complaint("bad_trade.json");
    assert!(
        bad_trade.contains("trade 2: \"x\" is no side") && bad_trade.contains("[price, volume"),
        "{bad_trade}"
    );
    assert!(complaint("candles.csv").contains("timestamp or time, bid, ask"));
    assert!(complaint("missing.csv").contains("cannot read"));
}

#[test]
fn a_process_that_dies_fails_the_demo_and_leaves_nothing() {
    for victim in ["demo-subscriber", "demo-publisher", "serve"] {
        let temporary = tempfile::tempdir().unwrap();
        let args = ["demo", "--seconds", "60", "--subscribers", "2"];
        let mut demo = Running::start_in(&args, temporary.path());
        demo.stderr.find("measuring latency");
        let pid = children(demo.pid(), victim)[0];
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let complaint = demo.end().failed(1);
        assert!(
            complaint.contains("ended too early"),
            "{victim}: {complaint}"
        );
        assert!(is_empty(temporary.path()), "{victim}");
    }
}

#[test]
fn a_signal_ends_the_demo_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Running::start_in(&["demo", "--seconds", "60"], temporary.path());
    demo.stderr.find("warming up");
    demo.signal(Signal::SIGTERM);
    let complaint = demo.end().failed(1);
    assert!(complaint.contains("SIGTERM"), "{complaint}");
    assert!(is_empty(temporary.path()));
}

#[test]
fn no_child_outlives_a_killed_demo() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Running::start_in(&["demo", "--seconds", "60"], temporary.path());
    demo.stderr.find("warming up");
    assert_eq!(children(demo.pid(), "").len(), 6);
    demo.signal(Signal::SIGKILL);
    // The children have the same standard error: its end is theirs.
    demo.stderr.rest();
    assert_eq!(demo.end().code, None);
}
