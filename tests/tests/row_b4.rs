//! Row B4: regions as attachments.

use std::time::Duration;

use ringmain::Attachment::{self, Descriptor};
use ringmain::message::Bytes;
use ringmain::{HoldError, Overflow, PublishError, Publisher, Region, RegionRegistry, Subscriber};
use ringmain_tests::{
    Bus, Transport, eventually, on_each_local_transport, on_each_transport,
    on_each_transport_of_processes,
};

fn subscriber(bus: &Bus) -> Subscriber<Bytes> {
    let deadline = Duration::from_secs(20);
    let client = bus.client("subscriber");
    let subscriber = client.subscriber("frames/*");
    subscriber
        .overflow(Overflow::Block { deadline })
        .open()
        .unwrap()
}

fn publisher(bus: &Bus) -> Publisher<Bytes> {
    let client = bus.client("publisher");
    let publisher = client.publisher("frames/*").max_message_bytes(1 << 20);
    publisher.open().unwrap()
}

/// A region that says in each byte which it is.
fn filled(registry: &RegionRegistry, len: usize, mark: u8) -> ringmain::SharedRegion {
    let mut region = registry.allocate(len, "frame").unwrap();
    region.fill(mark);
    region.share()
}

#[test]
fn b4_regions_arrive_with_their_message_on_each_transport() {
    on_each_transport(|bus| {
        let (mut subscriber, mut publisher) = (subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let registry = RegionRegistry::new();
        let (one, two) = (filled(&registry, 5000, 1), filled(&registry, 1, 2));
        let regions = [Attachment::Region(&one), Attachment::Region(&two)];
        publisher.publish_to(&topic, Bytes::new(b"0")).unwrap();
        for _ in 0..3 {
            let delivery = publisher.publish_with(&topic, Bytes::new(b"with"), &regions);
            assert_eq!(delivery.unwrap().lanes, 1);
        }
        publisher.publish_to(&topic, Bytes::new(b"1")).unwrap();
        assert!(
            subscriber
                .recv()
                .unwrap()
                .take_regions()
                .unwrap()
                .is_empty()
        );
        let mut taken = Vec::new();
        for _ in 0..3 {
            let mut sample = subscriber.recv().unwrap();
            assert_eq!(&*sample, b"with");
            let regions = sample.take_regions().unwrap();
            assert_eq!(regions.len(), 2);
            assert!(sample.take_regions().unwrap().is_empty());
            taken.extend(regions);
        }
        assert!(
            subscriber
                .recv()
                .unwrap()
                .take_regions()
                .unwrap()
                .is_empty()
        );
        // They outlive everything else.
        drop((subscriber, publisher, one, two, registry));
        for regions in taken.chunks(2) {
            assert_eq!(&regions[0][..], [1; 5000]);
            assert_eq!(&regions[1][..], [2]);
        }
    });
}

#[test]
fn b4_a_region_is_given_again_when_its_last_reader_has_dropped_it() {
    on_each_local_transport(|bus| {
        let (mut first, mut second, mut publisher) =
            (subscriber(bus), subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let registry = RegionRegistry::new();
        let region = filled(&registry, 4096, 7);
        let attached = [Attachment::Region(&region)];
        publisher
            .publish_with(&topic, Bytes::new(b""), &attached)
            .unwrap();
        drop(region);
        // What is kept is not given again.
        let kept = std::cell::RefCell::new(Vec::new());
        let again = || {
            let region = registry.allocate(4096, "frame").unwrap();
            let mark = region[0];
            kept.borrow_mut().push(region);
            mark
        };
        // Nobody has read the message.
        assert_eq!(again(), 0);
        let held = first.recv().unwrap().take_regions().unwrap();
        drop(first.try_recv().unwrap());
        assert_eq!(again(), 0);
        // The other one does not take it.
        drop(second.recv().unwrap());
        drop(second.try_recv().unwrap());
        assert_eq!(again(), 0);
        drop(first);
        assert_eq!(again(), 0);
        assert_eq!(&held[0][..], [7; 4096]);
        drop(held);
        eventually("it is given again", || again() == 7);
    });
}

#[test]
fn b4_what_a_killed_process_held_comes_back() {
    on_each_transport_of_processes(|bus| {
        if bus.transport() != Transport::Unix {
            return;
        }
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("frames/a").unwrap();
        let mut holder = bus.peer("region-holder", &["frames/a"]);
        holder.expect("ready");
        let registry = RegionRegistry::new();
        let region = filled(&registry, 4096, 7);
        let attached = [Attachment::Region(&region)];
        publisher
            .publish_with(&topic, Bytes::new(b""), &attached)
            .unwrap();
        drop(region);
        holder.expect("7");
        // It holds that, and has read on.
        publisher.publish_to(&topic, Bytes::new(b"next")).unwrap();
        holder.expect("next");
        assert_eq!(registry.allocate(4096, "frame").unwrap()[0], 0);
        holder.kill();
        eventually("it is given again", || {
            registry.allocate(4096, "frame").unwrap()[0] == 7
        });
    });
}

#[test]
fn b4_more_than_can_be_held_is_an_error_and_nothing_is_lost() {
    on_each_local_transport(|bus| {
        let (mut subscriber, mut publisher) = (subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let region = Region::new(64).unwrap().share();
        let attached = vec![Attachment::Region(&region); 16];
        let mut held = Vec::new();
        for _ in 0..3 {
            publisher
                .publish_with(&topic, Bytes::new(b""), &attached)
                .unwrap();
            held.extend(subscriber.recv().unwrap().take_regions().unwrap());
        }
        assert_eq!(held.len(), 48);
        publisher
            .publish_with(&topic, Bytes::new(b""), &attached[..1])
            .unwrap();
        let mut sample = subscriber.recv().unwrap();
        let error = sample.take_regions().unwrap_err();
        assert!(matches!(error, HoldError::UsedUp { most: 48 }), "{error}");
        // In any order.
        drop(held.swap_remove(20));
        assert_eq!(sample.take_regions().unwrap().len(), 1);
    });
}

#[test]
fn b4_what_cannot_be_attached_is_refused_before_anybody_gets_it() {
    on_each_transport(|bus| {
        let (mut subscriber, mut publisher) = (subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let region = Region::new(64).unwrap().share();
        let many = vec![Attachment::Region(&region); 17];
        let result = publisher.publish_with(&topic, Bytes::new(b""), &many);
        assert!(
            matches!(
                result,
                Err(PublishError::TooManyRegions {
                    count: 17,
                    limit: 16
                })
            ),
            "{result:?}"
        );
        let long = Region::new(1 << 20).unwrap().share();
        let long = [Attachment::Region(&long)];
        let result = publisher.publish_with(&topic, Bytes::new(b""), &long);
        if bus.transport() == Transport::Tcp {
            // Copied, and longer than a message may be.
            let Err(PublishError::TooMuchAttached { limit, .. }) = result else {
                panic!("{result:?}");
            };
            assert_eq!(limit, 1 << 20);
        } else {
            result.unwrap();
            drop(subscriber.recv().unwrap());
        }
        publisher.publish_to(&topic, Bytes::new(b"last")).unwrap();
        assert_eq!(&*subscriber.recv().unwrap(), b"last");
    });
}

#[test]
fn b4_for_members_of_queue_groups_regions_are_copied() {
    on_each_local_transport(|bus| {
        let client = bus.client("member");
        let member = client.subscriber::<Bytes>("frames/*").queue("workers");
        let mut member = member.open().unwrap();
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("frames/a").unwrap();
        let registry = RegionRegistry::new();
        let region = filled(&registry, 5000, 3);
        let attached = [Attachment::Region(&region)];
        publisher
            .publish_with(&topic, Bytes::new(b""), &attached)
            .unwrap();
        drop(region);
        // Nobody maps it.
        assert_eq!(registry.allocate(5000, "frame").unwrap()[0], 3);
        let regions = member.recv().unwrap().take_regions().unwrap();
        assert_eq!(&regions[0][..], [3; 5000]);
        let null = std::fs::File::open("/dev/null").unwrap();
        let with = [Descriptor(std::os::fd::AsFd::as_fd(&null))];
        assert!(
            publisher
                .publish_with(&topic, Bytes::new(b""), &with)
                .is_err()
        );
    });
}

/// More regions than a lane keeps in mind, over and over.
#[test]
fn b4_many_regions_in_turn() {
    on_each_transport(|bus| {
        let (mut subscriber, mut publisher) = (subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let regions: Vec<_> = (0..40_u8)
            .map(|mark| {
                let mut region = Region::new(100).unwrap();
                region.fill(mark);
                region.share()
            })
            .collect();
        for round in 0..5 {
            // Behind each other, and far apart.
            let order: Vec<_> = (0..40).map(|index| index * (2 * round + 1) % 40).collect();
            for &index in &order {
                let attached = [Attachment::Region(&regions[index])];
                publisher
                    .publish_with(&topic, Bytes::new(b""), &attached)
                    .unwrap();
            }
            for &index in &order {
                let regions = subscriber.recv().unwrap().take_regions().unwrap();
                assert_eq!(&regions[0][..], [index as u8; 100]);
            }
        }
    });
}

/// Of a group one gets the message, and what is attached to it.
#[test]
fn b4_what_is_attached_goes_with_its_message_alone() {
    on_each_local_transport(|bus| {
        let member = || {
            let client = bus.client("member");
            client
                .subscriber::<Bytes>("frames/*")
                .queue("workers")
                .open()
                .unwrap()
        };
        let mut members = [member(), member()];
        let mut publisher = publisher(bus);
        let topic = publisher.resolve("frames/a").unwrap();
        let registry = RegionRegistry::new();
        let region = filled(&registry, 64, 3);
        let attached = [Attachment::Region(&region)];
        publisher
            .publish_with(&topic, Bytes::new(b"with"), &attached)
            .unwrap();
        drop(region);
        for _ in 0..4 {
            publisher
                .publish_to(&topic, Bytes::new(b"without"))
                .unwrap();
        }
        let mut received = 0;
        eventually("all have come", || {
            for member in &mut members {
                while let Some(mut sample) = member.try_recv().unwrap() {
                    received += 1;
                    let regions = sample.take_regions().unwrap();
                    assert_eq!(regions.len(), usize::from(&*sample == b"with"));
                }
            }
            received == 5
        });
        // It was copied, and nobody keeps it.
        assert_eq!(registry.allocate(64, "frame").unwrap()[0], 3);
    });
}

/// A slow subscriber, for whom much lies ready: regions of earlier messages are still known when memory of the pool comes
/// between them.
#[test]
fn b4_regions_are_found_behind_memory_of_the_pool() {
    on_each_local_transport(|bus| {
        let (mut subscriber, mut publisher) = (subscriber(bus), publisher(bus));
        let topic = publisher.resolve("frames/a").unwrap();
        let region = |mark: u8| {
            let mut region = Region::new(64).unwrap();
            region.fill(mark);
            region.share()
        };
        let regions: Vec<_> = (0..18).map(region).collect();
        let mut publish = |mark: usize, message: &[u8]| {
            let attached = [Attachment::Region(&regions[mark])];
            publisher
                .publish_with(&topic, Bytes::new(message), &attached)
                .unwrap();
        };
        let order: Vec<usize> = [0, 1, 0].into_iter().chain(2..18).collect();
        for (number, &mark) in order.iter().enumerate() {
            let long = vec![7; 100_000];
            publish(mark, if number == 1 { &long } else { b"short" });
        }
        for &mark in &order {
            let regions = subscriber.recv().unwrap().take_regions().unwrap();
            assert_eq!(regions[0][0], mark as u8);
        }
    });
}
