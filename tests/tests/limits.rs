//! What is bounded, and what happens at the bound.

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::wire::{LimitKind, Limits, Refusal};
use ringmain::{Client, ConnectError, LaneFault, ListTopics, RecvError, RequestError};
use ringmain_tests::{Bus, Tick, Transport, eventually, on_each_transport, usage};

#[test]
fn ten_million_topics_one_after_the_other_leave_memory_flat() {
    // A debug build takes too long for all of them.
    let count = if cfg!(debug_assertions) {
        "2000000"
    } else {
        "10000000"
    };
    let bus = Bus::start(Transport::Unix);
    let mut peer = bus.peer("many-topics", &[count]);
    let before: u64 = peer.line().parse().unwrap();
    let after: u64 = peer.line().parse().unwrap();
    peer.finish();
    assert!(after < before + (4 << 20), "{before} bytes became {after}");
}

#[test]
fn a_thousand_subscribers_of_one_publisher_stay_below_a_gibibyte() {
    if !usage::may_open(4096) {
        return;
    }
    let bus = Bus::start(Transport::Unix);
    let mut subscribers = bus.peer("many-subscribers", &["1000"]);
    subscribers.expect("open");
    let mut publisher = bus.peer("many-lanes", &["1000"]);
    publisher.expect("open");
    publisher.tell("go");
    publisher.expect("lanes 1000");
    subscribers.tell("go");
    subscribers.expect("received");
    let parties = [&publisher, &subscribers, bus.broker_process().unwrap()];
    let pss: u64 = parties
        .iter()
        .map(|peer| usage::pss_bytes(peer.pid().unwrap()))
        .sum();
    eprintln!("PSS {} MiB", pss >> 20);
    assert!(pss < 1 << 30, "{pss} bytes");
}

fn tight() -> Limits {
    Limits {
        clients: 2,
        publishers: 2,
        subscribers: 3,
        lanes: 4,
        patterns: 2,
        name_bytes: 8,
        type_bytes: 700,
        frame_bytes: 4096,
        listed_topics: 3,
        ..Limits::default()
    }
}

/// Runs a test with a broker that allows little, on each transport.
fn with_tight_limits(test: impl Fn(&str)) {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("tight.sock").display());
    let memory = format!("memory:tight-{:?}", std::thread::current().id());
    let memory = memory.replace(['(', ')'], "");
    for address in [socket, memory] {
        let _broker = Broker::builder()
            .limits(tight())
            .listen(address.parse().unwrap())
            .start()
            .unwrap();
        test(&address);
    }
}

fn client(address: &str, name: &str) -> Result<Client, ConnectError> {
    Client::builder().name(name).connect(address)
}

fn limit(error: RequestError) -> (LimitKind, u64, u64) {
    match error {
        RequestError::Refused(Refusal::Limit { kind, limit, asked }) => (kind, limit, asked),
        error => panic!("{error}"),
    }
}

#[test]
fn one_client_too_many_is_refused_and_has_room_when_another_leaves() {
    with_tight_limits(|address| {
        let first = client(address, "first").unwrap();
        let second = client(address, "second").unwrap();
        let error = client(address, "third").unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Refused(Refusal::Limit {
                    kind: LimitKind::Clients,
                    limit: 2,
                    asked: 3
                })
            ),
            "{error:?}"
        );
        drop(second);
        eventually("there is room", || client(address, "third").is_ok());
        first.ping().unwrap();
    });
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    with_tight_limits(|address| {
        client(address, "12345678").unwrap();
        let error = client(address, "123456789").unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Refused(Refusal::Limit {
                    kind: LimitKind::NameBytes,
                    limit: 8,
                    asked: 9
                })
            ),
            "{error:?}"
        );
    });
}

#[test]
fn each_limit_of_a_client_is_told_with_its_number() {
    with_tight_limits(|address| {
        let client = client(address, "one").unwrap();
        assert_eq!(*client.limits(), tight());
        let mut publishers: Vec<_> = (0..2)
            .map(|_| client.publisher::<Bytes>("p").open().unwrap())
            .collect();
        let error = client.publisher::<Bytes>("p").open().unwrap_err();
        assert_eq!(limit(error), (LimitKind::Publishers, 2, 3));
        publishers.truncate(0);
        eventually("there is room", || {
            client.publisher::<Bytes>("p").open().is_ok()
        });

        let mut subscriber = client
            .subscriber::<Bytes>("s/1")
            .pattern("s/2")
            .open()
            .unwrap();
        let three = client.subscriber::<Bytes>("1").pattern("2").pattern("3");
        assert_eq!(
            limit(three.open().unwrap_err()),
            (LimitKind::Patterns, 2, 3)
        );
        let error = subscriber.add_pattern("s/3").unwrap_err();
        assert_eq!(limit(error), (LimitKind::Patterns, 2, 3));
        subscriber.remove_pattern("s/1").unwrap();
        subscriber.add_pattern("s/3").unwrap();

        let more: Vec<_> = (0..2)
            .map(|_| client.subscriber::<Bytes>("s").open().unwrap())
            .collect();
        let error = client.subscriber::<Bytes>("s").open().unwrap_err();
        assert_eq!(limit(error), (LimitKind::Subscribers, 3, 4));
        drop(more);
    });
}

