//! A publisher and a subscriber that must not make a system call for a message.

use ringmain::Client;

use crate::peer::Script;
use crate::silence::only_read_and_write;
use crate::{Tick, policy};

/// Publishes `count` ticks for each line, from the second line on without system calls; says `published N`.
pub(super) fn publisher(address: &str, topic: &str, count: u64, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Tick>(topic).open().unwrap();
    let resolved = publisher.resolve(topic).unwrap();
    script.say("open");
    let mut number = 0;
    for round in 0.. {
        if script.hear().is_none() {
            return;
        }
        if round == 1 {
            only_read_and_write();
        }
        for _ in 0..count {
            // Both ways of naming the topic.
            let delivery = match number % 2 {
                0 => publisher.publish(topic, &Tick::new(number % 8)),
                _ => publisher.publish_to(&resolved, &Tick::new(number % 8)),
            };
            assert_eq!(delivery.unwrap().lanes, 1);
            number += 1;
        }
        script.say(format!("published {number}"));
    }
}

/// Receives `count` ticks for each line, from the second line on without system calls; says `received N`.
pub(super) fn subscriber(address: &str, pattern: &str, count: u64, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut subscriber = client
        .subscriber::<Tick>(pattern)
        .overflow(policy("block-30000"))
        .open()
        .unwrap();
    script.say("open");
    let mut number = 0;
    for round in 0.. {
        if script.hear().is_none() {
            return;
        }
        if round == 1 {
            only_read_and_write();
        }
        for _ in 0..count {
            assert_eq!(subscriber.recv().unwrap().checked(), number % 8);
            number += 1;
        }
        script.say(format!("received {number}"));
    }
}
