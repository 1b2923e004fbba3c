//! What other parties of a test do, by name. The first argument is the bus' address.

mod bounded;
mod doomed;
mod forking;
mod frames;
mod lending;
mod looker;
mod many_async;
mod quiet;
mod region_holder;
mod remote;
mod seeded;
mod visit;
pub mod worker;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use futures_lite::future::block_on;
use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::{Client, GapCause, Overflow, RecvError, Subscriber};

use crate::Tick;
use crate::patience::eventually;
use crate::peer::Script;
use crate::usage;

/// Runs a role.
pub fn run(role: &str, arguments: &[String], script: &mut Script) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (role, arguments.as_slice()) {
        ("broker", [address]) => broker(address, script),
        ("publisher", [address, topic]) => publisher(address, topic, script),
        ("flood", [address, topic]) => flood(address, topic, None, script),
        ("flood", [address, topic, count]) => flood(address, topic, Some(count), script),
        ("subscriber", [address, pattern, policy]) => subscriber(address, pattern, policy, script),
        ("sleeper", [address, pattern, policy]) => sleeper(address, pattern, policy, script),
        ("drop", [address, topic, count]) => {
            drop_and_wait(address, topic, count.parse().unwrap(), script)
        }
        ("doomed", [address, topic, count, death]) => {
            doomed::doomed(address, topic, count.parse().unwrap(), death, script);
        }
        ("seeded", [address, topic, seed, end]) => {
            seeded::seeded(address, topic, seed.parse().unwrap(), end, script);
        }
        ("holder", [address, pattern, count]) => {
            lending::holder(address, pattern, count.parse().unwrap(), script);
        }
        ("lender", [address, topic, count, len]) => {
            let (count, len) = (count.parse().unwrap(), len.parse().unwrap());
            lending::lender(address, topic, count, len, script);
        }
        ("frames", [address, topic, len]) => {
            frames::frames(address, topic, len.parse().unwrap(), script);
        }
        ("latest-holder", [address, pattern, way, count]) => {
            let count = count.parse().unwrap();
            frames::latest_holder(address, pattern, policy(way), count, script);
        }
        ("region-holder", [address, pattern]) => {
            region_holder::region_holder(address, pattern, script);
        }
        ("keeper", [address, topic]) => looker::keeper(address, topic, script),
        ("looker", [address, topic]) => looker::looker(address, topic, script),
        ("unsure", [address, topic, way]) => unsure(address, topic, way, script),
        ("quiet-publisher", [address, topic, count]) => {
            quiet::publisher(address, topic, count.parse().unwrap(), script);
        }
        ("quiet-subscriber", [address, pattern, count]) => {
            quiet::subscriber(address, pattern, count.parse().unwrap(), script);
        }
        ("bounded", [address, topic, what]) => bounded::bounded(address, topic, what, script),
        ("many-topics", [address, count]) => {
            bounded::many_topics(address, count.parse().unwrap(), script);
        }
        ("many-subscribers", [address, count]) => {
            bounded::many_subscribers(address, count.parse().unwrap(), script);
        }
        ("many-lanes", [address, count]) => {
            bounded::many_lanes(address, count.parse().unwrap(), script);
        }
        ("many-async", [address, pattern, count, messages]) => {
            let (count, messages) = (count.parse().unwrap(), messages.parse().unwrap());
            many_async::many_async(address, pattern, count, messages, script);
        }
        ("forking", [address, listen, speak]) => forking::forking(address, listen, speak, script),
        ("visitor", [address, listen, speak]) => visit::visitor(address, listen, speak, script),
        ("host", [address, speak, listen]) => visit::host(address, speak, listen, script),
        ("worker", [address, pattern, policy, queue]) => {
            worker::worker(address, pattern, policy, queue, script);
        }
        ("logging-worker", [address, pattern, queue, log, count]) => {
            let count = count.parse().unwrap();
            worker::logging(address, pattern, queue, Path::new(log), count, script);
        }
        ("remote", [address, pattern, policy, patience_ms]) => {
            let patience = Duration::from_millis(patience_ms.parse().unwrap());
            remote::subscriber(address, pattern, policy, patience, script);
        }
        _ => panic!("no role {role} with {arguments:?}"),
    }
}