#[test]
fn lanes_beyond_the_limit_are_refused_and_those_that_are_there_go_on() {
    with_tight_limits(|address| {
        let client = client(address, "one").unwrap();
        // A lane to oneself has both its ends here.
        let mut subscribers: Vec<_> = (0..2)
            .map(|_| client.subscriber::<Bytes>("t").open().unwrap())
            .collect();
        let mut publisher = client.publisher::<Bytes>("t").open().unwrap();
        let error = client.subscriber::<Bytes>("t").open().unwrap_err();
        let (kind, limit, asked) = limit(error);
        assert_eq!((kind, limit), (LimitKind::Lanes, 4));
        assert!(asked > 4);
        assert_eq!(publisher.publish("t", Bytes::new(b"x")).unwrap().lanes, 2);
        for subscriber in &mut subscribers {
            assert_eq!(&*subscriber.recv().unwrap(), b"x");
        }
    });
}

/// A type whose description is long.
mod long {
    use ringmain::rkyv;

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    #[message(name = "test.long")]
    pub struct Long {
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_1: u8,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_2: u16,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_3: u32,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_4: u64,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_5: i8,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_6: i16,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_7: i32,
        pub a_field_with_a_long_name_that_fills_the_description_of_the_type_number_8: i64,
    }
}

#[test]
fn a_type_or_a_request_that_is_too_long_is_refused() {
    with_tight_limits(|address| {
        let client = client(address, "one").unwrap();
        client.publisher::<Tick>("t").open().unwrap();
        let error = client.publisher::<long::Long>("t").open().unwrap_err();
        let (kind, most, asked) = limit(error);
        assert_eq!((kind, most), (LimitKind::TypeBytes, 700));
        assert!(asked > 700);
        // Longer than a frame: it must not cost the link.
        let pattern = "x".repeat(1000);
        let patterns: Vec<_> = (0..5).map(|index| format!("{index}/{pattern}")).collect();
        let mut builder = client.subscriber::<Bytes>("first");
        for pattern in &patterns {
            builder = builder.pattern(pattern);
        }
        let error = builder.open().unwrap_err();
        assert!(
            matches!(error, RequestError::Refused(Refusal::Limit { .. })),
            "{error:?}"
        );
        assert!(client.ping().is_ok());
    });
}

#[test]
fn live_topics_are_listed_up_to_the_limit() {
    with_tight_limits(|address| {
        let client = client(address, "one").unwrap();
        let mut publisher = client.publisher::<Bytes>("t/*").open().unwrap();
        for index in 0..10 {
            publisher
                .publish(&format!("t/{index}"), Bytes::new(b"x"))
                .unwrap();
        }
        let listing = client.list("**", ListTopics::Live).unwrap();
        assert_eq!(listing.publishers[0].live_topics.as_ref().unwrap().len(), 3);
    });
}

#[test]
fn live_topics_that_fill_more_than_a_frame_are_cut() {
    on_each_transport(|bus| {
        let client = bus.client("one");
        let mut publisher = client.publisher::<Bytes>("t/*").open().unwrap();
        for index in 0..1024 {
            let topic = format!("t/{index}-{}", "x".repeat(1000));
            publisher.publish(&topic, Bytes::new(b"x")).unwrap();
        }
        let listing = client.list("**", ListTopics::Live).unwrap();
        let topics = listing.publishers[0].live_topics.as_ref().unwrap();
        assert!((10..1024).contains(&topics.len()), "{}", topics.len());
        client.ping().unwrap();
    });
}

#[test]
fn a_ring_that_a_publisher_cannot_make_is_told_to_the_subscriber_and_costs_nobody_else() {
    let table = [
        ("0 descriptors", "Too many open files"),
        ("1 descriptors", "Too many open files"),
        ("2 descriptors", "Too many open files"),
        ("file size", "ulimit -f"),
        ("address space", "mmap"),
    ];
    for (what, told) in table {
        let bus = Bus::start(Transport::Unix);
        let mut publisher = bus.peer("bounded", &["t", what]);
        publisher.expect("open");
        let mut healthy = bus
            .client("healthy")
            .publisher::<Bytes>("t")
            .open()
            .unwrap();
        let client = bus.client("subscriber");
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        publisher.tell("go");
        publisher.expect("lanes 0");
        match subscriber.recv().map(drop) {
            Err(RecvError::Lane {
                cause: LaneFault::Refused(reason),
                ..
            }) => {
                assert!(reason.to_string().contains(told), "{what}: {reason}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(healthy.publish("t", Bytes::new(b"good")).unwrap().lanes, 1);
        assert_eq!(&*subscriber.recv().unwrap(), b"good");
        if what != "address space" {
            publisher.tell("open");
            let answer = publisher.line();
            assert!(
                what != "0 descriptors" || answer.starts_with("refused"),
                "{answer}"
            );
        }
        // It lives on: what it could not do then, it can do now.
        publisher.tell("lift");
        publisher.expect("lifted");
        let mut late = client.subscriber::<Bytes>("t").open().unwrap();
        publisher.tell("go");
        publisher.expect("lanes 1");
        assert_eq!(&*late.recv().unwrap(), b"x");
        publisher.finish();
    }
}
