//! `pub`: whom messages go to, and what is told of those that nobody has read.

use nix::sys::signal::Signal;
use ringmain::message::Bytes;
use ringmain::{Client, Overflow};

use crate::harness::Bus;

fn client(bus: &Bus, name: &str) -> Client {
    let builder = Client::builder().name(name);
    builder.connect(&bus.address()).unwrap()
}

#[test]
fn a_message_for_one_receiver_reaches_nobody_else() {
    let bus = Bus::start();
    let one = bus.subscribe(&["a", "--name", "one", "--count", "2"]);
    let other = bus.subscribe(&["a", "--name", "other", "--count", "1"]);
    bus.run(&["pub", "a", "for one", "--to", "one"]).done();
    let complaint = bus.run(&["pub", "a", "x", "--to", "nobody"]).failed(1);
    assert!(
        complaint.contains("no client named nobody takes a: 1 of 1"),
        "{complaint}"
    );
    bus.run(&["pub", "a", "for all"]).done();
    assert_eq!(one.end().done(), ["a for one", "a for all"]);
    assert_eq!(other.end().done(), ["a for all"]);
}

#[test]
fn what_is_unread_at_the_end_is_told_of() {
    let bus = Bus::start();
    let tank = client(&bus, "tank");
    let mut subscriber = tank.subscriber::<Bytes>("a").open().unwrap();
    // Whoever lives still reads it, so this is no failure.
    let published = bus.run(&["pub", "a", "1"]);
    assert_eq!(published.code, Some(0), "{published:?}");
    assert!(
        published
            .stderr
            .contains("tank has not read its last 1 messages"),
        "{published:?}"
    );
    // Unless it was asked for.
    let complaint = bus.run(&["pub", "a", "2", "--flush", "0.1"]).failed(4);
    assert!(complaint.contains("tank has not read"), "{complaint}");
    for expected in ["1", "2"] {
        assert_eq!(subscriber.recv().unwrap()[..], *expected.as_bytes());
    }
}

#[test]
fn whoever_flushes_waits_until_everything_is_read() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["a", "--count", "3"]);
    sub.signal(Signal::SIGSTOP);
    let mut publisher = bus.spawn(&["pub", "a", "--flush", "600"]);
    publisher.write("1\n2\n3\n");
    drop(publisher.stdin.take());
    assert!(!publisher.has_ended());
    sub.signal(Signal::SIGCONT);
    assert_eq!(sub.end().done().len(), 3);
    let ended = publisher.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn what_the_dead_had_not_read_is_told_of() {
    let bus = Bus::start();
    let sub = bus.subscribe(&["a", "--name", "reader"]);
    sub.signal(Signal::SIGSTOP);
    let mut publisher = bus.spawn(&["pub", "a", "--flush", "600"]);
    let mut witness = bus.subscribe(&["a"]);
    publisher.write("1\n2\n");
    drop(publisher.stdin.take());
    for _ in 0..2 {
        witness.line();
    }
    sub.signal(Signal::SIGKILL);
    let complaint = publisher.end().failed(4);
    assert!(
        complaint.contains("reader is gone, and has not told to have read its last 2 messages"),
        "{complaint}"
    );
}

#[test]
fn a_publisher_that_never_waits_tells_what_it_did_not_publish() {
    let bus = Bus::start();
    let tank = client(&bus, "tank");
    let block = Overflow::Block {
        deadline: std::time::Duration::from_secs(600),
    };
    let mut subscriber = tank
        .subscriber::<Bytes>("a")
        .overflow(block)
        .open()
        .unwrap();
    let mut publisher = bus.spawn(&["pub", "a", "--retry", "never"]);
    let line = format!("{}\n", "x".repeat(3000));
    for _ in 0..400 {
        publisher.write(&line);
    }
    let complaint = publisher.end().failed(4);
    let count = complaint.split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(
        complaint.contains("of 400 messages were not published"),
        "{complaint}"
    );
    let mut got = 0;
    while subscriber.try_recv().unwrap().is_some() {
        got += 1;
    }
    assert_eq!(got + count, 400);
    for retry in ["wake", "yield", "backoff"] {
        bus.run(&["pub", "b", "x", "--retry", retry]).done();
    }
}
