//! Data: rows B of the list of features, by their numbers.

use ringmain::message::{Bytes, to_json};
use ringmain::wire::Refusal;
use ringmain::{AnyMessage, ListTopics, PublishError, RequestError};
use ringmain_tests::on_each_transport;

/// The type as one program has it.
mod old {
    use ringmain::rkyv;

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
    pub struct Leg {
        pub price: f32,
    }

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    #[message(name = "test.order")]
    pub struct Order {
        pub id: u64,
        pub legs: Vec<Leg>,
    }
}

/// The type as another program has it: a field of a nested type has changed.
mod new {
    use ringmain::rkyv;

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
    pub struct Leg {
        pub price: f64,
    }

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    #[message(name = "test.order")]
    pub struct Order {
        pub id: u64,
        pub legs: Vec<Leg>,
    }

    #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    #[message(name = "test.trade", version = 3)]
    pub struct Trade {
        pub id: u64,
    }
}

fn refusal<T>(result: Result<T, RequestError>) -> (String, String, String, String) {
    match result.map(drop) {
        Err(RequestError::Refused(Refusal::TypeMismatch {
            topic,
            client,
            theirs,
            ours,
            difference,
        })) => (format!("{topic} {client}"), theirs, ours, difference),
        other => panic!("{other:?}"),
    }
}

#[test]
fn b8_another_type_on_the_same_topic_is_refused_with_both_named() {
    on_each_transport(|bus| {
        let client = bus.client("first");
        let publisher = client.publisher::<new::Order>("t/a").open().unwrap();
        let other = bus.client("second");
        let refused = refusal(other.subscriber::<new::Trade>("t/a").open());
        let subscriber = other.subscriber::<new::Order>("t/a").open().unwrap();
        drop(publisher);
        let third = bus.client("third");
        for (place, (told, theirs, ours, difference)) in [
            ("t/a first", refused),
            (
                "t/a second",
                refusal(third.publisher::<new::Trade>("t/a").open()),
            ),
        ] {
            assert_eq!(told, place);
            assert_eq!(
                (theirs.as_str(), ours.as_str()),
                ("test.order v1", "test.trade v3")
            );
            assert!(difference.contains("test.order") && difference.contains("test.trade"));
        }
        drop(subscriber);
        // The same type is welcome, any type is too.
        other.subscriber::<new::Order>("t/a").open().unwrap();
        other.subscriber::<AnyMessage>("t/a").open().unwrap();
    });
}

#[test]
fn b8_a_changed_field_of_a_nested_type_is_named() {
    on_each_transport(|bus| {
        let client = bus.client("first");
        let _subscriber = client.subscriber::<old::Order>("t/a").open().unwrap();
        let (_, theirs, ours, difference) =
            refusal(bus.client("second").publisher::<new::Order>("t/a").open());
        assert_eq!(
            (theirs.as_str(), ours.as_str()),
            ("test.order v1", "test.order v1")
        );
        assert!(
            difference.contains("legs.price")
                && difference.contains("f32")
                && difference.contains("f64"),
            "{difference}"
        );
    });
}

#[test]
fn b8_wildcards_of_different_types_make_no_route_and_are_counted() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut old = client.subscriber::<old::Order>("t/*").open().unwrap();
        let mut new = client.subscriber::<new::Order>("t/*").open().unwrap();
        let mut publisher = client.publisher::<new::Order>("t/**").open().unwrap();
        let order = new::Order {
            id: 7,
            legs: vec![new::Leg { price: 0.5 }],
        };
        assert_eq!(publisher.publish("t/a", &order).unwrap().lanes, 1);
        let sample = new.recv().unwrap();
        assert_eq!(
            (sample.id.to_native(), sample.legs[0].price.to_native()),
            (7, 0.5)
        );
        drop(sample);
        assert!(old.try_recv().unwrap().is_none());
        let listing = client.list("t/*", ListTopics::Declared).unwrap();
        assert_eq!(listing.publishers[0].type_mismatches, 1);
        assert_eq!(listing.publishers[0].lanes, 1);
    });
}

