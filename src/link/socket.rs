//! A link: frames with descriptors over a connected Unix socket, without blocking.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;

use crate::wake::rights;
use crate::wire::{
    DecodeError, Decoded, Decoder, EncodeError, Frame, MAX_DESCRIPTORS, PREAMBLE_BYTES,
    PreambleError, Versions, encode,
};

/// A descriptor on its way out; shared, since a broker sends some (a process, a bell) to many.
pub type Descriptor = Arc<OwnedFd>;

/// Frames with descriptors over a connected Unix socket; `In` is what comes, `Out` what goes.
///
/// No call blocks. To wait, poll [`as_fd`](AsFd::as_fd): readable, then [`try_recv`](Self::try_recv) until it has nothing
/// more; writable, as long as the last [`Progress`] was [`Blocked`](Progress::Blocked), then [`flush`](Self::flush).
#[derive(Debug)]
pub struct Link<In, Out> {
    stream: UnixStream,
    incoming: Incoming<In>,
    outgoing: VecDeque<Unsent>,
    /// What the other side takes.
    peer_frame_bytes: u32,
    frames: PhantomData<fn(Out)>,
}

/// A frame on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing<Out> {
    /// The frame.
    pub frame: Out,
    /// Its descriptors, in the order that the frame states.
    pub descriptors: Vec<Descriptor>,
}

/// How far sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything has been handed to the kernel.
    Sent,
    /// The socket is full: flush when it is writable, and give nothing more before.
    Blocked,
    /// This user has too many descriptors on their way (`ETOOMANYREFS`): flush a little later. The socket is writable all
    /// the same, so do not wait for that.
    TooManyInFlight,
    /// The other side is gone, nothing can be sent any more. What it has sent before can still be received.
    Closed,
}

/// What came.
#[derive(Debug)]
pub enum Received<In> {
    /// A frame, with as many descriptors as it announced.
    Frame(In, Vec<OwnedFd>),
    /// Nothing more at the moment.
    Later,
    /// The end: the other side has closed, and everything that it sent has been received.
    Closed,
}

/// Why a link cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The two sides do not speak the same protocol.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// The peer broke the protocol.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A frame of this side cannot be sent; the link itself is as before.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The peer sent fewer descriptors than it announced.
    #[error("the peer announced {announced} descriptors, {found} came")]
    MissingDescriptors {
        /// How many should have come.
        announced: usize,
        /// How many did.
        found: usize,
    },
    /// The peer sent descriptors that belong to no frame.
    #[error("the peer sent {count} descriptors that belong to no frame")]
    SurplusDescriptors {
        /// How many.
        count: usize,
    },
    /// The kernel dropped descriptors.
    #[error(
        "descriptors were cut off: the peer sent more than {limit} at once, or this process may not open more (`ulimit -n`)"
    )]
    CutDescriptors {
        /// The most that one frame carries.
        limit: usize,
    },
    /// The stream ended within a frame.
    #[error("the peer closed the connection within a frame")]
    Truncated,
    /// A system call failed.
    #[error("{call} failed on a link")]
    Socket {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl<In: Frame, Out: Frame> Link<In, Out> {
    /// A link over a connected socket; queues this side's preamble, so [`flush`](Self::flush) it.
    ///
    /// Frames of up to `frame_bytes` are taken; the same is assumed of the other side until
    /// [`set_peer_frame_bytes`](Self::set_peer_frame_bytes).
    pub fn new(stream: UnixStream, versions: Versions, frame_bytes: u32) -> Self {
        let preamble = Unsent {
            bytes: versions.encode().to_vec(),
            sent: 0,
            descriptors: Vec::new(),
        };
        Self {
            stream,
            incoming: Incoming::new(versions, frame_bytes),
            outgoing: VecDeque::from([preamble]),
            peer_frame_bytes: frame_bytes,
            frames: PhantomData,
        }
    }

    /// The protocol version that both sides speak, once the other's preamble has come.
    #[cfg(test)]
    pub fn version(&self) -> Option<u16> {
        self.incoming.version
    }

    /// States what the other side takes, as its `Welcome` says.
    pub fn set_peer_frame_bytes(&mut self, frame_bytes: u32) {
        self.peer_frame_bytes = frame_bytes;
    }

    /// Frames, and the preamble, that are not sent whole yet.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes a frame and sends as much as the socket takes.
    ///
    /// The frame is taken whatever the progress is; on anything but [`Progress::Sent`], give no more before a
    /// [`flush`](Self::flush) says so, or memory grows.
    ///
    /// # Errors
    /// [`LinkError::Encode`] (the frame is not taken), [`LinkError::Socket`].
    pub fn try_send(&mut self, outgoing: Outgoing<Out>) -> Result<Progress, LinkError> {
        let bytes = encode(
            &outgoing.frame,
            outgoing.descriptors.len(),
            self.peer_frame_bytes,
        )?;
        self.outgoing.push_back(Unsent {
            bytes,
            sent: 0,
            descriptors: outgoing.descriptors,
        });
        self.flush()
    }

    /// Sends as much of what was taken as the socket takes.
    ///
    /// # Errors
    /// [`LinkError::Socket`].
    pub fn flush(&mut self) -> Result<Progress, LinkError> {
        while let Some(first) = self.outgoing.front_mut() {
            match first.send(self.stream.as_fd()) {
                Ok(()) if first.sent == first.bytes.len() => drop(self.outgoing.pop_front()),
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Progress::Blocked),
                Err(Errno::ETOOMANYREFS) => return Ok(Progress::TooManyInFlight),
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => {
                    self.outgoing.clear();
                    return Ok(Progress::Closed);
                }
                Err(error) => {
                    return Err(LinkError::Socket {
                        call: "sendmsg",
                        source: error.into(),
                    });
                }
            }
        }
        Ok(Progress::Sent)
    }

    /// Gives the next frame.
    ///
    /// # Errors
    /// All of [`LinkError`] but `Encode`: the link has to end.
    pub fn try_recv(&mut self) -> Result<Received<In>, LinkError> {
        loop {
            if let Some((frame, descriptors)) = self.incoming.next()? {
                return Ok(Received::Frame(frame, descriptors));
            }
            let mut buffer = [0; READ_BYTES];
            match rights::receive::<CONTROL_WORDS>(self.stream.as_fd(), &mut buffer) {
                Ok(arrived) => {
                    // Owned before anything is judged, so that they are closed whatever comes of it.
                    self.incoming.descriptors.extend(arrived.descriptors);
                    if arrived.cut {
                        return Err(LinkError::CutDescriptors {
                            limit: MAX_DESCRIPTORS,
                        });
                    }
                    if arrived.bytes == 0 {
                        return self.incoming.end();
                    }
                    self.incoming.take(&buffer[..arrived.bytes])?;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Later),
                // The other side closed without reading all of ours; what it sent has come before this.
                Err(Errno::ECONNRESET) => return self.incoming.end(),
                Err(error) => {
                    return Err(LinkError::Socket {
                        call: "recvmsg",
                        source: error.into(),
                    });
                }
            }
        }
    }
}

