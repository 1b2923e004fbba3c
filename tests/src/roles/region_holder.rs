//! Holds the first region that comes, and reads on.

use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::{Client, Overflow};

use crate::peer::Script;

pub(super) fn region_holder(address: &str, pattern: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let deadline = Duration::from_secs(20);
    let subscriber = client.subscriber::<Bytes>(pattern);
    let mut subscriber = subscriber
        .overflow(Overflow::Block { deadline })
        .open()
        .unwrap();
    script.say("ready");
    let held = subscriber.recv().unwrap().take_regions().unwrap();
    script.say(held[0][0]);
    let next = subscriber.recv().unwrap().to_vec();
    drop(subscriber.try_recv().unwrap());
    script.say(String::from_utf8(next).unwrap());
    script.hear();
    drop(held);
}
