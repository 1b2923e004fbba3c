//! Row A22: queue groups. Whose turn it is; `row_a22_deaths.rs` has what becomes of a member's rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringmain::wire::Refusal;
use ringmain::{Client, Overflow, PublishError, Publisher, RecvError, RequestError, Subscriber};
use ringmain_tests::roles::worker::Taken;
use ringmain_tests::{Tick, eventually, on_each_transport, policy};

fn member(client: &Client, pattern: &str, overflow: &str) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>(pattern).queue("workers");
    builder.overflow(policy(overflow)).open().unwrap()
}

/// A publisher whose rings are as small as can be.
fn small(client: &Client, topic: &str) -> Publisher<Tick> {
    let builder = client.publisher::<Tick>(topic);
    builder
        .ring_bytes(4096)
        .max_message_bytes(100)
        .open()
        .unwrap()
}

/// The numbers of the next messages.
fn take(subscriber: &mut Subscriber<Tick>, count: usize) -> Vec<u64> {
    let one = |_| {
        let taken = Taken::one(subscriber).unwrap();
        assert!(!taken.redelivered);
        taken.number
    };
    (0..count).map(one).collect()
}

/// Publishes ticks of one length until no member has room for another one, which is lost; how many had room.
fn fill(publisher: &mut Publisher<Tick>) -> u64 {
    let topic = publisher.resolve("t").unwrap();
    for count in 0.. {
        let delivery = publisher.publish_to_timeout(&topic, &Tick::new(0), Duration::ZERO);
        if delivery.unwrap().dropped == 1 {
            return count;
        }
    }
    unreachable!("no ring takes them all")
}

/// Adds the messages that are there to the first number, those that are told as lost to the second.
fn look(member: &mut Subscriber<Tick>, (got, lost): &mut (u64, u64)) {
    match member.try_recv() {
        Ok(found) => *got += u64::from(found.is_some()),
        Err(RecvError::Gap(gap)) => *lost += gap.lost,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a22_each_message_goes_to_one_of_three_members_in_turn() {
    on_each_transport(|bus| {
        let clients = ["a", "b", "c", "all"].map(|name| bus.client(name));
        let mut members = [0, 1, 2].map(|index| member(&clients[index], "t", "block-600000"));
        let mut everybody = clients[3].subscriber::<Tick>("t").open().unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
        for number in 0..1000 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            // The group counts as one.
            assert_eq!((delivery.lanes, delivery.dropped), (2, 0));
        }
        let mut all = Vec::new();
        for member in &mut members {
            let numbers = take(member, 333);
            assert!(numbers.is_sorted());
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 3));
            all.extend(numbers);
        }
        let rest = members
            .iter_mut()
            .find_map(|member| member.recv_timeout(Duration::from_millis(200)).unwrap());
        all.push(rest.unwrap().checked());
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..1000));
        assert!(take(&mut everybody, 1000).into_iter().eq(0..1000));
    });
}

#[test]
fn a22_members_share_what_the_patterns_of_both_take() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut one = member(&client, "a/*", "block-600000");
        let mut other = member(&client, "a/x", "block-600000");
        let mut publisher = client.publisher::<Tick>("**").open().unwrap();
        for number in 0..10 {
            // What only one takes goes to that one, and counts as its turn.
            assert_eq!(
                publisher.publish("a/y", &Tick::new(number)).unwrap().lanes,
                1
            );
        }
        for number in 10..30 {
            assert_eq!(
                publisher.publish("a/x", &Tick::new(number)).unwrap().lanes,
                1
            );
        }
        assert_eq!(publisher.publish("b", &Tick::new(30)).unwrap().lanes, 0);
        assert!(take(&mut other, 10).into_iter().eq((10..30).step_by(2)));
        let expected = (0..10).chain((11..30).step_by(2));
        assert!(take(&mut one, 20).into_iter().eq(expected));
    });
}

#[test]
fn a22_new_topics_go_round_as_well() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut members = [0; 3].map(|_| member(&client, "a/*", "block-600000"));
        let mut publisher = client.publisher::<Tick>("a/*").open().unwrap();
        for number in 0..300 {
            let topic = format!("a/{number}");
            publisher.publish(&topic, &Tick::new(number)).unwrap();
        }
        for member in &mut members {
            take(member, 100);
        }
    });
}

#[test]
fn a22_a_member_without_room_is_passed_over() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut stuck = member(&client, "t", "block-600000");
        let mut reading = member(&client, "t", "block-600000");
        let publishing = bus.client("publisher");
        let mut publisher = small(&publishing, "t");
        let mut got = Vec::new();
        let done = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..1000 {
                    let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                }
                done.store(1, Ordering::Release);
            });
            eventually("all are published", || {
                while let Some(tick) = reading.try_recv().unwrap() {
                    got.push(tick.checked());
                }
                done.load(Ordering::Acquire) == 1
            });
        });
        while let Some(tick) = reading.recv_timeout(Duration::from_millis(200)).unwrap() {
            got.push(tick.checked());
        }
        assert!(got.len() > 900, "{}", got.len());
        got.extend(take(&mut stuck, 1000 - got.len()));
        got.sort_unstable();
        assert!(got.into_iter().eq(0..1000));
    });
}

#[test]
fn a22_a_wait_for_a_group_is_over_when_any_member_has_room() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut members = [0; 3].map(|_| member(&client, "t", "block-600000"));
        let publishing = bus.client("publisher");
        let mut publisher = small(&publishing, "t");
        let (mut sums, mut published) = ((0, 0), 0);
        // Each of them, whose turn it is with one of these only.
        for index in [2, 0, 1] {
            published += fill(&mut publisher);
            let done = AtomicU64::new(0);
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let delivery = publisher.publish("t", &Tick::new(0)).unwrap();
                    done.store(1, Ordering::Release);
                    delivery
                });
                eventually("the publisher goes on", || {
                    look(&mut members[index], &mut sums);
                    done.load(Ordering::Acquire) == 1
                });
                let delivery = waiting.join().unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            });
            published += 1;
        }
        eventually("all are told", || {
            for member in &mut members {
                look(member, &mut sums);
            }
            sums == (published, 3)
        });
    });
}

