//! Carries the bus over a stream socket to a peer that cannot share memory.
//!
//! Two relays stand at the ends of a connection, one beside the client, one beside the broker. Each speaks the ordinary
//! control protocol with its side, over an ordinary link, with descriptors: to a client it is a broker of its host, to a
//! broker a client. So publishers, subscribers, broker know nothing of sockets.
//!
//! **A ring has a ring on the other side, with equal contents at equal positions** ([`crate::ring::Tail`], [`crate::ring::Replica`]). The relay at
//! the publisher's side reads the publisher's ring and sends its records; the other one writes them into a ring of its
//! own, which the subscriber maps. The subscriber's cursor goes back and stands for the publisher's readers. So the
//! publisher can never be further ahead than one ring, wherever the bytes are just now: that is the credit of a lane.
//! Whatever comes has room, so both relays always read, and two directions cannot block each other. Policies, stalls,
//! drop counters, gaps hold across the socket because they are in the ring.
//!
//! **A lossy ring, or a table, has another one of its size**, whose contents differ: nobody waits for its reader, so a slow
//! socket overtakes at the publisher's side, a slow subscriber at its own. What is missing tells itself at either place, for
//! the numbers of messages travel along.
//!
//! **What a publisher has kept comes before all else of a lane** ([`source`] has the order in which).
//!
//! What is different from a lane on one host: if the connection breaks, or the other side is silent for too long, the
//! lane ends with [`crate::ring::Ending::TransportLost`], which a subscriber gets as a gap of unknown size.

mod broker_end;
mod client_end;
mod connect;
mod end;
mod farewell;
mod halves;
mod lanes;
mod packet;
mod pulse;
mod sink;
mod source;
mod stream;
mod turn;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

pub use connect::{DialError, dial};

use crate::link::LinkError;
use crate::segment::SegmentError;
use crate::wire::{Frame, Refusal, ToClient, Versions};
use broker_end::BrokerEnd;
use client_end::ClientEnd;
use packet::Packet;
use turn::Relay;

/// Starts the relay beside a client; gives the stream that is to the client what a broker's would be.
///
/// The relay ends with that stream, when all that the client has published has arrived at the other side; join the thread
/// to wait for that. It gives up on a peer that is silent for `patience`.
///
/// # Errors
/// The system refuses memory, descriptors, or a thread.
pub fn beside_client(
    far: TcpStream,
    patience: Duration,
    frame_bytes: u32,
) -> io::Result<(UnixStream, JoinHandle<()>)> {
    let (near, clients) = UnixStream::pair()?;
    let relay = Relay::new(ClientEnd::default(), near, far, patience, frame_bytes)?;
    let thread = std::thread::Builder::new()
        .name("ringmain-relay".into())
        .spawn(move || relay.run())?;
    Ok((clients, thread))
}

/// Starts the relay beside a broker, for a connection from `from`; gives the stream that is to the broker what a local
/// client's would be.
///
/// # Errors
/// The system refuses memory, descriptors, or a thread.
pub fn beside_broker(
    far: TcpStream,
    from: SocketAddr,
    patience: Duration,
    frame_bytes: u32,
) -> io::Result<(UnixStream, JoinHandle<()>)> {
    connect::prepare(&far, patience)?;
    let (near, brokers) = UnixStream::pair()?;
    let relay = Relay::new(BrokerEnd::default(), near, far, patience, frame_bytes)?;
    let thread = std::thread::Builder::new()
        .name("ringmain-relay".into())
        .spawn(move || {
            let _span = tracing::info_span!("relay", %from).entered();
            relay.run();
        })?;
    Ok((brokers, thread))
}

/// What a client on another host is sent instead of a relay.
pub fn refusal(refusal: Refusal) -> Vec<u8> {
    let mut bytes = Versions::OURS.encode().to_vec();
    // Of no request but the client's `Hello`.
    let frame = ToClient::Refused {
        request: 0,
        refusal,
    };
    if let Ok(archive) = frame.archive() {
        Packet::Frame { archive: &archive }.encode(&mut bytes);
    }
    bytes
}

/// Why a relay ends before either side is done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FarError {
    /// The stream is of no use any more.
    #[error(transparent)]
    Stream(#[from] stream::StreamError),
    /// The stream ended without a goodbye.
    #[error("the peer is gone")]
    Gone,
    /// The peer has connected, and says nothing that makes it a client, or a broker.
    #[error("the peer did not join within {0:?}")]
    NotJoined(Duration),
    /// Nothing has come for too long.
    #[error("the peer was silent for {0:?}")]
    Silent(Duration),
    /// The peer sent no frame where one was announced.
    #[error("the peer sent a frame that is malformed: {0}")]
    Frame(rkyv::rancor::Error),
    /// The peer sent something of a lane that does not go where it is to go.
    #[error(transparent)]
    Contents(#[from] sink::ContentsError),
    /// The peer says to have read what was not sent.
    #[error(transparent)]
    Cursor(#[from] source::CursorError),
    /// The link of this host broke.
    #[error(transparent)]
    Near(#[from] LinkError),
    /// Memory for the other side could not be made.
    #[error(transparent)]
    Segment(SegmentError),
    /// The system refuses to wait.
    #[error("the system refuses to wait")]
    Wait(#[source] io::Error),
}

/// How long a silent peer is waited for, unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);
/// Largest ring, or table, in bytes, that is carried over to another host.
pub const MAX_RING_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of all rings and tables together that a relay makes for the other host: bounds what that can make this one spend.
const LANE_BYTES: usize = 512 * 1024 * 1024;
/// About as many bytes of one lane leave before it is the next one's turn.
const RECORDS_AT_ONCE: usize = 64 * 1024;
