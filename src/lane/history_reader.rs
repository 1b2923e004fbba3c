//! Looking up what a publisher has kept, by topic.

use std::collections::HashMap;
use std::thread;

use crate::counters::LaneSlot;
use crate::message::Host;
use crate::ring::{Control, Ending, Read};
use crate::sync::load_acquire;
use crate::table::{self, TableReader};
use crate::topic::Topic;

use super::copy_reader::host;
use super::{CursorArea, LaneError, Peer, PeerMedium, Unpacked};

/// Looks up what a publisher has kept, by topic. Which slot has which topic is found out once, until the topic gives way.
pub struct HistoryReader {
    table: TableReader<PeerMedium>,
    slots: HashMap<Topic, u32>,
    area: CursorArea,
    publisher: Peer,
    counters: LaneSlot,
    host: Host,
}

impl HistoryReader {
    /// Of this memory.
    ///
    /// # Errors
    /// It is no table.
    pub fn new(
        memory: PeerMedium,
        area: CursorArea,
        publisher: Peer,
        counters: LaneSlot,
    ) -> Result<Self, LaneError> {
        Ok(Self {
            host: host(&memory),
            table: TableReader::open(memory)?,
            slots: HashMap::new(),
            area,
            publisher,
            counters,
        })
    }

    /// The last messages that were published to a topic together, with the last of them looked at. `None` if nothing is kept.
    /// Does not block; a publisher that writes to the topic all the time is given way to.
    ///
    /// # Errors
    /// The publisher broke the format.
    pub fn find(&mut self, topic: &Topic) -> Result<Option<Unpacked>, LaneError> {
        let mut parcel = Unpacked::default();
        loop {
            if let Some(&slot) = self.slots.get(topic) {
                match self.table.read(slot, 0, parcel.buffer())? {
                    table::Read::Value(_) => {
                        parcel.open(self.host)?;
                        while parcel.left() > 0 {
                            parcel.advance()?;
                        }
                        if parcel.topic() == Some(topic) {
                            return Ok(Some(parcel));
                        }
                    }
                    table::Read::None => {}
                    table::Read::Busy => {
                        thread::yield_now();
                        continue;
                    }
                }
                self.slots.remove(topic);
            }
            self.learn(&mut parcel)?;
            if !self.slots.contains_key(topic) {
                return Ok(None);
            }
        }
    }

    /// Finds out which slots have other topics now.
    fn learn(&mut self, parcel: &mut Unpacked) -> Result<(), LaneError> {
        // Of topics that have given way nothing is told.
        if self.slots.len() > 2 * self.table.slots() as usize {
            self.slots.clear();
            self.table = TableReader::open(self.memory().clone())?;
        }
        while let Some(value) = self.table.poll(parcel.buffer())? {
            if value.vacated {
                continue;
            }
            parcel.open(self.host)?;
            if let Some(topic) = parcel.topic() {
                self.slots.insert(topic.clone(), value.slot);
            }
        }
        Ok(())
    }

    /// How the publisher has ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(load_acquire(self.memory().control(Control::Closed)))
    }

    /// How it ends by the exit of its process.
    pub fn ending_by_exit(&self) -> Ending {
        Ending::by_exit(load_acquire(self.memory().control(Control::Closed)))
    }

    /// Says that it is not looked at any more.
    pub fn leave(&mut self) {
        self.area.leave();
        self.publisher.ring();
    }

    /// What the lane counts.
    pub fn counters(&self) -> &LaneSlot {
        &self.counters
    }

    fn memory(&self) -> &PeerMedium {
        self.table.storage()
    }
}
