//! A member of a queue group.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use ringmain::{Client, RecvError, Subscriber};

use crate::peer::Script;
use crate::{Tick, policy};

/// A message as a member has got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The tick's number.
    pub number: u64,
    /// Whether it says that another member may have got it before.
    pub redelivered: bool,
}

impl Taken {
    const REDELIVERED: u64 = 1 << 63;

    /// Takes one message, or what was lost instead.
    ///
    /// # Errors
    /// So many are lost.
    pub fn one(subscriber: &mut Subscriber<Tick>) -> Result<Self, u64> {
        match subscriber.recv() {
            Ok(tick) => Ok(Self {
                number: tick.checked(),
                redelivered: tick.redelivered(),
            }),
            Err(RecvError::Gap(gap)) => Err(gap.lost),
            Err(error) => panic!("{error}"),
        }
    }

    /// Those that a worker has written down.
    pub fn read_all(log: &Path) -> Vec<Self> {
        let bytes = std::fs::read(log).unwrap();
        let words = bytes.chunks_exact(8);
        let words = words.map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let taken = words.map(|word| Self {
            number: word & !Self::REDELIVERED,
            redelivered: word & Self::REDELIVERED != 0,
        });
        taken.collect()
    }

    /// Those of a line that a worker has said: numbers, `*` behind those that may have come before.
    pub fn parse(line: &str) -> Vec<Self> {
        let words = line.split_whitespace();
        let taken = words.map(|word| Self {
            number: word.trim_end_matches('*').parse().unwrap(),
            redelivered: word.ends_with('*'),
        });
        taken.collect()
    }
}

/// Says `open`. For the line `take N` it takes messages until N have come or are lost, and says `lost N took` with their
/// numbers (see [`Taken::parse`]); for `hold` it takes one, says `holds N`, and keeps it until the next line. For `close` it
/// closes the subscriber, says `closed`, and stays.
pub(super) fn worker(
    address: &str,
    pattern: &str,
    overflow: &str,
    queue: &str,
    script: &mut Script,
) {
    let client = Client::connect(address).unwrap();
    let builder = client.subscriber::<Tick>(pattern).queue(queue);
    let mut subscriber = builder.overflow(policy(overflow)).open().unwrap();
    script.say("open");
    while let Some(line) = script.hear() {
        if line == "hold" {
            let tick = subscriber.recv().unwrap();
            script.say(format!("holds {}", tick.checked()));
            script.hear();
        } else if line == "close" {
            drop(subscriber);
            script.say("closed");
            script.hear();
            return;
        } else {
            let count: u64 = line.strip_prefix("take ").unwrap().parse().unwrap();
            let (mut words, mut got, mut lost) = (String::new(), 0, 0);
            while got + lost < count {
                match Taken::one(&mut subscriber) {
                    Ok(taken) => {
                        got += 1;
                        let mark = if taken.redelivered { "*" } else { "" };
                        words += &format!(" {}{mark}", taken.number);
                    }
                    Err(more) => lost += more,
                }
            }
            script.say(format!("lost {lost} took{words}"));
        }
    }
}

/// Says `open`, takes `count` messages, each of which it writes down before it gives it back (see [`Taken::read_all`]), then
/// closes the subscriber and says `closed`.
pub(super) fn logging(
    address: &str,
    pattern: &str,
    queue: &str,
    log: &Path,
    count: u64,
    script: &mut Script,
) {
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let client = Client::connect(address).unwrap();
    let builder = client.subscriber::<Tick>(pattern).queue(queue);
    let mut subscriber = builder.overflow(policy("block-600000")).open().unwrap();
    script.say("open");
    for _ in 0..count {
        let tick = subscriber.recv().unwrap();
        let mark = if tick.redelivered() {
            Taken::REDELIVERED
        } else {
            0
        };
        log.write_all(&(tick.checked() | mark).to_le_bytes())
            .unwrap();
    }
    drop(subscriber);
    script.say("closed");
    script.hear();
}
