//! Publishers with small rings, subscribers with equal streams.

use std::time::Duration;

use ringmain::{Client, Overflow, Publisher, RecvError, Subscriber};

use crate::{Tick, eventually};

/// Waits for whoever is slow.
pub const BLOCK: Overflow = Overflow::Block {
    deadline: Duration::from_secs(60),
};

/// A ring of 4 KiB, which takes some 30 ticks.
pub fn small(client: &Client, topic: &str) -> Publisher<Tick> {
    let builder = client.publisher::<Tick>(topic).ring_bytes(4096);
    builder.max_message_bytes(200).open().unwrap()
}

/// A subscriber of the topic `t`.
pub fn subscriber(client: &Client, overflow: Overflow) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t").overflow(overflow);
    builder.open().unwrap()
}

/// What a subscriber has found.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// Of the messages.
    pub numbers: Vec<u64>,
    /// Messages that it was told to have lost.
    pub lost: u64,
}

impl Found {
    /// Takes what comes next, if there is something.
    pub fn take(&mut self, subscriber: &mut Subscriber<Tick>) -> bool {
        match subscriber.try_recv() {
            Ok(Some(sample)) => self.numbers.push(sample.checked()),
            Err(RecvError::Gap(gap)) => self.lost += gap.lost,
            Ok(None) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// Waits for so many messages and losses; then there must be no more.
    pub fn all(subscriber: &mut Subscriber<Tick>, count: usize) -> Self {
        let mut found = Self::default();
        eventually("all has come", || {
            while found.take(subscriber) {}
            found.numbers.len() + found.lost as usize >= count
        });
        assert_eq!(found.numbers.len() + found.lost as usize, count);
        found
    }
}