/// Reads a policy: `block-MILLISECONDS`, `drop`, `oldest` or `conflate`.
pub fn policy(text: &str) -> Overflow {
    match text.split_once('-') {
        Some(("block", deadline)) => Overflow::Block {
            deadline: Duration::from_millis(deadline.parse().unwrap()),
        },
        _ if text == "drop" => Overflow::DropNewest,
        _ if text == "oldest" => Overflow::DropOldest,
        _ if text == "conflate" => Overflow::Conflate,
        _ => panic!("no policy {text}"),
    }
}

/// A broker. Says `ready` and its address, ends when nothing more comes.
fn broker(address: &str, script: &mut Script) {
    let broker = Broker::builder()
        .listen(address.parse().unwrap())
        .start()
        .unwrap();
    script.say(format!("ready {}", broker.addresses()[0]));
    while script.hear().is_some() {}
}

/// Publishes the ticks `from..to` to the topic for each line `FROM TO`; says `lanes N dropped N` (sums). For the line
/// `kill` it kills its process; for `exit` it exits without any clean-up.
fn publisher(address: &str, topic: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Tick>(topic).open().unwrap();
    script.say("open");
    while let Some(line) = script.hear() {
        match line.as_str() {
            "kill" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
            "exit" => std::process::exit(0),
            "cut" => {
                usage::cut_links();
                eventually("the link is closed", || !client.is_connected());
                script.say("cut");
                continue;
            }
            _ => {}
        }
        let (from, to) = line.split_once(' ').unwrap();
        let (mut lanes, mut dropped) = (0, 0);
        for number in from.parse().unwrap()..to.parse().unwrap() {
            let before = client.is_connected();
            let delivery = publisher.publish(topic, &Tick::new(number)).unwrap();
            // The link may end meanwhile.
            let known = [before, client.is_connected()];
            assert!(known.contains(&!delivery.route_unknown));
            lanes += delivery.lanes;
            dropped += delivery.dropped;
        }
        script.say(format!("lanes {lanes} dropped {dropped}"));
    }
}

/// Publishes a tick to `t` for each line, `blocking` or in a `future`; says `route_unknown` with what the delivery says of
/// it.
fn unsure(address: &str, topic: &str, way: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Tick>(topic).open().unwrap();
    script.say("open");
    while script.hear().is_some() {
        let delivery = match way {
            "blocking" => publisher.publish("t", &Tick::new(0)),
            _ => block_on(publisher.publish_async("t", &Tick::new(0))),
        };
        script.say(format!("route_unknown {}", delivery.unwrap().route_unknown));
    }
}

/// Publishes ticks, numbered from 0 on, as fast as it can; says `lanes N` with the number of lanes when that changes.
/// How many were published stands in the first eight bytes of the file `count`.
fn flood(address: &str, topic: &str, count: Option<&str>, script: &mut Script) {
    let count = count.map(|path| File::create(path).unwrap());
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Tick>(topic).open().unwrap();
    let mut lanes = u32::MAX;
    for number in 0.. {
        let delivery = publisher.publish(topic, &Tick::new(number)).unwrap();
        if delivery.lanes + delivery.dropped != lanes {
            lanes = delivery.lanes + delivery.dropped;
            script.say(format!("lanes {lanes}"));
        }
        if let Some(count) = &count {
            count
                .write_all_at(&(number + 1_u64).to_le_bytes(), 0)
                .unwrap();
        }
    }
}

