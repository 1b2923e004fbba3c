//! A subscriber on another host, until the way there breaks.

use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::{Client, GapCause, RecvError};

use crate::peer::Script;
use crate::policy;

/// Receives. Says `open`, `first` with the first message, `lost` with the number of messages before when it is told that
/// the transport broke, `gone` when nothing more can come.
pub(super) fn subscriber(
    address: &str,
    pattern: &str,
    overflow: &str,
    patience: Duration,
    script: &mut Script,
) {
    let client = Client::builder()
        .name("remote")
        .peer_timeout(patience)
        .connect(address)
        .unwrap();
    let mut subscriber = client
        .subscriber::<Bytes>(pattern)
        .overflow(policy(overflow))
        .open()
        .unwrap();
    script.say("open");
    let mut got = 0_u64;
    loop {
        match subscriber.recv() {
            Ok(_) => {
                got += 1;
                if got == 1 {
                    script.say("first");
                }
            }
            Err(RecvError::Gap(gap)) if gap.cause == GapCause::TransportLost => {
                script.say(format!("lost {got}"));
            }
            Err(RecvError::Gap(_)) => {}
            Err(RecvError::BrokerGone) => return script.say("gone"),
            Err(error) => panic!("{error}"),
        }
    }
}
