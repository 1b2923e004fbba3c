//! Talking: rows A of the list of features, by their numbers.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringmain::message::Bytes;
use ringmain::wire::Refusal;
use ringmain::{
    ListTopics, Overflow, PublishError, RequestError, Subscriber, Timer, Waitable, wait_any,
};
use ringmain_tests::{Bus, Tick, eventually, on_each_transport};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

fn text(bytes: &str) -> &Bytes {
    Bytes::new(bytes.as_bytes())
}

/// All messages that lie in the lanes, as text.
fn drain(subscriber: &mut Subscriber<Bytes>) -> Vec<String> {
    let mut got = Vec::new();
    while let Some(sample) = subscriber.try_recv().unwrap() {
        got.push(String::from_utf8(sample.to_vec()).unwrap());
    }
    got
}

/// Publishes each topic's name to it, and an end to all; gives what each pattern got.
fn matrix(bus: &Bus, patterns: &[&str], topics: &[&str]) -> Vec<Vec<String>> {
    let client = bus.client("subscriber");
    let mut subscribers: Vec<_> = patterns
        .iter()
        .map(|pattern| client.subscriber::<Bytes>(pattern).open().unwrap())
        .collect();
    let publishing = bus.client("publisher");
    let mut publisher = publishing.publisher::<Bytes>("**").open().unwrap();
    let mut system = publishing.publisher::<Bytes>("@sys/**").open().unwrap();
    let mut lanes = 0;
    for topic in topics {
        let publisher = if topic.starts_with('@') {
            &mut system
        } else {
            &mut publisher
        };
        lanes += publisher.publish(topic, text(topic)).unwrap().lanes;
    }
    let mut got = vec![Vec::new(); patterns.len()];
    // A lane that is not mapped yet comes without the subscriber's doing.
    eventually("everything has come", || {
        for (got, subscriber) in got.iter_mut().zip(&mut subscribers) {
            got.extend(drain(subscriber));
        }
        got.iter().map(Vec::len).sum::<usize>() >= lanes as usize
    });
    got
}

#[test]
fn a1_wildcards_in_subscriptions() {
    let topics = ["a", "a/b", "a/b/c", "b", "x/y", "@sys/a"];
    let table: [(&str, &[&str]); 11] = [
        ("a", &["a"]),
        ("*", &["a", "b"]),
        ("**", &["a", "a/b", "a/b/c", "b", "x/y"]),
        ("**/*", &["a", "a/b", "a/b/c", "b", "x/y"]),
        ("*/**", &["a", "a/b", "a/b/c", "b", "x/y"]),
        ("a/*", &["a/b"]),
        ("a/**", &["a", "a/b", "a/b/c"]),
        ("**/c", &["a/b/c"]),
        ("a/**/c", &["a/b/c"]),
        ("*/*", &["a/b", "x/y"]),
        ("@sys/*", &["@sys/a"]),
    ];
    let patterns = table.map(|(pattern, _)| pattern);
    on_each_transport(|bus| {
        let got = matrix(bus, &patterns, &topics);
        for ((pattern, expected), mut got) in table.iter().zip(got) {
            got.sort_unstable();
            assert_eq!(got, *expected, "{pattern}");
        }
    });
}

#[test]
fn a2_wildcards_in_published_topics() {
    let topics = ["md/*/eur", "md/**", "**", "md/quote/*"];
    let table: [(&str, &[&str]); 7] = [
        ("md/quote/eur", &["md/*/eur", "md/**", "**", "md/quote/*"]),
        ("md/quote/usd", &["md/**", "**", "md/quote/*"]),
        ("md/*/usd", &["md/**", "**", "md/quote/*"]),
        ("**/eur", &["md/*/eur", "md/**", "**", "md/quote/*"]),
        ("md", &["md/**", "**"]),
        ("fx/*", &["**"]),
        ("*/*/*/*", &["md/**", "**"]),
    ];
    let patterns = table.map(|(pattern, _)| pattern);
    on_each_transport(|bus| {
        let got = matrix(bus, &patterns, &topics);
        for ((pattern, expected), got) in table.iter().zip(got) {
            assert_eq!(got, *expected, "{pattern}");
        }
    });
}

#[test]
fn a5_publish_tells_whom_it_reached_and_for_whom_it_dropped() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client
            .publisher::<Bytes>("t")
            .ring_bytes(4096)
            .max_message_bytes(100)
            .open()
            .unwrap();
        assert_eq!(publisher.publish("t", text("0")).unwrap().lanes, 0);
        let mut open = Vec::new();
        for count in 1..=3 {
            let subscriber = client
                .subscriber::<Bytes>("t")
                .overflow(Overflow::DropNewest);
            open.push(subscriber.open().unwrap());
            let delivery = publisher.publish("t", text("1")).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (count, 0));
            assert!(!delivery.route_unknown);
        }
        let full = loop {
            let delivery = publisher.publish("t", text("2")).unwrap();
            assert_eq!(delivery.lanes + delivery.dropped, 3);
            if delivery.dropped == 3 {
                break delivery;
            }
        };
        assert_eq!(full.lanes, 0);
    });
}

