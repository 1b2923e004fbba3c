//! Publishes a made-up quote ten times a second.
//!
//! `shm-broker serve`, then `cargo run --example publisher` and `cargo run --example subscriber`.

use std::thread;
use std::time::Duration;

use ringmain::{Client, rkyv};

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[rkyv(crate = ringmain::rkyv)]
#[message(name = "example.quote")]
struct Quote {
    bid: f64,
    ask: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect_default()?;
    let mut publisher = client.publisher::<Quote>("md/quote/*").open()?;
    let eurusd = publisher.resolve("md/quote/eurusd")?;
    for step in 0.. {
        let bid = 1.12 + f64::from(step % 10) / 10_000.0;
        let quote = Quote {
            bid,
            ask: bid + 0.0002,
        };
        let delivery = publisher.publish_to(&eurusd, &quote)?;
        println!("{bid:.4} went to {} subscribers", delivery.lanes);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
