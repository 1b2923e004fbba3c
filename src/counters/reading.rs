//! Reads the pages of a segment that another process writes.
//!
//! Nothing here trusts a word: lengths and numbers are bounded, texts made printable, and a page that changes its user while it
//! is read is left out.

use std::collections::HashMap;
use std::mem::offset_of;

use crate::segment::PAGE_BYTES;
use crate::sync::{Ordering, fence};

use super::histogram::Histogram;
use super::page::{BUCKETS, Counter, Kind, Page};
use super::snapshot::Counts;

/// Pages of counters, as words.
pub(super) trait Words {
    /// Pages in all.
    fn pages(&self) -> usize;

    /// The word at `offset` of `page`, which exist, as it is now; relaxed.
    fn word(&self, page: usize, offset: usize) -> u64;
}

/// A page in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) handle: u32,
    pub(super) lane: u64,
    pub(super) ring_bytes: u64,
    pub(super) opened_ns: u64,
    pub(super) bus: u128,
    pub(super) client: u64,
    /// Of a client's page.
    pub(super) segment: u64,
    pub(super) position: u64,
    /// Of a lane: 0, or the one that counts messages for it.
    pub(super) follows: u64,
    pub(super) counts: Counts,
    pub(super) name: String,
    pub(super) topics: String,
    pub(super) message_type: String,
}

/// What is on a page; `None` if it is not in use, or holds what no client writes, or is given to others all the time.
pub(super) fn row(words: &impl Words, page: usize) -> Option<Row> {
    for _ in 0..MOST_TRIES {
        let generation = words.word(page, offset_of!(Page, generation));
        // Partner: the release in `Page::open`.
        fence(Ordering::Acquire);
        if generation.is_multiple_of(2) {
            return None;
        }
        let row = copy(words, page);
        // Partner: the fence in `Page::close`: whoever sees a word of the next user sees the new generation, too.
        fence(Ordering::Acquire);
        if words.word(page, offset_of!(Page, generation)) == generation {
            return row;
        }
    }
    None
}

/// Adds, for lanes that lie in one ring, what one of them counts for all. One whose leader was not found is left out: pages have
/// changed meanwhile.
pub(super) fn follow_leaders(rows: &mut Vec<Row>) {
    let is_leader = |row: &&Row| row.kind == Kind::PublisherLane && row.follows == 0;
    let leads = |row: &Row| {
        let Counts {
            messages, bytes, ..
        } = row.counts;
        ((row.handle, row.lane), (messages, bytes, row.position))
    };
    let leaders: HashMap<_, _> = rows.iter().filter(is_leader).map(leads).collect();
    rows.retain_mut(|row| {
        if row.follows == 0 {
            return true;
        }
        let leader = leaders.get(&(row.handle, row.follows));
        if let Some((messages, bytes, position)) = leader {
            row.counts.messages = row.counts.messages.wrapping_add(*messages);
            row.counts.bytes = row.counts.bytes.wrapping_add(*bytes);
            row.position = *position;
        }
        leader.is_some()
    });
}

/// The number of changes that a client has made to its pages; `None` while it makes one.
pub(super) fn changes(words: &impl Words) -> Option<u64> {
    // Partners: the fence and the release in `State::change`. Used before and after pages are read, so fenced on both sides.
    fence(Ordering::Acquire);
    let changes = words.word(0, offset_of!(Page, changes));
    fence(Ordering::Acquire);
    changes.is_multiple_of(2).then_some(changes)
}

fn copy(words: &impl Words, page: usize) -> Option<Row> {
    let word = |offset| words.word(page, offset);
    let counter = |counter: Counter| word(offset_of!(Page, counts) + 8 * counter as usize);
    let text = |offset: usize, most: usize| text(|at| word(offset + at), most);
    let bus = [0, 8].map(|half| u128::from(word(offset_of!(Page, bus) + half)));
    let latency = (0..BUCKETS).map(|bucket| word(offset_of!(Page, latency) + 8 * bucket));
    Some(Row {
        kind: Kind::from_word(word(offset_of!(Page, kind)))?,
        handle: u32::try_from(word(offset_of!(Page, handle))).ok()?,
        lane: word(offset_of!(Page, lane)),
        ring_bytes: word(offset_of!(Page, ring_bytes)),
        opened_ns: word(offset_of!(Page, opened_ns)),
        bus: bus[0] | bus[1] << 64,
        client: word(offset_of!(Page, client)),
        segment: word(offset_of!(Page, segment)),
        position: counter(Counter::Position),
        follows: word(offset_of!(Page, follows)),
        counts: Counts {
            messages: counter(Counter::Messages),
            bytes: counter(Counter::Bytes),
            dropped_full: counter(Counter::DroppedFull),
            dropped_deadline: counter(Counter::DroppedDeadline),
            wakes: counter(Counter::Wakes),
            parks: counter(Counter::Parks),
            blocked_ns: counter(Counter::BlockedNs),
            stalls: counter(Counter::Stalls),
            conflated: counter(Counter::Conflated),
            undecodable: counter(Counter::Undecodable),
            expired: counter(Counter::Expired),
            latency: Histogram::from_buckets(latency),
        },
        name: text(offset_of!(Page, name), NAME_BYTES),
        topics: text(offset_of!(Page, topics), TOPICS_BYTES),
        message_type: text(offset_of!(Page, message_type), TYPE_BYTES),
    })
}

/// A text as something to be printed: a terminal would obey what a hostile name may hold.
fn text(word: impl Fn(usize) -> u64, most: usize) -> String {
    let len = usize::try_from(word(0)).unwrap_or(most).min(most);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8))
        .flat_map(|index| word(8 + 8 * index).to_le_bytes())
        .collect();
    bytes.truncate(len);
    printable(&bytes)
}

/// Text without control characters.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let printable = |character: char| match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    text.chars().map(printable).collect()
}

/// A page changes its user seldom; one that does so all the time must not keep the reader.
const MOST_TRIES: usize = 4;
const NAME_BYTES: usize = offset_of!(Page, topics) - offset_of!(Page, name) - 8;
const TOPICS_BYTES: usize = offset_of!(Page, message_type) - offset_of!(Page, topics) - 8;
const TYPE_BYTES: usize = 272;

const _: () = assert!(NAME_BYTES == 256 && TOPICS_BYTES == 1024);
const _: () = assert!(TYPE_BYTES <= PAGE_BYTES - offset_of!(Page, message_type) - 8);
