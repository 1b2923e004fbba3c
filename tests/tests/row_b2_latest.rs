//! Row B2: the latest frames are read where they were written, by subscribers that nobody waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::{Clock, Held, Overflow, Publisher, RecvError, Subscriber};
use ringmain_tests::frame::{
    BLOCK, MIB, check_frame, check_words, comes_back, fill_frame, frame, frame_publisher,
    frame_subscriber, lend,
};
use ringmain_tests::{
    Bus, Peer, Transport, eventually, on_each_local_transport, on_each_transport, policy,
};

/// What a subscriber has got of its publisher, and what it was told to have lost.
#[derive(Debug, Default)]
struct Tally {
    got: u64,
    /// In whose place others came.
    skipped: u64,
    lost: u64,
}

impl Tally {
    fn total(&self) -> u64 {
        self.got + self.skipped + self.lost
    }

    /// Receives what comes next; gives what `look` makes of it.
    fn next<R>(
        &mut self,
        subscriber: &mut Subscriber<Bytes>,
        look: impl FnOnce(&ringmain::Sample<'_, Bytes>) -> R,
    ) -> Option<R> {
        match subscriber.recv_timeout(Duration::from_millis(100)) {
            Ok(None) => None,
            Ok(Some(sample)) => {
                self.skipped += sample.skipped();
                assert_eq!(sample.sequence(), self.total(), "{self:?}");
                self.got += 1;
                Some(look(&sample))
            }
            Err(RecvError::Gap(gap)) => {
                assert_eq!(gap.first_sequence, self.total(), "{self:?}");
                self.lost += gap.lost;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Policies by which older messages give way, as roles call them.
const GIVING_WAY: [&str; 2] = ["oldest", "conflate"];

/// A process that publishes frames of so many bytes to nobody but this subscriber, and has heard of it: one was published.
fn frames(bus: &Bus, way: &str, len: usize) -> (Peer, Subscriber<Bytes>, Tally) {
    let mut subscriber = frame_subscriber(bus, policy(way));
    let mut frames = bus.peer("frames", &["frames/a", &len.to_string()]);
    frames.tell("1");
    frames.expect_start("1 ");
    frames.tell("meet");
    let mut tally = Tally::default();
    eventually("the publisher hears of the subscriber", || {
        tally.next(&mut subscriber, |_| ());
        frames.next_line().is_some_and(|line| line == "met")
    });
    assert_eq!(tally.got, 1);
    (frames, subscriber, tally)
}

/// Publishes frame 0. The publisher has heard of the subscriber then, so it knows what that holds.
fn meet(publisher: &mut Publisher<Bytes>, subscriber: &mut Subscriber<Bytes>) -> Tally {
    let mut tally = Tally::default();
    lend(publisher, 0, MIB);
    eventually("the publisher hears of the subscriber", || {
        tally.next(subscriber, |_| ());
        publisher.shrink_pool() == 0
    });
    assert_eq!(tally.got, 1);
    tally
}

/// What the publisher says: how many frames, and the bytes of its pool at most.
fn said(line: &str) -> (u64, u64) {
    let (published, most) = line.split_once(' ').unwrap();
    (published.parse().unwrap(), most.parse().unwrap())
}

#[test]
fn b2_a_slow_subscriber_sees_whole_frames_and_each_loss() {
    for way in GIVING_WAY {
        let bus = Bus::start(Transport::Unix);
        let (mut writer, mut subscriber, mut tally) = frames(&bus, way, MIB);
        let mut copies = 0;
        writer.tell("599");
        let mut done = None;
        eventually("all frames are got, or lost", || {
            tally.next(&mut subscriber, |sample| {
                // Slower than the publisher, who goes on meanwhile.
                for _ in 0..4 {
                    assert_eq!(check_words(sample), sample.sequence());
                }
                copies += u64::from(sample.hold().unwrap().is_copy());
            });
            done = done.or_else(|| writer.next_line().map(|line| said(&line)));
            done.is_some_and(|(published, _)| published == tally.total())
        });
        let (published, most) = done.unwrap();
        assert_eq!(published, 600);
        assert!(tally.skipped + tally.lost > 0 && tally.got > 0, "{tally:?}");
        assert_eq!(copies, 0, "{tally:?}");
        // As much as lies in its ring, and what is being written and looked at, in segments of 4 and 8 MiB; not its limit.
        assert!(most <= 28 * MIB as u64, "{most} bytes");
    }
}

#[test]
fn b2_what_is_held_stays_while_thousands_of_frames_go_by() {
    for way in GIVING_WAY {
        let bus = Bus::start(Transport::Unix);
        let (mut writer, mut subscriber, mut tally) = frames(&bus, way, 64 * 1024);
        let mut held: Vec<Held<Bytes>> = Vec::new();
        let mut published = 1;
        while published < 6000 {
            writer.tell("1000");
            published += 1000;
            let mut done = false;
            eventually("all frames are got, or lost", || {
                if let Some(frame) = tally.next(&mut subscriber, |sample| sample.hold().unwrap())
                    && held.len() < 20
                    && (held.is_empty() || tally.total() % 300 < 100)
                {
                    assert!(!frame.is_copy());
                    held.push(frame);
                }
                done |= writer.next_line().is_some();
                done && tally.total() == published
            });
            for frame in &held {
                assert_eq!(check_words(frame), frame.sequence());
            }
        }
        assert!(held.len() > 5 && tally.got > 20, "{tally:?}");
        // They outlive all who brought them.
        drop((writer, subscriber));
        for frame in &held {
            assert_eq!(check_words(frame), frame.sequence());
        }
    }
}

/// A process that holds so many frames of a publisher.
fn held_elsewhere(bus: &Bus, way: &str, frames: u32) -> (Peer, Publisher<Bytes>) {
    let mut holder = bus.peer("latest-holder", &["frames/a", way, &frames.to_string()]);
    holder.expect("open");
    let mut publisher = frame_publisher(bus, 64);
    let mut number = 0;
    eventually("frames are held", || {
        lend(&mut publisher, number, MIB);
        number += 1;
        holder.next_line().is_some_and(|line| line == "held")
    });
    (holder, publisher)
}

#[test]
fn b2_memory_comes_back_of_a_subscriber_that_is_killed_while_it_holds_frames() {
    for way in GIVING_WAY {
        let bus = Bus::start(Transport::Unix);
        let (mut holder, mut publisher) = held_elsewhere(&bus, way, 5);
        for number in 0..20 {
            lend(&mut publisher, number, MIB);
        }
        assert!(publisher.shrink_pool() >= 5 * MIB as u64);
        holder.kill();
        comes_back(&mut publisher);
    }
}

#[test]
fn b2_who_looks_forgets_memory_that_its_publisher_has_given_up() {
    for way in GIVING_WAY {
        let bus = Bus::start(Transport::Unix);
        let (mut holder, mut publisher) = held_elsewhere(&bus, way, 3);
        let mut segments = |what| {
            holder.tell(what);
            holder.line().parse::<usize>().unwrap()
        };
        let mapped = segments("look");
        assert_eq!(segments("release"), mapped);
        comes_back(&mut publisher);
        eventually("it is unmapped at the other end", || {
            segments("look") < mapped
        });
    }
}

#[test]
fn b2_a_subscriber_that_holds_its_share_gets_copies_and_loses_nothing_for_it() {
    for way in GIVING_WAY {
        on_each_local_transport(|bus| {
            let mut subscriber = frame_subscriber(bus, policy(way));
            // Its share is half: four of these.
            let mut publisher = frame_publisher(bus, 8);
            meet(&mut publisher, &mut subscriber);
            let mut held = Vec::new();
            for number in 1..30 {
                let topic = publisher.resolve("frames/a").unwrap();
                let message = frame(number, MIB);
                let delivery = publisher.publish_to(&topic, Bytes::new(&message)).unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                let sample = subscriber.recv().unwrap();
                assert_eq!((check_frame(&sample), sample.sequence()), (number, number));
                held.push(sample.hold().unwrap());
            }
            let lent = held.iter().filter(|frame| !frame.is_copy());
            assert!((3..=5).contains(&lent.count()));
            for (number, frame) in (1..).zip(&held) {
                assert_eq!(check_frame(frame), number);
            }
            // One that is given back is room for another.
            held.clear();
            lend(&mut publisher, 30, MIB);
            assert!(!subscriber.recv().unwrap().hold().unwrap().is_copy());
        });
    }
}

#[test]
fn b2_frames_are_copied_out_where_all_slots_are_in_use() {
    for way in GIVING_WAY {
        on_each_local_transport(|bus| {
            let mut subscriber = frame_subscriber(bus, policy(way));
            let mut publisher = frame_publisher(bus, 64);
            let mut held = Vec::new();
            for number in 0..60 {
                // Not a multiple of a word.
                lend(&mut publisher, number, 5003);
                let sample = subscriber.recv().unwrap();
                assert_eq!((sample.len(), check_frame(&sample)), (5003, number));
                held.push(sample.hold().unwrap());
            }
            let copies: Vec<_> = held.iter().map(Held::is_copy).collect();
            assert_eq!(copies, [[false; 48].as_slice(), &[true; 12]].concat());
            for (number, frame) in (0..).zip(&held) {
                assert_eq!(check_frame(frame), number);
            }
            held.remove(7);
            lend(&mut publisher, 60, 5003);
            assert!(!subscriber.recv().unwrap().hold().unwrap().is_copy());
        });
    }
}

#[test]
fn b2_the_newest_frame_is_never_given_up_for_want_of_memory() {
    for way in GIVING_WAY {
        on_each_local_transport(|bus| {
            let mut subscriber = frame_subscriber(bus, policy(way));
            // Room for little more than what is being written, what is newest, and what is looked at.
            let mut publisher = frame_publisher(bus, 4);
            let mut tally = meet(&mut publisher, &mut subscriber);
            for number in 1..200_u64 {
                assert_eq!(lend(&mut publisher, number, MIB), 1);
                if number % 7 == 6 {
                    // Whatever was lost before, the last one comes.
                    eventually("the newest frame", || {
                        let got = tally.next(&mut subscriber, |sample| check_frame(sample));
                        got == Some(number)
                    });
                }
            }
            eventually("the last frame", || {
                tally.next(&mut subscriber, |sample| check_frame(sample));
                tally.total() == 200
            });
            assert!(tally.skipped + tally.lost > 0);
        });
    }
}

#[test]
fn b2_the_last_frames_of_many_topics_take_as_much_as_a_table_and_the_newest_stay() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, Overflow::Conflate);
        let mut publisher = frame_publisher(bus, 64);
        let topics: Vec<_> = (0..50)
            .map(|topic| publisher.resolve(&format!("frames/{topic}")).unwrap())
            .collect();
        let mut tally = meet(&mut publisher, &mut subscriber);
        let (mut published, mut numbers) = (1, vec![0]);
        for round in 1..=4 {
            for (topic, resolved) in topics.iter().enumerate() {
                // On each topic some that are short, too.
                let len = if (topic + round) % 5 == 0 { 100 } else { MIB };
                let mut loan = publisher.loan(resolved, len).unwrap();
                fill_frame(&mut loan, published);
                assert_eq!(loan.publish().unwrap().lanes, 1);
                published += 1;
            }
            // What lies in the pool is what a table for a mebibyte would have, and not more.
            assert!(publisher.pool_bytes() <= 28 * MIB as u64);
            eventually("all frames are got, skipped or lost", || {
                numbers.extend(tally.next(&mut subscriber, |sample| check_frame(sample)));
                tally.total() == published
            });
            assert!(numbers.contains(&(published - 1)));
        }
        assert_eq!(numbers.len() as u64, tally.got);
        let distinct: BTreeSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len());
    });
}

