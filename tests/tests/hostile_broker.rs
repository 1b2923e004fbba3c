//! A broker on another host that asks and asks, and takes no answer: its client stays small, and is told.

use std::net::TcpListener;
use std::time::Duration;

use nix::unistd::Pid;
use ringmain::message::{Bytes, Message};
use ringmain::wire::{
    Frame, LaneRefusal, Medium, PublisherSpec, SegmentSource, ToBroker, ToClient,
};
use ringmain::{Client, RecvError};
use ringmain_tests::raw_remote::packet;
use ringmain_tests::{RawRemote, eventually, usage};

/// A client and its broker.
fn pair() -> (Client, RawRemote) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let broker = std::thread::spawn(move || RawRemote::welcome(&listener));
    let builder = Client::builder().peer_timeout(Duration::from_secs(60));
    let client = builder.connect(&address).unwrap();
    (client, broker.join().unwrap())
}

fn bytes_of(frame: &ToClient) -> Vec<u8> {
    packet(1, 0, 0, &frame.archive().unwrap())
}

/// How much memory this process has got beyond what it had.
fn growth(before: u64) -> u64 {
    usage::rss_bytes(Pid::this()).saturating_sub(before)
}

/// In one test, for memory is that of the process.
#[test]
fn a_broker_that_asks_and_takes_no_answer_is_held_up_or_parted_from() {
    questions_wait();
    refusals_end_the_connection();
    lanes_that_are_refused_are_forgotten_beyond_a_number();
}

/// The client answers these: it reads no more, and goes on when it is listened to.
fn questions_wait() {
    const MOST: usize = 100_000;
    let (client, mut broker) = pair();
    let question = bytes_of(&ToClient::QueryTopics {
        query: 7,
        publisher: 1,
        pattern: "x/".repeat(400) + "x",
    });
    let before = usage::rss_bytes(Pid::this());
    let asked = broker.send_while_taken(&question, Duration::from_secs(3), MOST);
    assert!(asked < MOST, "it takes whatever comes");
    assert!(growth(before) < 32 << 20, "{} bytes", growth(before));
    assert!(client.is_connected());
    for _ in 0..asked {
        let answer = loop {
            match broker.frame().unwrap() {
                ToBroker::Received => {}
                frame => break frame,
            }
        };
        assert!(
            matches!(answer, ToBroker::LiveTopics { query: 7, .. }),
            "{answer:?}"
        );
    }
}

/// The relay says these by itself, and cannot wait: whatever comes behind may be messages.
fn refusals_end_the_connection() {
    const MOST: usize = 200_000;
    let (client, mut broker) = pair();
    // No ring has so few bytes.
    let offer = bytes_of(&ToClient::LaneOffered {
        lane: 1,
        subscriber: 1,
        publisher_client: 2,
        publisher_handle: 1,
        publisher_name: "hostile".into(),
        publisher: PublisherSpec {
            topic: "t".into(),
            message_type: <Bytes as Message>::message_type().clone(),
            max_message_bytes: 64,
            block_cap: None,
            history: 0,
            conflates: true,
        },
        medium: Medium::Ring,
        history: None,
        courier: false,
        begin: None,
        inherited: None,
        segment: SegmentSource::Descriptor,
    });
    let before = usage::rss_bytes(Pid::this());
    let offered = broker.send_while_taken(&offer, Duration::from_secs(60), MOST);
    assert!(offered < MOST, "it takes whatever comes");
    eventually("the client is told", || !client.is_connected());
    assert!(growth(before) < 32 << 20, "{} bytes", growth(before));
}

/// A subscriber that does not receive takes none of them.
fn lanes_that_are_refused_are_forgotten_beyond_a_number() {
    const MANY: usize = 30_000;
    let (client, mut broker) = pair();
    let opening = {
        let client = client.clone();
        std::thread::spawn(move || client.subscriber::<Bytes>("t").open().unwrap())
    };
    let (request, subscriber) = loop {
        if let ToBroker::OpenSubscriber {
            request,
            subscriber,
            ..
        } = broker.frame().unwrap()
        {
            break (request, subscriber);
        }
    };
    let opened = bytes_of(&ToClient::Opened { request, lanes: 0 });
    assert_eq!(broker.send_while_taken(&opened, PATIENCE, 1), 1);
    let mut subscriber_here = opening.join().unwrap();
    let refused = bytes_of(&ToClient::LaneEnded {
        lane: 1,
        subscriber,
        publisher_name: "hostile".into(),
        refusal: Some(LaneRefusal::Subscriber("y".repeat(4000))),
    });
    let before = usage::rss_bytes(Pid::this());
    assert_eq!(broker.send_while_taken(&refused, PATIENCE, MANY), MANY);
    // Behind them, so that all are taken when it is answered.
    let question = bytes_of(&ToClient::QueryTopics {
        query: 9,
        publisher: 1,
        pattern: "x".into(),
    });
    assert_eq!(broker.send_while_taken(&question, PATIENCE, 1), 1);
    while !matches!(
        broker.frame().unwrap(),
        ToBroker::LiveTopics { query: 9, .. }
    ) {}
    assert!(growth(before) < 32 << 20, "{} bytes", growth(before));
    // The first ones are told.
    assert!(matches!(
        subscriber_here.recv().map(drop),
        Err(RecvError::Lane { .. })
    ));
}

const PATIENCE: Duration = Duration::from_secs(60);