impl<In, Out> AsFd for Link<In, Out> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<In, Out> AsRawFd for Link<In, Out> {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// A frame, or the preamble, of which some bytes may have been sent.
#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<Descriptor>,
}

impl Unsent {
    fn send(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let raw: Vec<RawFd> = self
            .descriptors
            .iter()
            .map(|descriptor| descriptor.as_raw_fd())
            .collect();
        self.sent += rights::send(socket, &self.bytes[self.sent..], &raw)?;
        // They have gone with the first byte, however few bytes went.
        self.descriptors.clear();
        Ok(())
    }
}

/// Puts bytes and descriptors together again.
#[derive(Debug)]
struct Incoming<In> {
    ours: Versions,
    /// Bytes of the other side's preamble, until it is whole.
    preamble: Vec<u8>,
    version: Option<u16>,
    decoder: Decoder<In>,
    /// Those that have come and belong to a frame that has not been given yet.
    descriptors: VecDeque<OwnedFd>,
}

impl<In: Frame> Incoming<In> {
    fn new(ours: Versions, frame_bytes: u32) -> Self {
        Self {
            ours,
            preamble: Vec::with_capacity(PREAMBLE_BYTES),
            version: None,
            decoder: Decoder::new(frame_bytes),
            descriptors: VecDeque::new(),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), LinkError> {
        if self.version.is_none() {
            let missing = PREAMBLE_BYTES - self.preamble.len();
            let (start, rest) = bytes.split_at(missing.min(bytes.len()));
            self.preamble.extend_from_slice(start);
            bytes = rest;
            if let Some(preamble) = self.preamble.first_chunk() {
                self.version = Some(self.ours.agree(Versions::decode(preamble)?)?);
            }
        }
        self.decoder.push(bytes);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>, LinkError> {
        match self.decoder.pull()? {
            Some(Decoded {
                frame,
                descriptors: announced,
            }) => {
                let found = self.descriptors.len();
                if found < announced {
                    return Err(LinkError::MissingDescriptors { announced, found });
                }
                Ok(Some((frame, self.descriptors.drain(..announced).collect())))
            }
            // All frames that have come whole have been given; one more may have come in part.
            None => {
                let most = if self.decoder.is_empty() {
                    0
                } else {
                    MAX_DESCRIPTORS
                };
                let count = self.descriptors.len();
                if count > most {
                    Err(LinkError::SurplusDescriptors { count })
                } else {
                    Ok(None)
                }
            }
        }
    }

    fn end(&self) -> Result<Received<In>, LinkError> {
        let between_frames =
            self.decoder.is_empty() && (self.version.is_some() || self.preamble.is_empty());
        if between_frames {
            Ok(Received::Closed)
        } else {
            Err(LinkError::Truncated)
        }
    }
}

/// As much as is read at once: some hundred frames.
const READ_BYTES: usize = 16 * 1024;
/// Room for one frame's descriptors, no more.
const CONTROL_WORDS: usize = rights::words_for(MAX_DESCRIPTORS);

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
