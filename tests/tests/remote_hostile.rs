//! Peers on other hosts that break the rules, dribble, fall silent: each harms itself only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::wire::{HistoryUse, Medium, Refusal, SubscriberSpec, ToBroker, ToClient, Versions};
use ringmain::{Client, ConnectError, Gap, GapCause, Overflow, RecvError, Subscriber};
use ringmain_tests::raw_publisher::{self, Bystanders, open_publisher, parcel, records, value};
use ringmain_tests::raw_remote::packet;
use ringmain_tests::{Bus, Peer, RawRemote, Transport, eventually, usage};

fn offer(raw: &mut RawRemote, lane: u64, ring_bytes: u64) {
    raw_publisher::offer(raw, lane, Medium::Ring, ring_bytes, None);
}

fn next_gap(subscriber: &mut Subscriber<Bytes>) -> (u64, Gap) {
    let mut got = 0;
    loop {
        match subscriber.recv() {
            Ok(_) => got += 1,
            Err(RecvError::Gap(gap)) => return (got, gap),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn whoever_breaks_the_format_is_dropped() {
    let mut bus = Bystanders::new("format");
    let damaged = {
        let mut bytes = packet(7, 0, 0, &[]);
        bytes[24] ^= 1;
        bytes
    };
    let too_large =
        |kind: u32| [&u32::MAX.to_le_bytes()[..], &kind.to_le_bytes(), &[0; 24]].concat();
    let cases = [
        packet(0, 0, 0, &[]),
        packet(15, 0, 0, &[]),
        packet(9, 0, 0, b"short"),
        packet(9, 4096, 0, &[0xff; 16]),
        packet(10, 1, 0, b"short"),
        packet(11, 1, 1, b"short"),
        packet(12, 1, 1, &[0; 17]),
        packet(13, 1, 1, b"complete has no body"),
        packet(14, 1, 1, b"start has no body"),
        packet(1, 0, 0, b"no archive"),
        packet(3, 1, 0, b"short"),
        packet(5, 1, 7, &[]),
        packet(7, 0, 0, b"alive has no body"),
        damaged,
        too_large(1),
        too_large(2),
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let mut raw = RawRemote::join(&bus.address);
        raw.send_bytes(bytes);
        assert!(raw.is_dropped(), "{number}");
        bus.assert_well();
    }
    for start in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64]] {
        let mut raw = RawRemote::connect(&bus.address);
        raw.send_bytes(start);
        assert!(raw.is_dropped());
    }
    bus.assert_alone();
}

#[test]
fn a_lane_that_nobody_decided_gets_no_ring() {
    // Of no other test, so that its segments can be counted.
    let bus = Bus::start(Transport::Tcp);
    let broker = bus.broker_process().and_then(Peer::pid).unwrap();
    let mut raw = RawRemote::join(bus.address());
    let before = usage::segments(broker);
    for lane in 0..50 {
        offer(&mut raw, lane, 1 << 20);
        raw.send((2, lane, 0, records(1)));
        raw.send((4, lane, 64, Vec::new()));
        raw.send((5, lane, 1, Vec::new()));
        raw_publisher::offer(&mut raw, lane, Medium::Table, 1 << 20, Some((1 << 20, 3)));
        raw.send(parcel(lane, 0, 64, 32));
        raw.send(value(lane, 1, 0, 0, 32));
        raw.send((13, lane, 9, Vec::new()));
        raw.send((14, lane, 9, Vec::new()));
    }
    raw.send_frame(&ToBroker::Ping { request: 5 });
    assert_eq!(raw.frame(), Some(ToClient::Pong { request: 5 }));
    assert_eq!(usage::segments(broker), before);
}

#[test]
fn a_publisher_that_exceeds_its_credit_is_dropped_and_its_end_is_told() {
    let mut bus = Bystanders::new("credit");
    let mut subscriber = bus.client.subscriber::<Bytes>("t").open().unwrap();
    let (mut raw, lane) = open_publisher(&bus);
    offer(&mut raw, lane, 4096);
    let first = records(10);
    raw.send((2, lane, 0, first.clone()));
    for _ in 0..10 {
        assert_eq!(subscriber.recv().unwrap().len(), 64);
    }
    // More than a ring: there is no room, whatever the subscriber has read, and told, by now.
    let more = records(60);
    raw.send((2, lane, first.len() as u64, more));
    assert!(raw.is_dropped());
    let (got, gap) = next_gap(&mut subscriber);
    assert_eq!((got, gap.cause), (0, GapCause::TransportLost));
    bus.assert_well();
    bus.assert_alone();
}

#[test]
fn records_for_another_position_and_cursors_ahead_are_refused() {
    let mut bus = Bystanders::new("position");
    let mut subscriber = bus.client.subscriber::<Bytes>("t").open().unwrap();
    let (mut raw, lane) = open_publisher(&bus);
    offer(&mut raw, lane, 4096);
    raw.send((2, lane, 16, records(1)));
    assert!(raw.is_dropped());
    assert_eq!(next_gap(&mut subscriber).0, 0);

    let mut raw = RawRemote::join(&bus.address);
    let spec = SubscriberSpec {
        patterns: vec!["good".into()],
        message_type: None,
        overflow: Overflow::DropNewest,
        ring_bytes: 0,
        self_delivery: true,
        excludes: Vec::new(),
        queue: None,
        history: HistoryUse::None,
    };
    raw.send_frame(&ToBroker::OpenSubscriber {
        request: 1,
        subscriber: 1,
        spec,
    });
    let lane = loop {
        if let ToClient::LaneOffered { lane, .. } = raw.frame().unwrap() {
            break lane;
        }
    };
    raw.send((4, lane, 1 << 30, Vec::new()));
    assert!(raw.is_dropped());
    bus.assert_alone();
    bus.assert_well();
}

#[test]
fn whoever_falls_silent_is_dropped_wherever_it_stopped() {
    let mut bus = Bystanders::new("silent");
    let preamble = Versions::OURS.encode();
    let hello = packet(
        1,
        0,
        0,
        &ToBroker::Hello {
            name: "slow".into(),
        }
        .archive_bytes(),
    );
    let all = [&preamble[..], &hello].concat();
    for cut in [
        0,
        1,
        preamble.len(),
        preamble.len() + 5,
        all.len() - 1,
        all.len(),
    ] {
        let mut raw = RawRemote::connect(&bus.address);
        raw.send_bytes(&all[..cut]);
        assert!(raw.is_dropped(), "{cut}");
        bus.assert_well();
    }
    bus.assert_alone();
}

#[test]
fn bytes_that_come_one_by_one_are_as_good_as_all_at_once() {
    let mut bus = Bystanders::new("dribble");
    let mut subscriber = bus.client.subscriber::<Bytes>("t").open().unwrap();
    let (mut raw, lane) = open_publisher(&bus);
    offer(&mut raw, lane, 4096);
    for byte in packet(2, lane, 0, &records(3)) {
        raw.send_bytes(&[byte]);
    }
    for _ in 0..3 {
        assert_eq!(&*subscriber.recv().unwrap(), &[7; 64]);
    }
    bus.assert_well();
}

/// More at once than a relay takes in one turn: what is left lies in no socket that would wake it.
#[test]
fn as_many_answers_come_as_requests_at_once() {
    let bus = Bus::start(Transport::Tcp);
    let mut raw = RawRemote::join(bus.address());
    let pings: Vec<_> = (1..=60)
        .flat_map(|request| packet(1, 0, 0, &ToBroker::Ping { request }.archive_bytes()))
        .collect();
    for _ in 0..50 {
        raw.send_bytes(&pings);
        for request in 1..=60 {
            assert_eq!(raw.frame(), Some(ToClient::Pong { request }));
        }
    }
}

/// A busy peer must not take a busy relay for a silent one.
#[test]
fn a_peer_that_never_pauses_is_told_that_the_broker_lives() {
    let mut bus = Bystanders::new("busy");
    let mut raw = RawRemote::join(&bus.address);
    let mut flood = raw.try_clone().unwrap();
    let is_told = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let alive = packet(7, 0, 0, &[]).repeat(10_000);
            while !is_told.load(Ordering::Relaxed) {
                flood.send_bytes(&alive);
            }
        });
        let told = (0..3).all(|_| raw.receive().is_some_and(|packet| packet.0 == 7));
        is_told.store(true, Ordering::Relaxed);
        assert!(told);
    });
    bus.assert_well();
}

