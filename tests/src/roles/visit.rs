//! Parties that come and go, with the one that they come to.

use ringmain::{Client, GapCause, RecvError};

use crate::Tick;
use crate::peer::Script;

/// Listens to one topic, speaks on another: says `open`, for the next line publishes a tick, receives one, says `met`.
/// Then it waits.
pub(super) fn visitor(address: &str, listen: &str, speak: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut subscriber = client.subscriber::<Tick>(listen).open().unwrap();
    let mut publisher = client.publisher::<Tick>(speak).open().unwrap();
    script.say("open");
    script.hear();
    publisher.publish(speak, &Tick::new(1)).unwrap();
    subscriber.recv().unwrap().checked();
    script.say("met");
    while script.hear().is_some() {}
}

/// Speaks on one topic, listens to another: says `open`, then for each line publishes a tick, receives all there is and
/// says `lanes N got N`.
pub(super) fn host(address: &str, speak: &str, listen: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut publisher = client.publisher::<Tick>(speak).open().unwrap();
    let mut subscriber = client.subscriber::<Tick>(listen).open().unwrap();
    script.say("open");
    while script.hear().is_some() {
        let lanes = publisher.publish(speak, &Tick::new(1)).unwrap().lanes;
        let mut got = 0;
        loop {
            match subscriber.try_recv() {
                Ok(Some(tick)) => {
                    tick.checked();
                    got += 1;
                }
                Ok(None) => break,
                // A visitor from another host was killed.
                Err(RecvError::Gap(gap)) if gap.cause == GapCause::TransportLost => {}
                Err(error) => panic!("{error}"),
            }
        }
        script.say(format!("lanes {lanes} got {got}"));
    }
}
