//! `stat`: what the lanes have counted.

use nix::sys::signal::Signal;
use ringmain::message::Bytes;
use ringmain::{Client, Clock, Overflow, Publisher, RecvError, Subscriber};
use serde_json::Value;

use crate::harness::{Bus, run, until};

/// A lane on which ten messages were written and four read.
fn lane(bus: &Bus) -> (Client, Publisher<Bytes>, Subscriber<Bytes>) {
    let builder = Client::builder().name("pump");
    let client = builder.connect(&bus.address()).unwrap();
    let mut subscriber = client.subscriber::<Bytes>("tank/**").open().unwrap();
    let publisher = client.publisher::<Bytes>("tank/*");
    let mut publisher = publisher.timestamps(Clock::Monotonic).open().unwrap();
    for _ in 0..10 {
        publisher.publish("tank/1", Bytes::new(b"12345")).unwrap();
    }
    for _ in 0..4 {
        subscriber.recv().unwrap();
    }
    (client, publisher, subscriber)
}

fn clients(lines: &[String], client: &Client) -> Vec<Value> {
    let scan: Value = serde_json::from_str(&lines[0]).unwrap();
    let bus = format!("{:032x}", client.incarnation());
    let clients = scan["clients"].as_array().unwrap().iter();
    clients
        .filter(|found| found["bus"] == *bus)
        .cloned()
        .collect()
}

#[test]
fn stat_shows_lanes_topics_and_clients() {
    let bus = Bus::start();
    let (client, _publisher, _subscriber) = lane(&bus);
    let rows = |by| {
        let lines = bus.run(&["stat", "--by", by]).done();
        let cells = |line: &String| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        lines.iter().map(cells).collect::<Vec<_>>()
    };
    let number = &format!("{:032x}", client.incarnation())[..8];
    let pid = std::process::id().to_string();

    let lanes = rows("lane");
    assert_eq!(lanes.len(), 3, "{lanes:?}");
    let column = |name: &str| lanes[0].iter().position(|cell| cell == name).unwrap();
    let [publisher, subscriber] = &lanes[1..] else {
        unreachable!()
    };
    assert_eq!(publisher[..4], [number, "pump", &pid, "pub"]);
    assert_eq!(publisher[column("TOPICS")], "tank/**");
    assert_eq!(subscriber[..4], [number, "pump", &pid, "sub"]);
    assert_eq!(subscriber[column("TOPICS")], "tank/*");
    for (row, messages) in [(publisher, "10"), (subscriber, "4")] {
        // The type's name has two words, as a number of bytes has.
        assert_eq!(row[column("TYPE")..column("TYPE") + 2], ["bytes", "v1"]);
        assert_eq!(row[column("MESSAGES") + 1], messages);
        assert_eq!(row[column("LAG") + 2], "6");
    }

    let topics = rows("topic");
    assert_eq!(topics[1][..3], [number, "pub", "tank/*"]);
    assert_eq!(topics[2][..3], [number, "sub", "tank/**"]);
    let of_clients = rows("client");
    assert_eq!(of_clients.len(), 3);
    assert_eq!(of_clients[1][..5], [number, "pump", &pid, "pub", "10"]);
    assert_eq!(of_clients[2][..5], [number, "pump", &pid, "sub", "4"]);
}

#[test]
fn stat_tells_all_in_json_without_a_broker() {
    let mut bus = Bus::start();
    let (client, _publisher, _subscriber) = lane(&bus);
    bus.broker.signal(Signal::SIGKILL);
    until(|| bus.broker.has_ended());
    let found = clients(&run(&["stat", "--json"]).done(), &client);
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&found["name"], &found["settled"]),
        (&"pump".into(), &true.into())
    );
    assert_eq!(found["pid"], std::process::id());
    assert_eq!(found["published"]["messages"], 10);
    assert_eq!(found["received"]["bytes"], 20);
    assert_eq!(found["handles"].as_array().unwrap().len(), 2);
    let lane = &found["lanes"][1];
    assert_eq!(
        (&lane["role"], &lane["peer"]),
        (&"subscriber".into(), &"pump".into())
    );
    assert_eq!(lane["lag"]["messages"], 6);
    assert_eq!(lane["counts"]["latency"]["count"], 4);
    assert!(lane["counts"]["latency"]["p99_ns"].is_u64());
    let own = std::process::id().to_string();
    let again = clients(&run(&["stat", "--json", "--pid", &own]).done(), &client);
    assert_eq!(again[0]["lanes"].as_array().unwrap().len(), 2);
}

