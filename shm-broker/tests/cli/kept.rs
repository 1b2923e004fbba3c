//! `pub --history`, `sub --snapshot`: what was published before a subscription.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Bus, Running, until};

/// Waits until a publisher to the topic keeps so many messages of each.
fn keeps(bus: &Bus, topic: &str, history: u32) {
    until(|| {
        let listing = bus
            .client()
            .list(topic, ringmain::ListTopics::Declared)
            .unwrap();
        let mut publishers = listing.publishers.iter();
        publishers.any(|info| info.history == history)
    });
}

/// Starts a `pub` and waits until it is there.
fn held(bus: &Bus, args: &[&str], history: u32) -> Running {
    let publisher = bus.spawn(&[&["pub"], args].concat());
    keeps(bus, args[0], history);
    publisher
}

#[test]
fn what_was_kept_comes_first_and_is_marked() {
    let bus = Bus::start();
    let mut publisher = held(&bus, &["config/color", "--history", "2"], 2);
    publisher.write("red\ngreen\nblue\n");
    // Some of them before it subscribes, some after.
    let mut early = bus.subscribe(&["config/*", "--snapshot"]);
    while !early.line().ends_with(" config/color blue") {}
    publisher.write("white\n");
    assert_eq!(early.line(), "live config/color white");
    let mut live = bus.subscribe(&["config/*"]);

    // All is published by now, so these begin with the last two.
    let sub = bus.run(&["sub", "config/*", "--snapshot", "--count", "2"]);
    let kept = ["kept config/color blue", "kept config/color white"];
    assert_eq!(sub.done(), kept);
    let sub = bus.run(&["sub", "config/*", "--snapshot", "--count", "2", "--json"]);
    for line in sub.done() {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["snapshot"], true);
    }
    let mut json = bus.subscribe(&["config/*", "--snapshot", "--json"]);
    for _ in 0..2 {
        json.line();
    }
    publisher.write("black\n");
    assert_eq!(live.line(), "config/color black");
    let line: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(
        (&line["value"], line.get("snapshot")),
        (&"black".into(), None)
    );
}

#[test]
fn a_held_message_is_there_until_a_signal() {
    let bus = Bus::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let args = ["config/size", "7", "--history", "1", "--hold"];
        let mut publisher = held(&bus, &args, 1);
        let sub = bus.run(&["sub", "config/*", "--snapshot", "--count", "1"]);
        // It may subscribe before the message is published.
        assert!(sub.done()[0].ends_with(" config/size 7"));
        let sub = bus.run(&["sub", "config/*", "--snapshot", "--count", "1"]);
        assert_eq!(sub.done(), ["kept config/size 7"]);
        assert!(!publisher.has_ended());
        publisher.signal(signal);
        publisher.end().done();
    }
    let complaint = bus.run(&["pub", "a", "x", "--history", "1"]).failed(2);
    assert!(complaint.contains("--hold"), "{complaint}");
}
