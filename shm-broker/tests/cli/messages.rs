//! `pub`, `sub`: messages in, messages out.

use nix::sys::signal::Signal;
use ringmain::message::Bytes;
use serde_json::{Value, json};

use crate::harness::{Bus, until};

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
enum Side {
    Buy,
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.order")]
struct Order {
    price: f64,
    side: Side,
    account: String,
}

#[test]
fn what_is_published_is_printed() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["a/*", "b", "--count", "3"]);
    let published = bus.run(&["pub", "a/x", "one two", "--flush", "60"]);
    assert_eq!((published.code, published.stdout.len()), (Some(0), 0));
    assert_eq!(published.stderr, "");
    bus.run(&["pub", "c", "not asked for"]).done();
    bus.run(&["pub", "b", "2"]).done();
    bus.run(&["pub", "a/y", "\u{1}"]).done();
    assert_eq!(sub.end().done(), ["a/x one two", "b 2", "a/y 01"]);
}

#[test]
fn what_is_excluded_is_not_printed() {
    let bus = Bus::start();
    let sub = bus.subscribe(&[
        "a/**",
        "--exclude",
        "a/x",
        "--exclude",
        "a/*/y",
        "--count",
        "2",
    ]);
    for topic in ["a/x", "a/y", "a/z/y", "a/z"] {
        bus.run(&["pub", topic, topic]).done();
    }
    assert_eq!(sub.end().done(), ["a/y a/y", "a/z a/z"]);
}

#[test]
fn a_queue_shares_messages_and_hands_on_what_a_killed_member_left() {
    let bus = Bus::start();
    let mut victim = bus.subscribe(&["a", "--queue", "q", "--policy", "block"]);
    let mut heir = bus.subscribe(&["a", "--queue", "q", "--policy", "block", "--json"]);
    victim.signal(Signal::SIGSTOP);
    bus.run(&["pub", "a", "1"]).done();
    bus.run(&["pub", "a", "2"]).done();
    let client = bus.client();
    let mut publisher = client.publisher::<Bytes>("a").open().unwrap();
    for text in [b"3", b"4"] {
        assert_eq!(publisher.publish("a", Bytes::new(text)).unwrap().lanes, 1);
    }
    victim.signal(Signal::SIGKILL);
    let mut values = Vec::new();
    while values.len() < 4 {
        let line: Value = serde_json::from_str(&heir.line()).unwrap();
        values.push(line["value"].as_str().unwrap().to_owned());
    }
    values.sort_unstable();
    assert_eq!(values, ["1", "2", "3", "4"]);
    drop(victim.stdout.take());
}

#[test]
fn each_line_of_standard_input_is_a_message() {
    let bus = Bus::start();
    let mut publisher = bus.spawn(&["pub", "a", "--wait-for", "1"]);
    publisher.write("first\n\nlast, without an end");
    drop(publisher.stdin.take());
    let sub = bus.subscribe(&["a", "--count", "3"]);
    publisher.end().done();
    assert_eq!(
        sub.end().done(),
        ["a first", "a ", "a last, without an end"]
    );
}

#[test]
fn a_message_reaches_a_pipe_at_once() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a"]);
    let mut publisher = bus.spawn(&["pub", "a"]);
    for number in 0..3 {
        publisher.write(&format!("{number}\n"));
        assert_eq!(sub.line(), format!("a {number}"));
    }
}

#[test]
fn json_tells_all_about_a_message() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["a", "--count", "1", "--json", "--policy", "block"]);
    bus.run(&["pub", "a", "say \"hi\"\n"]).done();
    let line: Value = serde_json::from_str(&sub.end().done()[0]).unwrap();
    let expected = json!({
        "topic": "a", "sequence": 0, "type": "bytes v1", "publisher": "shm-broker pub", "value": "say \"hi\"\n"
    });
    assert_eq!(line, expected);
}

