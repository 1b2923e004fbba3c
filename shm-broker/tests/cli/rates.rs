//! `sub --rate`: how many messages come, of what sizes.

use nix::sys::signal::Signal;
use ringmain::message::Bytes;
use serde_json::Value;

use crate::harness::{Bus, Running, until};

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The line of all, once it is asked to end.
fn total(sub: Running, code: i32) -> Value {
    sub.signal(Signal::SIGTERM);
    let ended = sub.end();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let last = json(ended.stdout.last().unwrap());
    assert_eq!(last["total"], true);
    last
}

#[test]
fn rates_tell_numbers_and_sizes_and_zeros_when_nothing_comes() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a/*", "--rate", "--json"]);
    let nothing = json(&sub.line());
    for zero in ["messages", "bytes", "lost", "skipped"] {
        assert_eq!(nothing[zero], 0, "{nothing}");
    }
    for zero in ["messages_per_second", "bytes_per_second"] {
        assert_eq!(nothing[zero], 0.0, "{nothing}");
    }
    assert_eq!(nothing["largest_bytes"], Value::Null);
    assert!(nothing["seconds"].as_f64().unwrap() >= 1.0);

    let client = bus.client();
    let mut publisher = client.publisher::<Bytes>("a/*").open().unwrap();
    for len in [40, 10, 130] {
        let delivery = publisher
            .publish("a/1", Bytes::new(&vec![b'x'; len]))
            .unwrap();
        assert_eq!(delivery.lanes, 1);
    }
    let mut messages = 0;
    until(|| {
        let line = json(&sub.line());
        let now = line["messages"].as_u64().unwrap();
        let rate = now as f64 / line["seconds"].as_f64().unwrap();
        assert!((line["messages_per_second"].as_f64().unwrap() - rate).abs() < 1e-6);
        messages += now;
        messages == 3
    });
    let all = total(sub, 0);
    assert_eq!((&all["messages"], &all["bytes"]), (&3.into(), &180.into()));
    assert_eq!(
        (&all["smallest_bytes"], &all["largest_bytes"]),
        (&10.into(), &130.into())
    );
    assert_eq!(all["mean_bytes"], 60.0);
}

#[test]
fn rates_end_with_a_line_of_all() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a", "--rate"]);
    let heading = sub.line();
    assert!(
        heading.contains("MSG/S") && heading.contains("LOST"),
        "{heading}"
    );
    sub.signal(Signal::SIGINT);
    let lines = sub.end().done();
    assert!(
        lines.last().unwrap().trim().starts_with("all "),
        "{lines:?}"
    );

    let sub = bus.subscribe(&["a", "--rate", "--count", "2"]);
    for _ in 0..2 {
        bus.run(&["pub", "a", "x"]).done();
    }
    let lines = sub.end().done();
    assert!(
        lines.last().unwrap().trim().starts_with("all "),
        "{lines:?}"
    );
    let lines = bus.run(&["sub", "a", "--rate", "--timeout", "0.1"]).done();
    assert_eq!(lines.len(), 2, "{lines:?}");
    bus.run(&["sub", "a", "--rate", "--snapshot"]).failed(2);
}

#[test]
fn whoever_counts_holds_nobody_up_and_tells_what_it_missed() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a", "--rate", "--json"]);
    let client = bus.client();
    let mut publisher = client.publisher::<Bytes>("a").open().unwrap();
    sub.signal(Signal::SIGSTOP);
    for _ in 0..5000 {
        let delivery = publisher.publish("a", Bytes::new(&[b'x'; 1000])).unwrap();
        // Nothing is waited for, nor dropped: older ones give way.
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
    }
    sub.signal(Signal::SIGCONT);
    let mut accounted = 0;
    until(|| {
        let line = json(&sub.line());
        accounted += line["messages"].as_u64().unwrap() + line["lost"].as_u64().unwrap();
        accounted >= 5000
    });
    let all = total(sub, 3);
    let [messages, lost] = ["messages", "lost"].map(|name| all[name].as_u64().unwrap());
    assert_eq!(messages + lost, 5000);
    assert!(messages > 0 && lost > 0, "{all}");
}
