//! Counters as their owner writes them, and as anybody could.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::page::{COUNTS, Kind, Page};
use super::reading::{Words, changes, row};
use super::*;
use crate::ring::{DropCause, Position};
use crate::segment::PAGE_BYTES;
use crate::segment::fork::ProcessMark;

const BUS: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;

/// A client without a bus: its book, with a number that no other test has.
fn book(client: u64) -> Arc<Book> {
    let book = Book::new("pump", ProcessMark::here().unwrap());
    book.join(BUS, client);
    Arc::new(book)
}

fn find(client: u64) -> ClientCounters {
    let scan = scan_process(std::process::id()).unwrap();
    let mut found = scan.clients.into_iter();
    found
        .find(|found| (found.bus, found.client) == (BUS, client))
        .unwrap()
}

#[test]
fn what_is_counted_is_found_by_the_name_of_the_memory() {
    let book = book(1);
    let publisher = book.handle(Role::Publisher, 7, "md/*", "md.quote v1");
    let lane = publisher.lane(99, "screen", "md/**", "md.quote v1", 4096);
    lane.message(40, Position(64));
    lane.message(2, Position(96));
    lane.dropped(DropCause::Full, 1);
    lane.dropped(DropCause::Deadline, 1);
    lane.woke();
    lane.parked();
    lane.blocked(Duration::from_nanos(12));
    lane.stalled();
    lane.conflated(3);
    lane.undecodable();
    lane.latency(Duration::from_nanos(5));

    let found = find(1);
    assert!(found.is_settled);
    assert_eq!(
        (found.name.as_str(), found.pid),
        ("pump", std::process::id())
    );
    let [handle] = &found.handles[..] else {
        panic!("{found:?}")
    };
    assert_eq!((handle.role, handle.handle), (Role::Publisher, 7));
    assert_eq!(
        (handle.topics.as_str(), handle.message_type.as_str()),
        ("md/*", "md.quote v1")
    );
    let [lane] = &found.lanes[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (lane.role, lane.handle, lane.lane),
        (Role::Publisher, 7, 99)
    );
    assert_eq!(
        (lane.peer.as_str(), lane.topics.as_str()),
        ("screen", "md/**")
    );
    assert_eq!((lane.ring_bytes, lane.position), (4096, 96));
    let latency = &lane.counts.latency;
    assert_eq!(
        latency.buckets().collect::<Vec<_>>(),
        [(Duration::from_nanos(5), 1)]
    );
    let expected = Counts {
        messages: 2,
        bytes: 42,
        dropped_full: 1,
        dropped_deadline: 1,
        wakes: 1,
        parks: 1,
        blocked_ns: 12,
        stalls: 1,
        conflated: 3,
        undecodable: 1,
        expired: 0,
        latency: latency.clone(),
    };
    assert_eq!(lane.counts, expected);
    assert_eq!(found.total(Role::Publisher), expected);
}

#[test]
fn nothing_that_was_counted_disappears_with_its_lane_or_its_handle() {
    let book = book(2);
    let handle = book.handle(Role::Subscriber, 1, "a b", "");
    handle.parked();
    for length in 1..=3 {
        let lane = handle.lane(length as u64, "", "", "", 0);
        lane.message(length, Position(1000));
        lane.latency(Duration::from_micros(3));
    }
    let of_handle = find(2);
    let counts = of_handle.total(Role::Subscriber);
    assert_eq!((counts.messages, counts.bytes, counts.parks), (3, 6, 1));
    assert_eq!((counts.latency.count(), of_handle.lanes.len()), (3, 0));
    drop(handle);
    let closed = find(2);
    assert_eq!(closed.handles.len(), 0);
    assert_eq!(closed.closed_subscribers, counts);
    assert_eq!(closed.closed_publishers, Counts::default());
}

#[test]
fn eight_thousand_lanes_have_pages_of_their_own_and_give_them_back() {
    let book = book(3);
    let handle = book.handle(Role::Publisher, 1, "a", "");
    for _ in 0..2 {
        let lanes: Vec<_> = (0..8192)
            .map(|lane| handle.lane(lane, "", "", "", 0))
            .collect();
        lanes.iter().for_each(|lane| lane.message(1, Position(0)));
        let found = find(3);
        let numbers: Vec<_> = found.lanes.iter().map(|lane| lane.lane).collect();
        assert_eq!(numbers, (0..8192).collect::<Vec<_>>());
        assert!(found.lanes.iter().all(|lane| lane.counts.messages == 1));
    }
    assert_eq!(
        book.shelves(),
        1,
        "what is not used any more goes back to the system"
    );
    let found = find(3);
    assert_eq!(
        (found.lanes.len(), found.total(Role::Publisher).messages),
        (0, 2 * 8192)
    );
}

#[test]
fn a_lane_whose_messages_another_one_counts_has_counted_them_itself() {
    let book = book(9);
    let handle = book.handle(Role::Publisher, 1, "a", "");
    let mut lanes = [1, 2, 3].map(|lane| handle.lane(lane, "", "", "", 4096));
    let [first, second, third] = &mut lanes;
    let counted = || {
        let found = find(9);
        assert!(found.is_settled);
        let lanes = found.lanes.iter();
        let of_lane =
            |lane: &LaneCounters| (lane.counts.messages, lane.counts.bytes, lane.position);
        let each: Vec<_> = lanes.map(of_lane).collect();
        (each, found.total(Role::Publisher).messages)
    };
    first.messages(10, 100, Position(100));
    second.message(7, Position(70));
    second.follow(first);
    first.message(5, Position(200));
    third.follow(first);
    first.message(1, Position(300));
    assert_eq!(
        counted(),
        (vec![(12, 106, 300), (3, 13, 300), (1, 1, 300)], 16)
    );
    // Another one leads; the first one goes.
    second.stand_alone();
    third.follow(second);
    first.message(1, Position(400));
    second.message(2, Position(500));
    assert_eq!(
        counted(),
        (vec![(13, 107, 400), (4, 15, 500), (2, 3, 500)], 19)
    );
    // Who leads goes before those who follow.
    let [first, second, third] = lanes;
    drop(second);
    assert_eq!(counted().1, 19);
    drop((first, third));
    assert_eq!(counted(), (vec![], 19));
}

