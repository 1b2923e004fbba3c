//! What is particular to peers on other hosts: the way between can break, and both sides learn it.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::{
    Client, Delivery, GapCause, Overflow, PublishError, Publisher, RecvError, Subscriber,
};
use ringmain_tests::roles::Tally;
use ringmain_tests::{Tick, eventually};

/// How long a silent peer is waited for here.
const PATIENCE: Duration = Duration::from_secs(2);

/// A broker that is reached locally, and from another host by a way that can break.
struct Hosts {
    broker: Broker,
    way: Way,
    patience: Duration,
}

/// A way between two hosts: passes bytes on in both directions.
struct Way {
    address: String,
    /// Nothing passes any more, nothing is closed: a cable was pulled.
    is_dark: Arc<AtomicBool>,
    /// Nothing passes while somebody else has this.
    gate: Arc<Mutex<()>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Hosts {
    fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Self {
        let broker = Broker::builder()
            .listen(
                format!("memory:remote-{:?}", std::thread::current().id())
                    .parse()
                    .unwrap(),
            )
            .listen("tcp://127.0.0.1:0".parse().unwrap())
            .peer_timeout(patience)
            .start()
            .unwrap();
        let way = Way::to(&broker.addresses()[1].to_string());
        Self {
            broker,
            way,
            patience,
        }
    }

    fn local(&self) -> Client {
        Client::builder()
            .name("local")
            .connect_to(&self.broker.addresses()[0])
            .unwrap()
    }

    fn remote(&self) -> Client {
        Client::builder()
            .name("remote")
            .peer_timeout(self.patience)
            .connect(&self.way.address)
            .unwrap()
    }
}

impl Way {
    fn to(address: &str) -> Self {
        let target = address.trim_start_matches("tcp://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self {
            address: format!("tcp://{}", listener.local_addr().unwrap()),
            is_dark: Arc::default(),
            gate: Arc::default(),
            streams: Arc::default(),
        };
        let (is_dark, streams) = (way.is_dark.clone(), way.streams.clone());
        let gate = way.gate.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&target)) else {
                    return;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (is_dark, gate) = (is_dark.clone(), gate.clone());
                    std::thread::spawn(move || pass(from, to, &is_dark, &gate));
                }
                streams.lock().unwrap().extend([near, far]);
            }
        });
        way
    }

    fn go_dark(&self) {
        self.is_dark.store(true, Ordering::SeqCst);
    }

    /// Both ends see the connection end, without a goodbye.
    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_dark: &AtomicBool, gate: &Mutex<()>) {
    use std::io::{Read, Write};
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(_) if is_dark.load(Ordering::SeqCst) => {}
            Ok(count) => {
                drop(gate.lock().unwrap());
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }
    }
    if !is_dark.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

fn small_publisher(client: &Client, topic: &str) -> Publisher<Bytes> {
    client
        .publisher::<Bytes>(topic)
        .ring_bytes(4096)
        .max_message_bytes(1000)
        .open()
        .unwrap()
}

