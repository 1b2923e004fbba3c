//! Row B2 for types: values, lists and tails are written where they are read.

use std::time::Duration;

use ringmain::message::{Slice, WithTail};
use ringmain::{LoanError, Overflow, Receive, Subscriber, rkyv};
use ringmain_tests::{Bus, Transport, on_each_transport};

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
#[message(name = "test.sweep")]
struct Sweep {
    number: u64,
    echoes: [f32; 2000],
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.frame")]
struct Frame {
    number: u64,
    color: bool,
}

/// Two that read in place, where they can, and one that is copied for.
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

#[test]
fn b2_values_are_written_in_place() {
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Sweep>(bus);
        let client = bus.client("publishing");
        let mut publisher = client.publisher::<Sweep>("a").open().unwrap();
        let topic = publisher.resolve("a").unwrap();
        for number in 0..50 {
            let mut dropped = publisher.loan_value(&topic).unwrap();
            dropped.echoes = [9.0; 2000];
            drop(dropped);
            let mut loan = publisher.loan_value(&topic).unwrap();
            // Whatever lay there before.
            assert!(loan.number == 0 && loan.echoes == [0.0; 2000]);
            loan.number = number;
            loan.echoes[1999] = number as f32;
            assert_eq!(loan.publish().unwrap().lanes, 3);
            for subscriber in &mut subscribers {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample.number, number);
                assert_eq!(sample.echoes[1999], number as f32);
                assert_eq!(sample.echoes[0], 0.0);
            }
        }
    });
}

#[test]
fn b2_lists_are_written_in_place_and_trimmed() {
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Slice<u32>>(bus);
        let client = bus.client("publishing");
        let mut publisher = client.publisher::<Slice<u32>>("a").open().unwrap();
        let topic = publisher.resolve("a").unwrap();
        for len in [0, 1, 100, 5000] {
            let mut loan = publisher.loan_slice(&topic, len + 10).unwrap();
            assert_eq!(loan.len(), len + 10);
            for (value, number) in loan.iter_mut().zip(0..) {
                *value = number;
            }
            loan.trim(len);
            loan.trim(usize::MAX);
            assert_eq!(loan.len(), len);
            loan.publish().unwrap();
            let expected: Vec<_> = (0..len as u32).collect();
            for subscriber in &mut subscribers {
                assert_eq!(*subscriber.recv().unwrap(), expected[..]);
            }
        }
        for count in [usize::MAX, usize::MAX / 4, 1 << 20] {
            assert!(matches!(
                publisher.loan_slice(&topic, count),
                Err(LoanError::TooLarge { .. })
            ));
        }
    });
}

#[test]
fn b2_tails_are_written_in_place_at_a_page() {
    type Image = WithTail<Frame, u8, 4096>;
    on_each_transport(|bus| {
        let mut subscribers = subscribers::<Image>(bus);
        let client = bus.client("publishing");
        let builder = client.publisher::<Image>("a");
        let mut publisher = builder.max_message_bytes(1 << 20).open().unwrap();
        let topic = publisher.resolve("a").unwrap();
        for (number, len) in (0..).zip([0, 1, 4096, 100_000, (1 << 20) - 4096]) {
            let header = Frame {
                number,
                color: number % 2 == 0,
            };
            let mut loan = publisher.loan_with_tail(&topic, &header, len).unwrap();
            loan.fill(number as u8 + 1);
            let kept = len - len / 3;
            loan.trim(kept);
            assert_eq!(loan.publish().unwrap().lanes, 3);
            for (at, subscriber) in subscribers.iter_mut().enumerate() {
                let sample = subscriber.recv().unwrap();
                assert_eq!(sample.header().number, number);
                assert_eq!(sample.header().color, number % 2 == 0);
                assert_eq!(sample.tail(), vec![number as u8 + 1; kept]);
                // Where nothing is copied, it is where its publisher has it.
                if at < 2 && kept > 0 && bus.transport() != Transport::Tcp {
                    assert_eq!(sample.tail().as_ptr() as usize % 4096, 0, "{len}");
                }
            }
        }
        // What is copied into the pool is aligned there, too.
        let header = Frame {
            number: 0,
            color: true,
        };
        let long = vec![1; 100_000];
        publisher.publish_with_tail(&topic, &header, &long).unwrap();
        for (at, subscriber) in subscribers.iter_mut().enumerate() {
            let sample = subscriber.recv().unwrap();
            if at < 2 && bus.transport() != Transport::Tcp {
                assert_eq!(sample.tail().as_ptr() as usize % 4096, 0);
            }
        }
        for count in [usize::MAX, (1 << 20) - 4095] {
            assert!(matches!(
                publisher.loan_with_tail(&topic, &header, count),
                Err(LoanError::TooLarge { .. })
            ));
        }
    });
}