#[test]
fn b2_frames_for_all_kinds_of_subscribers_are_written_once() {
    on_each_transport(|bus| {
        let policies = [
            BLOCK,
            Overflow::DropOldest,
            Overflow::DropOldest,
            Overflow::Conflate,
        ];
        let mut subscribers = policies.map(|policy| frame_subscriber(bus, policy));
        let client = bus.client("publisher");
        let builder = client.publisher::<Bytes>("frames/*").max_message_bytes(MIB);
        let mut publisher = builder
            .timestamps(Clock::Monotonic)
            .history(1)
            .open()
            .unwrap();
        let topic = publisher.resolve("frames/a").unwrap();
        for (number, len) in (0..).zip([100, 4096, MIB, 4095, 100_000]) {
            let message = frame(number, len);
            let delivery = publisher.publish_to(&topic, Bytes::new(&message)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (4, 0));
            for subscriber in &mut subscribers {
                let sample = subscriber.recv().unwrap();
                assert_eq!((sample.len(), check_frame(&sample)), (len, number));
                assert!(sample.published_at().is_some());
                let is_lent = len >= 4096 && bus.transport() != Transport::Tcp;
                assert_eq!(sample.hold().unwrap().is_copy(), !is_lent);
            }
        }
        // Who comes later gets what is kept, then what comes.
        let builder = client
            .subscriber::<Bytes>("frames/*")
            .overflow(Overflow::DropOldest);
        let mut late = builder.snapshot().open().unwrap();
        assert_eq!(check_frame(&late.recv().unwrap()), 4);
        let message = frame(5, MIB);
        publisher.publish_to(&topic, Bytes::new(&message)).unwrap();
        assert_eq!(check_frame(&late.recv().unwrap()), 5);
    });
}

#[test]
fn b2_what_a_publisher_has_left_behind_is_read_where_it_lies() {
    on_each_local_transport(|bus| {
        let mut subscriber = frame_subscriber(bus, Overflow::DropOldest);
        let mut publisher = frame_publisher(bus, 64);
        for number in 0..3 {
            lend(&mut publisher, number, MIB);
        }
        drop(publisher);
        for number in 0..3 {
            let frame = subscriber.recv().unwrap().hold().unwrap();
            assert_eq!((check_frame(&frame), frame.is_copy()), (number, false));
        }
    });
}
