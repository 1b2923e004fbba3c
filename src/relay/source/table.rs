//! A table of last values: a lane's own, or what a publisher has kept.

use crate::lane::PeerMedium;
use crate::relay::RECORDS_AT_ONCE;
use crate::relay::packet::Packet;
use crate::ring::{Position, Read};
use crate::table::{Buf, Shape, Stamp, TableReader, Value};
use crate::wire::{LaneId, reason};

use super::{BrokenLane, Flow};

/// Sends all values that it finds; those that were overwritten before it came there are not found.
pub(super) struct TableSource {
    table: TableReader<PeerMedium>,
    value: Buf,
    /// All values with sequences below it are sent, or others in their place, and the other side knows.
    complete: u64,
}

impl TableSource {
    /// Of a table that keeps so many values of each topic, if that is given.
    ///
    /// # Errors
    /// It is no table that the other side could make, given its size.
    pub(super) fn new(memory: PeerMedium, kept: Option<u32>) -> Result<Self, String> {
        let capacity = memory.capacity();
        let table = TableReader::open_for_all(memory).map_err(|error| reason(&error))?;
        let shape = table.shape();
        let due = Shape::for_bytes(capacity, kept.map_or(shape.cells, |kept| kept + 1));
        if shape != due {
            return Err(format!("its table has the {shape:?}, not the {due:?}"));
        }
        Ok(Self {
            table,
            value: Buf::new(),
            complete: 0,
        })
    }

    /// Its bytes, and how many values of each topic it keeps.
    pub(super) fn sizes(&self) -> (u64, u32) {
        let bytes = self.table.storage().capacity();
        (bytes as u64, self.table.history())
    }
}

impl Flow for TableSource {
    fn pump(&mut self, lane: LaneId, _: Position, out: &mut Vec<u8>) -> Result<bool, BrokenLane> {
        let limit = self.table.longest();
        let start = out.len();
        while out.len() - start < RECORDS_AT_ONCE {
            let Some(value) = self.table.poll(&mut self.value)? else {
                break;
            };
            if value.len > limit {
                let len = value.len;
                return Err(BrokenLane::TooLarge { len, limit });
            }
            packet(lane, &value, &self.value).encode(out);
        }
        let sequence = self.table.seen();
        if sequence > self.complete {
            self.complete = sequence;
            Packet::Complete { lane, sequence }.encode(out);
        }
        Ok(out.len() > start)
    }

    fn has_something(&self) -> bool {
        self.table.has_something()
    }

    fn sent(&self) -> Position {
        Position(self.complete)
    }
}

fn packet<'a>(lane: LaneId, value: &Value, bytes: &'a [u8]) -> Packet<'a> {
    let slot = value.slot;
    let stamp = Stamp {
        sequence: value.sequence,
        number: value.number,
        count: value.count,
    };
    match value.vacated {
        true => Packet::Vacated { lane, slot, stamp },
        false => Packet::Value {
            lane,
            slot,
            stamp,
            bytes,
        },
    }
}
