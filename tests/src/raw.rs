//! A client that speaks the protocol byte by byte, so that it can say what no client of the library would.
//!
//! The one invariant of the unsafe line: a descriptor is owned once, right where the kernel gives it.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use ringmain::Overflow;
use ringmain::message::{Bytes, Message};
use ringmain::wire::{
    Decoder, HistoryUse, LaneId, PREAMBLE_BYTES, PublisherSpec, RouteChange, SubscriberSpec,
    ToBroker, ToClient, Versions, encode,
};

/// A hand-written client of a bus on a Unix socket.
pub struct Raw {
    stream: UnixStream,
    decoder: Decoder<ToClient>,
    descriptors: VecDeque<OwnedFd>,
    /// Bytes of the broker's preamble that are still to come.
    preamble: usize,
}

impl Raw {
    /// Connects and says nothing.
    pub fn connect(address: &str) -> Self {
        let path = address.strip_prefix("unix:").unwrap();
        Self {
            stream: UnixStream::connect(path).unwrap(),
            decoder: Decoder::new(FRAME_BYTES),
            descriptors: VecDeque::new(),
            preamble: PREAMBLE_BYTES,
        }
    }

    /// Connects and is welcomed.
    pub fn join(address: &str, name: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.send_bytes(&Versions::OURS.encode());
        raw.send(&ToBroker::Hello { name: name.into() }, &[]);
        assert!(matches!(raw.receive(), Some((ToClient::Welcome(_), _))));
        raw
    }

    /// Sends bytes as they are; the broker may have closed.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a frame with descriptors.
    pub fn send(&mut self, frame: &ToBroker, descriptors: &[BorrowedFd<'_>]) {
        let bytes = encode(frame, descriptors.len(), FRAME_BYTES).unwrap();
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            control,
            flags,
            None,
        );
        assert_eq!(sent.unwrap(), bytes.len());
    }

    /// The next frame with its descriptors; `None` when the broker has closed.
    pub fn receive(&mut self) -> Option<(ToClient, Vec<OwnedFd>)> {
        loop {
            if let Some(decoded) = self.decoder.pull().unwrap() {
                let descriptors = self.descriptors.drain(..decoded.descriptors).collect();
                return Some((decoded.frame, descriptors));
            }
            self.take_bytes()?;
        }
    }

    /// Opens publisher 1 of raw bytes on a topic; gives its lanes.
    pub fn open_publisher(&mut self, topic: &str) -> Vec<LaneId> {
        let spec = PublisherSpec {
            topic: topic.into(),
            message_type: Bytes::message_type().clone(),
            max_message_bytes: 100,
            block_cap: None,
            history: 0,
            conflates: true,
        };
        self.send(
            &ToBroker::OpenPublisher {
                request: 1,
                publisher: 1,
                spec,
            },
            &[],
        );
        let mut lanes = Vec::new();
        loop {
            match self.receive().expect("the broker has closed").0 {
                ToClient::Routes { changes, .. } => {
                    lanes.extend(changes.into_iter().map(|change| match change {
                        RouteChange::Set(route) => route.lane,
                        change => panic!("{change:?}"),
                    }))
                }
                ToClient::Opened { .. } => return lanes,
                frame => panic!("{frame:?}"),
            }
        }
    }

    /// Opens subscriber 1 to raw bytes on a topic, and waits for the lane of the one publisher that there is.
    pub fn open_subscriber(&mut self, pattern: &str, overflow: Overflow) -> LaneId {
        let spec = SubscriberSpec {
            patterns: vec![pattern.into()],
            message_type: Some(Bytes::message_type().clone()),
            overflow,
            ring_bytes: 0,
            self_delivery: true,
            excludes: Vec::new(),
            queue: None,
            history: HistoryUse::None,
        };
        self.send(
            &ToBroker::OpenSubscriber {
                request: 1,
                subscriber: 1,
                spec,
            },
            &[],
        );
        loop {
            match self.receive().expect("the broker has closed").0 {
                ToClient::LaneOffered { lane, .. } => {
                    self.send(&ToBroker::Received, &[]);
                    return lane;
                }
                ToClient::Opened { .. } => {}
                frame => panic!("{frame:?}"),
            }
        }
    }

    fn take_bytes(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let mut space = cmsg_space!([RawFd; 16]);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(
            self.stream.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            flags,
        )
        .ok()?;
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(rights) = control {
                self.descriptors.extend(rights.into_iter().map(own));
            }
        }
        let length = message.bytes;
        if length == 0 {
            return None;
        }
        let preamble = self.preamble.min(length);
        self.preamble -= preamble;
        self.decoder.push(&bytes[preamble..length]);
        Some(())
    }
}

#[expect(unsafe_code, reason = "the kernel gives descriptors as numbers")]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: `recvmsg` has just made the descriptor for this process; nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

const FRAME_BYTES: u32 = 256 * 1024;
