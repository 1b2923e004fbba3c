//! What strangers, liars and typing errors bring about: a typed error for them, nothing for the others.

use std::time::Duration;

use ringmain::message::Bytes;
use ringmain::topic::TopicErrorKind;
use ringmain::wire::Versions;
use ringmain::{Client, ConnectError, PublishError, RequestError};
use ringmain_tests::{Bus, Raw, Tick, Transport, on_each_transport, within};

/// What a stranger may say, one by one.
fn nonsense() -> Vec<Vec<u8>> {
    let preamble = Versions::OURS.encode().to_vec();
    let with = |rest: &[u8]| [&preamble[..], rest].concat();
    let future = Versions {
        lowest: 70,
        highest: 71,
    };
    vec![
        vec![],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 10_000],
        preamble[..8].to_vec(),
        preamble[..15].to_vec(),
        preamble.clone(),
        future.encode().to_vec(),
        // Announces 4 GiB.
        with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        // Ends within a header, within a frame.
        with(&[16, 0, 0]),
        with(&[16, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
        with(&[0, 0, 0, 0, 0, 0, 0, 0]),
        with(&[
            16, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ]),
        // Descriptors that do not come; reserved bytes.
        with(&[16, 0, 0, 0, 4, 0, 0, 0]),
        with(&[16, 0, 0, 0, 255, 0, 0, 0]),
        with(&[16, 0, 0, 0, 0, 1, 0, 0]),
    ]
}

#[test]
fn a_hundred_strangers_at_once_disturb_nobody() {
    let bus = Bus::start(Transport::Unix);
    let client = bus.client("good");
    let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
    let mut publisher = bus.client("other").publisher::<Tick>("t").open().unwrap();
    let nonsense = nonsense();
    // They stay connected, whether they say something or not.
    let mut strangers = Vec::new();
    for index in 0..105 {
        let mut stranger = Raw::connect(bus.address());
        stranger.send_bytes(&nonsense[index % nonsense.len()]);
        strangers.push(stranger);
        let number = index as u64;
        within(Duration::from_secs(9), "a publish", || {
            publisher.publish("t", &Tick::new(number)).unwrap()
        });
        assert_eq!(subscriber.recv().unwrap().checked(), number);
        within(Duration::from_secs(9), "a ping", || client.ping().unwrap());
    }
    assert_eq!(client.clients().unwrap().len(), 2);
    drop(strangers);
    client.ping().unwrap();
    bus.client("third").ping().unwrap();
}

#[test]
fn names_that_are_none_are_refused_with_the_place() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client.publisher::<Bytes>("t/**").open().unwrap();
        let mut subscriber = client.subscriber::<Bytes>("t").open().unwrap();
        let long = "x".repeat(1025);
        let table = [
            ("", 0),
            ("a//b", 2),
            ("/a", 0),
            ("a/", 1),
            ("a/b#", 3),
            ("a$/b", 1),
            ("a/?", 2),
            ("a/b*", 3),
            (long.as_str(), 1024),
        ];
        for (name, at) in table {
            let checked = |error: ringmain::topic::TopicError| {
                assert_eq!((error.input.as_str(), error.at), (name, at), "{error}");
            };
            match client.publisher::<Bytes>(name).open().map(drop) {
                Err(RequestError::Topic(error)) => checked(error),
                other => panic!("{name:?}: {other:?}"),
            }
            match client
                .subscriber::<Bytes>("t")
                .pattern(name)
                .open()
                .map(drop)
            {
                Err(RequestError::Topic(error)) => checked(error),
                other => panic!("{name:?}: {other:?}"),
            }
            match subscriber.add_pattern(name) {
                Err(RequestError::Topic(error)) => checked(error),
                other => panic!("{name:?}: {other:?}"),
            }
            match publisher.publish(name, Bytes::new(b"x")) {
                Err(PublishError::Topic(error)) => checked(error),
                other => panic!("{name:?}: {other:?}"),
            }
        }
        let error = ringmain::Topic::try_from("a#").unwrap_err();
        assert_eq!(error.kind, TopicErrorKind::Forbidden('#'));
        for topic in ["u", "**", "*/a"] {
            let error = publisher.publish(topic, Bytes::new(b"x")).unwrap_err();
            assert!(matches!(error, PublishError::NotDeclared { .. }), "{error}");
        }
        let mut other = client.publisher::<Bytes>("t/**").open().unwrap();
        let foreign = other.resolve("t").unwrap();
        let error = publisher
            .publish_to(&foreign, Bytes::new(b"x"))
            .unwrap_err();
        assert!(
            matches!(error, PublishError::ForeignTopic { .. }),
            "{error}"
        );
        // All that cost nothing.
        publisher.publish("t", Bytes::new(b"good")).unwrap();
        assert_eq!(&*subscriber.recv().unwrap(), b"good");
    });
}

#[test]
fn addresses_where_nobody_is_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("unix:{}", directory.path().join(name).display());
    std::fs::write(directory.path().join("file"), "").unwrap();
    let stale = directory.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    // A process that another test starts now has a copy for a moment.
    while std::os::unix::net::UnixStream::connect(&stale).is_ok() {}
    for address in ["nothing", "file", "stale", "no/directory"] {
        let error = Client::connect(&path(address)).unwrap_err();
        assert!(
            matches!(error, ConnectError::Connect(_)),
            "{address}: {error:?}"
        );
        assert!(error.to_string().contains(address), "{error}");
    }
    let error = Client::connect("memory:nobody").unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");
    let error = Client::connect(&path(&"x".repeat(200))).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    for address in ["", "http://x", "unix:", "a b", "tcp://x", "memory:"] {
        let error = Client::connect(address).unwrap_err();
        assert!(
            matches!(error, ConnectError::Address(_)),
            "{address}: {error:?}"
        );
    }
}

#[test]
fn a_listener_that_is_no_broker_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        use std::io::Write;
        for answer in [&b"220 mail.example ESMTP\r\n"[..], b""] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(answer);
        }
    });
    for _ in 0..2 {
        let error = Client::connect(&format!("unix:{}", path.display())).unwrap_err();
        assert!(matches!(error, ConnectError::Link(_)), "{error:?}");
    }
    other.join().unwrap();
}
