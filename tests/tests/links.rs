//! A link that breaks while its process lives.
//!
//! On one host: the lanes live on. To another host the way of the messages breaks with it (`remote.rs`).

use ringmain::ListTopics;
use ringmain_tests::{Bus, Transport, eventually};

#[test]
fn a_publisher_whose_link_breaks_goes_on_and_says_that_routes_are_unknown() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = bus.peer("subscriber", &["t", "block-30000"]);
    subscriber.expect("open");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    // More than a ring takes, so that each side knows the other for certain.
    subscriber.tell("10000");
    publisher.tell("0 10000");
    publisher.expect("lanes 10000 dropped 0");
    subscriber.expect("got 10000 lost 0");
    publisher.tell("cut");
    publisher.expect("cut");
    // The broker counts on it no more; its lane is still there.
    let client = bus.client("asking");
    eventually("the broker has noticed", || {
        client
            .list("**", ListTopics::Declared)
            .unwrap()
            .publishers
            .is_empty()
    });
    publisher.tell("10000 20000");
    subscriber.tell("20000");
    subscriber.expect("got 20000 lost 0");
    publisher.expect("lanes 10000 dropped 0");
}

#[test]
fn a_subscriber_whose_link_breaks_gets_what_was_sent_then_an_error() {
    let bus = Bus::start(Transport::Unix);
    let mut subscriber = bus.peer("subscriber", &["t", "block-30000"]);
    subscriber.expect("open");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.tell("0 1000");
    publisher.expect("lanes 1000 dropped 0");
    subscriber.tell("1");
    subscriber.expect("got 1 lost 0");
    subscriber.tell("cut");
    subscriber.expect("cut");
    let client = bus.client("asking");
    eventually("the broker has noticed", || {
        client
            .list("**", ListTopics::Declared)
            .unwrap()
            .subscribers
            .is_empty()
    });
    publisher.tell("1000 1001");
    publisher.expect("lanes 0 dropped 0");
    subscriber.tell("to the end");
    let end = subscriber.line();
    assert!(
        end.starts_with("got 1000 then no publisher is left and the broker is gone"),
        "{end}"
    );
}