/// How many a `flood` has published, by its file.
pub fn published(count: &Path) -> u64 {
    let bytes = std::fs::read(count).unwrap();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Receives ticks, which must be consecutive; says `open`, then for each line `N`, when it has got or lost as many in
/// all, `got N lost N`. For the line `until cut` it receives until the way to the publisher breaks, and says that, too.
fn subscriber(address: &str, pattern: &str, policy_name: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut subscriber = client
        .subscriber::<Tick>(pattern)
        .overflow(policy(policy_name))
        .open()
        .unwrap();
    script.say("open");
    let mut tally = Tally::default();
    while let Some(line) = script.hear() {
        if line == "cut" {
            usage::cut_links();
            eventually("the link is closed", || !client.is_connected());
            script.say("cut");
        } else if line == "to the end" {
            let end = loop {
                if let Err(error) = subscriber.recv() {
                    break error;
                }
                tally.got += 1;
            };
            script.say(format!("got {} then {end}", tally.got));
        } else if line == "until cut" {
            tally.receive_until_cut(&mut subscriber);
            script.say(format!("got {} lost {} cut", tally.got, tally.lost));
        } else {
            tally.receive(&mut subscriber, line.parse().unwrap());
            script.say(format!("got {} lost {}", tally.got, tally.lost));
        }
    }
}

/// Opens a subscriber and reads nothing, until told a number as `subscriber` is.
fn sleeper(address: &str, pattern: &str, policy_name: &str, script: &mut Script) {
    subscriber(address, pattern, policy_name, script);
}

/// Publishes `count` messages of 1,000 bytes, of which most find no room, says how many were dropped, and dies.
fn drop_and_wait(address: &str, topic: &str, count: u64, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client
        .publisher::<Bytes>(topic)
        .ring_bytes(4096)
        .max_message_bytes(1000)
        .open()
        .unwrap();
    let mut dropped = 0;
    for number in 0..count {
        let payload = [number as u8; 1000];
        dropped += publisher
            .publish(topic, Bytes::new(&payload))
            .unwrap()
            .dropped;
    }
    script.say(format!("dropped {dropped}"));
    // Neither the publisher nor the client is dropped: nobody is told anything.
    std::mem::forget((publisher, client));
}

/// What a subscriber has got.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages.
    pub got: u64,
    /// Messages reported as lost, or as skipped by one that took their place.
    pub lost: u64,
    /// The number that comes next; `None` before the first message.
    pub next: Option<u64>,
}

impl Tally {
    /// Receives until `total` messages were got or lost. The first one may have any number, then none may be missing.
    pub fn receive(&mut self, subscriber: &mut Subscriber<Tick>, total: u64) {
        while self.got + self.lost < total {
            let gap = self.receive_one(subscriber);
            assert_ne!(gap, Some(GapCause::TransportLost), "after {self:?}");
        }
    }

    /// Receives until the way to the publisher's host breaks: what may have come behind is lost, nothing before it.
    pub fn receive_until_cut(&mut self, subscriber: &mut Subscriber<Tick>) {
        while self.receive_one(subscriber) != Some(GapCause::TransportLost) {}
    }

    /// Receives a message, or a gap, of which it gives the cause.
    fn receive_one(&mut self, subscriber: &mut Subscriber<Tick>) -> Option<GapCause> {
        match subscriber.recv() {
            Ok(tick) => {
                let (number, skipped) = (tick.checked(), tick.skipped());
                let next = self.next.map_or(number, |next| next + skipped);
                assert_eq!(number, next, "after {self:?}");
                self.lost += skipped;
                assert_eq!(tick.sequence(), self.got + self.lost);
                self.next = Some(number + 1);
                self.got += 1;
                None
            }
            Err(RecvError::Gap(gap)) => {
                assert_eq!(gap.first_sequence, self.got + self.lost);
                self.lost += gap.lost;
                self.next = self.next.map(|next| next + gap.lost);
                Some(gap.cause)
            }
            Err(error) => panic!("{error} after {self:?}"),
        }
    }
}