#[test]
fn b9_the_declared_size_is_enforced_to_the_byte() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        let mut publisher = client
            .publisher::<Bytes>("t")
            .max_message_bytes(1000)
            .ring_bytes(4096)
            .open()
            .unwrap();
        let message = [7; 1001];
        for round in 0..100 {
            for length in [0, 1, 999, 1000] {
                let delivery = publisher
                    .publish("t", Bytes::new(&message[..length]))
                    .unwrap();
                assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                assert_eq!(
                    &*subscriber.recv().unwrap(),
                    &message[..length],
                    "in round {round}"
                );
            }
            let error = publisher.publish("t", Bytes::new(&message)).unwrap_err();
            assert!(
                matches!(
                    error,
                    PublishError::TooLarge {
                        len: 1001,
                        limit: 1000
                    }
                ),
                "{error}"
            );
            assert!(subscriber.try_recv().unwrap().is_none());
        }
    });
}

#[test]
fn b9_a_message_that_is_too_large_reaches_nobody() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscribers: Vec<_> = (0..3)
            .map(|index| {
                let builder = client
                    .subscriber::<Bytes>("t")
                    .ring_bytes(4096 << (2 * index));
                builder.open().unwrap()
            })
            .collect();
        let mut publisher = client
            .publisher::<Bytes>("t")
            .max_message_bytes(64)
            .open()
            .unwrap();
        publisher.publish("t", Bytes::new(&[1; 65])).unwrap_err();
        publisher.publish("t", Bytes::new(&[2; 64])).unwrap();
        for subscriber in &mut subscribers {
            let sample = subscriber.recv().unwrap();
            assert_eq!((sample.sequence(), &*sample), (0, &[2; 64][..]));
        }
    });
}

#[test]
fn b9_the_largest_message_fits_the_ring_that_is_made_for_it() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Bytes>("**").open().unwrap();
        let mut publisher = client
            .publisher::<Bytes>("**")
            .max_message_bytes(300_000)
            .ring_bytes(4096)
            .open()
            .unwrap();
        // The longest name each time anew, for its definition goes before the message.
        for round in 0..20 {
            let topic = format!("{round:04}/{}", "x".repeat(1019));
            let payload = vec![round; 300_000];
            let delivery = publisher.publish(&topic, Bytes::new(&payload)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
            let sample = subscriber.recv().unwrap();
            assert_eq!(
                (sample.topic().as_str(), &*sample),
                (topic.as_str(), &payload[..])
            );
        }
    });
}

#[test]
fn b9_sizes_that_no_ring_can_have_are_refused_at_open() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let size = |result: Result<_, RequestError>| match result.map(drop) {
            Err(RequestError::Size {
                what,
                asked,
                least,
                most,
            }) => {
                assert!(
                    asked < least || asked > most,
                    "{asked} is within {least}..={most}"
                );
                what
            }
            other => panic!("{other:?}"),
        };
        for bytes in [0, 4095, (1 << 30) + 1, usize::MAX] {
            let builder = client.publisher::<Bytes>("t").ring_bytes(bytes);
            assert_eq!(size(builder.open().map(drop)), "ring_bytes");
        }
        // Beyond a ring a message has room in the pool, up to its limit.
        for (bytes, pool) in [
            (1 << 30, 1 << 20),
            ((1 << 30) + 1, 1 << 30),
            (usize::MAX, 1 << 30),
        ] {
            let builder = client.publisher::<Bytes>("t").pool_bytes(pool);
            let builder = builder.max_message_bytes(bytes);
            assert_eq!(size(builder.open().map(drop)), "max_message_bytes");
        }
        for bytes in [(1 << 30) + 1, usize::MAX] {
            let builder = client.subscriber::<Bytes>("t").ring_bytes(bytes);
            assert_eq!(size(builder.open().map(drop)), "ring_bytes");
        }
    });
}

#[test]
fn b13_tools_read_a_typed_message_by_its_description() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<AnyMessage>("t").open().unwrap();
        let mut publisher = client.publisher::<new::Order>("t").open().unwrap();
        let order = new::Order {
            id: 7,
            legs: vec![new::Leg { price: 0.5 }],
        };
        publisher.publish("t", &order).unwrap();
        let sample = subscriber.recv().unwrap();
        assert_eq!(sample.message_type().to_string(), "test.order v1");
        let json = to_json(sample.message_type(), &sample).unwrap();
        assert_eq!(json, r#"{"id":7,"legs":[{"price":0.5}]}"#);
    });
}
