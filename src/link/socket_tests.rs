//! What a link promises: frames and descriptors belong together, and a peer that breaks a rule is told from one that ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::wire::{HEADER_BYTES, SegmentSource, ToBroker, ToClient};

type ClientLink = Link<ToClient, ToBroker>;
type BrokerLink = Link<ToBroker, ToClient>;

const FRAME_BYTES: u32 = 64 * 1024;

fn broker_link() -> (BrokerLink, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut link = Link::new(ours, Versions::OURS, FRAME_BYTES);
    assert_eq!(link.flush().unwrap(), Progress::Sent);
    (link, theirs)
}

fn pair() -> (ClientLink, BrokerLink) {
    let (broker, theirs) = broker_link();
    let mut client = Link::new(theirs, Versions::OURS, FRAME_BYTES);
    assert_eq!(client.flush().unwrap(), Progress::Sent);
    (client, broker)
}

fn ping(request: u64) -> Outgoing<ToBroker> {
    Outgoing {
        frame: ToBroker::Ping { request },
        descriptors: Vec::new(),
    }
}

fn accept(lane: u64, descriptors: Vec<Descriptor>) -> Outgoing<ToBroker> {
    Outgoing {
        frame: ToBroker::AcceptLane {
            lane,
            segment: SegmentSource::Descriptor,
            area: 0,
        },
        descriptors,
    }
}

/// A descriptor that can be told from others: `text` can be read from it.
fn file(text: &str) -> Descriptor {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    Arc::new(reader.into())
}

fn text(descriptor: OwnedFd) -> String {
    let mut text = String::new();
    File::from(descriptor).read_to_string(&mut text).unwrap();
    text
}

/// Waits for something to read or for the end of the other side. A process that another test starts has copies of all
/// descriptors for a moment, so what was dropped here need not be closed yet.
fn wait(descriptor: BorrowedFd<'_>) {
    let mut polled = [PollFd::new(descriptor, PollFlags::POLLIN)];
    let ready = poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap();
    assert_eq!(ready, 1, "nothing comes");
}

/// What comes next, waiting for it.
fn receive(link: &mut BrokerLink) -> Result<Received<ToBroker>, LinkError> {
    loop {
        match link.try_recv() {
            Ok(Received::Later) => wait(link.as_fd()),
            received => return received,
        }
    }
}

fn frame(link: &mut BrokerLink) -> (ToBroker, Vec<OwnedFd>) {
    match link.try_recv().unwrap() {
        Received::Frame(frame, descriptors) => (frame, descriptors),
        other => panic!("no frame but {other:?}"),
    }
}

#[test]
fn frames_arrive_in_order_with_their_descriptors() {
    let (mut client, mut broker) = pair();
    client.try_send(ping(1)).unwrap();
    client
        .try_send(accept(2, vec![file("a"), file("b")]))
        .unwrap();
    client.try_send(accept(3, vec![file("c")])).unwrap();
    client.try_send(ping(4)).unwrap();
    assert_eq!(frame(&mut broker).0, ToBroker::Ping { request: 1 });
    let (_, descriptors) = frame(&mut broker);
    assert_eq!(
        descriptors.into_iter().map(text).collect::<Vec<_>>(),
        ["a", "b"]
    );
    let (_, descriptors) = frame(&mut broker);
    assert_eq!(descriptors.into_iter().map(text).collect::<Vec<_>>(), ["c"]);
    assert_eq!(frame(&mut broker).0, ToBroker::Ping { request: 4 });
    assert!(matches!(broker.try_recv().unwrap(), Received::Later));
    assert_eq!((client.version(), broker.version()), (None, Some(1)));
    assert!(matches!(client.try_recv().unwrap(), Received::Later));
    assert_eq!(client.version(), Some(1));
}

#[test]
fn what_was_sent_before_the_end_is_received() {
    let (mut client, mut broker) = pair();
    client.try_send(accept(1, vec![file("a")])).unwrap();
    drop(client);
    assert_eq!(frame(&mut broker).1.len(), 1);
    assert!(matches!(receive(&mut broker).unwrap(), Received::Closed));
    let pong = Outgoing {
        frame: ToClient::Pong { request: 1 },
        descriptors: Vec::new(),
    };
    assert_eq!(broker.try_send(pong).unwrap(), Progress::Closed);
}

#[test]
fn a_peer_that_closes_without_reading_is_not_an_error() {
    let (mut client, mut broker) = pair();
    client.try_send(ping(1)).unwrap();
    let pong = Outgoing {
        frame: ToClient::Pong { request: 1 },
        descriptors: Vec::new(),
    };
    broker.try_send(pong).unwrap();
    drop(client);
    assert_eq!(frame(&mut broker).0, ToBroker::Ping { request: 1 });
    assert!(matches!(receive(&mut broker).unwrap(), Received::Closed));
}

