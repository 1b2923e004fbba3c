//! Looking at last values leaves nothing behind. One test, for it counts what the whole process holds.

use nix::unistd::Pid;
use ringmain::Publisher;
use ringmain_tests::{Bus, Tick, Transport, eventually, usage};

#[test]
fn c9_looking_leaves_nothing_behind() {
    killed_lookers_leave_nothing_behind();
    whoever_does_not_look_keeps_nothing_of_those_who_came_and_went();
}

fn publisher(bus: &Bus) -> Publisher<Tick> {
    let client = bus.client("publisher");
    client.publisher("t/*").history(1).open().unwrap()
}

/// Descriptors and mapped segments of this process.
fn held() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let segments = maps.lines().filter(|line| line.contains("memfd:ringmain"));
    (usage::descriptors(Pid::this()), segments.count())
}

fn killed_lookers_leave_nothing_behind() {
    let bus = Bus::start(Transport::Unix);
    let mut publisher = publisher(&bus);
    publisher.publish("t/a", &Tick::new(1)).unwrap();
    let look = |bus: &Bus| {
        let mut looker = bus.peer("looker", &["t/a"]);
        looker.expect("looked 1");
        looker
    };
    look(&bus).kill();
    let rest = |publisher: &mut Publisher<Tick>| {
        publisher.publish("t/b", &Tick::new(2)).unwrap();
        held()
    };
    let before = rest(&mut publisher);
    for _ in 0..20 {
        let mut looker = look(&bus);
        // The publisher learns whom to wake.
        rest(&mut publisher);
        looker.kill();
    }
    eventually("what they held has come back", || {
        let held = rest(&mut publisher);
        held.0 <= before.0 && held.1 <= before.1
    });
}

fn whoever_does_not_look_keeps_nothing_of_those_who_came_and_went() {
    let bus = Bus::start(Transport::Unix);
    let reading = bus.client("reader");
    let mut values = reading.last_values::<Tick>("t/*").unwrap();
    assert!(values.get("t/a").unwrap().is_none());
    let before = held();
    for _ in 0..20 {
        let mut peer = bus.peer("keeper", &["t/a"]);
        peer.expect("kept");
        eventually("it is there to be looked at", || held().1 > before.1);
        peer.kill();
        eventually("its memory has come back", || held().1 <= before.1);
    }
    assert!(values.get("t/a").unwrap().is_none());
}