#[test]
fn whoever_does_not_join_loses_its_place_and_who_finds_none_is_told() {
    // Long enough for what is done meanwhile on a busy machine.
    let patience = Duration::from_secs(5);
    let broker = Broker::builder()
        .listen("tcp://127.0.0.1:0".parse().unwrap())
        .peer_timeout(patience)
        .remote_clients(2)
        .start()
        .unwrap();
    let address = broker.addresses()[0].to_string();
    let mut idle: Vec<_> = (0..2).map(|_| RawRemote::connect(&address)).collect();
    // A place is taken when the broker speaks.
    for raw in &mut idle {
        raw.expect_preamble();
    }
    for _ in 0..3 {
        let error = Client::connect(&address).unwrap_err();
        let expected = Refusal::RemoteClients { limit: 2 };
        assert!(
            matches!(&error, ConnectError::Refused(refusal) if *refusal == expected),
            "{error}"
        );
        assert!(error.to_string().contains("--remote-clients"), "{error}");
    }
    std::thread::scope(|scope| {
        for raw in &mut idle {
            let mut lives = raw.try_clone().unwrap();
            let (gone, is_gone) = channel::<()>();
            scope.spawn(move || {
                lives.send_bytes(&Versions::OURS.encode());
                let pause = patience / 8;
                while is_gone.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    lives.send((7, 0, 0, Vec::new()));
                }
            });
            assert!(raw.is_dropped());
            drop(gone);
        }
    });
    eventually("their places are free", || {
        Client::connect(&address).is_ok()
    });
}

#[test]
fn connecting_again_and_again_leaves_nothing() {
    let bus = Bus::start(Transport::Tcp);
    let broker = bus.broker_process().and_then(Peer::pid).unwrap();
    let usage = || (usage::threads(broker), usage::descriptors(broker));
    let before = usage();
    for round in 0..300 {
        match round % 3 {
            0 => drop(RawRemote::connect(bus.address())),
            1 => RawRemote::connect(bus.address()).send_bytes(&Versions::OURS.encode()),
            _ => drop(RawRemote::join(bus.address())),
        }
    }
    eventually("threads and descriptors are given back", || {
        usage() <= before
    });
    assert_eq!(bus.client("after").clients().unwrap().len(), 1);
}

/// The archive of a frame.
trait ArchiveBytes {
    fn archive_bytes(&self) -> Vec<u8>;
}

impl ArchiveBytes for ToBroker {
    fn archive_bytes(&self) -> Vec<u8> {
        ringmain::wire::Frame::archive(self).unwrap().to_vec()
    }
}
