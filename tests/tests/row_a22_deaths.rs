//! Row A22: what a member of a queue group leaves unread goes to another one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::wire::{Medium, SegmentSource, ToBroker, ToClient};
use ringmain::{Client, Subscriber, Waitable};
use ringmain_tests::forged::{Forged, bell, poke};
use ringmain_tests::roles::worker::Taken;
use ringmain_tests::{Bus, Peer, Raw, Tick, Transport, eventually, policy};

/// Heirs are on the broker's host, and only a process can be killed.
fn unix() -> Bus {
    Bus::start(Transport::Unix)
}

fn heir(client: &Client, overflow: &str) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t").queue("workers");
    builder.overflow(policy(overflow)).open().unwrap()
}

fn worker(bus: &Bus, overflow: &str) -> Peer {
    let mut worker = bus.peer("worker", &["t", overflow, "workers"]);
    worker.expect("open");
    worker
}

/// Tells a worker to take messages; what it has taken, and how many are lost.
fn take(worker: &mut Peer, count: u64) -> (Vec<Taken>, u64) {
    worker.tell(&format!("take {count}"));
    let line = worker.expect_start("lost");
    let (lost, taken) = line.trim().split_once(" took").unwrap();
    (Taken::parse(taken), lost.parse().unwrap())
}

/// What comes, until so many have come or are lost; how many are lost.
fn receive(subscriber: &mut Subscriber<Tick>, count: u64) -> (Vec<Taken>, u64) {
    let (mut taken, mut lost) = (Vec::new(), 0);
    while (taken.len() as u64) + lost < count {
        match Taken::one(subscriber) {
            Ok(one) => taken.push(one),
            Err(more) => lost += more,
        }
    }
    (taken, lost)
}

/// Of what has come, in order: what others may have had, and the rest.
fn apart(taken: &[Taken]) -> (Vec<u64>, Vec<u64>) {
    let (redelivered, own): (Vec<_>, Vec<_>) = taken.iter().partition(|taken| taken.redelivered);
    let numbers = |taken: Vec<&Taken>| taken.into_iter().map(|taken| taken.number).collect();
    (numbers(redelivered), numbers(own))
}

/// Nothing more comes: all that was published before the last message that came was looked for.
fn assert_dry(subscriber: &mut Subscriber<Tick>) {
    let more = subscriber.recv_timeout(Duration::from_millis(100)).unwrap();
    assert!(more.is_none(), "{}", more.unwrap().checked());
}

#[test]
fn a22_what_a_killed_member_has_not_read_arrives_whatever_its_publisher_does() {
    for publisher_is in ["idle", "stopped", "gone", "killed"] {
        eprintln!("--- {publisher_is}");
        let bus = unix();
        let mut victim = worker(&bus, "block-600000");
        let client = bus.client("heir");
        let mut heir = heir(&client, "block-600000");
        let mut publisher = bus.peer("publisher", &["t"]);
        publisher.expect("open");
        publisher.tell("0 100");
        publisher.expect("lanes 100 dropped 0");
        let (taken, _) = take(&mut victim, 10);
        assert!(taken.iter().all(|taken| !taken.redelivered));
        victim.tell("hold");
        let in_hand: u64 = victim.expect_start("holds").trim().parse().unwrap();
        let (own, _) = receive(&mut heir, 50);
        assert_dry(&mut heir);
        match publisher_is {
            "stopped" => publisher.stop(),
            "gone" | "killed" => {
                publisher.tell(if publisher_is == "gone" {
                    "exit"
                } else {
                    "kill"
                });
                publisher.wait_for_end();
            }
            _ => {}
        }
        victim.kill();
        // With what it had in hand, marked, in order, and nothing else twice.
        let (left, _) = receive(&mut heir, 40);
        assert_dry(&mut heir);
        let (redelivered, new) = apart(&left);
        assert_eq!((redelivered[0], new), (in_hand, vec![]));
        assert!(redelivered.is_sorted());
        let mut all: Vec<_> = taken.iter().chain(&own).chain(&left).collect();
        all.sort_unstable_by_key(|taken| taken.number);
        assert!(all.into_iter().map(|taken| taken.number).eq(0..100));
        if publisher_is == "stopped" {
            publisher.go_on();
        }
        if ["idle", "stopped"].contains(&publisher_is) {
            publisher.tell("100 110");
            publisher.expect("lanes 10 dropped 0");
            let (later, _) = receive(&mut heir, 10);
            assert!(apart(&later).1.into_iter().eq(100..110));
        }
    }
}

#[test]
fn a22_what_a_closed_member_has_not_read_arrives_once() {
    let bus = unix();
    let mut victim = worker(&bus, "block-600000");
    let client = bus.client("heir");
    let mut heir = heir(&client, "block-600000");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.tell("0 100");
    publisher.expect("lanes 100 dropped 0");
    let (taken, _) = take(&mut victim, 10);
    victim.tell("close");
    victim.expect("closed");
    let (rest, _) = receive(&mut heir, 90);
    let (redelivered, _) = apart(&rest);
    assert_eq!(redelivered.len(), 40);
    let mut all: Vec<_> = taken
        .iter()
        .chain(&rest)
        .map(|taken| taken.number)
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..100));
    publisher.tell("100 110");
    publisher.expect("lanes 10 dropped 0");
    receive(&mut heir, 10);
}

