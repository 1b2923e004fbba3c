//! `sub --policy`: what becomes of messages that come faster than they are printed.

use nix::sys::signal::Signal;
use ringmain::message::Bytes;
use ringmain::{Client, Publisher};
use serde_json::Value;

use crate::harness::{Bus, until};

/// More than a ring holds.
const MANY: u32 = 2000;

fn publisher(client: &Client) -> Publisher<Bytes> {
    client.publisher::<Bytes>("a").open().unwrap()
}

/// A message of a kilobyte that begins with its number.
fn numbered(number: u32) -> Vec<u8> {
    format!("{number:<1000}").into_bytes()
}

fn number(text: &str) -> u32 {
    text.trim().parse().unwrap()
}

#[test]
fn each_policy_is_the_one_that_the_broker_knows() {
    let bus = Bus::start();
    for policy in [
        "block",
        "drop-newest",
        "drop-oldest",
        "conflate",
        "disconnect",
    ] {
        let topic = format!("of/{policy}");
        let _sub = bus.subscribe(&[&topic, "--policy", policy]);
        let listing: Value =
            serde_json::from_str(&bus.run(&["ls", &topic, "--json"]).done()[0]).unwrap();
        let shown = listing["subscribers"][0]["overflow"].as_str().unwrap();
        assert_eq!(shown.split(' ').next(), Some(policy));
        let text = bus.run(&["ls", &topic]).done().join("\n");
        assert!(text.contains(&format!("  {shown}")), "{text}");
    }
}

#[test]
fn conflated_messages_say_how_many_they_stand_for() {
    let bus = Bus::start();
    let mut text = bus.subscribe(&["a", "--policy", "conflate"]);
    let mut json = bus.subscribe(&["a", "--policy", "conflate", "--json"]);
    let client = bus.client();
    let mut publisher = publisher(&client);
    for sub in [&text, &json] {
        sub.signal(Signal::SIGSTOP);
    }
    for message in 0..MANY {
        let message = numbered(message);
        let delivery = publisher.publish("a", Bytes::new(&message)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (2, 0));
    }
    for sub in [&text, &json] {
        sub.signal(Signal::SIGCONT);
    }
    let (mut told, mut last) = (0, 0);
    while told < MANY {
        let line = text.line();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!((cells.len(), cells[1]), (3, "a"), "{line}");
        told += 1 + number(cells[0]);
        last = number(cells[2]);
    }
    assert_eq!((told, last), (MANY, MANY - 1));
    let (mut told, mut last) = (0, 0);
    while told < MANY {
        let line: Value = serde_json::from_str(&json.line()).unwrap();
        let skipped = line.get("skipped").map_or(0, |skipped| {
            let skipped = skipped.as_u64().unwrap() as u32;
            assert!(skipped > 0);
            skipped
        });
        told += 1 + skipped;
        assert_eq!(line["sequence"], told - 1);
        last = number(line["value"].as_str().unwrap());
    }
    assert_eq!((told, last), (MANY, MANY - 1));
}

#[test]
fn what_gave_way_to_newer_messages_is_told_of() {
    let bus = Bus::start();
    let mut sub = bus.subscribe(&["a", "--policy", "drop-oldest"]);
    let client = bus.client();
    let mut publisher = publisher(&client);
    sub.signal(Signal::SIGSTOP);
    for message in 0..MANY {
        let message = numbered(message);
        let delivery = publisher.publish("a", Bytes::new(&message)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
    }
    sub.signal(Signal::SIGCONT);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(MANY - 1)) {
        let line = sub.line();
        numbers.push(number(line.strip_prefix("a ").unwrap()));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    let (mut lost, missing) = (0, MANY - numbers.len() as u32);
    while lost < missing {
        let line = sub.stderr.find("are lost");
        lost += number(line.split(' ').next().unwrap());
    }
    assert!(lost == missing && lost > 0, "{lost} of {missing}");
}

#[test]
fn whoever_is_disconnected_ends_behind_what_had_room() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["a", "--policy", "disconnect"]);
    let client = bus.client();
    let mut publisher = publisher(&client);
    sub.signal(Signal::SIGSTOP);
    let mut written = 0;
    until(|| {
        let message = numbered(written);
        let delivery = publisher.publish("a", Bytes::new(&message)).unwrap();
        written += delivery.lanes;
        delivery.lanes == 0
    });
    sub.signal(Signal::SIGCONT);
    let ended = sub.end();
    let numbers = ended.stdout.iter().map(|line| number(&line[2..]));
    assert!(numbers.eq(0..written), "{written} {ended:?}");
    let complaint = ended.failed(3);
    assert!(complaint.contains("has disconnected"), "{complaint}");
    assert!(complaint.contains("start it again"), "{complaint}");
}
