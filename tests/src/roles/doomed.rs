//! A publisher that dies right after its last `publish`.

use nix::sys::signal::{Signal, raise};
use ringmain::Client;

use crate::Tick;
use crate::peer::Script;

/// Opens a publisher with the smallest ring and says `open`. For the next line it publishes `count` ticks and dies: by
/// SIGKILL (`kill`), or without any clean-up (`exit`). If some were dropped it says `dropped N` before.
pub(super) fn doomed(address: &str, topic: &str, count: u64, death: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client
        .publisher::<Tick>(topic)
        .ring_bytes(4096)
        .max_message_bytes(200)
        .open()
        .unwrap();
    script.say("open");
    script.hear();
    let mut dropped = 0;
    for number in 0..count {
        let delivery = publisher.publish(topic, &Tick::new(number)).unwrap();
        assert_eq!(delivery.lanes + delivery.dropped, 1);
        dropped += delivery.dropped;
    }
    if dropped > 0 {
        script.say(format!("dropped {dropped}"));
    }
    match death {
        "kill" => raise(Signal::SIGKILL).unwrap(),
        "exit" => std::process::exit(0),
        _ => panic!("no death {death}"),
    }
}
