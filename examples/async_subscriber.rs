//! Prints what two subscribers get, in one thread that waits for both.
//!
//! `cargo run --example async_subscriber --features async`. Any executor will do; this one is `futures-lite`'s.

use futures_lite::future::{block_on, try_zip};
use ringmain::message::Bytes;
use ringmain::{Client, RecvError};

async fn print(client: &Client, pattern: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut subscriber = client.subscriber::<Bytes>(pattern).open()?;
    loop {
        match subscriber.recv_async().await {
            Ok(sample) => println!("{} {}", sample.topic(), String::from_utf8_lossy(&sample)),
            Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect_default()?;
    block_on(try_zip(
        print(&client, "log/**"),
        print(&client, "greeting/*"),
    ))?;
    Ok(())
}
