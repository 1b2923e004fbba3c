//! What goes by a lane's courier: memory that records refer to, descriptors that are attached to messages.
//!
//! A label is 16 bytes, two numbers, little-endian: what it is (1 memory, 2 descriptors, 3 a region, 4 memory that is given up), its number; behind that
//! the name of the memory, if it has one. The publisher sends before it commits the record that refers to it, so whoever finds
//! the record finds it here. Memory is known until a record, or a label, says that it is given up; descriptors belong to one message,
//! and come in the order of messages. Of regions each side keeps those in mind that went last: the same, for both see one order.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::segment::{ForeignSegment, Kind, MemoryOptions, SegmentError, SegmentHandle};
use crate::wake::{CourierError, CourierReceiver, CourierSender, Parcel};

use super::SharedRegion;

/// The publisher's end.
pub struct CargoSender {
    courier: CourierSender,
    /// The regions that were sent last.
    regions: Mutex<VecDeque<u64>>,
}

/// The subscriber's end.
pub struct CargoReceiver {
    courier: Arc<CourierReceiver>,
    /// Memory that has come, and whether it was mapped.
    memory: HashMap<u64, Memory>,
    /// Descriptors that have come, with their numbers, which rise.
    descriptors: VecDeque<(u64, Vec<OwnedFd>)>,
    /// The regions that have come last.
    regions: VecDeque<(u64, Memory)>,
    /// What is asked of memory that is mapped.
    options: MemoryOptions,
}

enum Memory {
    Handle(SegmentHandle),
    Mapped(Arc<ForeignSegment>),
}

impl Memory {
    /// Mapped, if it was not before.
    fn map(
        &mut self,
        kind: Kind,
        max_len: u64,
        options: MemoryOptions,
    ) -> Result<Arc<ForeignSegment>, CargoError> {
        let handle = match self {
            Self::Mapped(mapped) => return Ok(mapped.clone()),
            // What is no memory is none the second time either: the lane ends.
            Self::Handle(handle) => mem::replace(handle, SegmentHandle::Named(String::new())),
        };
        let segment = ForeignSegment::open(handle, kind, max_len)?;
        segment.settle(options)?;
        let mapped = Arc::new(segment);
        *self = Self::Mapped(mapped.clone());
        Ok(mapped)
    }
}

/// Why a record refers to something that is not there. The lane has to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CargoError {
    /// It never came.
    #[error("the publisher refers to {what} {number}, which it has not sent")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// The lane has no way for it.
    #[error("the publisher refers to memory or descriptors in a lane that has no courier")]
    NoCourier,
    /// It is no memory of this kind, or cannot be mapped.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// It was lost on the way.
    #[error(transparent)]
    Courier(#[from] CourierError),
    /// The label is none.
    #[error(
        "the publisher sent {descriptors} descriptors with a label of {len} bytes that says nothing known"
    )]
    Label {
        /// Bytes of the label.
        len: usize,
        /// How many came along.
        descriptors: usize,
    },
    /// A record of attachments that is none.
    #[error("the publisher sent a record of {len} bytes that names no attachments")]
    Record {
        /// Its length in bytes.
        len: usize,
    },
    /// A payload that is not within its memory.
    #[error("the publisher sent a payload of {len} bytes at {offset} of {segment_bytes}")]
    Bounds {
        /// Offset of the payload, in bytes.
        offset: u64,
        /// Length of the payload, in bytes.
        len: u64,
        /// Bytes of data that the memory has.
        segment_bytes: u64,
    },
    /// A record that names no payload.
    #[error("the publisher sent a record of {len} bytes that names no payload")]
    NoPayload {
        /// Its length in bytes.
        len: usize,
    },
    /// More memory than anybody needs.
    #[error(
        "the publisher sent more than {MOST_SEGMENTS} pieces of memory, or of what else goes beside a lane"
    )]
    TooMany,
}

impl CargoSender {
    /// The publisher's end of a lane with this courier.
    pub fn new(courier: CourierSender) -> Self {
        Self {
            courier,
            regions: Mutex::default(),
        }
    }

    /// Sends a region, unless the subscriber has it. Whether it does then; does not block.
    ///
    /// # Errors
    /// [`CourierError::System`]: the subscriber is gone, or this process has no descriptor to spare.
    pub fn send_region(&self, region: &SharedRegion) -> Result<bool, CourierError> {
        let number = region.number();
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.contains(&number) {
            return Ok(true);
        }
        let handle = region.handle().map_err(|error| CourierError::System {
            call: "dup",
            source: io::Error::other(error),
        })?;
        let sent = self.send_handle(REGION, number, &handle)?;
        if sent {
            regions.push_back(number);
            if regions.len() > KEPT_REGIONS {
                regions.pop_front();
            }
        }
        Ok(sent)
    }

