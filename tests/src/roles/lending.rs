//! Parties that publish large messages, and hold them.

use ringmain::message::Bytes;
use ringmain::{Client, RecvError};

use crate::frame::{check_frame, fill_frame};
use crate::peer::Script;

/// Takes so many messages and holds them; checks them when it is told to, until it is told to end.
pub fn holder(address: &str, pattern: &str, count: usize, script: &mut Script) {
    let client = Client::builder().name("holder").connect(address).unwrap();
    let mut subscriber = client.subscriber::<Bytes>(pattern).open().unwrap();
    script.say("open");
    let mut held = Vec::new();
    while held.len() < count {
        match subscriber.recv() {
            Ok(sample) => held.push(sample.hold().unwrap()),
            Err(RecvError::Gap(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    script.say("held");
    while let Some(line) = script.hear() {
        if line == "end" {
            break;
        }
        let numbers: Vec<_> = held.iter().map(|frame| check_frame(frame)).collect();
        script.say(format!("{numbers:?}"));
    }
}

/// Publishes so many loans of so many bytes; gives memory back when it is told to.
pub fn lender(address: &str, topic: &str, count: u64, len: usize, script: &mut Script) {
    let client = Client::builder().name("lender").connect(address).unwrap();
    let publisher = client.publisher::<Bytes>(topic).max_message_bytes(len);
    let mut publisher = publisher.open().unwrap();
    let topic = publisher.resolve(topic).unwrap();
    for number in 0..count {
        let mut loan = publisher.loan(&topic, len).unwrap();
        fill_frame(&mut loan, number);
        loan.publish().unwrap();
    }
    script.say("published");
    while script.hear().is_some() {
        script.say(publisher.shrink_pool());
    }
}