#[test]
fn long_names_are_cut_between_characters() {
    let book = book(4);
    let long = "ä".repeat(3000);
    let _handle = book.handle(Role::Publisher, 1, &format!("x{long}"), &long);
    let found = find(4);
    assert_eq!(found.handles[0].topics, format!("x{}", "ä".repeat(511)));
    assert_eq!(found.handles[0].message_type, "ä".repeat(136));
}

/// A page that is given to another lane again and again while it is read: each row is of one lane, and a settled sum never
/// falls. Seen red without the second look at the generation, with a generation that `close` keeps, and with every sum taken for
/// settled.
#[test]
fn a_page_that_changes_hands_is_never_read_as_a_mixture() {
    let book = book(5);
    let handle = book.handle(Role::Publisher, 1, "a", "");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let name = number.to_string();
                let lane = handle.lane(number, &name, &name, &name, number as usize);
                lane.message(number as usize, Position(number));
            }
        });
        // Also when an assertion fails.
        let _stop = Raise(&stop);
        let mut rows = 0;
        let mut before = 0;
        while rows < 300 {
            let found = find(5);
            for lane in &found.lanes {
                let name = lane.lane.to_string();
                let texts = [&lane.peer, &lane.topics, &lane.message_type];
                assert!(texts.iter().all(|text| **text == name), "{lane:?}");
                assert_eq!(lane.ring_bytes, lane.lane);
                assert!([0, lane.lane].contains(&lane.counts.bytes), "{lane:?}");
                rows += 1;
            }
            if found.is_settled {
                let messages = found.total(Role::Publisher).messages;
                assert!(messages >= before, "{messages} after {before}");
                before = messages;
                rows += 1;
            }
        }
    });
}

/// Raises a flag at the end of a scope.
struct Raise<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Pages of any words, which may be others at each look.
struct Hostile {
    words: Vec<u64>,
    looks: Cell<usize>,
}

impl Words for Hostile {
    fn pages(&self) -> usize {
        1
    }

    fn word(&self, page: usize, offset: usize) -> u64 {
        assert!(page == 0 && offset.is_multiple_of(8) && offset < PAGE_BYTES);
        self.looks.set(self.looks.get() + 1);
        let place = (offset / 8 + self.looks.get() / 1000) % self.words.len();
        self.words[place]
    }
}

proptest! {
    #[test]
    fn whatever_lies_in_a_page_is_read_in_bounded_time_as_text_that_can_be_printed(
        mut words in proptest::collection::vec(prop_oneof![any::<u64>(), 0..300_u64], 1..=512),
        generation in any::<u64>(),
        kind in 0..8_u64,
    ) {
        words[0] = generation;
        if let Some(word) = words.get_mut(1) {
            *word = kind;
        }
        let hostile = Hostile { words, looks: Cell::new(0) };
        let _ = changes(&hostile);
        if let Some(row) = row(&hostile, 0) {
            for text in [&row.name, &row.topics, &row.message_type] {
                prop_assert!(text.len() <= 3 * 1024 && !text.chars().any(char::is_control));
            }
            let mut counts = row.counts.clone();
            counts += &row.counts;
            let _ = (counts.since(&row.counts), counts.wakes_saved(), counts.latency.quantile(0.99));
        }
        prop_assert!(hostile.looks.get() <= 4 * 600 + 10);
    }
}

#[test]
fn the_table_of_the_format_says_what_is_written() {
    let document = include_str!("../../docs/segment-format.md");
    let rows = [
        (std::mem::offset_of!(Page, generation), "generation"),
        (std::mem::offset_of!(Page, kind), "kind"),
        (std::mem::offset_of!(Page, handle), "handle"),
        (std::mem::offset_of!(Page, lane), "lane"),
        (std::mem::offset_of!(Page, ring_bytes), "ring"),
        (std::mem::offset_of!(Page, opened_ns), "opened"),
        (std::mem::offset_of!(Page, bus), "bus"),
        (std::mem::offset_of!(Page, client), "client"),
        (std::mem::offset_of!(Page, segment), "segment"),
        (std::mem::offset_of!(Page, changes), "changes"),
        (std::mem::offset_of!(Page, counts), "messages"),
        (std::mem::offset_of!(Page, name), "name"),
        (std::mem::offset_of!(Page, topics), "topics"),
        (std::mem::offset_of!(Page, message_type), "type"),
        (std::mem::offset_of!(Page, latency), "latency"),
    ];
    for (offset, field) in rows {
        let found = document.lines().any(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            cells.next() == Some(&offset.to_string()) && cells.nth(1) == Some(field)
        });
        assert!(
            found,
            "docs/segment-format.md has no row for {field} at {offset}"
        );
    }
    assert_eq!((Kind::SubscriberLane as u64, COUNTS), (5, 16));
}