fn lost_by_transport(subscriber: &mut Subscriber<Bytes>) -> u64 {
    let mut got = 0;
    loop {
        match subscriber.recv() {
            Ok(_) => got += 1,
            Err(RecvError::Gap(gap)) => {
                assert_eq!(gap.cause, GapCause::TransportLost, "{gap}");
                return got;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_publisher_is_free_again_when_the_way_to_a_subscriber_goes_dark() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let deadline = Duration::from_millis(300);
    let mut subscriber = remote
        .subscriber::<Bytes>("t")
        .overflow(Overflow::Block { deadline })
        .open()
        .unwrap();
    let mut publisher = small_publisher(&local, "t");
    publisher.publish("t", Bytes::new(&[1; 1000])).unwrap();
    assert_eq!(subscriber.recv().unwrap().len(), 1000);
    hosts.way.go_dark();
    let started = Instant::now();
    let mut sum = Delivery::default();
    // The ring is full after a few; one deadline is waited for, then the lane is stalled.
    for _ in 0..50 {
        let delivery = publisher.publish("t", Bytes::new(&[1; 1000])).unwrap();
        sum.lanes += delivery.lanes;
        sum.dropped += delivery.dropped;
    }
    assert!((1..=8).contains(&sum.lanes), "{sum:?}");
    assert_eq!(sum.lanes + sum.dropped, 50);
    assert!(started.elapsed() >= deadline);
    // The broker gives the silent peer up: the lane is gone, nothing is counted as lost any more.
    eventually("the silent peer is given up", || {
        publisher.publish("t", Bytes::new(&[1; 1000])).unwrap() == Delivery::default()
    });
    assert_eq!(local.clients().unwrap().len(), 1);
    // The other side learns it by itself, too: what had arrived is read, then the loss is told.
    assert_eq!(lost_by_transport(&mut subscriber), 0);
    assert!(matches!(subscriber.recv(), Err(RecvError::BrokerGone)));
    assert!(!remote.is_connected());
}

#[test]
fn a_publisher_whose_way_breaks_is_told_what_may_be_lost() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let mut subscriber = local.subscriber::<Bytes>("t").open().unwrap();
    let mut publisher = small_publisher(&remote, "t");
    publisher.publish("t", Bytes::new(b"before")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"before");
    hosts.way.go_dark();
    for _ in 0..3 {
        assert_eq!(
            publisher.publish("t", Bytes::new(b"dark")).unwrap().lanes,
            1
        );
    }
    assert_eq!(lost_by_transport(&mut subscriber), 0);
    eventually("the silent broker is given up", || !remote.is_connected());
    let error = publisher.publish("t", Bytes::new(b"after")).unwrap_err();
    // The first one may have been confirmed, or not.
    assert!(
        matches!(error, PublishError::TransportLost { unconfirmed: 3 | 4 }),
        "{error:?}"
    );
    let delivery = publisher.publish("t", Bytes::new(b"after")).unwrap();
    assert!(
        delivery.lanes == 0 && delivery.route_unknown,
        "{delivery:?}"
    );
}

#[test]
fn a_publisher_that_waits_while_its_way_breaks_is_told_what_may_be_lost() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let subscriber = local.subscriber::<Bytes>("t");
    let deadline = Duration::from_secs(600);
    let mut slow = subscriber
        .overflow(Overflow::Block { deadline })
        .open()
        .unwrap();
    let mut publisher = small_publisher(&remote, "t");
    let topic = publisher.resolve("t").unwrap();
    let payload = [1; 1000];
    // More than one ring: the publisher has been told of the cursor.
    for _ in 0..20 {
        let delivery = publisher.publish_to(&topic, Bytes::new(&payload)).unwrap();
        assert_eq!(delivery.lanes, 1);
        assert_eq!(slow.recv().unwrap().len(), 1000);
    }
    let mut unread = 0;
    while publisher
        .try_publish_to(&topic, Bytes::new(&payload))
        .is_ok()
    {
        unread += 1;
    }
    assert!(unread >= 2, "{unread}");
    let way = hosts.way;
    let error = std::thread::scope(|scope| {
        // After few that still fit, one waits, as a rule, when the way breaks; the one behind it has nobody left.
        let mut publish = || publisher.publish_to(&topic, Bytes::new(&payload));
        let publishing = scope.spawn(move || (0..50).find_map(|_| publish().err()));
        way.cut();
        publishing.join().unwrap()
    });
    match error {
        Some(PublishError::TransportLost { unconfirmed }) => assert!(unconfirmed >= unread),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_arrived_is_read_when_the_way_is_cut() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let mut publisher = local.publisher::<Bytes>("t").open().unwrap();
    let mut subscriber = remote.subscriber::<Bytes>("t").open().unwrap();
    for _ in 0..100 {
        publisher.publish("t", Bytes::new(b"x")).unwrap();
    }
    assert_eq!(&*subscriber.recv().unwrap(), b"x");
    hosts.way.cut();
    // They leave in one packet, or in few.
    assert!(lost_by_transport(&mut subscriber) <= 99);
    assert!(matches!(subscriber.recv(), Err(RecvError::BrokerGone)));
    eventually("the broker has forgotten the client", || {
        local.clients().unwrap().len() == 1
    });
    // Another try finds a way again, and everything works anew.
    let again = hosts.remote();
    let mut subscriber = again.subscriber::<Bytes>("t").open().unwrap();
    publisher.publish("t", Bytes::new(b"again")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"again");
}

/// Two directions at once through one connection, both with readers that are slower than what comes.
#[test]
fn two_directions_with_slow_readers_do_not_block_each_other() {
    const MESSAGES: u64 = 3000;
    let hosts = Hosts::new();
    let clients = [hosts.local(), hosts.remote()];
    let topics = ["to/remote", "to/local"];
    let threads: Vec<_> = (0..2)
        .flat_map(|side: usize| {
            let mut publisher = clients[side]
                .publisher::<Tick>(topics[side])
                .ring_bytes(4096)
                .max_message_bytes(200)
                .open()
                .unwrap();
            let mut subscriber = clients[1 - side]
                .subscriber::<Tick>(topics[side])
                .overflow(Overflow::Block {
                    deadline: Duration::from_secs(60),
                })
                .open()
                .unwrap();
            let topic = topics[side];
            let publishing = std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    let delivery = publisher.publish(topic, &Tick::new(number)).unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                }
            });
            let reading = std::thread::spawn(move || {
                let mut tally = Tally::default();
                for part in 1..=MESSAGES / 100 {
                    tally.receive(&mut subscriber, part * 100);
                    std::thread::yield_now();
                }
                assert_eq!((tally.got, tally.lost), (MESSAGES, 0));
            });
            [publishing, reading]
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_is_published_right_before_a_client_ends_arrives() {
    let hosts = Hosts::new();
    let local = hosts.local();
    let mut subscriber = local
        .subscriber::<Bytes>("t")
        .ring_bytes(1 << 20)
        .open()
        .unwrap();
    for round in 0..20_u8 {
        let remote = hosts.remote();
        let mut publisher = remote.publisher::<Bytes>("t").open().unwrap();
        for _ in 0..50 {
            publisher.publish("t", Bytes::new(&[round; 5000])).unwrap();
        }
        drop((publisher, remote));
        for _ in 0..50 {
            assert_eq!(&*subscriber.recv().unwrap(), &[round; 5000]);
        }
    }
    assert!(subscriber.try_recv().unwrap().is_none());
}

#[test]
fn guarantee_6_the_end_of_a_broker_is_told_on_another_host() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let mut publisher = local.publisher::<Bytes>("t").open().unwrap();
    let mut subscriber = remote.subscriber::<Bytes>("t").open().unwrap();
    publisher.publish("t", Bytes::new(b"x")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"x");
    hosts.broker.shutdown();
    // The publisher lives on, so there may be more that does not come.
    assert_eq!(lost_by_transport(&mut subscriber), 0);
    assert!(matches!(subscriber.recv(), Err(RecvError::BrokerGone)));
}

/// Patterns change while messages are on their way: those were published to a subscriber that there was.
#[test]
fn what_is_on_its_way_when_its_pattern_goes_arrives() {
    let hosts = Hosts::with_patience(Duration::from_secs(60));
    let (local, remote) = (hosts.local(), hosts.remote());
    let mut subscriber = local.subscriber::<Bytes>("t").open().unwrap();
    subscriber.add_pattern("other").unwrap();
    let mut publisher = small_publisher(&remote, "t");
    publisher.publish("t", Bytes::new(b"before")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"before");
    let gate = hosts.way.gate.lock().unwrap();
    for _ in 0..3 {
        let delivery = publisher.publish("t", Bytes::new(b"on its way")).unwrap();
        assert_eq!(delivery.lanes, 1);
    }
    // Answered although the other host says nothing: a barrier is not waited for without end.
    subscriber.remove_pattern("t").unwrap();
    drop(gate);
    subscriber.add_pattern("t").unwrap();
    for _ in 0..3 {
        assert_eq!(&*subscriber.recv().unwrap(), b"on its way");
    }
    publisher.publish("t", Bytes::new(b"after")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"after");
}

#[test]
fn the_rings_of_subscribers_that_have_closed_are_given_back() {
    let hosts = Hosts::new();
    let (local, remote) = (hosts.local(), hosts.remote());
    let mut publisher = local.publisher::<Bytes>("t").open().unwrap();
    // More than a relay makes rings for at a time.
    for _ in 0..24 {
        let subscriber = remote.subscriber::<Bytes>("t").ring_bytes(32 << 20);
        let mut subscriber = subscriber.open().unwrap();
        publisher.publish("t", Bytes::new(b"x")).unwrap();
        assert_eq!(&*subscriber.recv().unwrap(), b"x");
    }
}