#[test]
fn a19_self_delivery_can_be_switched_off() {
    on_each_transport(|bus| {
        let client = bus.client("self");
        let mut own = client.subscriber::<Bytes>("t").open().unwrap();
        let mut others = client
            .subscriber::<Bytes>("t")
            .without_self_delivery()
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Bytes>("t").open().unwrap();
        let mut foreign = bus.client("other").publisher::<Bytes>("t").open().unwrap();
        assert_eq!(publisher.publish("t", text("own")).unwrap().lanes, 1);
        assert_eq!(foreign.publish("t", text("foreign")).unwrap().lanes, 2);
        assert_eq!(&*others.recv().unwrap(), b"foreign");
        let mut got: Vec<_> = (0..2).map(|_| own.recv().unwrap().to_vec()).collect();
        got.sort_unstable();
        assert_eq!(got, [b"foreign".to_vec(), b"own".to_vec()]);
        assert!(others.try_recv().unwrap().is_none());
    });
}

#[test]
fn a20_dropping_a_handle_ends_what_it_opened() {
    on_each_transport(|bus| {
        let watching = bus.client("watching");
        let open = |pattern: &str| {
            let listing = watching.list(pattern, ListTopics::Declared).unwrap();
            (listing.publishers.len(), listing.subscribers.len())
        };
        let client = bus.client("short-lived");
        let publisher = client.publisher::<Bytes>("t/a").open().unwrap();
        let subscriber = client.subscriber::<Bytes>("t/*").open().unwrap();
        let mut lasting = watching.publisher::<Bytes>("t/b").open().unwrap();
        assert_eq!(lasting.publish("t/b", text("1")).unwrap().lanes, 1);
        assert_eq!(open("t/*"), (2, 1));
        drop(subscriber);
        eventually("the subscription ends", || open("t/*") == (2, 0));
        assert_eq!(lasting.publish("t/b", text("2")).unwrap().lanes, 0);
        drop(publisher);
        eventually("the publisher ends", || open("t/*") == (1, 0));
        assert_eq!(watching.clients().unwrap().len(), 2);
        drop(client);
        eventually("the client leaves", || {
            watching.clients().unwrap().len() == 1
        });
    });
}

#[test]
fn a20_a_client_lives_as_long_as_its_last_handle() {
    on_each_transport(|bus| {
        let client = bus.client("first");
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        drop(client);
        let mut publisher = bus.client("second").publisher::<Bytes>("t").open().unwrap();
        assert_eq!(publisher.publish("t", text("1")).unwrap().lanes, 1);
        assert_eq!(&*subscriber.recv().unwrap(), b"1");
    });
}

#[test]
fn a20_patterns_are_changed_while_the_subscriber_is_open() {
    on_each_transport(|bus| {
        let mut peer = bus.peer("publisher", &["t/b"]);
        peer.expect("open");
        let client = bus.client("subscriber");
        let mut subscriber = client.subscriber::<Tick>("t/a").open().unwrap();
        let mut number = 0;
        let mut publish = |lanes| {
            peer.tell(&format!("{number} {}", number + 1));
            peer.expect(&format!("lanes {lanes} dropped 0"));
            number += 1;
            number - 1
        };
        publish(0);
        for _ in 0..20 {
            subscriber.add_pattern("t/b").unwrap();
            let first = publish(1);
            assert_eq!(subscriber.recv().unwrap().checked(), first);
            // More patterns for the same topic bring it no second time.
            subscriber.add_pattern("t/*").unwrap();
            subscriber.remove_pattern("t/b").unwrap();
            let second = publish(1);
            assert_eq!(subscriber.recv().unwrap().checked(), second);
            subscriber.remove_pattern("t/*").unwrap();
            publish(0);
            assert!(subscriber.try_recv().unwrap().is_none());
        }
        let error = subscriber.remove_pattern("t/a").unwrap_err();
        assert!(
            matches!(error, RequestError::Refused(Refusal::NoPattern)),
            "{error}"
        );
    });
}

