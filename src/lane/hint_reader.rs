//! Messages that lie in the publisher's pool, of lanes whose older ones give way.
//!
//! What such a lane says is a hint: see [`pool`](crate::pool). A chunk is held before it is looked at, and as long as
//! the message is looked at; where all slots are in use, it is copied.

use rkyv::util::AlignedVec;

use crate::pool::Chunk;
use crate::ring::{Control, Read};
use crate::sync::{Ordering, load_acquire};

use super::block::Lent;
use super::pool_reader::{PoolReader, find};
use super::reader::cargo_error;
use super::{CargoError, CargoReceiver, Hold, LaneError, PeerMedium};

/// Finds messages that lie in the publisher's pool, as long as they do.
pub(super) struct HintReader {
    pool: PoolReader,
    cargo: CargoReceiver,
    /// Segments that the publisher had given up when that was looked at last.
    retired: u64,
    found: Found,
    copy: AlignedVec<16>,
}

/// Where the message is.
enum Found {
    /// Elsewhere.
    Nowhere,
    Held(Hold),
    Copied,
}

impl HintReader {
    pub(super) fn new(pool: PoolReader, cargo: CargoReceiver) -> Self {
        Self {
            pool,
            cargo,
            retired: 0,
            found: Found::Nowhere,
            copy: AlignedVec::new(),
        }
    }

    /// Whether the publisher has given up segments.
    #[inline]
    pub(super) fn has_news(&self, lane: &PeerMedium) -> bool {
        // Relaxed: a hint, no more.
        lane.control(Control::Retired).load(Ordering::Relaxed) != self.retired
    }

    /// Forgets segments that the publisher has given up.
    #[cold]
    pub(super) fn take_news(&mut self, lane: &PeerMedium) -> Result<(), LaneError> {
        // Partner: the release in `CopyWriter::retire`; what was told has come by then.
        self.retired = load_acquire(lane.control(Control::Retired));
        let taken = self.cargo.take_all_in();
        taken.map_err(|error| cargo_error(&error))
    }

    /// Takes what was found to be named by the lane, if that still `stands` when it is asked behind a hold, or a copy. If not,
    /// nothing is said of the chunk.
    pub(super) fn take(
        &mut self,
        chunk: Chunk,
        stands: impl Fn() -> bool,
    ) -> Result<bool, LaneError> {
        self.found = Found::Nowhere;
        let taken = match self.pool.keep(chunk.place) {
            Ok(kept) => {
                if !stands() {
                    return Ok(false);
                }
                let lent = find(chunk, None, &mut self.cargo);
                lent.map(|lent| Found::Held(Hold::new(kept, lent)))
            }
            Err(_) => {
                // The segment may be gone with the chunk.
                let lent = find(chunk, None, &mut self.cargo);
                let copied = lent.and_then(|lent| copy(&lent, chunk, &mut self.copy));
                if !stands() {
                    return Ok(false);
                }
                copied.map(|()| Found::Copied)
            }
        };
        self.found = taken.map_err(|error| cargo_error(&error))?;
        Ok(true)
    }

    /// The message, if it was taken.
    #[inline]
    pub(super) fn payload(&self) -> Option<&[u8]> {
        match &self.found {
            Found::Nowhere => None,
            Found::Held(hold) => Some(hold),
            Found::Copied => Some(&self.copy),
        }
    }

    /// Keeps the message, if it is where its publisher has written it.
    pub(super) fn hold(&self) -> Option<Hold> {
        match &self.found {
            Found::Held(hold) => Some(hold.clone()),
            Found::Nowhere | Found::Copied => None,
        }
    }

    /// Gives the message back; whether it was taken.
    #[inline]
    pub(super) fn release(&mut self) -> bool {
        let was_taken = !matches!(self.found, Found::Nowhere);
        if was_taken {
            self.found = Found::Nowhere;
        }
        was_taken
    }
}

/// Copies a chunk whose publisher may be writing it.
fn copy(lent: &Lent, chunk: Chunk, out: &mut AlignedVec<16>) -> Result<(), CargoError> {
    let segment = &lent.segment;
    let (start, len) = (
        chunk.place.offset_bytes() as usize,
        lent.payload.len_bytes(),
    );
    let bounds = || CargoError::Bounds {
        offset: start as u64,
        len: len as u64,
        segment_bytes: segment.data_len() as u64,
    };
    out.resize(len, 0);
    for (index, bytes) in out.chunks_mut(8).enumerate() {
        let word = segment.try_word(start + 8 * index).ok_or_else(bounds)?;
        // Relaxed: what it is worth is found out behind a fence.
        let word = word.load(Ordering::Relaxed).to_ne_bytes();
        bytes.copy_from_slice(&word[..bytes.len()]);
    }
    Ok(())
}