#[test]
fn a22_an_heir_that_is_killed_hands_on_again() {
    let bus = unix();
    // In this order they inherit, for they have equally many lanes.
    let mut first = worker(&bus, "block-600000");
    let mut second = worker(&bus, "block-600000");
    let client = bus.client("last");
    let mut last = heir(&client, "block-600000");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.tell("0 300");
    publisher.expect("lanes 300 dropped 0");
    let (of_first, _) = take(&mut first, 30);
    let (of_second, _) = take(&mut second, 100);
    let (of_last, _) = receive(&mut last, 100);
    first.kill();
    // Of the 70 that are left.
    let (inherited, _) = take(&mut second, 20);
    assert!(apart(&inherited).0.is_sorted());
    assert!(apart(&inherited).1.is_empty());
    second.kill();
    let (rest, _) = receive(&mut last, 50);
    assert!(apart(&rest).0.is_sorted());
    assert!(apart(&rest).1.is_empty());
    assert_dry(&mut last);
    let all = [of_first, of_second, of_last, inherited, rest].concat();
    let mut all: Vec<_> = all.iter().map(|taken| taken.number).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..300));
}

#[test]
fn a22_losses_of_a_killed_member_are_told_once() {
    let bus = unix();
    let mut victim = worker(&bus, "drop");
    let client = bus.client("heir");
    let mut heir = heir(&client, "drop");
    let publishing = bus.client("publisher");
    let builder = publishing.publisher::<Tick>("t").ring_bytes(4096);
    let mut publisher = builder.max_message_bytes(100).open().unwrap();
    let mut publish = |from: u64| {
        let publish = |number| publisher.publish("t", &Tick::new(number)).unwrap();
        let deliveries = (from..from + 1000).map(publish);
        deliveries
            .map(|delivery| u64::from(delivery.dropped))
            .sum::<u64>()
    };
    let mut dropped = publish(0);
    // Some of it is told to the victim, some is not, some comes behind that.
    let (of_victim, told) = take(&mut victim, 300);
    assert!(told > 0);
    dropped += publish(1000);
    // It goes on behind what it was told last, which could be told again.
    let (one, none) = take(&mut victim, 1);
    assert_eq!((one.len(), none), (1, 0));
    dropped += publish(2000);
    victim.kill();
    let left = 3000 - of_victim.len() as u64 - told - 1;
    let (rest, lost) = receive(&mut heir, left);
    assert_dry(&mut heir);
    assert_eq!(told + lost, dropped);
    assert!(rest.iter().any(|taken| taken.redelivered));
}

#[test]
fn a22_numbers_go_on_where_a_killed_member_has_stopped() {
    let bus = unix();
    let mut victim = worker(&bus, "block-600000");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.tell("0 100");
    publisher.expect("lanes 100 dropped 0");
    take(&mut victim, 30);
    let client = bus.client("heir");
    let mut heir = heir(&client, "block-600000");
    victim.kill();
    for number in 30..100 {
        let tick = heir.recv().unwrap();
        assert_eq!((tick.checked(), tick.sequence()), (number, number));
        assert!(tick.redelivered());
    }
}

#[test]
fn a22_a_member_elsewhere_leaves_what_it_has_not_read_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", directory.path().join("bus").display());
    let broker = Broker::builder()
        .listen(unix.parse().unwrap())
        .listen("tcp://127.0.0.1:0".parse().unwrap())
        .start()
        .unwrap();
    let tcp = broker.addresses()[1].to_string();
    let mut victim = Peer::process("worker", &[&tcp, "t", "block-600000", "workers"]);
    victim.expect("open");
    let client = Client::connect(&unix).unwrap();
    let mut heir = heir(&client, "block-600000");
    let mut publisher = Peer::process("publisher", &[&unix, "t"]);
    publisher.expect("open");
    publisher.tell("0 100");
    publisher.expect("lanes 100 dropped 0");
    let (taken, _) = take(&mut victim, 10);
    let (own, _) = receive(&mut heir, 50);
    victim.kill();
    // What it has read and this side had not been told of yet comes again.
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for taken in taken.iter().chain(&own) {
        *seen.entry(taken.number).or_default() += 1;
    }
    while seen.len() < 100 {
        let taken = Taken::one(&mut heir).unwrap();
        assert!(taken.redelivered);
        *seen.entry(taken.number).or_default() += 1;
    }
    assert!(seen.into_keys().eq(0..100));
}

