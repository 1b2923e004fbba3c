//! `bench`: both contenders run, nothing is lost, the last line is what programs read.

use serde_json::Value;

use crate::harness::{Running, run};

/// Runs a benchmark so shortly that its figures mean nothing; gives its last line.
fn bench(args: &[&str]) -> Value {
    let temporary = tempfile::tempdir().unwrap();
    let args = [&["bench"], args, &["--seconds", "0.3", "--json"]].concat();
    let lines = Running::start_in(&args, temporary.path()).end().done();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "its directory is removed");
    serde_json::from_str(&lines[0]).unwrap()
}

fn assert_latencies(figures: &Value) {
    let names = ["p50_ns", "p99_ns", "p999_ns", "max_ns"];
    let values = names.map(|name| figures[name].as_f64().unwrap());
    assert!(values[0] > 0.0 && values.is_sorted(), "{figures}");
}

fn assert_rate(figures: &Value) {
    assert!(figures["msgs_per_s"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(figures["gb_per_s"].is_f64(), "{figures}");
    assert_eq!(figures["lost"], 0);
}

#[test]
fn round_trips_are_measured_however_somebody_waits() {
    for args in [
        &["--size", "48", "--wait", "spin"][..],
        &["--wait", "park"],
        &["--size", "4000", "--transport", "memory"],
        &["--rate", "1000", "--wait", "park"],
        &["--size", "48", "--wait", "async"],
        &["--transport", "tcp", "--wait", "park"],
    ] {
        let last = bench(&[&["rtt"], args].concat());
        assert_latencies(&last);
        assert_latencies(&last["raw"]);
        // On a loaded machine a round can be thousands of times slower than the other, and the ratio is rounded.
        let ratios = ["ratio_min", "ratio", "ratio_max"].map(|name| last[name].as_f64().unwrap());
        assert!(ratios.is_sorted() && ratios[2] > 0.0, "{last}");
    }
}

#[test]
fn streams_arrive_whole() {
    for args in [
        &["throughput"][..],
        &["throughput", "--batch", "32"],
        &["throughput", "--transport", "memory", "--size", "1048576"],
        &["throughput", "--transport", "tcp", "--size", "1024"],
        &["throughput", "--wait", "async"],
        &["fanout", "--subscribers", "3"],
    ] {
        let last = bench(args);
        assert_rate(&last);
        assert_rate(&last["raw"]);
        assert!(last["p50_ns"].is_null(), "no latency without --rate");
    }
}

#[test]
fn a_stream_with_a_rate_has_latencies() {
    let last = bench(&["throughput", "--rate", "5000"]);
    for figures in [&last, &last["raw"]] {
        assert_rate(figures);
        assert_latencies(figures);
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_reason() {
    for (args, reason) in [
        (&["rtt", "--size", "20"][..], "multiple of 8"),
        (&["rtt", "--size", "8"], "from 16"),
        (&["rtt", "--batch", "2"], "an answer is waited for"),
        (&["throughput", "--subscribers", "2"], "have one"),
        (&["fanout", "--transport", "tcp"], "--transport tcp"),
        (&["rtt", "--rate", "0"], "messages per second"),
    ] {
        let ended = run(&[&["bench"], args].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}
