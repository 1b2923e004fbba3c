//! The bus on segments with names, the backend for systems without memfd.
#![cfg(feature = "named")]

use ringmain::broker::Broker;
use ringmain::{Backend, Client};
use ringmain_tests::roles::Tally;
use ringmain_tests::{Bus, Tick, Transport};

fn segments() -> usize {
    let names = std::fs::read_dir("/dev/shm").unwrap();
    names
        .filter(|name| {
            let name = name.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("ringmain")
        })
        .count()
}

#[test]
fn a_bus_on_named_segments_carries_messages_both_ways_between_processes() {
    let before = segments();
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("bus.sock").display());
    let broker = Broker::builder()
        .listen(address.parse().unwrap())
        .backend(Backend::Named)
        .start()
        .unwrap();
    let client = Client::builder()
        .backend(Backend::Named)
        .connect(&address)
        .unwrap();
    // The peers use memfd: what a side makes is its own choice.
    let mut remote = ringmain_tests::Peer::process("publisher", &[&address, "there"]);
    let mut listener =
        ringmain_tests::Peer::process("subscriber", &[&address, "here", "block-30000"]);
    remote.expect("open");
    listener.expect("open");
    let mut subscriber = client.subscriber::<Tick>("*").open().unwrap();
    let mut publisher = client.publisher::<Tick>("here").open().unwrap();
    remote.tell("0 20000");
    let mut tally = Tally::default();
    tally.receive(&mut subscriber, 20_000);
    remote.expect("lanes 20000 dropped 0");
    let mut own = client.subscriber::<Tick>("here").open().unwrap();
    let reading = std::thread::spawn(move || {
        let mut tally = Tally::default();
        tally.receive(&mut own, 20_000);
        tally.got
    });
    drop(subscriber);
    listener.tell("20000");
    for number in 0..20_000 {
        let delivery = publisher.publish("here", &Tick::new(number)).unwrap();
        // The third subscriber is closing.
        assert!(delivery.lanes >= 2 && delivery.dropped == 0, "{delivery:?}");
    }
    listener.expect("got 20000 lost 0");
    assert_eq!(reading.join().unwrap(), 20_000);
    assert!(segments() > before, "the client's segments have names");
    drop((publisher, client, broker));
    remote.finish();
    listener.finish();
    assert_eq!(segments(), before, "segments are left behind");
}

#[test]
fn a_build_with_names_still_takes_memfd_by_itself() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("both");
    let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
    let mut publisher = client.publisher::<Tick>("t").open().unwrap();
    publisher.publish("t", &Tick::new(3)).unwrap();
    assert_eq!(subscriber.recv().unwrap().checked(), 3);
}
