//! Prints the quotes of the example `publisher`.

use ringmain::{Client, RecvError, rkyv};

/// The same type as the publisher's: name, version, fields.
#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[rkyv(crate = ringmain::rkyv)]
#[message(name = "example.quote")]
struct Quote {
    bid: f64,
    ask: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect_default()?;
    let mut subscriber = client.subscriber::<Quote>("md/quote/eurusd").open()?;
    loop {
        match subscriber.recv() {
            // The fields are read where they lie, in the publisher's memory.
            Ok(quote) => println!("{} {:.4} / {:.4}", quote.topic(), quote.bid, quote.ask),
            Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
            Err(error) => return Err(error.into()),
        }
    }
}
