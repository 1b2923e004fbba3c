//! Large payloads that can be checked, who publishes and takes them.

use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::{Client, Overflow, Publisher, Subscriber};

use crate::{Bus, eventually};

/// A mebibyte.
pub const MIB: usize = 1 << 20;
/// A policy of not losing anything.
pub const BLOCK: Overflow = Overflow::Block {
    // Longer than any test waits for what has to come.
    deadline: Duration::from_secs(120),
};

/// A publisher of messages up to a mebibyte, with a pool of so many.
pub fn frame_publisher(bus: &Bus, pool_mib: usize) -> Publisher<Bytes> {
    frame_publisher_of(&bus.client("publisher"), pool_mib)
}

/// The same of this client.
pub fn frame_publisher_of(client: &Client, pool_mib: usize) -> Publisher<Bytes> {
    let builder = client.publisher("frames/*").max_message_bytes(MIB);
    builder.pool_bytes((pool_mib * MIB) as u64).open().unwrap()
}

/// A subscriber to them.
pub fn frame_subscriber(bus: &Bus, overflow: Overflow) -> Subscriber<Bytes> {
    let client = bus.client("subscriber");
    let builder = client.subscriber("frames/*").overflow(overflow);
    builder.open().unwrap()
}

/// All memory of the publisher comes back, once it has heard of its subscribers.
pub fn comes_back(publisher: &mut Publisher<Bytes>) {
    eventually("the memory comes back", || publisher.shrink_pool() == 0);
}

/// Publishes a loan of so many bytes; to how many subscribers.
pub fn lend(publisher: &mut Publisher<Bytes>, number: u64, len: usize) -> u32 {
    let topic = publisher.resolve("frames/a").unwrap();
    let mut loan = publisher.loan(&topic, len).unwrap();
    fill_frame(&mut loan, number);
    loan.publish().unwrap().lanes
}

/// Fills a payload of at least 8 bytes with what belongs to its number.
pub fn fill_frame(frame: &mut [u8], number: u64) {
    let (head, rest) = frame.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    rest.fill(byte(number));
}

/// The number of a payload, every byte of which is checked.
pub fn check_frame(frame: &[u8]) -> u64 {
    let (head, rest) = frame.split_at(8);
    let number = u64::from_le_bytes(head.try_into().unwrap());
    let expected = byte(number);
    assert!(rest.iter().all(|byte| *byte == expected), "frame {number}");
    number
}

/// Fills a payload with its number, in each word.
pub fn fill_words(frame: &mut [u8], number: u64) {
    for word in frame.as_chunks_mut().0 {
        *word = number.to_le_bytes();
    }
}

/// The number of a payload, in every word of which it has to stand.
pub fn check_words(frame: &[u8]) -> u64 {
    let words = frame.as_chunks().0;
    let number = u64::from_le_bytes(words[0]);
    let whole = words.iter().all(|word| *word == words[0]);
    assert!(whole, "frame {number} has words of another");
    number
}

/// A payload of so many bytes.
pub fn frame(number: u64, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    fill_frame(&mut frame, number);
    frame
}

fn byte(number: u64) -> u8 {
    (number * 37 + 1) as u8
}
