//! What a running broker promises to whoever connects; by raw links, over each transport.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::link::{Link, LinkError, Outgoing, Progress, Received, connect};
use crate::message::MessageType;
use crate::segment::ForeignSegment;
use crate::wire::{
    Overflow, PreambleError, PublisherSpec, Refusal, SubscriberSpec, ToBroker, ToClient, Versions,
    Welcome,
};

type ClientLink = Link<ToClient, ToBroker>;

/// A broker on a socket in a directory of its own, and in memory.
struct Bus {
    broker: Broker,
    directory: tempfile::TempDir,
}

impl Bus {
    fn new() -> Self {
        Self::with(Broker::builder())
    }

    fn with(builder: BrokerBuilder) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let name = format!("driver-test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let broker = builder
            .listen(Address::Unix(directory.path().join("bus.sock")))
            .listen(Address::Memory(name))
            .start()
            .unwrap();
        Self { broker, directory }
    }

    fn stream(&self) -> UnixStream {
        connect(&self.broker.addresses()[0]).unwrap()
    }

    fn link(&self) -> ClientLink {
        link(self.stream())
    }
}

fn link(stream: UnixStream) -> ClientLink {
    let mut link = Link::new(stream, Versions::OURS, Limits::default().frame_bytes);
    assert_eq!(link.flush().unwrap(), Progress::Sent);
    link
}

fn for_each_transport(test: impl Fn(&Bus, &Address)) {
    let bus = Bus::new();
    for address in bus.broker.addresses() {
        test(&bus, address);
    }
}

fn send(link: &mut ClientLink, frame: ToBroker) {
    let progress = link.try_send(Outgoing {
        frame,
        descriptors: Vec::new(),
    });
    assert!(
        matches!(progress, Ok(Progress::Sent | Progress::Blocked)),
        "{progress:?}"
    );
}

/// What comes next, waiting for it.
fn receive(link: &mut ClientLink) -> Result<Received<ToClient>, LinkError> {
    loop {
        match link.try_recv() {
            Ok(Received::Later) => {
                let mut polled = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap();
                assert_eq!(ready, 1, "the broker does not answer");
            }
            received => return received,
        }
    }
}

fn frame(link: &mut ClientLink) -> (ToClient, Vec<OwnedFd>) {
    match receive(link).unwrap() {
        Received::Frame(frame, descriptors) => (frame, descriptors),
        other => panic!("no frame but {other:?}"),
    }
}

fn hello(link: &mut ClientLink, name: &str) -> (Welcome, Vec<OwnedFd>) {
    send(link, ToBroker::Hello { name: name.into() });
    match frame(link) {
        (ToClient::Welcome(welcome), descriptors) => (welcome, descriptors),
        (other, _) => panic!("no welcome but {other:?}"),
    }
}

fn open_publisher(link: &mut ClientLink) {
    let spec = PublisherSpec {
        topic: "a/*".into(),
        message_type: MessageType::of::<f64>("quote", 1),
        max_message_bytes: 64,
        block_cap: None,
        history: 0,
        conflates: true,
    };
    send(
        link,
        ToBroker::OpenPublisher {
            request: 1,
            publisher: 1,
            spec,
        },
    );
    assert_eq!(
        frame(link).0,
        ToClient::Opened {
            request: 1,
            lanes: 0
        }
    );
}

fn clients(link: &mut ClientLink) -> Vec<String> {
    send(link, ToBroker::ListClients { request: 1 });
    let (ToClient::Clients { part, .. }, _) = frame(link) else {
        panic!("no clients")
    };
    part.into_iter().map(|client| client.name).collect()
}

fn assert_answers(link: &mut ClientLink, request: u64) {
    send(link, ToBroker::Ping { request });
    assert_eq!(frame(link).0, ToClient::Pong { request });
}

fn assert_dropped(link: &mut ClientLink) {
    assert!(matches!(receive(link), Ok(Received::Closed)));
}

mod hostile;
mod joining;
mod places;
