//! The network between two hosts goes away: a subscriber in a network namespace of its own, whose link is set down.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::{Client, Delivery};
use ringmain_tests::{Peer, eventually, usage};

/// A network namespace with a link to this one; ends with it.
struct Network {
    namespace: String,
    /// The link's end here.
    link: String,
    address: String,
}

impl Network {
    /// `None` where that is not possible.
    fn new() -> Option<Self> {
        let id = std::process::id();
        // A network of four addresses in the block that is kept for such tests.
        let net = (id % (1 << 15)) * 4;
        let host = |number: u32| {
            format!(
                "198.{}.{}.{}",
                18 + (net >> 16),
                net >> 8 & 0xff,
                (net & 0xff) + number
            )
        };
        let network = Self {
            namespace: format!("ringmain-{id}"),
            link: format!("rmh{id}"),
            address: host(1),
        };
        let (namespace, link, peer) = (&network.namespace, &network.link, format!("rmp{id}"));
        let (here, there) = (format!("{}/30", host(1)), format!("{}/30", host(2)));
        let made = [
            format!("netns add {namespace}"),
            format!("link add {link} type veth peer name {peer} netns {namespace}"),
            format!("addr add {here} dev {link}"),
            format!("link set {link} up"),
            format!("-n {namespace} addr add {there} dev {peer}"),
            format!("-n {namespace} link set {peer} up"),
        ]
        .iter()
        .all(|command| ip(command));
        made.then_some(network)
    }

    fn set(&self, state: &str) {
        assert!(ip(&format!("link set {} {state}", self.link)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.namespace));
    }
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

const PATIENCE: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_millis(300);

#[test]
fn a_network_that_goes_away_holds_nobody_up_and_is_told() {
    let Some(network) = Network::new() else {
        eprintln!(
            "skipped: network namespaces take root, the program `ip`, and a kernel with veth"
        );
        return;
    };
    let broker = Broker::builder()
        .listen(
            format!("memory:netns-{}", std::process::id())
                .parse()
                .unwrap(),
        )
        .listen(format!("tcp://{}:0", network.address).parse().unwrap())
        .insecure_tcp()
        .peer_timeout(PATIENCE)
        .start()
        .unwrap();
    let client = Client::connect(&broker.addresses()[0].to_string()).unwrap();
    let mut publisher = client
        .publisher::<Bytes>("t")
        .ring_bytes(64 << 10)
        .max_message_bytes(1000)
        .open()
        .unwrap();
    let mut publish = || publisher.publish("t", Bytes::new(&[1; 1000])).unwrap();
    let (address, policy) = (
        broker.addresses()[1].to_string(),
        format!("block-{}", DEADLINE.as_millis()),
    );
    let patience = PATIENCE.as_millis().to_string();
    let join = || {
        let arguments = [address.as_str(), "t", &policy, &patience];
        let mut peer = Peer::process_in(&network.namespace, "remote", &arguments);
        peer.expect("open");
        peer
    };
    let mut remote = join();
    assert_eq!(publish().lanes, 1);
    remote.expect("first");

    network.set("down");
    let down = Instant::now();
    let before = usage::rss_bytes(Pid::this());
    let mut most = before;
    let (mut written, mut dropped, mut longest, mut publishes) = (0, 0, Duration::ZERO, 0_u64);
    // Until the broker gives the peer up: then nobody is published to.
    loop {
        let started = Instant::now();
        let delivery = publish();
        longest = longest.max(started.elapsed());
        if delivery == Delivery::default() {
            break;
        }
        publishes += 1;
        written += delivery.lanes;
        dropped += delivery.dropped;
        if publishes.is_multiple_of(1000) {
            most = most.max(usage::rss_bytes(Pid::this()));
        }
        assert!(down.elapsed() < 30 * PATIENCE, "the peer is never given up");
    }
    let given_up = down.elapsed();
    most = most.max(usage::rss_bytes(Pid::this()));
    eprintln!(
        "link down: {publishes} messages, {written} into the ring, {dropped} dropped, the longest publish took \
         {longest:?} (deadline {DEADLINE:?}); given up after {given_up:?} (timeout {PATIENCE:?}); memory grew by {} KiB",
        (most - before) / 1024
    );
    assert!(
        longest >= DEADLINE && longest < 30 * DEADLINE,
        "{longest:?}"
    );
    // A ring, what a relay and a socket hold.
    assert!(written < 10_000 && dropped > 0);
    assert!(most - before < 32 << 20);
    eventually("the broker has forgotten the peer", || {
        client.clients().unwrap().len() == 1
    });
    eprintln!("the subscriber says: {}", remote.expect_start("lost"));
    remote.expect("gone");
    remote.finish();

    network.set("up");
    let mut remote = join();
    eventually("a new client is published to", || publish().lanes == 1);
    remote.expect("first");
}
