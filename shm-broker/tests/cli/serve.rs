//! `serve`, `ping`: the life of a broker.

use nix::sys::signal::Signal;

use crate::harness::{Bus, run, until};

#[test]
fn a_signal_ends_a_broker_and_its_socket() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let bus = Bus::start();
        let socket = bus.socket();
        assert!(socket.exists());
        let Bus { broker, directory } = bus;
        broker.signal(signal);
        assert_eq!(broker.end().code, Some(0));
        assert!(!socket.exists());
        drop(directory);
    }
}

#[test]
fn a_broker_names_all_its_addresses_also_as_json() {
    let bus = Bus::start();
    let other = |name| format!("unix:{}", bus.directory.path().join(name).display());
    let (one, two) = (other("one"), other("two"));
    let mut second = bus.spawn(&["serve", "--json", "--listen", &one, "--listen", &two]);
    for address in [one, two] {
        let line: serde_json::Value = serde_json::from_str(&second.line()).unwrap();
        assert_eq!(line["listening"], address);
        assert_eq!(run(&["ping", "--bus", &address]).done().len(), 1);
    }
}

#[test]
fn a_second_broker_is_refused_while_the_first_goes_on() {
    let mut bus = Bus::start();
    let complaint = bus.run(&["serve"]).failed(1);
    assert!(
        complaint.contains("in use by another broker"),
        "{complaint}"
    );
    assert_eq!(bus.run(&["ping"]).done().len(), 1);
    assert!(!bus.broker.has_ended());
}

#[test]
fn a_socket_left_by_a_killed_broker_is_taken_over() {
    let bus = Bus::start();
    bus.broker.signal(Signal::SIGKILL);
    let mut bus = bus;
    until(|| bus.broker.has_ended());
    assert!(bus.socket().exists());
    let complaint = bus.run(&["ping"]).failed(1);
    assert!(complaint.contains("shm-broker serve"), "{complaint}");
    let mut next = bus.spawn(&["serve"]);
    assert_eq!(next.line(), format!("listening on {}", bus.address()));
    bus.run(&["ping"]).done();
}

#[test]
fn a_broker_that_nobody_could_reach_is_refused() {
    let complaint = run(&["serve", "--listen", "memory:x"]).failed(2);
    assert!(complaint.contains("no other process"), "{complaint}");
    run(&["serve", "--listen", "unix:/nonexistent/ringmain/x.sock"]).failed(1);
}

#[test]
fn ping_answers_as_often_as_asked() {
    let bus = Bus::start();
    assert_eq!(bus.run(&["ping", "--count", "3"]).done().len(), 3);
    let lines = bus.run(&["ping", "--json"]).done();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert!(line["rtt_ns"].as_u64().unwrap() > 0);
}
