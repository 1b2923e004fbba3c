//! Row F3: the counters of other processes, which may die or lie, read without a broker.

use std::sync::mpsc::channel;

use ringmain::counters::{self, ClientCounters, Role, Scan};
use ringmain_tests::forged::Forged;
use ringmain_tests::{Bus, Tick, Transport, eventually};

/// A client by its name.
fn find<'a>(scan: &'a Scan, bus: u128, name: &str) -> &'a ClientCounters {
    let mut clients = scan.clients.iter();
    clients
        .find(|client| client.bus == bus && client.name == name)
        .unwrap()
}

#[test]
fn f3_counters_of_other_processes_are_read_while_the_broker_is_dead() {
    let mut bus = Bus::start(Transport::Unix);
    let mut subscriber = bus.client("reader").subscriber::<Tick>("t").open().unwrap();
    let incarnation = bus.client("asks").incarnation();
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    publisher.tell("0 100");
    publisher.expect("lanes 100 dropped 0");
    // The lane is there.
    assert_eq!(subscriber.recv().unwrap().checked(), 0);
    bus.kill_broker();
    publisher.tell("100 150");
    publisher.expect("lanes 50 dropped 0");
    for number in 1..20 {
        assert_eq!(subscriber.recv().unwrap().checked(), number);
    }
    let scan = counters::scan().unwrap();
    let written = find(&scan, incarnation, "peer");
    assert_eq!(
        Some(written.pid),
        publisher.pid().map(|pid| pid.as_raw() as u32)
    );
    assert_eq!(
        (written.program.as_str(), written.is_settled),
        ("peer", true)
    );
    assert_eq!(written.total(Role::Publisher).messages, 150);
    let lane = &written.lanes[0];
    assert_eq!((lane.peer.as_str(), lane.topics.as_str()), ("reader", "t"));
    let lag = scan.lags()[&(incarnation, lane.lane)];
    assert_eq!(lag.messages, 130);
    assert!(lag.bytes > 130 * 48, "{lag:?}");
    assert_eq!(
        find(&scan, incarnation, "reader")
            .total(Role::Subscriber)
            .messages,
        20
    );
}

#[test]
fn f3_a_process_that_dies_while_it_is_read_costs_the_reader_nothing() {
    let bus = Bus::start(Transport::Unix);
    let survivor = bus.client("survivor");
    let mut subscriber = survivor.subscriber::<Tick>("t").open().unwrap();
    for _ in 0..5 {
        let mut victim = bus.peer("flood", &["t"]);
        victim.expect("lanes 1");
        let pid = victim.pid().unwrap().as_raw() as u32;
        let (found, is_found) = channel();
        let reading = std::thread::spawn(move || {
            // Until it is gone.
            while let Ok(scan) = counters::scan_process(pid) {
                assert!(scan.faults.is_empty(), "{:?}", scan.faults);
                for client in scan.clients {
                    let _ = found.send(client.total(Role::Publisher).messages);
                }
            }
        });
        assert!(is_found.recv().unwrap() > 0);
        victim.kill();
        reading.join().unwrap();
        assert_eq!(
            find(
                &counters::scan().unwrap(),
                survivor.incarnation(),
                "survivor"
            )
            .handles
            .len(),
            1
        );
        while subscriber.try_recv().unwrap().is_some() {}
    }
}

/// A page of a client, of a lane, as a hostile process makes them.
fn page(kind: u64, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; 4096];
    page[..8].copy_from_slice(&1_u64.to_le_bytes());
    page[8..16].copy_from_slice(&kind.to_le_bytes());
    page[16..24].copy_from_slice(&1_u64.to_le_bytes());
    page
}

#[test]
fn f3_what_is_made_up_is_told_of_or_left_out() {
    const DATA: u64 = 8 * 4096;
    let bus = Bus::start(Transport::Memory);
    let client = bus.client("good");
    let _publisher = client.publisher::<Tick>("t").open().unwrap();
    let refused = [
        ("seals", Forged::counters(DATA)),
        (
            "magic",
            Forged::counters(DATA).write(0, b"GARBAGE!").sealed(),
        ),
        ("layout", Forged::counters(DATA).write(24, &[9]).sealed()),
        ("format", Forged::counters(DATA).write(8, &[9]).sealed()),
        ("allocated", Forged::counters(DATA).sparse(1 << 20).sealed()),
        ("accepted", Forged::counters(DATA).sparse(1 << 40).sealed()),
        ("without a client", Forged::counters(DATA).sealed()),
        (
            "without a client",
            Forged::counters(DATA)
                .write_data(0, &[0xff; DATA as usize])
                .sealed(),
        ),
        (
            "without a client",
            Forged::counters(DATA).write_data(0, &page(5, 0)).sealed(),
        ),
    ];
    for (reason, forged) in refused {
        let scan = counters::scan_process(std::process::id()).unwrap();
        assert!(
            scan.faults
                .iter()
                .any(|fault| fault.reason.contains(reason)),
            "{reason}: {:?}",
            scan.faults
        );
        assert_eq!(find(&scan, client.incarnation(), "good").handles.len(), 1);
        drop(forged);
    }
    for fill in [0, 1, 0x1b, 0x7f, 0xff] {
        let forged = (1..8).fold(
            Forged::counters(DATA).write_data(0, &page(1, fill)),
            |forged, index| forged.write_data(4096 * index, &page(index % 5 + 1, fill)),
        );
        let _forged = forged.sealed();
        // Other tests of this process may be making theirs.
        let mut scan = Scan::default();
        eventually("no fault is told", || {
            scan = counters::scan_process(std::process::id()).unwrap();
            scan.faults.is_empty()
        });
        for lane in scan.clients.iter().flat_map(|client| &client.lanes) {
            assert!(!lane.peer.chars().any(char::is_control));
            assert!(lane.topics.len() <= 3 * 1024);
        }
        assert_eq!(find(&scan, client.incarnation(), "good").handles.len(), 1);
        scan.lags();
    }
}

#[test]
fn f3_a_forked_child_does_not_give_its_parents_counters_back() {
    let bus = Bus::start(Transport::Unix);
    let incarnation = bus.client("asks").incarnation();
    let mut forking = bus.peer("forking", &["in", "out"]);
    forking.expect("open");
    let mut subscriber = bus
        .client("listening")
        .subscriber::<Tick>("out")
        .open()
        .unwrap();
    forking.tell("publish");
    forking.expect("lanes 1");
    subscriber.recv().unwrap();
    forking.tell("drop");
    forking.expect("child 0");
    forking.tell("publish");
    forking.expect("lanes 1");
    let scan = counters::scan().unwrap();
    let parent = find(&scan, incarnation, "forking");
    assert_eq!((parent.handles.len(), parent.lanes.len()), (2, 1));
    assert_eq!(parent.lanes[0].counts.messages, 2);
}
