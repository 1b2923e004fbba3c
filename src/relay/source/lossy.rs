//! A ring whose oldest records give way, also while the socket takes nothing.

use crate::lane::PeerMedium;
use crate::relay::RECORDS_AT_ONCE;
use crate::relay::packet::Packet;
use crate::ring::lossy::{LossyConsumer, max_payload_bytes};
use crate::ring::{Cursor, Position, Read};
use crate::sync::AtomicU64;
use crate::wire::LaneId;

use super::{BrokenLane, Flow};

pub(super) struct LossySource {
    ring: LossyConsumer<PeerMedium, Unshown>,
    record: Vec<u8>,
    /// The least number that the next record can have.
    due: u64,
}

/// How far this relay has read, which nobody is shown: the publisher sees the far reader's cursor.
#[derive(Default)]
struct Unshown(AtomicU64);

impl LossySource {
    pub(super) fn new(ring: PeerMedium) -> Self {
        Self {
            ring: LossyConsumer::new(ring, Unshown::default()),
            record: Vec::new(),
            due: 0,
        }
    }
}

impl Flow for LossySource {
    fn pump(&mut self, lane: LaneId, _: Position, out: &mut Vec<u8>) -> Result<bool, BrokenLane> {
        let limit = max_payload_bytes(self.ring.storage().capacity());
        let start = out.len();
        while out.len() - start < RECORDS_AT_ONCE {
            let Some(number) = self.ring.poll(&mut self.record)? else {
                break;
            };
            let (len, due) = (self.record.len(), self.due);
            if len > limit {
                return Err(BrokenLane::TooLarge { len, limit });
            }
            self.due = number
                .checked_add(1)
                .filter(|next| *next > due)
                .ok_or(BrokenLane::Number { number, due })?;
            Packet::Parcel {
                lane,
                number,
                position: self.ring.position().0,
                bytes: &self.record,
            }
            .encode(out);
        }
        Ok(out.len() > start)
    }

    fn has_something(&self) -> bool {
        self.ring.has_something()
    }

    fn sent(&self) -> Position {
        self.ring.position()
    }
}

impl Cursor for Unshown {
    fn word(&self) -> &AtomicU64 {
        &self.0
    }
}
