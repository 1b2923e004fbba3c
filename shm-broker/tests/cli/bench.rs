//! `bench`: all of it runs, nothing is lost, the last line is what programs read.

use serde_json::Value;

use crate::harness::{Running, run};

/// Runs a benchmark so shortly that its figures mean nothing; gives its last line.
fn bench(args: &[&str]) -> Value {
    last_line(&[args, &["--seconds", "0.3"]].concat())
}

fn last_line(args: &[&str]) -> Value {
    let temporary = tempfile::tempdir().unwrap();
    let args = [&["bench"], args, &["--json"]].concat();
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

fn assert_ratio(figures: &Value) {
    let ratios = ["ratio_min", "ratio", "ratio_max"].map(|name| figures[name].as_f64().unwrap());
    // On a loaded machine a round can be thousands of times slower than the other, and the ratio is rounded.
    assert!(ratios.is_sorted() && ratios[2] > 0.0, "{figures}");
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
        assert_ratio(&last);
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

/// Figures mean nothing here, so nothing is said of them; what was counted is.
#[test]
fn a_stalled_subscriber_costs_others_no_message_and_its_publisher_one_deadline() {
    let brief = ["--rounds", "2", "--seconds", "0.4", "--deadline-ms", "20"];
    let last = last_line(&[&["stalled"], &brief[..]].concat());
    let policies = last["policies"].as_array().unwrap();
    let names: Vec<_> = policies.iter().map(|policy| &policy["policy"]).collect();
    assert_eq!(
        names,
        [
            "block",
            "drop-newest",
            "drop-oldest",
            "conflate",
            "disconnect"
        ]
    );
    for policy in policies {
        assert_eq!(policy["lost"], 0, "{policy}");
        let count = |name: &str| policy[name].as_u64().unwrap();
        assert!(count("published") > 0, "{policy}");
        match policy["policy"].as_str().unwrap() {
            "block" | "drop-newest" => {
                assert!(
                    (1..count("published")).contains(&count("dropped")),
                    "{policy}"
                );
            }
            // The message at which the lane ended, in each round.
            "disconnect" => assert_eq!(count("dropped"), 2, "{policy}"),
            // What it was lent gave way.
            _ => assert_eq!(count("dropped"), 0, "{policy}"),
        }
        assert_latencies(&policy["undisturbed"]);
        assert_latencies(&policy["stalled"]);
        assert_ratio(policy);
        let wait = &policy["wait"];
        assert_eq!(wait.is_object(), policy["policy"] == "block", "{policy}");
        if wait.is_object() {
            assert_eq!(wait["stalls"], serde_json::json!([1, 1]), "{policy}");
            let blocked = [0, 1].map(|index| wait["blocked_ms"][index].as_f64().unwrap());
            assert!(blocked[0] >= 20.0 && blocked.is_sorted(), "{policy}");
            assert_latencies(&wait["after"]);
            assert_ratio(wait);
        }
    }
}

#[test]
fn one_policy_can_be_chosen() {
    let last = bench(&[
        "stalled",
        "--policy",
        "conflate",
        "--rounds",
        "1",
        "--subscribers",
        "1",
        "--deadline-ms",
        "1",
    ]);
    assert_eq!(last["policies"].as_array().unwrap().len(), 1);
    assert_eq!(last["policies"][0]["policy"], "conflate");
    assert_eq!(last["subscribers"], 1);
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
        (&["stalled", "--size", "20"], "multiple of 8"),
        (&["stalled", "--policy", "none"], "all, or one of block"),
        (&["stalled", "--rate", "10"], "do not fill"),
        (&["stalled", "--deadline-ms", "900"], "a quarter"),
    ] {
        let ended = run(&[&["bench"], args].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}
