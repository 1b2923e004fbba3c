//! Policies whose older messages give way, to a subscriber on another host that stalls, or is lost (rows C2, C5).

use std::time::Duration;

use nix::unistd::Pid;
use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::wire::{HistoryUse, SubscriberSpec, ToBroker, ToClient};
use ringmain::{Client, Publisher};
use ringmain_tests::roles::Tally;
use ringmain_tests::{Bus, Peer, RawRemote, Tick, Transport, policy, usage};

const MESSAGES: u64 = 300_000;

fn publish(publisher: &mut Publisher<Tick>, numbers: std::ops::Range<u64>) {
    let topic = publisher.resolve("t").unwrap();
    for number in numbers {
        let delivery = publisher.publish_to(&topic, &Tick::new(number)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
    }
}

#[test]
fn a_stopped_subscriber_elsewhere_costs_bounded_memory_and_is_told_exactly() {
    // In this process, where its memory is counted. Nobody is to give up on the stopped process.
    let broker = Broker::builder()
        .listen("memory:row-c5-remote".parse().unwrap())
        .listen("tcp://127.0.0.1:0".parse().unwrap())
        .peer_timeout(Duration::from_secs(600))
        .start()
        .unwrap();
    let [near, far] = [0, 1].map(|index| broker.addresses()[index].to_string());
    for name in ["oldest", "conflate"] {
        for address in [&near, &far] {
            let mut subscriber = Peer::process("subscriber", &[&far, "t", name]);
            subscriber.expect("open");
            let client = Client::connect(address).unwrap();
            let mut publisher = client.publisher::<Tick>("t").open().unwrap();
            publish(&mut publisher, 0..1);
            subscriber.tell("1");
            subscriber.expect("got 1 lost 0");
            subscriber.stop();
            let before = usage::rss_bytes(Pid::this());
            publish(&mut publisher, 1..MESSAGES);
            let grown = usage::rss_bytes(Pid::this()).saturating_sub(before);
            assert!(grown < 16 << 20, "{name}: {grown} bytes");
            subscriber.go_on();
            subscriber.tell(&MESSAGES.to_string());
            let told = subscriber.line();
            let words: Vec<_> = told.split(' ').collect();
            let ["got", got, "lost", lost] = words[..] else {
                panic!("{told}");
            };
            let (got, lost): (u64, u64) = (got.parse().unwrap(), lost.parse().unwrap());
            assert_eq!(got + lost, MESSAGES, "{told}");
            assert!(lost > MESSAGES / 10, "it was not overtaken: {told}");
            drop(publisher);
            subscriber.finish();
        }
    }
}

#[test]
fn what_comes_before_a_lost_transport_has_no_hole_and_the_loss_is_told() {
    for name in ["oldest", "conflate"] {
        let bus = Bus::start(Transport::Tcp);
        let client = bus.client("survivor");
        let builder = client.subscriber::<Tick>("t").overflow(policy(name));
        let mut subscriber = builder.open().unwrap();
        for round in 0..3 {
            let mut publisher = bus.peer("flood", &["t"]);
            let mut tally = Tally::default();
            tally.receive(&mut subscriber, 1 + round * 3_000);
            publisher.kill();
            tally.receive_until_cut(&mut subscriber);
            // Nothing comes of it behind.
            let mut next = bus.client("next").publisher::<Tick>("t").open().unwrap();
            next.publish("t", &Tick::new(round)).unwrap();
            let tick = subscriber.recv().unwrap();
            assert_eq!((tick.checked(), tick.sequence()), (round, 0));
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_costs_bounded_memory() {
    /// More, together, than all buffers of sockets.
    const MESSAGES: usize = 20_000;
    let broker = Broker::builder()
        .listen("memory:row-c5-deaf".parse().unwrap())
        .listen("tcp://127.0.0.1:0".parse().unwrap())
        .peer_timeout(Duration::from_secs(600))
        .start()
        .unwrap();
    let [near, far] = [0, 1].map(|index| broker.addresses()[index].to_string());
    for name in ["oldest", "conflate"] {
        let mut raw = RawRemote::join(&far);
        raw.send_frame(&ToBroker::OpenSubscriber {
            request: 1,
            subscriber: 1,
            spec: SubscriberSpec {
                patterns: vec!["t".into()],
                message_type: None,
                overflow: policy(name),
                ring_bytes: 0,
                self_delivery: true,
                excludes: Vec::new(),
                queue: None,
                history: HistoryUse::None,
            },
        });
        assert!(matches!(raw.frame(), Some(ToClient::Opened { .. })));
        let client = Client::connect(&near).unwrap();
        let builder = client.publisher::<Bytes>("t");
        let mut publisher = builder.max_message_bytes(16 << 10).open().unwrap();
        let message = vec![7; 16 << 10];
        let mut publish = |count| {
            for _ in 0..count {
                let delivery = publisher.publish("t", Bytes::new(&message)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                // The relay has one core with the publisher at worst.
                std::thread::yield_now();
            }
        };
        publish(100);
        let before = usage::rss_bytes(Pid::this());
        publish(MESSAGES);
        let grown = usage::rss_bytes(Pid::this()).saturating_sub(before);
        assert!(grown < 16 << 20, "{name}: {grown} bytes");
    }
}
