//! A publisher with pauses that follow from a seed, and an end right behind its last message.

use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use ringmain::Client;

use crate::Tick;
use crate::dice::Dice;
use crate::peer::Script;

/// Opens a publisher with the smallest ring and says `open`. For the next line it publishes some hundred ticks, says
/// `accounted N dropped N` (deliveries and drops together; drops), and ends: by SIGKILL (`kill`), without any clean-up (`exit`), or
/// properly (`close`).
pub(super) fn seeded(address: &str, topic: &str, seed: u64, end: &str, script: &mut Script) {
    let mut dice = Dice::new(seed);
    let client = Client::connect(address).unwrap();
    let mut publisher = client
        .publisher::<Tick>(&format!("{topic}/*"))
        .ring_bytes(4096)
        .max_message_bytes(200)
        .open()
        .unwrap();
    let topics: Vec<_> = (0..3)
        .map(|index| publisher.resolve(&format!("{topic}/{index}")).unwrap())
        .collect();
    script.say("open");
    script.hear();
    let (mut accounted, mut dropped) = (0, 0);
    for number in 0..100 + dice.below(300) {
        let topic = &topics[dice.below(3) as usize];
        let delivery = publisher.publish_to(topic, &Tick::new(number)).unwrap();
        accounted += delivery.lanes + delivery.dropped;
        dropped += delivery.dropped;
        if dice.below(64) == 0 {
            std::thread::sleep(Duration::from_micros(dice.below(500)));
        }
    }
    script.say(format!("accounted {accounted} dropped {dropped}"));
    match end {
        "kill" => raise(Signal::SIGKILL).unwrap(),
        "exit" => std::process::exit(0),
        _ => drop(publisher),
    }
}
