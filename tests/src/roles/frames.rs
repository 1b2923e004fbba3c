//! Parties whose large messages give way to newer ones.

use nix::unistd::Pid;
use ringmain::message::Bytes;
use ringmain::{Client, Overflow, RecvError};

use crate::frame::{check_frame, comes_back, fill_words};
use crate::peer::Script;
use crate::usage;

/// Publishes as many loans of so many bytes as each line says; says how many there are by then, and how many bytes its pool
/// had at most. For the line `meet` it waits until its pool is empty, so it has heard of whoever has read the frames.
pub fn frames(address: &str, topic: &str, len: usize, script: &mut Script) {
    let client = Client::builder().name("frames").connect(address).unwrap();
    let builder = client.publisher::<Bytes>(topic).max_message_bytes(len);
    let mut publisher = builder.pool_bytes(256 << 20).open().unwrap();
    let topic = publisher.resolve(topic).unwrap();
    let (mut published, mut most) = (0, 0);
    while let Some(line) = script.hear() {
        if line == "meet" {
            comes_back(&mut publisher);
            script.say("met");
            continue;
        }
        for _ in 0..line.parse().unwrap() {
            let mut loan = publisher.loan(&topic, len).unwrap();
            fill_words(&mut loan, published);
            let delivery = loan.publish().unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            published += 1;
            most = most.max(publisher.pool_bytes());
        }
        script.say(format!("{published} {most}"));
    }
}

/// Takes so many messages, of those that do not give way before, and holds them. Then, for each line, looks once more for what
/// there is, and says how many segments it has mapped.
pub fn latest_holder(
    address: &str,
    pattern: &str,
    policy: Overflow,
    count: usize,
    script: &mut Script,
) {
    let client = Client::builder().name("holder").connect(address).unwrap();
    let builder = client.subscriber::<Bytes>(pattern).overflow(policy);
    let mut subscriber = builder.open().unwrap();
    script.say("open");
    let mut held = Vec::new();
    while held.len() < count {
        match subscriber.recv() {
            Ok(sample) => held.push(sample.hold().unwrap()),
            Err(RecvError::Gap(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(held.iter().all(|frame| !frame.is_copy()));
    script.say("held");
    while let Some(line) = script.hear() {
        for frame in &held {
            check_frame(frame);
        }
        if line == "release" {
            held.clear();
        }
        while !matches!(subscriber.try_recv(), Ok(None)) {}
        script.say(usage::segments(Pid::this()));
    }
}