#[test]
fn a22_a_wait_for_a_group_goes_on_with_a_member_that_comes() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let stuck = member(&client, "t", "block-600000");
        let publishing = bus.client("publisher");
        let mut publisher = small(&publishing, "t");
        fill(&mut publisher);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| publisher.publish("t", &Tick::new(0)));
            let mut late = member(&client, "t", "block-600000");
            let got = take(&mut late, 1);
            let delivery = waiting.join().unwrap().unwrap();
            assert_eq!((got, delivery.lanes), (vec![0], 1));
        });
        drop(stuck);
    });
}

#[test]
fn a22_where_none_has_room_the_member_whose_turn_it_is_decides_and_is_told() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut members = [0; 2].map(|_| member(&client, "t", "drop"));
        let publishing = bus.client("publisher");
        let mut publisher = small(&publishing, "t");
        let mut dropped = 0;
        for number in 0..1000 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            assert_eq!(delivery.lanes + delivery.dropped, 1);
            dropped += u64::from(delivery.dropped);
        }
        assert!(dropped > 0);
        let mut sums = [(0, 0); 2];
        eventually("all are told", || {
            for (member, sums) in members.iter_mut().zip(&mut sums) {
                look(member, sums);
            }
            sums.iter().map(|(got, lost)| got + lost).sum::<u64>() == 1000
        });
        let lost = sums.map(|(_, lost)| lost);
        assert_eq!(lost[0] + lost[1], dropped);
        assert!(
            lost.iter().all(|lost| *lost > dropped / 3),
            "in turn, too: {lost:?}"
        );
    });
}

#[test]
fn a22_a_deadline_passes_once_for_a_group() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let _members = [0; 3].map(|_| member(&client, "t", "block-50"));
        let publishing = bus.client("publisher");
        let mut publisher = small(&publishing, "t");
        let topic = publisher.resolve("t").unwrap();
        // All of one length, so that each finds as little room as the one before.
        while publisher.publish_to(&topic, &Tick::new(0)).unwrap().dropped == 0 {}
        // All members were waited for, so none is again: not even by a publish that must not wait.
        for _ in 0..10 {
            let delivery = publisher.try_publish_to(&topic, &Tick::new(0)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (0, 1));
        }
    });
}

#[test]
fn a22_a_batch_goes_to_one_member() {
    on_each_transport(|bus| {
        let client = bus.client("members");
        let mut members = [0; 2].map(|_| member(&client, "t", "block-600000"));
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        for batch in 0..20 {
            let ticks: Vec<_> = (0..10).map(|index| Tick::new(batch * 10 + index)).collect();
            let delivery = publisher.publish_batch(&topic, &ticks).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        }
        for (index, member) in members.iter_mut().enumerate() {
            let numbers = take(member, 100);
            for (turn, batch) in numbers.chunks(10).enumerate() {
                let first = (turn * 2 + index) as u64 * 10;
                assert!(batch.iter().copied().eq(first..first + 10), "{batch:?}");
            }
        }
    });
}

#[test]
fn a22_a_batch_that_fits_only_without_its_names_is_refused() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let name = format!("t/{}", "x".repeat(500));
        let mut publisher = small(&client, &name);
        let topic = publisher.resolve(&name).unwrap();
        let ticks = vec![Tick::new(0); 8];
        let mut plain = client.subscriber::<Tick>(&name).open().unwrap();
        assert_eq!(publisher.publish_batch(&topic, &ticks).unwrap().lanes, 1);
        take(&mut plain, 8);
        let mut member = member(&client, &name, "block-600000");
        assert!(matches!(
            publisher.publish_batch(&topic, &ticks),
            Err(PublishError::BatchTooLarge { .. })
        ));
        assert_eq!(
            publisher.publish_batch(&topic, &ticks[..2]).unwrap().lanes,
            2
        );
        take(&mut member, 2);
        take(&mut plain, 2);
    });
}

#[test]
fn a22_a_policy_that_replaces_messages_is_refused_with_the_reason() {
    on_each_transport(|bus| {
        let client = bus.client("member");
        for overflow in [Overflow::DropOldest, Overflow::Conflate] {
            let builder = client.subscriber::<Tick>("t").queue("workers");
            let refused = builder.overflow(overflow).open().unwrap_err();
            let RequestError::Refused(Refusal::QueuePolicy { queue, policy }) = refused else {
                panic!("{refused}");
            };
            assert_eq!(
                (queue.as_str(), policy),
                ("workers", format!("{overflow:?}"))
            );
        }
        let builder = client.subscriber::<Tick>("t").queue("workers");
        assert!(matches!(
            builder.snapshot().open(),
            Err(RequestError::Refused(Refusal::QueueHistory { .. }))
        ));
    });
}

#[test]
fn a22_a_member_that_is_named_gets_what_is_for_it_alone() {
    on_each_transport(|bus| {
        let clients = ["one", "other"].map(|name| bus.client(name));
        let mut members = [0, 1].map(|index| member(&clients[index], "t", "block-600000"));
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Tick>("t").open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        for number in 0..10 {
            let delivery = publisher.publish_to_one(&topic, "other", &Tick::new(number));
            assert_eq!(delivery.unwrap().lanes, 1);
        }
        assert!(take(&mut members[1], 10).into_iter().eq(0..10));
        assert!(members[0].try_recv().unwrap().is_none());
    });
}