    /// Whether nobody is left who could have got something: the process at the other end has exited, or has given back all that
    /// came in this lane. Stays so. Does not block.
    pub fn is_hung_up(&self) -> bool {
        self.courier.is_hung_up()
    }

    /// Sends memory of the number `number`. Whether there was room; does not block.
    ///
    /// # Errors
    /// [`CourierError::System`]: the subscriber is gone.
    pub fn send_memory(&self, number: u64, handle: &SegmentHandle) -> Result<bool, CourierError> {
        self.send_handle(MEMORY, number, handle)
    }

    /// Says that the memory of this number is given up, where no record can. Whether there was room; does not block.
    ///
    /// # Errors
    /// [`CourierError::System`]: the subscriber is gone.
    pub fn send_retired(&self, number: u64) -> Result<bool, CourierError> {
        self.send(RETIRED, number, &[], &[])
    }

    fn send_handle(
        &self,
        what: u64,
        number: u64,
        handle: &SegmentHandle,
    ) -> Result<bool, CourierError> {
        let (name, descriptor) = match handle {
            SegmentHandle::Descriptor(descriptor) => (&[][..], Some(descriptor.as_fd())),
            SegmentHandle::Named(name) => (name.as_bytes(), None),
        };
        self.send(what, number, name, descriptor.as_slice())
    }

