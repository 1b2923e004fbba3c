//! A feed handler: changes of order books in batches, from one process to three strategies, each of which keeps the books.
//!
//! `cargo run --release --example feed_handler --features broker [-- SECONDS]`. Each change counts, so none may take the place of another one
//! (`conflate = false`). Two strategies have the feed wait for them; the third one is slow and would rather lose changes: it is told of a
//! gap, trusts no book from there on, and goes on with the next whole book, which the feed sends now and then.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use ringmain::{Client, Overflow, Publisher, RecvError, ResolvedTopic, rkyv};
use support::Part;

/// What happens to one side of a book at one price.
#[derive(Clone, Copy, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[rkyv(crate = ringmain::rkyv)]
#[repr(C)]
#[message(name = "feed.change", conflate = false)]
struct Change {
    /// [`CLEAR`], [`BID`], [`ASK`] or [`END`].
    what: u32,
    price: u32,
    /// What there is at this price from now on; 0 removes it. With [`END`], the book's checksum.
    size: u64,
}

/// The book is empty, and told anew by what follows.
const CLEAR: u32 = 0;
const BID: u32 = 1;
const ASK: u32 = 2;
/// No other change comes.
const END: u32 = 3;

/// What is offered, by side and price.
#[derive(Default)]
struct Book(BTreeMap<(u32, u32), u64>);

/// Plays the part of this process.
pub fn main() -> Result<(), Box<dyn Error>> {
    let Some(part) = support::part(&["maker", "hedger", "analyst", "feed"])? else {
        return Ok(());
    };
    let client = Client::builder().name(&part.role).connect(&part.address)?;
    match part.role.as_str() {
        "feed" => feed(&client, &part),
        "analyst" => strategy(&client, &part, Overflow::DropNewest),
        _ => {
            let deadline = Duration::from_secs(30);
            strategy(&client, &part, Overflow::Block { deadline })
        }
    }
}

fn feed(client: &Client, part: &Part) -> Result<(), Box<dyn Error>> {
    let mut publisher = client.publisher::<Change>("books/*").open()?;
    let topics = NAMES.map(|name| publisher.resolve(&format!("books/{name}")));
    let topics = topics.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut books = NAMES.map(|_| Book::default());
    // Nothing is sent before all are there.
    while publisher.publish_batch(&topics[0], &books[0].told())?.lanes < STRATEGIES {
        thread::sleep(Duration::from_millis(10));
    }
    let started = Instant::now();
    let mut random = 1_u64;
    let (mut changes, mut dropped, mut batches) = (0_u64, 0_u64, 0_usize);
    while started.elapsed() < part.lasts {
        let at = batches % NAMES.len();
        let batch = match batches / NAMES.len() % BATCHES_PER_BOOK {
            0 => books[at].told(),
            _ => (0..BATCH).map(|_| books[at].change(&mut random)).collect(),
        };
        let delivery = publisher.publish_batch(&topics[at], &batch)?;
        dropped += u64::from(delivery.dropped);
        changes += batch.len() as u64;
        batches += 1;
    }
    let rate = changes as f64 / started.elapsed().as_secs_f64();
    for (book, topic) in books.iter().zip(&topics) {
        end(&mut publisher, topic, book)?;
    }
    println!(
        "feed: {changes} changes, {rate:.0} per second, {dropped} batches dropped for a slow strategy"
    );
    Ok(())
}

/// The whole book again, until everybody has got it.
fn end(
    publisher: &mut Publisher<Change>,
    topic: &ResolvedTopic,
    book: &Book,
) -> Result<(), Box<dyn Error>> {
    let mut batch = book.told();
    batch.push(Change {
        what: END,
        price: 0,
        size: book.checksum(),
    });
    while publisher.publish_batch(topic, &batch)?.dropped > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn strategy(client: &Client, part: &Part, overflow: Overflow) -> Result<(), Box<dyn Error>> {
    let builder = client.subscriber::<Change>("books/*");
    let mut subscriber = builder.overflow(overflow).open()?;
    // Books that are known; all others wait for the feed to tell them.
    let mut books: BTreeMap<String, Book> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    let (mut seen, mut used, mut gaps, mut lost) = (0_u64, 0_u64, 0_u64, 0_u64);
    while ended.len() < NAMES.len() {
        let change = match subscriber.recv_timeout(PATIENCE) {
            Ok(change) => change.ok_or("no change comes")?,
            Err(RecvError::Gap(gap)) => {
                // It does not say which books it was about: none can be trusted.
                books.clear();
                gaps += 1;
                lost += gap.lost;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        seen += 1;
        if overflow == Overflow::DropNewest && seen % 4096 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let name = change.topic().as_str();
        let (what, price, size) = (
            change.what.to_native(),
            change.price.to_native(),
            change.size.to_native(),
        );
        if what == CLEAR {
            books.insert(name.to_owned(), Book::default());
        }
        let Some(book) = books.get_mut(name) else {
            continue;
        };
        used += 1;
        match what {
            BID | ASK => book.set(what, price, size),
            END if book.checksum() == size => drop(ended.insert(name.to_owned(), book.0.len())),
            END => return Err(format!("the book {name} is not what the feed has").into()),
            _ => {}
        }
    }
    println!(
        "{}: {used} changes, {gaps} gaps of {lost} in all, {} passed over until the next whole book; all books are right in the end",
        part.role,
        seen - used
    );
    Ok(())
}

impl Book {
    /// Makes a change up, and makes it.
    fn change(&mut self, random: &mut u64) -> Change {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let dice = *random >> 33;
        let (what, price, size) = (
            BID + dice as u32 % 2,
            dice as u32 / 2 % PRICES,
            dice / 128 % 10,
        );
        self.set(what, price, size);
        Change { what, price, size }
    }

    fn set(&mut self, side: u32, price: u32, size: u64) {
        match size {
            0 => self.0.remove(&(side, price)),
            size => self.0.insert((side, price), size),
        };
    }

    /// All of it, for those who do not know it.
    fn told(&self) -> Vec<Change> {
        let clear = Change {
            what: CLEAR,
            price: 0,
            size: 0,
        };
        let levels = self
            .0
            .iter()
            .map(|(&(what, price), &size)| Change { what, price, size });
        std::iter::once(clear).chain(levels).collect()
    }

    fn checksum(&self) -> u64 {
        self.0.iter().fold(0, |sum, (&(side, price), &size)| {
            (sum ^ u64::from(side) << 32 ^ u64::from(price))
                .wrapping_mul(0x100_0000_01b3)
                .wrapping_add(size)
        })
    }
}

const NAMES: [&str; 4] = ["eurusd", "gbpusd", "usdjpy", "usdchf"];
const STRATEGIES: u32 = 3;
/// Prices at which something can be offered.
const PRICES: u32 = 50;
/// Changes of a batch.
const BATCH: usize = 32;
/// A whole book is sent instead of each so many batches of changes.
const BATCHES_PER_BOOK: usize = 200;
/// Of a strategy for the next change.
const PATIENCE: Duration = Duration::from_secs(30);
