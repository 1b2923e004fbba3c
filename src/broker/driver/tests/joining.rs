//! Joining a bus, leaving it, being told of others.

use super::*;
use crate::wire::HistoryUse;

#[test]
fn two_clients_are_welcomed_over_each_transport() {
    for_each_transport(|_, address| {
        let (mut one, mut two) = (
            link(connect(address).unwrap()),
            link(connect(address).unwrap()),
        );
        let (first, mut descriptors) = hello(&mut one, "one");
        let (second, _) = hello(&mut two, "two");
        assert_eq!(first.incarnation, second.incarnation);
        assert!(first.client != second.client && first.epoch_index != second.epoch_index);
        let handle = SegmentHandle::Descriptor(descriptors.remove(0));
        let epochs = ForeignSegment::open(handle, Kind::Epochs, 1 << 20).unwrap();
        let word = first.epoch_index as usize * EPOCH_SPACING_BYTES;
        assert_eq!(epochs.try_word(word).unwrap().load(Ordering::Relaxed), 0);
        assert_answers(&mut one, 1);
        assert_answers(&mut two, 2);
    });
}

#[test]
fn clients_are_who_the_kernel_says() {
    for_each_transport(|_, address| {
        let mut one = link(connect(address).unwrap());
        hello(&mut one, "one");
        send(&mut one, ToBroker::ListClients { request: 1 });
        let (ToClient::Clients { part, .. }, _) = frame(&mut one) else {
            panic!("no clients")
        };
        assert_eq!(part[0].pid, std::process::id());
        assert_eq!(part[0].uid, nix::unistd::geteuid().as_raw());
    });
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    for_each_transport(|_, address| {
        let (mut one, mut two) = (
            link(connect(address).unwrap()),
            link(connect(address).unwrap()),
        );
        hello(&mut one, "one");
        hello(&mut two, "two");
        drop(two);
        while clients(&mut one).len() > 1 {}
        assert_eq!(clients(&mut one), ["one"]);
    });
}

#[test]
fn a_raised_word_is_seen_before_the_answer() {
    let bus = Bus::new();
    let (mut publisher, mut subscriber) = (bus.link(), bus.link());
    let (welcome, mut descriptors) = hello(&mut publisher, "publisher");
    let handle = SegmentHandle::Descriptor(descriptors.remove(0));
    let epochs = ForeignSegment::open(handle, Kind::Epochs, 1 << 20).unwrap();
    send(&mut publisher, ToBroker::Received);
    hello(&mut subscriber, "subscriber");
    open_publisher(&mut publisher);
    let spec = SubscriberSpec {
        patterns: vec!["a/b".into()],
        message_type: None,
        overflow: Overflow::DropNewest,
        ring_bytes: 0,
        self_delivery: false,
        excludes: Vec::new(),
        queue: None,
        history: HistoryUse::None,
    };
    send(
        &mut subscriber,
        ToBroker::OpenSubscriber {
            request: 1,
            subscriber: 1,
            spec,
        },
    );
    assert_eq!(
        frame(&mut subscriber).0,
        ToClient::Opened {
            request: 1,
            lanes: 1
        }
    );
    let offset = welcome.epoch_index as usize * EPOCH_SPACING_BYTES;
    let word = epochs.try_word(offset).unwrap();
    assert_eq!(word.load(Ordering::Relaxed), 1);
    assert!(matches!(
        frame(&mut publisher).0,
        ToClient::Routes { epoch: 1, .. }
    ));
}

#[test]
fn a_publisher_that_does_not_answer_delays_a_list_for_a_while_only() {
    let bus = Bus::new();
    let (mut mute, mut asker) = (bus.link(), bus.link());
    hello(&mut mute, "mute");
    hello(&mut asker, "asker");
    open_publisher(&mut mute);
    send(
        &mut asker,
        ToBroker::List {
            request: 1,
            pattern: "**".into(),
            live: true,
        },
    );
    let (
        ToClient::Listed {
            part, last: true, ..
        },
        _,
    ) = frame(&mut asker)
    else {
        panic!("no list")
    };
    assert_eq!(part.publishers[0].live_topics, None);
}

#[test]
fn a_refused_client_learns_why_before_it_is_dropped() {
    let bus = Bus::with(Broker::builder().limits(Limits {
        clients: 1,
        ..Limits::default()
    }));
    let (mut one, mut two) = (bus.link(), bus.link());
    hello(&mut one, "one");
    send(&mut two, ToBroker::Hello { name: "two".into() });
    let refused = frame(&mut two).0;
    assert!(
        matches!(
            refused,
            ToClient::Refused {
                request: 0,
                refusal: Refusal::Limit { limit: 1, .. }
            }
        ),
        "{refused:?}"
    );
    assert_dropped(&mut two);
    assert_answers(&mut one, 1);
}

#[cfg(feature = "named")]
#[test]
fn the_epochs_can_lie_in_a_named_segment() {
    let bus = Bus::with(Broker::builder().backend(Backend::Named));
    let (welcome, descriptors) = hello(&mut bus.link(), "one");
    assert!(descriptors.is_empty());
    let SegmentSource::Named(name) = welcome.epochs else {
        panic!("{:?}", welcome.epochs)
    };
    ForeignSegment::open(SegmentHandle::Named(name), Kind::Epochs, 1 << 20).unwrap();
}
