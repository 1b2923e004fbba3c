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
    /// Waits for nobody; a publisher that writes to the topic all the time is given way to, for a while.
    ///
    /// # Errors
    /// The publisher broke the format, or never let the topic be read.
    pub fn find(&mut self, topic: &Topic) -> Result<Option<Unpacked>, LaneError> {
        let mut parcel = Unpacked::of_one();
        for _ in 0..MOST_SEARCHES {
            if let Some(&slot) = self.slots.get(topic) {
                if self.read(slot, &mut parcel)? && parcel.topic() == Some(topic) {
                    return Ok(Some(parcel));
                }
                self.slots.remove(topic);
            }
            self.learn(&mut parcel)?;
            if !self.slots.contains_key(topic) {
                break;
            }
        }
        // Where it was found it has given way, each time.
        Ok(None)
    }

    /// Reads the last value of a slot, with its last message looked at; whether there is one.
    fn read(&self, slot: u32, parcel: &mut Unpacked) -> Result<bool, LaneError> {
        for _ in 0..MOST_TRIES {
            match self.table.read(slot, 0, parcel.buffer())? {
                table::Read::Value(_) => {
                    parcel.open(self.host)?;
                    while parcel.left() > 0 {
                        parcel.advance()?;
                    }
                    return Ok(true);
                }
                table::Read::None => return Ok(false),
                table::Read::Busy => thread::yield_now(),
            }
        }
        Err(LaneError::Busy { slot })
    }

    /// Finds out which slots have other topics now.
    fn learn(&mut self, parcel: &mut Unpacked) -> Result<(), LaneError> {
        let slots = self.table.slots() as usize;
        // Of topics that have given way nothing is told.
        if self.slots.len() > 2 * slots {
            self.slots.clear();
            self.table = TableReader::open(self.memory().clone())?;
        }
        // Slots take turns, so each was looked at by then; a publisher that goes on writing would keep this for ever.
        for _ in 0..4 * slots {
            let Some(value) = self.table.poll(parcel.buffer())? else {
                break;
            };
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

/// How often a topic is looked for again that was found, and has given way before it was read.
const MOST_SEARCHES: usize = 4;

/// How often it is tried to read a slot; each failure is some writes on end that took place meanwhile, if the publisher is
/// honest.
const MOST_TRIES: usize = 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::{Book, Role};
    use crate::lane::{CursorPage, OwnMedium, Parcel, table};
    use crate::message::{Bytes, Scratch};
    use crate::segment::fork::ProcessMark;
    use crate::segment::{Kind, SegmentOptions};
    use crate::sync::Ordering;
    use crate::table::{TableWriter, Words};
    use crate::wake::Bell;

    fn kept() -> (TableWriter<OwnMedium>, HistoryReader) {
        let options = SegmentOptions::default();
        let memory = OwnMedium::create(Kind::Table, 4096, &options).unwrap();
        let peer = PeerMedium::open(Kind::Table, memory.handle().unwrap()).unwrap();
        // The reader wants the shape.
        let writer = table(memory, 1).unwrap();
        let page = Arc::new(CursorPage::create(&options).unwrap());
        let book = Arc::new(Book::new("", ProcessMark::here().unwrap()));
        let counters = book.handle(Role::Subscriber, 0, "", "");
        let reader = HistoryReader::new(
            peer,
            page.area().unwrap(),
            Peer::new(Bell::new().unwrap().sender),
            counters.lane(0, "", "", "", 4096),
        );
        (writer, reader.unwrap())
    }

    fn keep(writer: &mut TableWriter<OwnMedium>, key: u32, name: &str) {
        let mut parcel = Parcel::default();
        parcel.begin(key, name, None);
        parcel.push(Bytes::new(b"x"), &mut Scratch::new()).unwrap();
        writer.store(key.into(), 1, &[parcel.bytes()]).unwrap();
    }

    #[test]
    fn a_slot_that_is_never_let_be_read_is_an_error_after_a_while() {
        let (mut writer, mut reader) = kept();
        let topic = Topic::try_from("a").unwrap();
        for _ in 0..2 {
            keep(&mut writer, 0, "a");
        }
        assert!(reader.find(&topic).unwrap().is_some());
        // The word `begun` of the first slot, as if writes went on and on.
        let begun = &writer.storage().words()[16];
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        begun.store(1000, Ordering::Relaxed);
        let refused = LaneError::Busy { slot: 0 };
        assert_eq!(reader.find(&topic).err(), Some(refused));
    }

    #[test]
    fn what_is_remembered_is_bounded_however_many_topics_come() {
        let (mut writer, mut reader) = kept();
        let slots = reader.table.slots();
        let absent = Topic::try_from("absent").unwrap();
        for key in 0..60 * slots {
            keep(&mut writer, key, &format!("t/{key}"));
            if key % slots == 0 {
                assert!(reader.find(&absent).unwrap().is_none());
                assert!(reader.slots.len() <= 6 * slots as usize);
            }
        }
        assert!(reader.slots.len() < 6 * slots as usize);
    }
}
