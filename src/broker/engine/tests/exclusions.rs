//! Subscriptions minus patterns.

use super::*;

fn excluding(patterns: &[&str], excludes: &[&str]) -> SubscriberSpec {
    SubscriberSpec {
        excludes: excludes.iter().map(ToString::to_string).collect(),
        ..subscribing(patterns)
    }
}

/// The lanes that a publisher of `topic` has to such a subscriber, whoever comes first.
fn lanes(topic: &str, spec: &SubscriberSpec) -> [usize; 2] {
    [true, false].map(|publisher_first| {
        let mut bus = Bus::new();
        let (p, s) = (bus.join("p"), bus.join("s"));
        let open = ToBroker::OpenSubscriber {
            request: 1,
            subscriber: 1,
            spec: spec.clone(),
        };
        if publisher_first {
            bus.publisher(p, 1, topic);
        }
        bus.send(s, open);
        if !publisher_first {
            bus.publisher(p, 1, topic);
        }
        set_lanes(&bus.drain(p)).len()
    })
}

#[test]
fn a_publisher_all_of_whose_topics_are_excluded_gets_no_lane() {
    for (topic, excludes, expected) in [
        ("log/debug", &["log/debug"][..], 0),
        ("log/*", &["log/debug"], 1),
        ("log/*", &["log/debug", "log/**"], 0),
        ("log/**", &["log/*"], 1),
        ("log/*/x", &["log/a/*", "log/*/y"], 1),
    ] {
        let spec = excluding(&["log/**"], excludes);
        assert_eq!(lanes(topic, &spec), [expected; 2], "{topic} {excludes:?}");
    }
}
