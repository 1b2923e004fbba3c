//! Prints what is published on another host, and goes on when the connection is lost.
//!
//! There: `shm-broker serve --listen tcp://0.0.0.0:7411 --insecure-tcp`. Here: `remote_subscriber tcp://that-host:7411`.

use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::{Client, RecvError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or("tcp://localhost:7411".into());
    loop {
        // The same `Client` as for a bus of this host; only the address says where it is.
        match Client::builder()
            .peer_timeout(Duration::from_secs(5))
            .connect(&address)
        {
            Ok(client) => print_all(&client)?,
            Err(error) => eprintln!("{error}"),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Returns when the connection is lost.
fn print_all(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    let mut subscriber = client.subscriber::<Bytes>("log/**").open()?;
    loop {
        match subscriber.recv() {
            Ok(sample) => println!("{} {}", sample.topic(), String::from_utf8_lossy(&sample)),
            // Also what was on its way when the connection broke: `gap.cause` says so.
            Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
            Err(RecvError::BrokerGone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