/// A publisher may commit a message between its heir's last look and the news that the route is gone.
#[test]
fn a22_an_heir_that_sleeps_is_woken_for_the_last_words() {
    let bus = unix();
    let (dying, living) = (bus.client("dying"), bus.client("living"));
    let member = |client: &Client| {
        let builder = client.subscriber::<Bytes>("t").queue("workers");
        builder.open().unwrap()
    };
    let mut raw = Raw::join(bus.address(), "hasty");
    let member_that_goes = member(&dying);
    let lane = raw.open_publisher("t")[0];
    let ring = Forged::ring(4096 + 8192);
    let mapping = ring.mapped();
    let ring = ring.sealed();
    let (bell, _heard) = bell();
    let offer = ToBroker::OfferLane {
        lane,
        medium: Medium::Ring,
        segment: SegmentSource::Descriptor,
        history: None,
        courier: false,
        begin: None,
    };
    raw.send(&offer, &[ring.as_fd(), bell.as_fd()]);
    let answer = raw.receive().map(|(frame, _)| frame);
    assert!(matches!(answer, Some(ToClient::LaneAccepted { .. })));
    raw.send(&ToBroker::Received, &[]);
    let mut heir = member(&living);
    drop(member_that_goes);
    dying.ping().unwrap();
    // When this is answered, the heir has been given the lane.
    living.ping().unwrap();
    assert!(heir.try_recv().unwrap().is_none());
    heir.announce();
    heir.retire();
    assert!(heir.announce(), "it has looked and may sleep");
    // A topic, a message, the end.
    let word = |kind: u64, len: u64| (len << 32 | kind).to_le_bytes();
    poke(&mapping, 4096 + 16, b"t");
    poke(&mapping, 4096 + 32, &word(1, 4));
    poke(&mapping, 4096 + 48, b"last");
    poke(&mapping, 4096, &word(3, 1));
    poke(&mapping, 0, &1_u64.to_le_bytes());
    raw.send(&ToBroker::LaneClosed { lane }, &[]);
    let mut polled = [PollFd::new(heir.as_fd(), PollFlags::POLLIN)];
    let woken = poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap();
    assert_eq!(woken, 1, "nobody wakes the heir");
    heir.retire();
    assert_eq!(&*heir.recv().unwrap(), b"last");
}

#[test]
fn a22_members_come_and_go_in_a_stream() {
    let bus = unix();
    let logs = bus.directory();
    let log = |name: usize| logs.join(format!("log-{name}"));
    let start = |name: usize, count: u64| {
        let (log, count) = (log(name), count.to_string());
        let arguments = ["t", "workers", log.to_str().unwrap(), &count];
        let mut worker = bus.peer("logging-worker", &arguments);
        worker.expect("open");
        worker
    };
    let client = bus.client("steady");
    let mut steady = heir(&client, "block-600000");
    let published = AtomicU64::new(0);
    let publishing = bus.client("publisher");
    let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
    let (of_steady, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let (mut taken, mut workers) = (Vec::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..STREAM {
                let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0), "{number}");
                published.store(number + 1, Ordering::Release);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                match steady.recv_timeout(Duration::from_millis(100)) {
                    Ok(Some(tick)) => of_steady.lock().unwrap().push(Taken {
                        number: tick.checked(),
                        redelivered: tick.redelivered(),
                    }),
                    Ok(None) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for round in 0..KILLS {
            let mut victim = start(workers, u64::MAX);
            let mut leaver = start(workers + 1, 500);
            workers += 2;
            let goal = (round + 1) * STREAM / (KILLS + 1);
            while published.load(Ordering::Acquire) < goal {
                thread::yield_now();
            }
            victim.kill();
            leaver.expect("closed");
        }
        let of_workers: Vec<_> = (0..workers)
            .map(|worker| Taken::read_all(&log(worker)))
            .collect();
        assert!(of_workers.iter().all(|taken| !taken.is_empty()));
        let of_workers = of_workers.concat();
        let numbers =
            |taken: &[Taken]| -> BTreeSet<u64> { taken.iter().map(|taken| taken.number).collect() };
        let theirs = numbers(&of_workers);
        eventually("all have come", || {
            let steady = of_steady.lock().unwrap();
            theirs.union(&numbers(&steady)).count() as u64 == STREAM
        });
        done.store(true, Ordering::Release);
        taken = [of_steady.lock().unwrap().clone(), of_workers].concat();
    });
    let mut times: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for taken in taken {
        let (first, again) = times.entry(taken.number).or_default();
        match taken.redelivered {
            true => *again += 1,
            false => *first += 1,
        }
    }
    assert!(times.keys().copied().eq(0..STREAM), "{} came", times.len());
    // Unmarked at most once; twice in all only what was in the hands of one that was killed.
    assert!(times.values().all(|(first, _)| *first <= 1));
    let twice = times
        .values()
        .filter(|(first, again)| first + again > 1)
        .count();
    assert!(twice as u64 <= KILLS, "{twice} came twice");
}

const STREAM: u64 = 100_000;
const KILLS: u64 = 5;
