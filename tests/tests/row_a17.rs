//! Row A17: a batch appears all or nothing.

use std::thread;
use std::time::Duration;

use ringmain::{Overflow, PublishError, RecvError, rkyv};
use ringmain_tests::{Tick, eventually, on_each_transport};

/// A type whose values all have one length, as [`Tick`]'s have not.
#[derive(Clone, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.level")]
struct Level {
    number: u64,
    price: f64,
}

fn levels(from: u64, count: u64) -> Vec<Level> {
    let level = |number| Level {
        number,
        price: number as f64,
    };
    (from..from + count).map(level).collect()
}

#[test]
fn a17_whoever_sees_the_first_of_a_batch_sees_all_of_it() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let mut subscriber = client.subscriber::<Level>("t").open().unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing.publisher::<Level>("t").open().unwrap();
        let topic = publisher.resolve("t").unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for batch in 0..BATCHES {
                    let delivery = publisher
                        .publish_batch(&topic, &levels(batch * BATCH, BATCH))
                        .unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                }
            });
            for batch in 0..BATCHES {
                assert_eq!(subscriber.recv().unwrap().number, batch * BATCH);
                for number in batch * BATCH + 1..(batch + 1) * BATCH {
                    // Without waiting for it.
                    let sample = subscriber.try_recv().unwrap();
                    let sample = sample.expect("a part of the batch is not there");
                    assert_eq!(sample.number, number);
                    assert_eq!(sample.price, number as f64);
                }
            }
        });
    });
}

#[test]
fn a17_a_batch_without_room_is_lost_as_a_whole() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut publisher = client
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        let mut subscriber = client
            .subscriber::<Tick>("t")
            .overflow(Overflow::DropNewest)
            .open()
            .unwrap();
        // Until the publisher has heard from its reader, the room is one ring.
        eventually("the publisher knows its reader", || {
            let mut arrives = || {
                let delivery = publisher.publish_to(&topic, &Tick::new(0)).unwrap();
                delivery.dropped == 0 && subscriber.recv().is_ok()
            };
            let is_known = (0..200).all(|_| arrives());
            while !matches!(subscriber.try_recv(), Ok(None)) {}
            is_known
        });
        let ticks: Vec<_> = (0..10).map(Tick::new).collect();
        let mut written = 0;
        loop {
            let delivery = publisher.publish_batch(&topic, &ticks).unwrap();
            assert_eq!(delivery.lanes + delivery.dropped, 1);
            if delivery.dropped == 1 {
                break;
            }
            written += 1;
        }
        assert!(written > 0);
        for _ in 0..written {
            for tick in &ticks {
                assert_eq!(subscriber.recv().unwrap().number, tick.number);
            }
        }
        match subscriber.recv() {
            Err(RecvError::Gap(gap)) => assert_eq!(gap.lost, ticks.len() as u64),
            Err(error) => panic!("{error:?} where ten losses are due"),
            Ok(sample) => panic!("{} where ten losses are due", sample.number),
        }
        let delivery = publisher.publish_batch(&topic, &ticks[..1]).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        assert_eq!(subscriber.recv().unwrap().number, 0);
    });
}

#[test]
fn a17_a_batch_waits_for_a_subscriber_that_blocks() {
    on_each_transport(|bus| {
        let client = bus.client("subscriber");
        let mut subscriber = client
            .subscriber::<Level>("t")
            .overflow(Overflow::Block {
                deadline: Duration::from_secs(60),
            })
            .open()
            .unwrap();
        let publishing = bus.client("publisher");
        let mut publisher = publishing
            .publisher::<Level>("t")
            .ring_bytes(4096)
            .max_message_bytes(100)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                // Some laps of the ring.
                for batch in 0..100 {
                    let delivery = publisher
                        .publish_batch(&topic, &levels(batch * BATCH, BATCH))
                        .unwrap();
                    assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
                }
            });
            for number in 0..100 * BATCH {
                assert_eq!(subscriber.recv().unwrap().number, number);
            }
        });
    });
}

#[test]
fn a17_a_batch_that_no_ring_holds_goes_to_nobody() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Level>("t").open().unwrap();
        let mut publisher = client
            .publisher::<Level>("t")
            .ring_bytes(4096)
            .max_message_bytes(100)
            .open()
            .unwrap();
        let topic = publisher.resolve("t").unwrap();
        // Each takes 32 bytes, of 2,048 less two headers.
        match publisher.publish_batch(&topic, &levels(0, 64)) {
            Err(PublishError::BatchTooLarge { len, limit }) => {
                assert_eq!((len, limit), (64 * 32, 2016));
            }
            other => panic!("{other:?}"),
        }
        let delivery = publisher.publish_batch(&topic, &levels(7, 63)).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        assert_eq!(subscriber.recv().unwrap().number, 7);
    });
}

/// Messages in a batch.
const BATCH: u64 = 40;
const BATCHES: u64 = 3000;