    /// Sends descriptors, at most [`MAX_ATTACHED`](crate::wake::MAX_ATTACHED), under a number above those of all before.
    /// Whether there was room; does not block.
    ///
    /// # Errors
    /// [`CourierError::System`]: the subscriber is gone, or something is no descriptor.
    pub fn send_descriptors(
        &self,
        number: u64,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<bool, CourierError> {
        self.send(DESCRIPTORS, number, &[], descriptors)
    }

    fn send(
        &self,
        what: u64,
        number: u64,
        name: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<bool, CourierError> {
        let mut label = Vec::with_capacity(LABEL_BYTES + name.len());
        label.extend_from_slice(&what.to_le_bytes());
        label.extend_from_slice(&number.to_le_bytes());
        label.extend_from_slice(name);
        self.courier.send(&label, descriptors)
    }
}

impl CargoReceiver {
    /// The subscriber's end of a lane with this courier.
    pub fn new(courier: CourierReceiver) -> Self {
        Self {
            courier: Arc::new(courier),
            memory: HashMap::new(),
            descriptors: VecDeque::new(),
            options: MemoryOptions::default(),
            regions: VecDeque::new(),
        }
    }

    /// The region of this number, mapped when it is asked for first.
    ///
    /// # Errors
    /// Any of [`CargoError`].
    pub fn region(&mut self, number: u64) -> Result<Arc<ForeignSegment>, CargoError> {
        for _ in 0..MOST_AT_ONCE {
            let mut regions = self.regions.iter_mut().rev();
            if let Some((_, memory)) = regions.find(|(found, _)| *found == number) {
                return memory.map(Kind::Region, MOST_REGION_BYTES, self.options);
            }
            // One by one: those behind it may drive it out.
            if !self.take_one_in()? {
                return Err(CargoError::Missing {
                    what: "region",
                    number,
                });
            }
        }
        Err(CargoError::TooMany)
    }

    /// Asks this of all memory that is mapped.
    pub fn with_memory(mut self, options: MemoryOptions) -> Self {
        self.options = options;
        self
    }

    /// The memory of this number, mapped when it is asked for first. At most `max_len` bytes.
    ///
    /// # Errors
    /// Any of [`CargoError`].
    pub fn memory(
        &mut self,
        number: u64,
        kind: Kind,
        max_len: u64,
    ) -> Result<Arc<ForeignSegment>, CargoError> {
        if let Some(Memory::Mapped(mapped)) = self.memory.get(&number) {
            return Ok(mapped.clone());
        }
        self.take_in_up_to(number)?;
        match self.memory.get_mut(&number) {
            Some(memory) => memory.map(kind, max_len, self.options),
            None => Err(CargoError::Missing {
                what: "memory",
                number,
            }),
        }
    }

    /// Takes in all that has come, or much of it.
    ///
    /// # Errors
    /// Any of [`CargoError`] but `Segment`.
    pub fn take_all_in(&mut self) -> Result<(), CargoError> {
        for _ in 0..MOST_AT_ONCE {
            if !self.take_one_in()? {
                break;
            }
        }
        Ok(())
    }

    /// The memory of this number is given up.
    ///
    /// # Errors
    /// Any of [`CargoError`] but `Segment`.
    pub fn retire(&mut self, number: u64) -> Result<(), CargoError> {
        self.take_in_up_to(number)?;
        self.forget(number)
    }

    fn forget(&mut self, number: u64) -> Result<(), CargoError> {
        let missing = CargoError::Missing {
            what: "memory",
            number,
        };
        self.memory.remove(&number).map(drop).ok_or(missing)
    }

    /// As long as it is kept the publisher is told that somebody is there ([`CargoSender::is_hung_up`]).
    pub fn presence(&self) -> Arc<CourierReceiver> {
        self.courier.clone()
    }

    /// The descriptors of this number. Those of lower numbers belong to messages that have not come, and are closed.
    ///
    /// # Errors
    /// Any of [`CargoError`] but `Segment`.
    pub fn descriptors(&mut self, number: u64) -> Result<Vec<OwnedFd>, CargoError> {
        let missing = CargoError::Missing {
            what: "descriptors",
            number,
        };
        for _ in 0..MOST_AT_ONCE {
            match self.descriptors.pop_front() {
                Some((found, descriptors)) if found == number => return Ok(descriptors),
                Some((found, descriptors)) if found > number => {
                    self.descriptors.push_front((found, descriptors));
                    return Err(missing);
                }
                Some(_) => {}
                None => {
                    if !self.take_one_in()? {
                        return Err(missing);
                    }
                }
            }
        }
        Err(CargoError::TooMany)
    }

    /// Takes in what has come up to memory of this number: what is behind it may be meant for messages that are read later.
    fn take_in_up_to(&mut self, number: u64) -> Result<(), CargoError> {
        for _ in 0..MOST_AT_ONCE {
            if self.memory.contains_key(&number) || !self.take_one_in()? {
                return Ok(());
            }
        }
        Err(CargoError::TooMany)
    }

    fn take_one_in(&mut self) -> Result<bool, CargoError> {
        let Some(Parcel { label, descriptors }) = self.courier.recv()? else {
            return Ok(false);
        };
        let refused = CargoError::Label {
            len: label.len(),
            descriptors: descriptors.len(),
        };
        let number = |at: usize| {
            let bytes = label.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let (Some(what), Some(number)) = (number(0), number(8)) else {
            return Err(refused);
        };
        let name = &label[LABEL_BYTES..];
        let mut descriptors = descriptors;
        let handle = match (what, descriptors.len(), name.is_empty()) {
            (DESCRIPTORS, 1.., true) if self.descriptors.len() >= MOST_AT_ONCE => {
                return Err(CargoError::TooMany);
            }
            (DESCRIPTORS, 1.., true) => {
                self.descriptors.push_back((number, descriptors));
                return Ok(true);
            }
            (RETIRED, 0, true) => {
                self.forget(number)?;
                return Ok(true);
            }
            (MEMORY | REGION, 1, true) => descriptors.pop().map(SegmentHandle::Descriptor),
            (MEMORY | REGION, 0, false) => String::from_utf8(name.to_vec())
                .ok()
                .map(SegmentHandle::Named),
            _ => None,
        };
        let memory = Memory::Handle(handle.ok_or(refused)?);
        if what == REGION {
            self.regions.push_back((number, memory));
            if self.regions.len() > KEPT_REGIONS {
                self.regions.pop_front();
            }
            return Ok(true);
        }
        if self.memory.len() >= MOST_SEGMENTS {
            return Err(CargoError::TooMany);
        }
        self.memory.insert(number, memory);
        Ok(true)
    }
}

const MEMORY: u64 = 1;
const DESCRIPTORS: u64 = 2;
const REGION: u64 = 3;
const RETIRED: u64 = 4;
const LABEL_BYTES: usize = 16;
/// Regions that a subscriber keeps mapped for the next messages, of each lane.
const KEPT_REGIONS: usize = 16;
/// The longest region that is mapped: 256 GiB. Its memory is its owner's, whatever it claims.
const MOST_REGION_BYTES: u64 = 1 << 38;
/// Parcels that are taken in to find one: more than sockets hold.
const MOST_AT_ONCE: usize = 4096;
/// Pieces of memory that a publisher can make a subscriber know at a time.
const MOST_SEGMENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::segment::{Segment, SegmentOptions};
    use crate::wake::Courier;

    fn cargo() -> (CargoSender, CargoReceiver) {
        let Courier { sender, receiver } = Courier::new().unwrap();
        (CargoSender::new(sender), CargoReceiver::new(receiver))
    }

    fn segment(kind: Kind) -> Segment {
        Segment::create(kind, 8192, &SegmentOptions::default()).unwrap()
    }

    #[test]
    fn memory_is_found_by_its_number_until_it_is_given_up() {
        let (sender, mut receiver) = cargo();
        let null = File::open("/dev/null").unwrap();
        for number in [5, 3] {
            let handle = segment(Kind::Pool).handle().unwrap();
            assert!(sender.send_memory(number, &handle).unwrap());
            assert!(sender.send_descriptors(number, &[null.as_fd()]).unwrap());
        }
        for number in [3, 5, 3] {
            let memory = receiver.memory(number, Kind::Pool, 1 << 20).unwrap();
            assert_eq!(memory.data_len(), 8192);
        }
        receiver.retire(3).unwrap();
        assert!(receiver.retire(3).is_err());
        assert!(matches!(
            receiver.memory(3, Kind::Pool, 1 << 20),
            Err(CargoError::Missing { number: 3, .. })
        ));
    }

    #[test]
    fn memory_is_given_up_in_the_order_of_what_is_sent() {
        let (sender, mut receiver) = cargo();
        let handle = segment(Kind::Pool).handle().unwrap();
        assert!(sender.send_memory(3, &handle).unwrap());
        assert!(receiver.memory(3, Kind::Pool, 1 << 20).is_ok());
        assert!(sender.send_retired(3).unwrap());
        assert!(receiver.memory(3, Kind::Pool, 1 << 20).is_ok());
        receiver.take_all_in().unwrap();
        assert!(receiver.memory(3, Kind::Pool, 1 << 20).is_err());
        // What is not known cannot be given up.
        assert!(sender.send_retired(3).unwrap());
        assert!(receiver.take_all_in().is_err());
    }

    #[test]
    fn descriptors_of_messages_that_did_not_come_are_passed_over() {
        let (sender, mut receiver) = cargo();
        let null = File::open("/dev/null").unwrap();
        for number in [1, 2, 4] {
            let many = vec![null.as_fd(); number as usize];
            assert!(sender.send_descriptors(number, &many).unwrap());
        }
        assert_eq!(receiver.descriptors(2).unwrap().len(), 2);
        for missing in [1, 3] {
            assert!(matches!(
                receiver.descriptors(missing),
                Err(CargoError::Missing { .. })
            ));
        }
        assert_eq!(receiver.descriptors(4).unwrap().len(), 4);
        assert!(receiver.descriptors(5).is_err());
    }

    #[test]
    fn what_is_no_cargo_is_refused() {
        let Courier { sender, receiver } = Courier::new().unwrap();
        let mut receiver = CargoReceiver::new(receiver);
        let null = File::open("/dev/null").unwrap();
        let label =
            |what: u64, tail: &[u8]| [&what.to_le_bytes()[..], &7_u64.to_le_bytes(), tail].concat();
        let with = [null.as_fd()];
        let refused: [(Vec<u8>, &[BorrowedFd<'_>]); 8] = [
            (vec![1; 15], &with),
            (label(5, b""), &with),
            (label(RETIRED, b""), &with),
            (label(RETIRED, b"name"), &[]),
            (label(MEMORY, b""), &[]),
            (label(MEMORY, b"name"), &with),
            (label(MEMORY, &[0xff]), &[]),
            (label(DESCRIPTORS, b""), &[]),
        ];
        for (label, descriptors) in refused {
            assert!(sender.send(&label, descriptors).unwrap());
            let error = receiver.memory(7, Kind::Pool, 1 << 20).err().unwrap();
            assert!(matches!(error, CargoError::Label { .. }), "{error}");
        }
        assert!(sender.send(&label(MEMORY, b""), &with).unwrap());
        assert!(matches!(
            receiver.memory(7, Kind::Pool, 1 << 20),
            Err(CargoError::Segment(_))
        ));
    }

    #[test]
    fn memory_of_another_kind_or_too_long_is_refused() {
        let (sender, mut receiver) = cargo();
        for number in [1, 2] {
            let handle = segment(Kind::Region).handle().unwrap();
            assert!(sender.send_memory(number, &handle).unwrap());
        }
        assert!(receiver.memory(1, Kind::Pool, 1 << 20).is_err());
        assert!(receiver.memory(2, Kind::Region, 4096).is_err());
    }

    #[test]
    fn more_memory_than_anybody_needs_ends_it() {
        let (sender, mut receiver) = cargo();
        for number in 0..=MOST_SEGMENTS as u64 {
            let handle = SegmentHandle::Named("x".into());
            while !sender.send_memory(number, &handle).unwrap() {
                assert!(receiver.take_in_up_to(u64::MAX).is_ok(), "{number}");
            }
        }
        assert!(matches!(
            receiver.take_in_up_to(u64::MAX),
            Err(CargoError::TooMany)
        ));
    }
}
