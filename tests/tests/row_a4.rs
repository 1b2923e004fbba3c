//! Row A4: a subscription minus patterns; many patterns changed at once.

use ringmain::message::Bytes;
use ringmain::wire::Refusal;
use ringmain::{Publisher, RequestError, Subscriber};
use ringmain_tests::on_each_transport;

/// Publishes its own name to each topic; to how many subscribers.
fn publish(publisher: &mut Publisher<Bytes>, topics: &[&str]) -> Vec<u32> {
    let publish = |topic: &&str| {
        let delivery = publisher.publish(topic, Bytes::new(topic.as_bytes()));
        delivery.unwrap().lanes
    };
    topics.iter().map(publish).collect()
}

/// The topics of the next messages.
fn received(subscriber: &mut Subscriber<Bytes>, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    for _ in 0..count {
        let sample = subscriber.recv().unwrap();
        assert_eq!(&*sample, sample.topic().as_str().as_bytes());
        topics.push(sample.topic().to_string());
    }
    topics
}

#[test]
fn a4_what_is_excluded_does_not_arrive() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let builder = client.subscriber::<Bytes>("log/**");
        let mut subscriber = builder
            .exclude("log/debug/**")
            .exclude("log/*/beat")
            .open()
            .unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher("log/**").open().unwrap();
        let topics = [
            "log/boot",
            "log/debug/disk",
            "log/net/beat",
            "log/net/up",
            "log/debug",
            "log/net/beat/slow",
        ];
        assert_eq!(publish(&mut publisher, &topics), [1, 0, 0, 1, 0, 1]);
        assert_eq!(
            received(&mut subscriber, 3),
            ["log/boot", "log/net/up", "log/net/beat/slow"]
        );
        assert!(subscriber.try_recv().unwrap().is_none());
    });
}

#[test]
fn a4_a_topic_with_wildcards_is_left_out_if_all_of_it_is() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client.publisher("a/**").open().unwrap();
        let subscriber = |exclude| client.subscriber::<Bytes>("a/**").exclude(exclude).open();
        let mut some = subscriber("a/x").unwrap();
        let mut all = subscriber("a/*").unwrap();
        assert_eq!(publish(&mut publisher, &["a/*", "a/x", "a/*/y"]), [1, 0, 2]);
        assert_eq!(received(&mut some, 2), ["a/*", "a/*/y"]);
        assert_eq!(received(&mut all, 1), ["a/*/y"]);
    });
}

#[test]
fn a4_exclusions_are_matched_once_for_a_topic() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let _subscriber = client.subscriber::<Bytes>("a/*").exclude("a/x").open();
        let mut publisher = client.publisher("a/*").open().unwrap();
        for _ in 0..100 {
            assert_eq!(publish(&mut publisher, &["a/x", "a/y"]), [0, 1]);
        }
        assert_eq!(publisher.matches(), 2);
    });
}

#[test]
fn a4_many_patterns_change_at_once() {
    on_each_transport(|bus| {
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher("**").open().unwrap();
        let client = bus.client("subscriber");
        let builder = client.subscriber::<Bytes>("old/1").pattern("old/2");
        let mut subscriber = builder.exclude("new/3").open().unwrap();
        let topics = ["old/1", "old/2", "new/1", "new/2", "new/3"];
        assert_eq!(publish(&mut publisher, &topics), [1, 1, 0, 0, 0]);
        subscriber
            .change_patterns(&["new/*", "kept"], &["old/1", "old/2", "kept"])
            .unwrap();
        // The very next publish of any process.
        assert_eq!(publish(&mut publisher, &topics), [0, 0, 1, 1, 0]);
        assert_eq!(publish(&mut publisher, &["kept"]), [1]);
        assert_eq!(
            received(&mut subscriber, 5),
            ["old/1", "old/2", "new/1", "new/2", "kept"]
        );
    });
}

#[test]
fn a4_a_change_that_cannot_be_changes_nothing() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client.publisher("**").open().unwrap();
        let mut subscriber = client.subscriber::<Bytes>("a").open().unwrap();
        assert!(matches!(
            subscriber.change_patterns(&["b", "not//one"], &["a"]),
            Err(RequestError::Topic(_))
        ));
        assert!(matches!(
            subscriber.change_patterns(&[], &["a"]),
            Err(RequestError::Refused(Refusal::NoPattern))
        ));
        let many: Vec<_> = (0..200).map(|number| format!("many/{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(matches!(
            subscriber.change_patterns(&many, &["a"]),
            Err(RequestError::Refused(Refusal::Limit { .. }))
        ));
        assert_eq!(publish(&mut publisher, &["a", "b", "many/1"]), [1, 0, 0]);
    });
}
