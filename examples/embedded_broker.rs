//! A bus within one process: broker, publisher and subscriber, no socket.
//!
//! `cargo run --example embedded_broker --features broker`. Add `.listen("default".parse()?)` to let other processes join.

use std::thread;

use ringmain::Client;
use ringmain::broker::Broker;
use ringmain::message::Bytes;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _broker = Broker::builder()
        .listen("memory:example".parse()?)
        .start()?;
    let client = Client::connect("memory:example")?;

    let mut subscriber = client.subscriber::<Bytes>("greeting/*").open()?;
    let mut publisher = client.publisher::<Bytes>("greeting/*").open()?;
    let sender = thread::spawn(move || {
        for name in ["world", "moon", "sun"] {
            publisher.publish(&format!("greeting/{name}"), Bytes::new(b"hello"))?;
        }
        Ok::<(), ringmain::PublishError>(())
    });

    for _ in 0..3 {
        let sample = subscriber.recv()?;
        println!("{} {}", sample.topic(), String::from_utf8_lossy(&sample));
    }
    sender.join().expect("the sender does not panic")?;
    Ok(())
}
