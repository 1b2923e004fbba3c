//! Prints messages of every type on every topic below `md`, as a tool does.

use ringmain::message::to_json;
use ringmain::{AnyMessage, Client, Overflow, RecvError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect_default()?;
    let mut subscriber = client
        .subscriber::<AnyMessage>("md/**") // `**` is any number of chunks, `*` exactly one
        .pattern("log/*/error")
        .overflow(Overflow::DropNewest) // who only looks on holds nobody up
        .open()?;
    loop {
        match subscriber.recv() {
            Ok(sample) => {
                let value = to_json(sample.message_type(), &sample)?;
                println!("{} {} {value}", sample.topic(), sample.message_type());
            }
            Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
            Err(error) => return Err(error.into()),
        }
    }
}
