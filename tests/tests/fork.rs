//! A forked child has none of its parent's handles, and cannot disturb them.

use ringmain::counters::{Role, scan_process};
use ringmain::{ListTopics, Subscriber};
use ringmain_tests::{Bus, Peer, Tick, Transport, on_each_transport_of_processes};

/// The party that forks, one that speaks to it, and what listens to it.
fn family(bus: &Bus) -> (Peer, Peer, Subscriber<Tick>) {
    let mut forking = bus.peer("forking", &["in", "out"]);
    forking.expect("open");
    let mut speaking = bus.peer("publisher", &["in"]);
    speaking.expect("open");
    let listening = bus
        .client("listening")
        .subscriber::<Tick>("out")
        .open()
        .unwrap();
    (forking, speaking, listening)
}

/// Speaks to the party that forks, more than a ring takes, and listens to it.
fn assert_undisturbed(family: &mut (Peer, Peer, Subscriber<Tick>), next: u64) -> u64 {
    let (forking, speaking, listening) = family;
    let end = next + 20_000;
    speaking.tell(&format!("{next} {end}"));
    forking.tell("receive 20000");
    forking.expect("received");
    speaking.expect("lanes 20000 dropped 0");
    for _ in 0..10 {
        forking.tell("publish");
        forking.expect("lanes 1");
        assert_eq!(listening.recv().unwrap().checked(), 7);
    }
    end
}

#[test]
fn every_operation_of_a_forked_child_says_so() {
    on_each_transport_of_processes(|bus| {
        let mut family = family(bus);
        let mut next = assert_undisturbed(&mut family, 0);
        for _ in 0..10 {
            family.0.tell("use");
            family.0.expect("child 0");
        }
        next = assert_undisturbed(&mut family, next);
        family.0.tell("use");
        family.0.expect("child 0");
        assert_undisturbed(&mut family, next);
    });
}

#[test]
fn handles_that_a_forked_child_drops_stay_open_in_its_parent() {
    on_each_transport_of_processes(|bus| {
        let mut family = family(bus);
        let mut next = assert_undisturbed(&mut family, 0);
        for _ in 0..3 {
            family.0.tell("drop");
            family.0.expect("child 0");
            next = assert_undisturbed(&mut family, next);
        }
        let listing = bus
            .client("asking")
            .list("**", ListTopics::Declared)
            .unwrap();
        assert_eq!(
            (listing.publishers.len(), listing.subscribers.len()),
            (2, 2)
        );
    });
}

#[test]
fn a_forked_child_that_waits_takes_no_wake_of_its_parent() {
    on_each_transport_of_processes(|bus| {
        let mut family = family(bus);
        let next = assert_undisturbed(&mut family, 0);
        let (forking, speaking, _) = &mut family;
        forking.tell("sleep");
        forking.expect("about to sleep");
        speaking.tell(&format!("{next} {}", next + 1));
        speaking.expect("lanes 1 dropped 0");
        forking.tell("it was rung for");
        forking.expect("child 0");
        forking.tell("receive 1");
        forking.expect("received");
        assert_undisturbed(&mut family, next + 1);
    });
}

#[test]
fn a_sample_that_a_forked_child_drops_stays_its_parent_s() {
    let bus = Bus::start(Transport::Unix);
    let mut family = family(&bus);
    let next = assert_undisturbed(&mut family, 0);
    let (forking, speaking, _) = &mut family;
    speaking.tell(&format!("{next} {}", next + 2000));
    speaking.expect("lanes 2000 dropped 0");
    forking.tell("samples");
    forking.expect("child 0");
    assert_undisturbed(&mut family, next + 2000);
}

#[test]
fn a_child_that_is_forked_in_a_poll_reads_no_further() {
    let bus = Bus::start(Transport::Unix);
    let mut family = family(&bus);
    let next = assert_undisturbed(&mut family, 0);
    let (forking, speaking, _) = &mut family;
    speaking.tell(&format!("{next} {}", next + 200));
    speaking.expect("lanes 200 dropped 0");
    for _ in 0..10 {
        forking.tell("poll");
        forking.expect("child 0");
    }
    let pid = family.0.pid().unwrap().as_raw() as u32;
    let scan = scan_process(pid).unwrap();
    let read = scan
        .clients
        .iter()
        .map(|client| client.total(Role::Subscriber).messages);
    assert_eq!(read.sum::<u64>(), next + 200, "the child has counted");
    assert_undisturbed(&mut family, next + 200);
}
