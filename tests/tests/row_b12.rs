//! Row B12: what to do with input that does not decode is a choice.

use std::time::Duration;

use futures_lite::future::block_on;
use ringmain::counters::{Role, scan_process};
use ringmain::message::{Bytes, Message};
use ringmain::{Client, LaneFault, Publisher, RecvError, Subscriber, Undecodable, rkyv};
use ringmain_tests::{Tick, eventually, on_each_transport};

/// A publisher of bytes that says that they are ticks.
fn liar(client: &Client) -> Publisher<Bytes> {
    let builder = client.publisher::<Bytes>("t/*");
    builder
        .encoded_as(Tick::message_type().clone())
        .open()
        .unwrap()
}

/// Publishes tick `number`, or a part of it.
fn publish(publisher: &mut Publisher<Bytes>, number: u64, is_good: bool) {
    let tick = Tick::new(number);
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&tick).unwrap();
    let len = if is_good { bytes.len() } else { 5 };
    let delivery = publisher.publish("t/a", Bytes::new(&bytes[..len]));
    let delivery = delivery.unwrap();
    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
}

/// Every fourth one is bad, the first and the last too.
fn is_good(number: u64) -> bool {
    !number.is_multiple_of(4)
}

const COUNT: u64 = 41;
const BAD: u64 = 11;

fn publish_all(publisher: &mut Publisher<Bytes>) {
    for number in 0..COUNT {
        publish(publisher, number, is_good(number));
    }
}

#[derive(Clone, Copy)]
enum How {
    Blocking,
    WithTimeout,
    InAFuture,
}

const WAYS: [How; 3] = [How::Blocking, How::WithTimeout, How::InAFuture];

/// Receives one; its number, after it was checked against its sequence number.
fn receive(subscriber: &mut Subscriber<Tick>, how: How) -> Result<u64, RecvError> {
    let sample = match how {
        How::Blocking => subscriber.recv()?,
        How::WithTimeout => {
            let received = subscriber.recv_timeout(Duration::from_secs(60))?;
            received.expect("more has come")
        }
        How::InAFuture => block_on(subscriber.recv_async())?,
    };
    assert_eq!(sample.checked(), sample.sequence());
    Ok(sample.sequence())
}

fn open(client: &Client, choice: Undecodable) -> Subscriber<Tick> {
    let builder = client.subscriber::<Tick>("t/*");
    builder.undecodable(choice).open().unwrap()
}

/// What the counters of the client's subscribers say: messages read, and those that did not decode.
fn counted(client: &Client) -> (u64, u64) {
    let scan = scan_process(std::process::id()).unwrap();
    let mut clients = scan.clients.iter();
    let found = clients.find(|found| found.bus == client.incarnation() && found.name == "reader");
    let total = found.unwrap().total(Role::Subscriber);
    (total.messages, total.undecodable)
}

#[test]
fn b12_skipped_input_is_counted_and_keeps_its_sequence_number() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        for (round, how) in WAYS.into_iter().enumerate() {
            let mut subscriber = open(&client, Undecodable::Skip);
            publish_all(&mut liar(&bus.client("liar")));
            for number in (0..COUNT).filter(|number| is_good(*number)) {
                assert_eq!(receive(&mut subscriber, how).unwrap(), number);
            }
            eventually("the last one is passed over", || {
                assert!(subscriber.try_recv().unwrap().is_none());
                subscriber.undecodable() == BAD
            });
            drop(subscriber);
            let rounds = round as u64 + 1;
            assert_eq!(counted(&client), (rounds * COUNT, rounds * BAD));
        }
    });
}

#[test]
fn b12_reported_input_is_an_error_and_the_lane_goes_on() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        for how in WAYS {
            let mut subscriber = open(&client, Undecodable::Report);
            let mut publisher = liar(&bus.client("liar"));
            publish_all(&mut publisher);
            for number in 0..COUNT {
                match receive(&mut subscriber, how) {
                    Ok(received) => assert!(is_good(number) && received == number),
                    Err(RecvError::Undecodable {
                        publisher,
                        topic,
                        sequence,
                        ..
                    }) => {
                        assert!(!is_good(number));
                        assert_eq!((publisher.as_str(), topic.as_str()), ("liar", "t/a"));
                        assert_eq!(sequence, number);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(subscriber.undecodable(), BAD);
            for number in COUNT..COUNT + 50 {
                publish(&mut publisher, number, false);
                let error = receive(&mut subscriber, how).unwrap_err();
                assert!(matches!(error, RecvError::Undecodable { .. }), "{error}");
            }
        }
        assert_eq!(counted(&client).1, 3 * (BAD + 50));
    });
}

#[test]
fn b12_unless_chosen_otherwise_the_lane_ends() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        for how in WAYS {
            let mut subscriber = client.subscriber::<Tick>("t/*").open().unwrap();
            let mut publisher = liar(&bus.client("liar"));
            publish(&mut publisher, 0, true);
            publish(&mut publisher, 1, false);
            publish(&mut publisher, 2, true);
            assert_eq!(receive(&mut subscriber, how).unwrap(), 0);
            match receive(&mut subscriber, how) {
                Err(RecvError::Lane {
                    publisher,
                    cause: LaneFault::Payload(_),
                }) => assert_eq!(publisher, "liar"),
                other => panic!("{other:?}"),
            }
            assert_eq!(subscriber.undecodable(), 1);
            assert!(subscriber.try_recv().unwrap().is_none());
        }
        assert_eq!(counted(&client).1, 3);
    });
}

#[test]
fn b12_a_stream_goes_on_behind_input_that_does_not_decode() {
    on_each_transport(|bus| {
        let client = bus.client("reader");
        for choice in [Undecodable::Skip, Undecodable::Report] {
            let subscriber = open(&client, choice);
            publish_all(&mut liar(&bus.client("liar")));
            let mut stream = subscriber.into_stream(|sample| sample.checked());
            let mut reported = 0;
            let mut next = || block_on(futures_lite::StreamExt::next(&mut stream)).unwrap();
            for number in (0..COUNT).filter(|number| is_good(*number)) {
                let received = loop {
                    match next() {
                        Ok(received) => break received,
                        Err(RecvError::Undecodable { .. }) => reported += 1,
                        Err(error) => panic!("{error}"),
                    }
                };
                assert_eq!(received, number);
            }
            let expected = if choice == Undecodable::Skip {
                0
            } else {
                BAD - 1
            };
            assert_eq!(reported, expected);
        }
    });
}