#[test]
fn a_full_socket_loses_nothing_and_sends_descriptors_once() {
    let (mut client, mut broker) = pair();
    let hello = |n: usize| Outgoing {
        frame: ToBroker::Hello {
            name: format!("{n}-{}", "x".repeat(50_000)),
        },
        descriptors: vec![file(&n.to_string())],
    };
    let mut taken = 0;
    while client.try_send(hello(taken)).unwrap() == Progress::Sent {
        taken += 1;
    }
    taken += 1;
    client.try_send(hello(taken)).unwrap();
    let mut got = Vec::new();
    loop {
        match broker.try_recv().unwrap() {
            Received::Frame(ToBroker::Hello { name }, mut descriptors) => {
                assert_eq!(descriptors.len(), 1);
                got.push((
                    name.split_once('-').unwrap().0.to_owned(),
                    text(descriptors.remove(0)),
                ));
            }
            Received::Later if got.len() == taken + 1 => break,
            Received::Later => drop(client.flush().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<_> = (0..=taken)
        .map(|n| (n.to_string(), n.to_string()))
        .collect();
    assert_eq!(got, expected);
    assert_eq!(client.flush().unwrap(), Progress::Sent);
}

#[test]
fn other_versions_are_answered_with_both_ranges() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let newer = Versions {
        lowest: 7,
        highest: 9,
    };
    let mut client: ClientLink = Link::new(theirs, newer, FRAME_BYTES);
    let mut broker: BrokerLink = Link::new(ours, Versions::OURS, FRAME_BYTES);
    client.flush().unwrap();
    broker.flush().unwrap();
    let error = broker.try_recv().unwrap_err();
    drop(broker);
    let expected = PreambleError::NoCommonVersion {
        ours: Versions::OURS,
        theirs: newer,
    };
    assert!(matches!(error, LinkError::Preamble(e) if e == expected));
    let expected = PreambleError::NoCommonVersion {
        ours: newer,
        theirs: Versions::OURS,
    };
    assert!(matches!(client.try_recv().unwrap_err(), LinkError::Preamble(e) if e == expected));
}

/// What the link says when a peer sends a preamble, then `bytes` with `descriptors`, and closes.
fn after(bytes: &[u8], descriptors: &[Descriptor]) -> LinkError {
    let (mut link, mut peer) = broker_link();
    peer.write_all(&Versions::OURS.encode()).unwrap();
    let raw: Vec<RawFd> = descriptors
        .iter()
        .map(|descriptor| descriptor.as_raw_fd())
        .collect();
    if !bytes.is_empty() {
        crate::wake::rights::send(peer.as_fd(), bytes, &raw).unwrap();
    }
    drop(peer);
    loop {
        match receive(&mut link) {
            Ok(Received::Frame(..)) => {}
            Ok(other) => panic!("no error but {other:?}"),
            Err(error) => return error,
        }
    }
}

fn encoded(descriptors: usize) -> Vec<u8> {
    encode(&ToBroker::Received, descriptors, FRAME_BYTES).unwrap()
}

#[test]
fn missing_descriptors_end_the_link() {
    let error = after(&encoded(2), &[file("a")]);
    assert!(
        matches!(
            error,
            LinkError::MissingDescriptors {
                announced: 2,
                found: 1
            }
        ),
        "{error}"
    );
}

#[test]
fn surplus_descriptors_end_the_link() {
    let error = after(&encoded(0), &[file("a")]);
    assert!(
        matches!(error, LinkError::SurplusDescriptors { count: 1 }),
        "{error}"
    );
}

#[test]
fn more_descriptors_than_a_frame_may_carry_end_the_link_and_do_not_leak() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader: Descriptor = Arc::new(reader.into());
    let error = after(&encoded(1), &vec![reader.clone(); MAX_DESCRIPTORS + 1]);
    assert!(
        matches!(
            error,
            LinkError::CutDescriptors {
                limit: MAX_DESCRIPTORS
            }
        ),
        "{error}"
    );
    drop(reader);
    wait(writer.as_fd());
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn garbage_ends_the_link() {
    let error = after(&[0xff; 64], &[]);
    assert!(
        matches!(error, LinkError::Decode(DecodeError::Reserved { .. })),
        "{error}"
    );
    let (mut link, mut peer) = broker_link();
    peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(matches!(
        link.try_recv(),
        Err(LinkError::Preamble(PreambleError::Magic { .. }))
    ));
}

#[test]
fn an_end_within_a_frame_is_an_error() {
    assert!(matches!(
        after(&encoded(0)[..HEADER_BYTES], &[]),
        LinkError::Truncated
    ));
    let (mut link, mut peer) = broker_link();
    peer.write_all(b"RING").unwrap();
    drop(peer);
    assert!(matches!(receive(&mut link), Err(LinkError::Truncated)));
}

#[test]
fn received_descriptors_are_closed_on_exec() {
    let (mut client, mut broker) = pair();
    client.try_send(accept(1, vec![file("a")])).unwrap();
    let (_, descriptors) = frame(&mut broker);
    let flags = nix::fcntl::fcntl(&descriptors[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

#[test]
fn a_frame_that_is_too_large_leaves_the_link_as_it_was() {
    let (mut client, mut broker) = pair();
    client.set_peer_frame_bytes(200);
    let large = Outgoing {
        frame: ToBroker::Hello {
            name: "x".repeat(200),
        },
        descriptors: Vec::new(),
    };
    assert!(matches!(
        client.try_send(large),
        Err(LinkError::Encode(EncodeError::TooLarge { limit: 200, .. }))
    ));
    client.try_send(ping(1)).unwrap();
    assert_eq!(frame(&mut broker).0, ToBroker::Ping { request: 1 });
}
