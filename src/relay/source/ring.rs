//! A ring whose records wait for the far reader.

use crate::doorbell::is_asleep;
use crate::lane::PeerMedium;
use crate::relay::RECORDS_AT_ONCE;
use crate::relay::packet::{self, Packet};
use crate::ring::{Control, Position, Read, Tail};
use crate::sync::Ordering;
use crate::wire::LaneId;

use super::{BrokenLane, Flow};

pub(super) struct RingSource {
    tail: Tail<PeerMedium>,
    /// The publisher's parked counter when all had been sent.
    parked: u64,
    /// Up to here the other host was asked to tell of each move of the reader.
    asked: Position,
}

impl RingSource {
    pub(super) fn new(ring: PeerMedium) -> Self {
        Self {
            tail: Tail::new(ring),
            parked: 0,
            asked: Position(0),
        }
    }

    /// Whether the publisher waits for its reader, or has since this was asked last, and the other host does not know yet.
    /// For a ring of which everything is sent.
    fn must_ask(&mut self, cursor: Position) -> bool {
        // Relaxed: the publisher rings behind it.
        let parked = self.tail.storage().control(Control::Parked);
        let parked = parked.load(Ordering::Relaxed);
        let waits = is_asleep(parked) || parked != self.parked;
        self.parked = parked;
        let sent = self.tail.position();
        let asks = waits && self.asked < sent && cursor < sent;
        if asks {
            self.asked = sent;
        }
        asks
    }
}

impl Flow for RingSource {
    fn pump(
        &mut self,
        lane: LaneId,
        cursor: Position,
        out: &mut Vec<u8>,
    ) -> Result<bool, BrokenLane> {
        let begun = packet::begin_records(out, lane, self.tail.position().0);
        let taken = self.tail.take(out, RECORDS_AT_ONCE, cursor);
        let mut did = packet::finish_records(begun, out);
        taken?;
        if let Some(counts) = self.tail.take_drops() {
            Packet::Drops { lane, counts }.encode(out);
            did = true;
        }
        if !did && self.must_ask(cursor) {
            Packet::ask(lane, self.tail.position().0).encode(out);
            did = true;
        }
        Ok(did)
    }

    fn has_something(&self) -> bool {
        self.tail.has_something()
    }

    fn sent(&self) -> Position {
        self.tail.position()
    }
}
