//! Turns frames into bytes and back.
//!
//! A frame is a header of 8 bytes and an rkyv archive. What arrives is checked in the order in which it comes: the header
//! before the body is awaited, the body before anything of it is believed.

use std::marker::PhantomData;
use std::num::NonZeroUsize;

use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use thiserror::Error;

use super::{ToBroker, ToClient};

/// What travels in one direction; [`ToBroker`] or [`ToClient`].
pub trait Frame: Sized {
    /// The frame as an archive.
    #[doc(hidden)]
    fn archive(&self) -> Result<AlignedVec, rancor::Error>;
    /// The frame in an aligned archive, checked.
    #[doc(hidden)]
    fn from_archive(bytes: &AlignedVec) -> Result<Self, rancor::Error>;
}

/// Takes the bytes of a connection as they come, gives the frames in them.
#[derive(Debug)]
pub struct Decoder<F> {
    buffer: Vec<u8>,
    /// Start of the first frame that has not been given.
    start: usize,
    frame_bytes: u32,
    frame: PhantomData<fn() -> F>,
}

/// A frame that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<F> {
    /// The frame.
    pub frame: F,
    /// How many descriptors belong to it.
    pub descriptors: usize,
}

/// Why a frame cannot be sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The receiver would refuse it.
    #[error(
        "the frame has {len} bytes, the other side takes {limit}: use fewer or shorter patterns and names"
    )]
    TooLarge {
        /// Its body's length in bytes.
        len: usize,
        /// What the receiver takes, in bytes.
        limit: u32,
    },
    /// More descriptors than a frame may carry.
    #[error("a frame with {count} descriptors, {limit} is the most")]
    Descriptors {
        /// How many.
        count: usize,
        /// The most.
        limit: usize,
    },
    /// The archive cannot be made.
    #[error("the frame cannot be archived")]
    Archive(#[source] rancor::Error),
}

/// How a peer broke the protocol. The connection has to end: where the next frame begins is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame is larger than this side takes.
    #[error("the peer announces a frame of {len} bytes, {limit} is the most")]
    TooLarge {
        /// Its length in bytes, as announced.
        len: u32,
        /// The most, in bytes.
        limit: u32,
    },
    /// The frame brings more descriptors than any may.
    #[error("the peer announces a frame with {count} descriptors, {limit} is the most")]
    Descriptors {
        /// How many, as announced.
        count: usize,
        /// The most.
        limit: usize,
    },
    /// Bytes that have to be zero are not.
    #[error("the peer sets reserved bytes of a frame header: {found:02x?}")]
    Reserved {
        /// What they are.
        found: [u8; 3],
    },
    /// The body is no archive of a frame.
    #[error("the peer sent a frame of {len} bytes that is malformed")]
    Malformed {
        /// Length of the body in bytes.
        len: usize,
        /// What is wrong with it.
        source: rancor::Error,
    },
}

/// The bytes of a frame that `descriptors` descriptors go with.
///
/// `frame_bytes` is what the receiver takes.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode<F: Frame>(
    frame: &F,
    descriptors: usize,
    frame_bytes: u32,
) -> Result<Vec<u8>, EncodeError> {
    let body = frame.archive().map_err(EncodeError::Archive)?;
    let too_large = EncodeError::TooLarge {
        len: body.len(),
        limit: frame_bytes,
    };
    let len = u32::try_from(body.len())
        .ok()
        .filter(|len| *len <= frame_bytes)
        .ok_or(too_large)?;
    let count = u8::try_from(descriptors)
        .ok()
        .filter(|_| descriptors <= MAX_DESCRIPTORS)
        .ok_or(EncodeError::Descriptors {
            count: descriptors,
            limit: MAX_DESCRIPTORS,
        })?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&[count, 0, 0, 0]);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

impl<F: Frame> Decoder<F> {
    /// A decoder that takes frames of up to `frame_bytes`.
    pub fn new(frame_bytes: u32) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            frame_bytes,
            frame: PhantomData,
        }
    }

    /// Takes the next bytes of the connection, wherever they are cut.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.start));
        self.buffer.extend_from_slice(bytes);
    }

    /// Gives the next frame if it has come whole.
    ///
    /// # Errors
    /// See [`DecodeError`]; every later call gives the same.
    pub fn pull(&mut self) -> Result<Option<Decoded<F>>, DecodeError> {
        let waiting = &self.buffer[self.start..];
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (len, descriptors) = self.check_header(*header)?;
        let Some(body) = rest.get(..len) else {
            return Ok(None);
        };
        let mut aligned = AlignedVec::with_capacity(len);
        aligned.extend_from_slice(body);
        let frame =
            F::from_archive(&aligned).map_err(|source| DecodeError::Malformed { len, source })?;
        self.start += HEADER_BYTES + len;
        Ok(Some(Decoded { frame, descriptors }))
    }

    /// Whether no part of a frame waits for the rest of it.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    fn check_header(
        &self,
        [l0, l1, l2, l3, count, reserved @ ..]: [u8; HEADER_BYTES],
    ) -> Result<(usize, usize), DecodeError> {
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let count = usize::from(count);
        if reserved != [0; 3] {
            return Err(DecodeError::Reserved { found: reserved });
        }
        if len > self.frame_bytes {
            return Err(DecodeError::TooLarge {
                len,
                limit: self.frame_bytes,
            });
        }
        if count > MAX_DESCRIPTORS {
            return Err(DecodeError::Descriptors {
                count,
                limit: MAX_DESCRIPTORS,
            });
        }
        Ok((len as usize, count))
    }
}

macro_rules! frame {
    ($frame:ty) => {
        impl Frame for $frame {
            fn archive(&self) -> Result<AlignedVec, rancor::Error> {
                rkyv::to_bytes(self)
            }

            fn from_archive(bytes: &AlignedVec) -> Result<Self, rancor::Error> {
                let archive = ArchiveValidator::with_max_depth(bytes, Some(MAX_DEPTH));
                let mut context = Validator::new(archive, SharedValidator::new());
                let archived = rkyv::api::access_with_context::<
                    rkyv::Archived<$frame>,
                    _,
                    rancor::Error,
                >(bytes, &mut context)?;
                rkyv::deserialize(archived)
            }
        }
    };
}

frame!(ToBroker);
frame!(ToClient);

/// The most descriptors that one frame carries: a process, a segment, a bell, a courier, a history, one to spare.
pub const MAX_DESCRIPTORS: usize = 6;
/// Length of a frame's header in bytes.
pub const HEADER_BYTES: usize = 8;

/// Above what the frames need (lists of publishers with lists of topics: 4); a validator without it can be made to
/// overflow the stack.
const MAX_DEPTH: NonZeroUsize = NonZeroUsize::new(16).unwrap();
