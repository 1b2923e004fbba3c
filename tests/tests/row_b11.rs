//! Row B11: messages from several slices, typed headers with a tail, lists of values.

use std::time::Duration;

use ringmain::message::{Bytes, Message, MessageType, Slice, WithTail};
use ringmain::{
    LaneFault, Overflow, PublishError, Receive, RecvError, RequestError, Subscriber, rkyv,
};
use ringmain_tests::{Bus, Transport, on_each_transport};

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe, Clone, Copy, Debug, PartialEq)]
enum Coding {
    Rgb,
    Gray,
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message, Clone, Debug)]
#[message(name = "test.image")]
struct Image {
    number: u64,
    rows: u16,
    coding: Coding,
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Level {
    price: f64,
    size: [u32; 2],
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.titled")]
struct Titled {
    title: String,
}

/// Of all three policies that a payload takes a different way by.
fn subscribers<T: Receive + ?Sized>(bus: &Bus) -> Vec<Subscriber<T>> {
    let block = Overflow::Block {
        deadline: Duration::from_secs(20),
    };
    let client = bus.client("receiving");
    [block, block, Overflow::DropOldest]
        .map(|overflow| {
            client
                .subscriber::<T>("a")
                .overflow(overflow)
                .open()
                .unwrap()
        })
        .into()
}

/// Lengths around those at which something changes, enough of them to fill a small ring several times.
fn lengths() -> impl Iterator<Item = usize> {
    let steps = [0, 1, 15, 16, 17, 47, 48, 63, 64, 65, 1000, 4000, 4096];
    (0..300).map(move |round| steps[round % steps.len()])
}

#[test]
fn b11_slices_of_bytes_become_one_message() {
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Bytes>(bus);
        let client = bus.client("publishing");
        let builder = client.publisher::<Bytes>("a").ring_bytes(16 * 1024);
        let mut publisher = builder.max_message_bytes(4200).open().unwrap();
        let topic = publisher.resolve("a").unwrap();
        for (number, len) in lengths().enumerate() {
            let body: Vec<_> = (0..len).map(|byte| (byte + number) as u8).collect();
            let (front, back) = body.split_at(len / 3);
            let head = number.to_le_bytes();
            let delivery = publisher
                .publish_parts(&topic, &[&head, front, &[], back])
                .unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (3, 0));
            for subscriber in &mut subscribers {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample[..8], head);
                assert_eq!(sample[8..], body[..]);
            }
        }
        publisher.publish_parts(&topic, &[]).unwrap();
        for subscriber in &mut subscribers {
            assert!(subscriber.recv().unwrap().is_empty());
        }
        let half = [0; 2101];
        let error = publisher
            .publish_parts(&topic, &[&half, &half])
            .unwrap_err();
        assert!(
            matches!(
                error,
                PublishError::TooLarge {
                    len: 4202,
                    limit: 4200
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn b11_a_header_comes_with_its_tail() {
    type Frame = WithTail<Image, Level, 64>;
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Frame>(bus);
        let client = bus.client("publishing");
        let builder = client.publisher::<Frame>("a").ring_bytes(16 * 1024);
        let mut publisher = builder.max_message_bytes(4200).open().unwrap();
        let topic = publisher.resolve("a").unwrap();
        for (number, len) in lengths().map(|len| len / 16).enumerate() {
            let header = Image {
                number: number as u64,
                rows: 3,
                coding: [Coding::Rgb, Coding::Gray][number % 2],
            };
            let level = |index: usize| Level {
                price: index as f64 + 0.5,
                size: [number as u32, u32::MAX],
            };
            let tail: Vec<_> = (0..len).map(level).collect();
            let delivery = match number % 2 {
                0 => publisher.publish_with_tail(&topic, &header, &tail),
                _ => publisher.publish_to(
                    &topic,
                    &WithTail {
                        header,
                        tail: tail.clone(),
                    },
                ),
            };
            assert_eq!(delivery.unwrap().lanes, 3);
            for subscriber in &mut subscribers {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample.header().number, number as u64);
                let rgb = matches!(sample.header().coding, ArchivedCoding::Rgb);
                assert_eq!(rgb, number % 2 == 0);
                assert_eq!(sample.tail(), tail);
                assert!(sample.tail().as_ptr().is_aligned());
            }
        }
    });
}

#[test]
fn b11_lists_of_values_are_read_in_place() {
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Slice<f32>>(bus);
        let client = bus.client("publishing");
        let mut publisher = client.publisher::<Slice<f32>>("a").open().unwrap();
        for len in [0, 1, 7, 1000, 16 * 1024] {
            let values: Vec<_> = (0..len).map(|value| value as f32 / 4.0).collect();
            publisher.publish("a", Slice::new(&values)).unwrap();
            for subscriber in &mut subscribers {
                assert_eq!(*subscriber.recv().unwrap(), values[..]);
            }
        }
    });
}

#[test]
fn b11_headers_that_point_elsewhere_are_refused() {
    let bus = Bus::start(Transport::Memory);
    let client = bus.client("both");
    let result = client.publisher::<WithTail<Titled>>("a").open();
    assert!(matches!(result, Err(RequestError::Layout(_))), "{result:?}");
}

#[test]
fn b11_a_subscriber_of_another_tail_is_refused() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let _publisher = client
            .publisher::<WithTail<Image, f32>>("a")
            .open()
            .unwrap();
        let result = client.subscriber::<WithTail<Image, u32>>("a").open();
        let error = result.map(drop).unwrap_err().to_string();
        assert!(error.contains("`tail`"), "{error}");
    });
}

/// Bytes under a type that they are none of.
fn forged(bus: &Bus, topic: &str, message_type: &MessageType, bytes: &[u8]) {
    let client = bus.client("forging");
    let builder = client.publisher::<Bytes>(topic);
    let mut publisher = builder.encoded_as(message_type.clone()).open().unwrap();
    publisher.publish(topic, Bytes::new(bytes)).unwrap();
    // What it has published is read all the same.
    drop(publisher);
}

#[test]
fn b11_what_is_no_such_message_ends_the_lane() {
    fn refused<T: Receive + ?Sized>(
        bus: &Bus,
        topic: &str,
        subscriber: &mut Subscriber<T>,
        bytes: &[u8],
    ) {
        forged(bus, topic, T::accepts().unwrap(), bytes);
        let error = subscriber.recv().map(drop).unwrap_err();
        assert!(
            matches!(
                error,
                RecvError::Lane {
                    cause: LaneFault::Payload(_),
                    ..
                }
            ),
            "{error}"
        );
    }
    on_each_transport(|bus| {
        let client = bus.client("receiving");
        let mut frames = client
            .subscriber::<WithTail<Image, u32>>("a")
            .open()
            .unwrap();
        let mut valid = [0; 72];
        // A coding that there is not; half an element; no room for the header.
        valid[10] = 9;
        refused(bus, "a", &mut frames, &valid);
        refused(bus, "a", &mut frames, &[0; 70]);
        refused(bus, "a", &mut frames, &[0; 63]);
        refused(bus, "a", &mut frames, &[]);
        forged(bus, "a", WithTail::<Image, u32>::message_type(), &[0; 72]);
        assert_eq!(frames.recv().unwrap().tail(), [0, 0]);
        drop(frames);
        // Of another type, so on another topic: the last publisher may still be about to leave this one.
        let mut values = client.subscriber::<Slice<u64>>("b").open().unwrap();
        refused(bus, "b", &mut values, &[1; 7]);
        forged(bus, "b", Slice::<u64>::message_type(), &[1; 16]);
        assert_eq!(values.recv().unwrap().len(), 2);
    });
}
