//! What happens to the others when a process on the other side of a TCP connection is killed or stopped: what of `kill.rs`
//! is promised otherwise there.
//!
//! - A killed publisher takes with it what had not left its process: what arrives has no hole, and that there may have been
//!   more is told as a gap of unknown size. Nobody can map its ring afterwards.
//! - A killed broker ends all lanes through it (guarantee 6 is about local ones); either side is told.
//! - A stopped broker delays no publish: the routes that a publisher must know are those that its relay was told.
//! - A stopped publisher is waited for by a subscription, for a second at most, because its side has to confirm.

use std::time::Duration;

use ringmain::{PublishError, RecvError};
use ringmain_tests::roles::{Tally, published};
use ringmain_tests::{Bus, Tick, Transport, eventually, policy, within};

fn tcp() -> Bus {
    Bus::start(Transport::Tcp)
}

#[test]
fn guarantee_5_what_a_killed_publisher_has_published_arrives_or_is_told_as_lost() {
    let bus = tcp();
    let count = bus.directory().join("count");
    let client = bus.client("survivor");
    let builder = client.subscriber::<Tick>("t");
    let mut subscriber = builder.overflow(policy("block-30000")).open().unwrap();
    for round in 0..5 {
        let mut publisher = bus.peer("flood", &["t", count.to_str().unwrap()]);
        let mut tally = Tally::default();
        tally.receive(&mut subscriber, 1 + round * 3_000);
        publisher.kill();
        let published = published(&count);
        tally.receive_until_cut(&mut subscriber);
        // One more may have been written whose `publish` had not returned.
        assert!(tally.got <= published + 1, "{tally:?} of {published}");
        assert_eq!(tally.lost, 0);
        // Nothing comes of it behind, and nothing of it holds the next one up.
        let mut next = bus.client("next").publisher::<Tick>("t").open().unwrap();
        next.publish("t", &Tick::new(round)).unwrap();
        let tick = subscriber.recv().unwrap();
        assert_eq!((tick.checked(), tick.sequence()), (round, 0));
    }
}

#[test]
fn guarantee_5_what_a_publisher_leaves_whose_subscriber_was_stopped_arrives_or_is_told_as_lost() {
    for (death, count) in [("kill", 20), ("exit", 20), ("kill", 1000), ("exit", 1000)] {
        let bus = tcp();
        let mut subscriber = bus.peer("subscriber", &["t", "drop"]);
        subscriber.expect("open");
        subscriber.stop();
        let mut publisher = bus.peer("doomed", &["t", &count.to_string(), death]);
        publisher.expect("open");
        publisher.tell("go");
        let dropped = match count {
            1000 => publisher.expect_start("dropped").parse().unwrap(),
            _ => 0,
        };
        publisher.wait_for_end();
        subscriber.go_on();
        subscriber.tell("until cut");
        let told = subscriber.line();
        let words: Vec<_> = told.split(' ').collect();
        let ["got", got, "lost", lost, "cut"] = words[..] else {
            panic!("{told}");
        };
        let (got, lost): (u64, u64) = (got.parse().unwrap(), lost.parse().unwrap());
        assert!(
            got <= count - dropped && lost <= dropped,
            "{told}, {dropped}"
        );
        subscriber.finish();
    }
}

#[test]
fn guarantee_6_the_death_of_the_broker_is_told_on_either_side() {
    let mut bus = tcp();
    let receiving = bus.client("receiving");
    let builder = receiving.subscriber::<Tick>("t");
    let mut subscriber = builder.overflow(policy("block-30000")).open().unwrap();
    let publishing = bus.client("publishing");
    let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
    let mut tally = Tally::default();
    for number in 0..100 {
        assert_eq!(publisher.publish("t", &Tick::new(number)).unwrap().lanes, 1);
        if number == 0 {
            // There is a lane.
            tally.receive(&mut subscriber, 1);
        }
    }
    bus.kill_broker();
    tally.receive_until_cut(&mut subscriber);
    let end = subscriber.recv().map(drop);
    assert!(matches!(end, Err(RecvError::BrokerGone)), "{end:?}");
    eventually("the publisher's side knows", || !publishing.is_connected());
    match publisher.publish("t", &Tick::new(100)) {
        Err(PublishError::TransportLost { unconfirmed }) => {
            assert!(tally.got + unconfirmed >= 100, "{tally:?}, {unconfirmed}");
        }
        other => panic!("{other:?}"),
    }
    let delivery = publisher.publish("t", &Tick::new(101)).unwrap();
    assert!(delivery.lanes == 0 && delivery.route_unknown);
}

#[test]
fn a_stopped_publisher_delays_a_subscribe_by_a_second_at_most_and_its_messages_come() {
    let bus = tcp();
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.stop();
    let client = bus.client("subscriber");
    let mut subscriber = within(Duration::from_secs(8), "a subscribe", || {
        client.subscriber::<Tick>("t").open().unwrap()
    });
    publisher.go_on();
    // Not before its next message, as on one host: its relay may learn of the subscriber behind that.
    let mut number = 0;
    eventually("the publisher knows", || {
        publisher.tell(&format!("{number} {}", number + 1));
        number += 1;
        publisher.line() == "lanes 1 dropped 0"
    });
    assert_eq!(subscriber.recv().unwrap().checked(), number - 1);
}

#[test]
fn a_stopped_broker_delays_no_publish() {
    let bus = tcp();
    let mut publisher = bus.peer("unsure", &["t/**", "blocking"]);
    publisher.expect("open");
    bus.broker_process().unwrap().stop();
    for _ in 0..10 {
        publisher.tell("publish");
        publisher.expect("route_unknown false");
    }
    bus.broker_process().unwrap().go_on();
}

#[test]
fn a_killed_subscriber_s_messages_are_no_loss_of_the_others() {
    let bus = tcp();
    let mut victim = bus.peer("sleeper", &["t", "drop"]);
    victim.expect("open");
    let client = bus.client("survivor");
    let builder = client.subscriber::<Tick>("t");
    let mut survivor = builder.overflow(policy("block-30000")).open().unwrap();
    let mut publisher = bus.peer("flood", &["t"]);
    publisher.expect("lanes 2");
    let mut tally = Tally::default();
    // More than the victim's ring takes: it loses some, and is killed with the rest on the way.
    tally.receive(&mut survivor, 30_000);
    victim.kill();
    publisher.expect("lanes 1");
    tally.receive(&mut survivor, 60_000);
    assert_eq!(tally.lost, 0);
}
