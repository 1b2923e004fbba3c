//! A ring whose oldest records give way when more come than its subscriber reads.

use std::collections::VecDeque;

use crate::lane::OwnMedium;
use crate::ring::lossy::LossyProducer;
use crate::ring::{Ending, Position, Read};

use super::ContentsError;

pub struct LossySink {
    ring: LossyProducer<OwnMedium>,
    /// Number of the last record; `None` before the first one.
    last: Option<u64>,
    /// Where records end: here, and in the far ring. Some of them, the last one always.
    ends: VecDeque<(Position, Position)>,
    /// In the far ring, the end of what is known to be read.
    read: Position,
}

impl LossySink {
    pub(super) fn new(ring: OwnMedium) -> Self {
        Self {
            ring: LossyProducer::new(ring),
            last: None,
            ends: VecDeque::new(),
            read: Position(0),
        }
    }

    /// Writes a record that ends there in the far ring.
    pub(super) fn append(
        &mut self,
        number: u64,
        position: Position,
        record: &[u8],
    ) -> Result<(), ContentsError> {
        let end = self.ends.back().map_or(self.read, |end| end.1);
        let last = self.last;
        if last.is_some_and(|last| number <= last) || position <= end {
            let (last, Position(position), Position(end)) = (last.unwrap_or(0), position, end);
            return Err(ContentsError::Number {
                number,
                position,
                last,
                end,
            });
        }
        self.ring
            .append(number, &[record])
            .map_err(|too_large| ContentsError::TooLarge {
                len: record.len(),
                limit: too_large.0,
            })?;
        self.last = Some(number);
        self.note_end(position);
        Ok(())
    }

    pub(super) fn close(&self, ending: Ending) {
        self.ring.close(ending);
    }

    /// Where the reader, which says to be here, is in the far ring, as far as known. Never falls.
    pub(super) fn far_position(&mut self, reader: Position) -> Position {
        while let Some((_, far)) = self.ends.pop_front_if(|(here, _)| *here <= reader) {
            self.read = far;
        }
        self.read
    }

    fn note_end(&mut self, far: Position) {
        let here = self.ring.committed();
        let step = (self.ring.storage().capacity() / MOST_ENDS * 2) as u64;
        // The last one is the next one's, unless it is far enough from the one before.
        let before = self.ends.len().checked_sub(2).map(|index| self.ends[index]);
        if let Some((before, _)) = before
            && let Some(last) = self.ends.back_mut()
            && here.0 - before.0 < step
        {
            *last = (here, far);
            return;
        }
        if self.ends.len() == MOST_ENDS {
            // A ring full ago; whoever is that far behind has missed it.
            self.ends.pop_front();
        }
        self.ends.push_back((here, far));
    }
}

/// About half of them for what the ring holds.
const MOST_ENDS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Kind, SegmentOptions};

    #[test]
    fn what_is_shown_of_the_reader_is_never_ahead_and_in_the_end_exact() {
        let ring = OwnMedium::create(Kind::Ring, 4096, &SegmentOptions::default()).unwrap();
        let mut sink = LossySink::new(ring);
        // The far ring has had more records than came.
        let far = |number: u64| Position(1000 + 100 * number);
        let mut ends = Vec::new();
        for number in 0..1_000 {
            sink.append(number, far(number), &[7; 20]).unwrap();
            ends.push(sink.ring.committed());
            assert!(sink.ends.len() <= MOST_ENDS);
            if number % 97 == 50 {
                let reader = ends[ends.len() - 10];
                let shown = sink.far_position(reader);
                assert!(shown <= far(number - 9), "{number}");
                // By a few records behind, not more.
                assert!(shown > far(number - 30), "{number}");
            }
        }
        assert_eq!(sink.far_position(sink.ring.committed()), far(999));
    }
}
