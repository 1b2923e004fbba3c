//! Row C8 on another host: alone in its process, for it looks at the threads.

use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringmain::Client;
use ringmain::broker::Broker;
use ringmain_tests::{Tick, eventually};

/// Whoever waits so long waits in vain.
const FOR_EVER: Duration = Duration::from_secs(600);

#[test]
fn c8_close_needs_no_sign_of_life_of_another_host() {
    let broker = Broker::builder()
        .listen("tcp://127.0.0.1:0".parse().unwrap())
        .peer_timeout(FOR_EVER)
        .start()
        .unwrap();
    let address = broker.addresses()[0].to_string();
    let client = |name: &str| {
        let builder = Client::builder().name(name).peer_timeout(FOR_EVER);
        builder.connect(&address).unwrap()
    };
    let mut subscriber = client("reader").subscriber::<Tick>("t").open().unwrap();
    let mut publisher = client("writer").publisher::<Tick>("t").open().unwrap();
    for number in 0..10 {
        // From the second one on it knows that the subscriber has answered, so the close wakes nobody with that news.
        publisher.publish("t", &Tick::new(number)).unwrap();
        relays_rest();
    }
    assert_eq!(subscriber.recv().unwrap().checked(), 0);
    let (closed, is_closed) = channel();
    // A sign of life, which would tell of the cursor, too, comes once in 150 seconds.
    thread::spawn(move || closed.send(publisher.close(Duration::from_secs(60)).unwrap()));
    eventually("the publisher waits", || {
        let scan = ringmain::counters::scan_process(std::process::id()).unwrap();
        let mut lanes = scan.clients.iter().flat_map(|client| &client.lanes);
        lanes.any(|lane| lane.counts.parks > 0)
    });
    relays_rest();
    for number in 1..10 {
        assert_eq!(subscriber.recv().unwrap().checked(), number);
    }
    assert!(subscriber.try_recv().unwrap().is_none());
    let closed = is_closed.recv().unwrap();
    assert!(closed.is_complete(), "{closed:?}");
}

/// Waits until all relays are asleep, at several looks in a row: what there is to be said is said.
fn relays_rest() {
    let mut looks = 0;
    eventually("the relays sleep", || {
        looks = if relays_sleep() { looks + 1 } else { 0 };
        looks == 20
    });
}

fn relays_sleep() -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let relays: Vec<_> = threads
        .map(|thread| thread.unwrap().path().join("stat"))
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter(|stat| stat.contains("(ringmain-relay)"))
        .collect();
    assert_eq!(relays.len(), 4);
    relays.iter().all(|stat| stat.contains(") S "))
}