#[test]
fn stat_shows_what_gave_way_to_newer_messages() {
    let bus = Bus::start();
    let client = bus.client();
    for (topic, overflow) in [("old", Overflow::DropOldest), ("last", Overflow::Conflate)] {
        let mut subscriber = client
            .subscriber::<Bytes>(topic)
            .overflow(overflow)
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Bytes>(topic).open().unwrap();
        for _ in 0..2000 {
            publisher.publish(topic, Bytes::new(&[7; 1000])).unwrap();
        }
        let lines = bus.run(&["stat", "--json"]).done();
        assert_eq!(clients(&lines, &client)[0]["published"]["conflated"], 0);
        let (mut got, mut lost, mut skipped) = (0, 0, 0);
        while got + lost + skipped < 2000 {
            match subscriber.recv() {
                Ok(sample) => {
                    got += 1;
                    skipped += sample.skipped();
                }
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(lost + skipped > 0);
        let found = clients(&bus.run(&["stat", "--json"]).done(), &client);
        let counts = found[0]["handles"].as_array().unwrap().iter();
        let mut counts = counts.filter(|handle| handle["role"] == "subscriber");
        let counts = &counts.next().unwrap()["counts"];
        assert_eq!(
            (
                &counts["messages"],
                &counts["dropped_full"],
                &counts["conflated"]
            ),
            (&got.into(), &lost.into(), &skipped.into())
        );
        let table = bus.run(&["stat", "--by", "topic"]).done();
        let cells = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let heading = cells(&table[0]);
        let column = |name: &str| heading.iter().position(|cell| cell == name).unwrap();
        let mut rows = table[1..].iter().map(|line| cells(line));
        let row = rows.find(|row| row[1..3] == ["sub", topic]).unwrap();
        // The type and the number of bytes have two words each.
        let shown = [column("DROPPED") + 2, column("CONFLATED") + 2].map(|at| row[at].as_str());
        assert_eq!(shown, [lost.to_string(), skipped.to_string()]);
    }
}

#[test]
fn stat_watches_rates() {
    let bus = Bus::start();
    let (client, mut publisher, _subscriber) = lane(&bus);
    let mut watching = bus.spawn(&["stat", "--watch", "0.1", "--json"]);
    let mut busy = false;
    // Rates are those between two readings, so some line has them.
    until(|| {
        publisher.publish("tank/1", Bytes::new(b"12345")).unwrap();
        let found = clients(&[watching.line()], &client);
        busy |= found[0]["lanes"][0]["per_second"]["messages"]
            .as_f64()
            .unwrap()
            > 0.0;
        busy
    });
    let lines = bus.run(&["stat", "--watch", "0.05", "--count", "2"]).done();
    let headings = lines.iter().filter(|line| line.contains("MSG/S"));
    assert_eq!(headings.count(), 2, "{lines:?}");
}

#[test]
fn stat_says_what_to_do_when_it_sees_nothing() {
    let complaint = run(&["stat", "--pid", "4000000000"]).failed(1);
    assert!(complaint.contains("cannot look at process"), "{complaint}");
    let ended = run(&[
        "stat",
        "--pid",
        &std::process::id().to_string(),
        "--bus",
        "unix:/nowhere",
    ]);
    let complaint = ended.failed(1);
    assert!(complaint.contains("/nowhere"), "{complaint}");
    let bus = Bus::start();
    let ended = bus.run(&["stat"]);
    assert!(ended.stderr.contains("nobody counts anything"), "{ended:?}");
}
