//! Ends of links and of handles whose processes live.
//!
//! On one host: the lanes live on. To another host the way of the messages breaks with it (`remote.rs`).

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringmain::message::Bytes;
use ringmain::wire::{Medium, SegmentSource, ToBroker, ToClient};
use ringmain::{ListTopics, Waitable};
use ringmain_tests::forged::{Forged, bell, poke};
use ringmain_tests::{Bus, Raw, Transport, eventually};

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

#[test]
fn last_words_of_a_publisher_that_never_knew_its_subscriber_s_bell_are_heard() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("asleep");
    let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
    let mut raw = Raw::join(bus.address(), "hasty");
    let lane = raw.open_publisher("t")[0];
    let ring = Forged::ring(4096 + 8192);
    let mapping = ring.mapped();
    let ring = ring.sealed();
    let (bell, _heard) = bell();
    let segment = SegmentSource::Descriptor;
    let offer = ToBroker::OfferLane {
        lane,
        medium: Medium::Ring,
        segment,
        history: None,
        courier: false,
        begin: None,
    };
    raw.send(&offer, &[ring.as_fd(), bell.as_fd()]);
    // What comes here is not looked at: no bell.
    let answer = raw.receive().map(|(frame, _)| frame);
    assert!(matches!(answer, Some(ToClient::LaneAccepted { .. })));
    raw.send(&ToBroker::Received, &[]);
    // When this is answered, the subscriber has been given the lane.
    client.ping().unwrap();
    assert!(subscriber.try_recv().unwrap().is_none());
    // With nothing in the bell from before.
    subscriber.announce();
    subscriber.retire();
    assert!(subscriber.announce(), "it has looked and may sleep");
    // A topic, a message, the end.
    let word = |kind: u64, len: u64| (len << 32 | kind).to_le_bytes();
    poke(&mapping, 4096 + 16, b"t");
    poke(&mapping, 4096 + 32, &word(1, 4));
    poke(&mapping, 4096 + 48, b"last");
    poke(&mapping, 4096, &word(3, 1));
    poke(&mapping, 0, &1_u64.to_le_bytes());
    raw.send(&ToBroker::ClosePublisher { publisher: 1 }, &[]);
    let mut polled = [PollFd::new(subscriber.as_fd(), PollFlags::POLLIN)];
    let woken = poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap();
    assert_eq!(woken, 1, "nobody wakes the subscriber");
    subscriber.retire();
    assert_eq!(&*subscriber.recv().unwrap(), b"last");
}
