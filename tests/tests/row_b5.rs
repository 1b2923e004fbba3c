//! Row B5: descriptors as attachments.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ringmain::Attachment::Descriptor;
use ringmain::message::Bytes;
use ringmain::{GapCause, Overflow, PublishError, Publisher, RecvError, Subscriber};
use ringmain_tests::{Bus, eventually, on_each_local_transport, on_each_transport_of_processes};

fn handles(bus: &Bus, overflow: Overflow) -> (Publisher<Bytes>, Subscriber<Bytes>) {
    let subscribing = bus.client("subscriber");
    let subscriber = subscribing.subscriber("files/*").overflow(overflow);
    let subscriber = subscriber.open().unwrap();
    let publisher = bus.client("publisher").publisher("files/*").open().unwrap();
    (publisher, subscriber)
}

const BLOCK: Overflow = Overflow::Block {
    deadline: Duration::from_secs(20),
};

/// Both ends of a pipe: what is open shows at the other end.
fn pipe() -> (UnixStream, OwnedFd) {
    let (kept, attached) = UnixStream::pair().unwrap();
    (kept, attached.into())
}

fn is_hung_up(mut kept: &UnixStream) -> bool {
    kept.set_nonblocking(true).unwrap();
    matches!(kept.read(&mut [0]), Ok(0))
}

#[test]
fn b5_descriptors_arrive_with_their_message() {
    on_each_local_transport(|bus| {
        let (mut publisher, mut subscriber) = handles(bus, BLOCK);
        let topic = publisher.resolve("files/a").unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let null = File::open("/dev/null").unwrap();
        publisher.publish_to(&topic, Bytes::new(b"0")).unwrap();
        let attached = [Descriptor(null.as_fd()), Descriptor(file.as_fd())];
        let delivery = publisher.publish_with(&topic, Bytes::new(b"1"), &attached);
        assert_eq!(delivery.unwrap().lanes, 1);
        publisher.publish_to(&topic, Bytes::new(b"2")).unwrap();
        publisher
            .publish_with(&topic, Bytes::new(b"3"), &[])
            .unwrap();

        let mut taken = Vec::new();
        for expected in 0..4_u64 {
            let mut sample = subscriber.recv().unwrap();
            assert_eq!(&*sample, expected.to_string().as_bytes());
            assert_eq!(sample.sequence(), expected);
            let descriptors = sample.take_descriptors();
            assert_eq!(descriptors.len(), if expected == 1 { 2 } else { 0 });
            assert!(sample.take_descriptors().is_empty());
            taken.extend(descriptors);
        }
        let mut file = File::from(taken.pop().unwrap());
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    });
}

#[test]
fn b5_each_subscriber_gets_its_own() {
    on_each_local_transport(|bus| {
        let (mut publisher, subscriber) = handles(bus, BLOCK);
        let (_, other) = handles(bus, BLOCK);
        let topic = publisher.resolve("files/a").unwrap();
        let (kept, attached) = pipe();
        let delivery =
            publisher.publish_with(&topic, Bytes::new(b""), &[Descriptor(attached.as_fd())]);
        assert_eq!(delivery.unwrap().lanes, 2);
        drop(attached);
        let mut taken = Vec::new();
        for mut subscriber in [subscriber, other] {
            taken.extend(subscriber.recv().unwrap().take_descriptors());
        }
        assert_eq!(taken.len(), 2);
        taken.pop();
        assert!(!is_hung_up(&kept));
        taken.pop();
        eventually("nobody holds it", || is_hung_up(&kept));
    });
}

#[test]
fn b5_more_than_the_kernel_takes_at_a_time() {
    on_each_local_transport(|bus| {
        let (mut publisher, mut subscriber) = handles(bus, BLOCK);
        let topic = publisher.resolve("files/a").unwrap();
        let null = File::open("/dev/null").unwrap();
        for count in [253, 254, 600] {
            let attached = vec![Descriptor(null.as_fd()); count];
            publisher
                .publish_with(&topic, Bytes::new(b""), &attached)
                .unwrap();
            assert_eq!(subscriber.recv().unwrap().take_descriptors().len(), count);
        }
    });
}