#[test]
fn timestamps_are_printed_where_there_are_any() {
    let bus = Bus::start();
    let text = bus.subscribe(&["a", "--count", "2", "--timestamps"]);
    let json = bus.subscribe(&["a", "--count", "1", "--json"]);
    let before = ringmain::Clock::Monotonic.now().ns;
    bus.run(&["pub", "a", "x", "--timestamps", "monotonic"])
        .done();
    bus.run(&["pub", "a", "y"]).done();
    let lines = text.end().done();
    let ns = lines[0].strip_prefix("monotonic ").unwrap();
    let ns: u64 = ns.strip_suffix(" a x").unwrap().parse().unwrap();
    assert!(ns > before);
    assert_eq!(lines[1], "- a y");
    let line: Value = serde_json::from_str(&json.end().done()[0]).unwrap();
    assert_eq!(
        line["published_at"],
        json!({"clock": "monotonic", "ns": ns})
    );
}

#[test]
fn a_typed_message_is_printed_with_its_field_names() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["orders/**", "--count", "1"]);
    let client = bus.client();
    let mut publisher = client.publisher::<Order>("orders/*").open().unwrap();
    let order = Order {
        price: 1.5,
        side: Side::Buy,
        account: "a rather long account".into(),
    };
    assert_eq!(publisher.publish("orders/7", &order).unwrap().lanes, 1);
    let expected = r#"orders/7 {"price":1.5,"side":"Buy","account":"a rather long account"}"#;
    assert_eq!(sub.end().done(), [expected]);
}

#[test]
fn a_message_that_nobody_hears_is_told_of() {
    let bus = Bus::start();
    let client = bus.client();
    let published = bus.run(&["pub", "orders/1", "x"]);
    assert!(published.stderr.contains("nobody listens to orders/1"));
    assert_eq!((published.code, published.stdout.len()), (Some(0), 0));
    let _typed = client.subscriber::<Order>("orders/*").open().unwrap();
    let published = bus.run(&["pub", "orders/1", "x"]);
    assert!(published.stderr.contains("another type"), "{published:?}");
    assert!(published.stderr.contains("--typed"), "{published:?}");
}

#[test]
fn whoever_waits_for_subscribers_gives_up_in_time() {
    let bus = Bus::start();
    let complaint = bus
        .run(&["pub", "a", "x", "--wait-for", "2", "--timeout", "0.1"])
        .failed(1);
    assert!(complaint.contains("0 of 2 subscribers"), "{complaint}");
    let complaint = bus
        .run(&["sub", "a", "--count", "1", "--timeout", "0.1"])
        .failed(1);
    assert!(complaint.contains("0 of 1 messages"), "{complaint}");
    assert!(bus.run(&["sub", "a", "--timeout", "0.1"]).done().is_empty());
    bus.run(&["sub", "a", "--timeout", "-1"]).failed(2);
}

#[test]
fn lost_messages_are_told_of_and_end_in_exit_code_3() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a", "--count", "2000"]);
    let client = bus.client();
    let mut publisher = client.publisher::<Bytes>("a").open().unwrap();
    let message = [b'x'; 1000];
    let mut publish = || {
        publisher
            .publish("a", Bytes::new(&message))
            .unwrap()
            .dropped
    };
    // A ring holds fewer than the sub waits for.
    sub.signal(Signal::SIGSTOP);
    until(|| publish() > 0);
    sub.signal(Signal::SIGCONT);
    until(|| {
        publish();
        sub.has_ended()
    });
    let complaint = sub.end().failed(3);
    assert!(complaint.contains("are lost"), "{complaint}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_sub_quietly() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a"]);
    drop(sub.stdout.take());
    let client = bus.client();
    let mut publisher = client.publisher::<Bytes>("a").open().unwrap();
    until(|| {
        publisher.publish("a", Bytes::new(b"x")).unwrap();
        sub.has_ended()
    });
    let ended = sub.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