#[test]
fn a21_one_wait_for_several_subscribers_and_timers() {
    on_each_transport(|bus| {
        let client = bus.client("waiting");
        let mut a = client.subscriber::<Bytes>("a").open().unwrap();
        let mut b = client.subscriber::<Bytes>("b").open().unwrap();
        let mut late = Timer::after(Duration::from_secs(600)).unwrap();
        let publishing = bus.client("publishing");
        let thread = std::thread::spawn(move || {
            let mut publisher = publishing.publisher::<Bytes>("*").open().unwrap();
            for round in 0..500 {
                let topic = ["a", "b"][round % 2];
                publisher.publish(topic, text(&round.to_string())).unwrap();
            }
            publisher
        });
        let mut got = [Vec::new(), Vec::new()];
        while got[0].len() + got[1].len() < 500 {
            let ready = wait_any(&mut [&mut a, &mut b, &mut late], None).unwrap();
            assert!(!ready.is_empty() && !ready.contains(&2));
            got[0].extend(drain(&mut a));
            got[1].extend(drain(&mut b));
        }
        for (index, got) in got.iter().enumerate() {
            let expected: Vec<_> = (index..500).step_by(2).map(|n| n.to_string()).collect();
            assert_eq!(*got, expected);
        }
        let mut soon = Timer::after(Duration::from_millis(1)).unwrap();
        let handles: &mut [&mut dyn Waitable] = &mut [&mut a, &mut soon, &mut b, &mut late];
        assert_eq!(wait_any(handles, None).unwrap(), [1]);
        assert_eq!(soon.expirations().unwrap(), 1);
        let none = wait_any(&mut [&mut a, &mut b], Some(Duration::from_millis(1)));
        assert!(none.unwrap().is_empty());
        drop(thread.join().unwrap());
    });
}

#[test]
fn a21_a_subscriber_lends_its_descriptor_to_an_event_loop() {
    on_each_transport(|bus| {
        let mut peer = bus.peer("publisher", &["t"]);
        peer.expect("open");
        let client = bus.client("looping");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let mut next = 0;
        for round in 1..=100 {
            peer.tell(&format!("{} {round}", round - 1));
            while next < round {
                if subscriber.announce() {
                    let mut polled = [PollFd::new(subscriber.as_fd(), PollFlags::POLLIN)];
                    // A wake that is lost fails the test here.
                    assert_eq!(poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap(), 1);
                }
                subscriber.retire();
                while let Some(tick) = subscriber.try_recv().unwrap() {
                    assert_eq!(tick.checked(), next);
                    next += 1;
                }
            }
            peer.expect("lanes 1 dropped 0");
        }
    });
}

#[test]
fn a21_a_publisher_lends_its_descriptor_to_an_event_loop() {
    on_each_transport(|bus| {
        let mut peer = bus.peer("subscriber", &["t", "block-30000"]);
        peer.expect("open");
        let client = bus.client("looping");
        let builder = client.publisher::<Tick>("t").ring_bytes(4096);
        let mut publisher = builder.max_message_bytes(200).open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        peer.tell("5000");
        for number in 0..5000 {
            while let Err(error) = publisher.try_publish_to(&topic, &Tick::new(number)) {
                assert!(matches!(error, PublishError::WouldBlock), "{error}");
                if publisher.announce() {
                    let mut polled = [PollFd::new(publisher.as_fd(), PollFlags::POLLIN)];
                    // A wake that is lost fails the test here.
                    assert_eq!(poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap(), 1);
                }
                publisher.retire();
            }
        }
        peer.expect("got 5000 lost 0");
        // Nobody is waited for: it is ready.
        assert_eq!(wait_any(&mut [&mut publisher], None).unwrap(), [0]);
    });
}

#[test]
fn a21_a_subscriber_waits_in_the_reactor_of_another_runtime() {
    on_each_transport(|bus| {
        let mut peer = bus.peer("publisher", &["t"]);
        peer.expect("open");
        let client = bus.client("looping");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        runtime.unwrap().block_on(async {
            // Registered once: the descriptor stays the same.
            let bell = subscriber.as_fd().try_clone_to_owned().unwrap();
            #[expect(
                deprecated,
                reason = "its successor is unsafe; this owns what it watches"
            )]
            let bell = AsyncFd::with_interest(bell, Interest::READABLE).unwrap();
            for number in 0..500 {
                peer.tell(&format!("{number} {}", number + 1));
                let got = loop {
                    if let Some(tick) = subscriber.try_recv().unwrap() {
                        break tick.checked();
                    }
                    if subscriber.announce() {
                        bell.readable().await.unwrap().clear_ready();
                    }
                    subscriber.retire();
                };
                assert_eq!(got, number);
            }
        });
    });
}

#[test]
fn the_matcher_runs_once_for_a_million_publishes() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let _subscriber = client
            .subscriber::<Bytes>("t/*")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        let mut publisher = client.publisher::<Bytes>("t/*").open().unwrap();
        let topic = publisher.resolve("t/a").unwrap();
        for _ in 0..500_000 {
            publisher.publish_to(&topic, text("x")).unwrap();
        }
        assert_eq!(publisher.matches(), 1);
        // By its name it is another entry.
        for _ in 0..500_000 {
            publisher.publish("t/a", text("x")).unwrap();
        }
        assert_eq!(publisher.matches(), 2);
    });
}
