//! Somebody who looks at a last value.

use ringmain::Client;

use crate::Tick;
use crate::peer::Script;

/// Looks at the last value of a topic, says `looked` and its number, and goes on holding what it looks at.
pub(super) fn looker(address: &str, topic: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let mut values = client.last_values::<Tick>(topic).unwrap();
    let value = values.get(topic).unwrap().unwrap();
    script.say(format!("looked {}", value.checked()));
    script.hear();
}

/// Keeps a last value of a topic and says `kept`; then waits.
pub(super) fn keeper(address: &str, topic: &str, script: &mut Script) {
    let client = Client::connect(address).unwrap();
    let builder = client.publisher::<Tick>(topic);
    let mut publisher = builder.history(1).open().unwrap();
    publisher.publish(topic, &Tick::new(1)).unwrap();
    script.say("kept");
    script.hear();
}
