//! A lane that has no part in its ring: not yet, or no more.

use crate::ring::{Ending, Seated, seated};
use crate::wire::LaneId;

use super::{LaneError, Reader};

/// The reader of a lane that is to begin in a ring in use, or whose part in such a ring has ended.
pub struct Apart {
    /// `None` when it has begun.
    reader: Option<Reader>,
    /// Its seat, until that says where it begins.
    waits: Option<(u32, LaneId)>,
}

impl Apart {
    /// To begin where this seat says.
    pub fn waiting(reader: Reader, seat: u32, lane: LaneId) -> Self {
        Self {
            reader: Some(reader),
            waits: Some((seat, lane)),
        }
    }

    /// Ended.
    pub(super) fn ended() -> Self {
        Self {
            reader: None,
            waits: None,
        }
    }

    /// The reader that has ended.
    pub(super) fn keep(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    pub(super) fn reader(&self) -> &Reader {
        self.reader
            .as_ref()
            .expect("it is taken out to replace this")
    }

    pub(super) fn reader_mut(&mut self) -> &mut Reader {
        self.reader
            .as_mut()
            .expect("it is taken out to replace this")
    }

    /// The reader, where it can begin.
    pub(super) fn begin(&mut self) -> Result<Option<Reader>, LaneError> {
        let Some((seat, _)) = self.waits else {
            return Ok(None);
        };
        let (from, told) = match self.look() {
            Seated::At(from, told) => (from, told),
            Seated::Waits | Seated::Gone => return Ok(None),
            Seated::Broken(word) => return Err(LaneError::Begin { word }),
        };
        let mut reader = self.reader.take();
        if let Some(reader) = &mut reader {
            reader.begin(seat, from, told);
        }
        Ok(reader)
    }

    /// Whether there is something: where it begins, or its end.
    pub(super) fn has_something(&self) -> bool {
        self.look() != Seated::Waits
    }

    /// How the lane has ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.look() {
            Seated::Gone => Some(Ending::Closed),
            _ => None,
        }
    }

    fn look(&self) -> Seated {
        let Some((seat, lane)) = self.waits else {
            return Seated::Gone;
        };
        seated(self.reader().ring(), seat, lane)
    }
}