#[test]
fn b5_what_nobody_takes_is_closed() {
    on_each_local_transport(|bus| {
        let (mut publisher, mut subscriber) = handles(bus, BLOCK);
        let topic = publisher.resolve("files/a").unwrap();
        let (kept, attached) = pipe();
        let message = Bytes::new(b"");
        publisher
            .publish_with(&topic, message, &[Descriptor(attached.as_fd())])
            .unwrap();
        drop(attached);
        drop(subscriber.recv().unwrap());
        assert!(subscriber.try_recv().unwrap().is_none());
        eventually("it is closed", || is_hung_up(&kept));
    });
}

/// Courier and ring: whichever is full first, the policy acts, and what comes afterwards has its own descriptors.
#[test]
fn b5_a_slow_subscriber_loses_messages_with_their_descriptors_or_none() {
    on_each_local_transport(|bus| {
        let (mut publisher, mut subscriber) = handles(bus, Overflow::DropNewest);
        let topic = publisher.resolve("files/a").unwrap();
        let (mut kept, mut dropped) = (Vec::new(), 0);
        for number in 0..2000_u32 {
            let (end, attached) = pipe();
            let delivery = publisher.publish_with(
                &topic,
                Bytes::new(&number.to_le_bytes()),
                &[Descriptor(attached.as_fd())],
            );
            dropped += u64::from(delivery.unwrap().dropped);
            kept.push(end);
            // The table is not to be full.
            if dropped > 3 {
                break;
            }
        }
        assert!(dropped > 3, "the courier takes 2,000 descriptors");
        let (mut received, mut lost) = (0, 0);
        loop {
            match subscriber.try_recv() {
                Ok(Some(mut sample)) => {
                    let number = u32::from_le_bytes((*sample).try_into().unwrap());
                    let mut own = UnixStream::from(sample.take_descriptors().pop().unwrap());
                    own.write_all(&number.to_le_bytes()).unwrap();
                    received += 1;
                    let mut found = [0; 4];
                    kept[number as usize].read_exact(&mut found).unwrap();
                    assert_eq!(u32::from_le_bytes(found), number);
                }
                Ok(None) => break,
                Err(RecvError::Gap(gap)) => {
                    assert_eq!(gap.cause, GapCause::Overflow);
                    lost += gap.lost;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((received + lost, lost), (kept.len() as u64, dropped));
        eventually("what was dropped is closed", || kept.iter().all(is_hung_up));
        let (end, attached) = pipe();
        publisher
            .publish_with(&topic, Bytes::new(b"last"), &[Descriptor(attached.as_fd())])
            .unwrap();
        let mut sample = subscriber.recv().unwrap();
        assert_eq!(
            (&sample.to_vec()[..], sample.take_descriptors().len()),
            (&b"last"[..], 1)
        );
        drop(end);
    });
}

#[test]
fn b5_descriptors_are_refused_where_they_cannot_go() {
    on_each_transport_of_processes(|bus| {
        for overflow in [Overflow::DropOldest, Overflow::Conflate] {
            refused(bus, &bus.client(&format!("{overflow:?}")), |builder| {
                builder.overflow(overflow)
            });
        }
        refused(bus, &bus.client("member"), |builder| {
            builder.queue("workers")
        });
    });
}

#[test]
fn b5_descriptors_do_not_go_to_another_host() {
    let bus = Bus::start(ringmain_tests::Transport::Tcp);
    refused(&bus, &bus.client("elsewhere"), |builder| builder);
}

fn refused(
    bus: &Bus,
    client: &ringmain::Client,
    with: impl for<'a> Fn(
        ringmain::SubscriberBuilder<'a, Bytes>,
    ) -> ringmain::SubscriberBuilder<'a, Bytes>,
) {
    let mut subscriber = with(client.subscriber("files/*")).open().unwrap();
    let publishing = bus.client("publisher");
    let mut publisher = publishing.publisher::<Bytes>("files/*").open().unwrap();
    let topic = publisher.resolve("files/a").unwrap();
    let null = File::open("/dev/null").unwrap();
    let attached = [Descriptor(null.as_fd())];
    let result = publisher.publish_with(&topic, Bytes::new(b"no"), &attached);
    let Err(PublishError::CannotAttach { receiver }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(receiver, client.name());
    publisher.publish_to(&topic, Bytes::new(b"yes")).unwrap();
    assert_eq!(&*subscriber.recv().unwrap(), b"yes");
}
