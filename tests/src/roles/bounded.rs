//! Parties that may use little.

use std::fs::File;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use ringmain::Client;
use ringmain::message::Bytes;

use crate::peer::Script;
use crate::usage;

/// Opens a publisher and says `open`; from then on its process may use no more of `what`, where `N descriptors` leaves room
/// for N. For each line it publishes and says `lanes N`; for the line `open` it opens a subscriber and says how that went.
pub(super) fn bounded(address: &str, topic: &str, what: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client
        .publisher::<Bytes>(topic)
        .ring_bytes(16 << 20)
        .open()
        .unwrap();
    let (resource, most) = match what {
        "file size" => (Resource::RLIMIT_FSIZE, 1 << 20),
        "address space" => (
            Resource::RLIMIT_AS,
            usage::virtual_bytes(Pid::this()) + (1 << 20),
        ),
        _ => (Resource::RLIMIT_NOFILE, 64),
    };
    // The hard limit stays, so that the bound can be lifted.
    let (before, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, most, hard).unwrap();
    // Numbers may have holes, so only the system can tell how many there are left.
    let mut taken = Vec::new();
    if let Some(spare) = what.strip_suffix(" descriptors") {
        taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        taken.truncate(taken.len() - spare.parse::<usize>().unwrap());
    }
    script.say("open");
    while let Some(line) = script.hear() {
        match line.as_str() {
            "open" => match client.subscriber::<Bytes>("other").ring_bytes(0).open() {
                Ok(_) => script.say("opened"),
                Err(error) => script.say(format!("refused: {error}")),
            },
            "lift" => {
                taken.clear();
                setrlimit(resource, before, hard).unwrap();
                script.say("lifted");
            }
            _ => {
                let delivery = publisher.publish(topic, Bytes::new(b"x")).unwrap();
                script.say(format!("lanes {}", delivery.lanes));
            }
        }
    }
}

/// Publishes to `count` topics one after the other, receiving each in another thread; says its resident bytes when a
/// twentieth is done, and at the end.
pub(super) fn many_topics(address: &str, count: u64, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut subscriber = client.subscriber::<Bytes>("t/**").open().unwrap();
    let mut publisher = client.publisher::<Bytes>("t/**").open().unwrap();
    let topic = |number| format!("t/{}/{number}", number % 1000);
    let receiving = std::thread::spawn(move || {
        for number in 0..count {
            let sample = subscriber.recv().unwrap();
            assert_eq!(sample.topic().as_str(), topic(number));
        }
    });
    for number in 0..count {
        let delivery = publisher.publish(&topic(number), Bytes::new(b"x"));
        assert_eq!(delivery.unwrap().lanes, 1);
        if number == count / 20 {
            script.say(usage::rss_bytes(Pid::this()));
        }
    }
    receiving.join().unwrap();
    script.say(usage::rss_bytes(Pid::this()));
}

/// Opens subscribers to the topics `t/0` to `t/COUNT`, with a soft limit of 1,024 descriptors; says `open`, receives one
/// message with each and says `received`.
pub(super) fn many_subscribers(address: &str, count: usize, script: &mut Script) {
    few_descriptors();
    let client = Client::connect(address).unwrap();
    let mut subscribers: Vec<_> = (0..count)
        .map(|index| {
            client
                .subscriber::<Bytes>(&format!("t/{index}"))
                .open()
                .unwrap()
        })
        .collect();
    script.say("open");
    script.hear();
    for (index, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(*subscriber.recv().unwrap(), *index.to_string().as_bytes());
    }
    script.say("received");
    script.hear();
}

/// Publishes to the topics `t/0` to `t/COUNT` for a line, with a soft limit of 1,024 descriptors; says `lanes N`.
pub(super) fn many_lanes(address: &str, count: usize, script: &mut Script) {
    few_descriptors();
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Bytes>("t/*").open().unwrap();
    script.say("open");
    while script.hear().is_some() {
        let lanes: u32 = (0..count)
            .map(|index| {
                let text = index.to_string();
                let delivery =
                    publisher.publish(&format!("t/{index}"), Bytes::new(text.as_bytes()));
                delivery.unwrap().lanes
            })
            .sum();
        script.say(format!("lanes {lanes}"));
    }
}

fn few_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard).unwrap();
}
