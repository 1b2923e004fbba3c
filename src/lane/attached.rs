//! What is attached to a message.
//!
//! A record of the kind `Attachments` stands before the message, in one batch with it: entries of 32 bytes, each four
//! numbers of 8, little-endian.
//!
//! | what | then |
//! |---|---|
//! | 1, a region | its number, its length in bytes, 0; the lane's courier has brought its memory |
//! | 2, descriptors | number of the first parcel of the lane's courier, how many descriptors, 0; a parcel has 253, the last what is left |
//! | 3, a copied region | its length in bytes, 0, 0; its bytes follow, filled up to a multiple of 32 |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::segment::ForeignSegment;
use crate::wake::{CourierError, MAX_ATTACHED};

use super::{CargoError, CargoReceiver, CargoSender, SharedRegion};

/// What is attached to a message that is published.
#[derive(Debug)]
pub struct Attached {
    /// Number of the first parcel of descriptors.
    first: u64,
    descriptors: Vec<OwnedFd>,
    regions: Vec<SharedRegion>,
}

/// What was attached to a message that has come.
#[derive(Default)]
pub struct Attachments {
    /// In the order in which they were attached; closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// In the order in which they were attached.
    pub regions: Vec<FoundRegion>,
}

/// A region that was attached to a message.
pub enum FoundRegion {
    /// So many bytes of this memory; its number.
    Mapped(Arc<ForeignSegment>, usize, u64),
    /// Its bytes.
    Copied(Box<[u8]>),
}

impl Attached {
    /// Descriptors, which go in parcels from the number `first` on, and regions; at most [`MOST_REGIONS`].
    pub fn new(first: u64, descriptors: Vec<OwnedFd>, regions: Vec<SharedRegion>) -> Self {
        debug_assert!(regions.len() <= MOST_REGIONS);
        Self {
            first,
            descriptors,
            regions,
        }
    }

    /// The number behind that of the last parcel.
    pub fn next(&self) -> u64 {
        self.first + self.descriptors.len().div_ceil(MAX_ATTACHED) as u64
    }

    /// The regions.
    pub fn regions(&self) -> &[SharedRegion] {
        &self.regions
    }

    /// Whether there are descriptors.
    pub fn has_descriptors(&self) -> bool {
        !self.descriptors.is_empty()
    }

    /// Bytes of the record for a lane with a courier, beyond those of descriptors alone.
    pub fn extra_bytes(&self) -> usize {
        ENTRY_BYTES * self.regions.len()
    }

    /// Bytes of the record where regions are copied.
    pub fn copied_bytes(&self) -> usize {
        let copied =
            |region: &SharedRegion| ENTRY_BYTES + region.len().next_multiple_of(ENTRY_BYTES);
        self.regions.iter().map(copied).sum()
    }

    /// The payload of the record for a lane with a courier.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(ENTRY_BYTES * (1 + self.regions.len()));
        for region in &self.regions {
            entry(
                &mut record,
                [REGION, region.number(), region.len() as u64, 0],
            );
        }
        if self.has_descriptors() {
            let count = self.descriptors.len() as u64;
            entry(&mut record, [DESCRIPTORS, self.first, count, 0]);
        }
        record
    }

    /// The same for one without: descriptors are left out.
    pub fn copied_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.copied_bytes());
        for region in &self.regions {
            entry(&mut record, [COPIED, region.len() as u64, 0, 0]);
            record.extend_from_slice(region);
            record.resize(record.len().next_multiple_of(ENTRY_BYTES), 0);
        }
        record
    }

    /// Sends the parcels of descriptors from the number `from` on; gives the number of the next one to be sent:
    /// [`next`](Self::next) if there was room for all. Does not block.
    pub fn send(&self, cargo: &CargoSender, from: u64) -> Result<u64, CourierError> {
        let mut next = from.max(self.first);
        let parcels = self.descriptors.chunks(MAX_ATTACHED);
        for parcel in parcels.skip((next - self.first) as usize) {
            let parcel: Vec<BorrowedFd<'_>> = parcel.iter().map(AsFd::as_fd).collect();
            if !cargo.send_descriptors(next, &parcel)? {
                break;
            }
            next += 1;
        }
        Ok(next)
    }
}

impl Attachments {
    /// What the payload of such a record names, taken from the lane's courier.
    pub fn take(
        mut record: &[u8],
        mut cargo: Option<&mut CargoReceiver>,
    ) -> Result<Self, CargoError> {
        let len_bytes = record.len();
        let refused = || CargoError::Record { len: len_bytes };
        let mut attachments = Self::default();
        if record.is_empty() {
            return Err(refused());
        }
        while !record.is_empty() {
            let Some((entry, rest)) = record.split_first_chunk::<ENTRY_BYTES>() else {
                return Err(refused());
            };
            record = rest;
            let mut numbers = [0; 4];
            for (number, bytes) in numbers.iter_mut().zip(entry.as_chunks().0) {
                *number = u64::from_le_bytes(*bytes);
            }
            match numbers {
                [DESCRIPTORS, first, count, 0] => {
                    let cargo = cargo.as_deref_mut().ok_or(CargoError::NoCourier)?;
                    attachments.take_descriptors(first, count, cargo)?;
                }
                [REGION, number, len, 0] => {
                    let cargo = cargo.as_deref_mut().ok_or(CargoError::NoCourier)?;
                    let memory = cargo.region(number)?;
                    let len = usize::try_from(len)
                        .ok()
                        .filter(|len| *len <= memory.data_len());
                    let len = len.ok_or_else(refused)?;
                    attachments
                        .regions
                        .push(FoundRegion::Mapped(memory, len, number));
                }
                [COPIED, len, 0, 0] => {
                    let len = usize::try_from(len).ok().filter(|len| *len <= record.len());
                    let len = len.ok_or_else(refused)?;
                    let (bytes, rest) = record
                        .split_at_checked(len.next_multiple_of(ENTRY_BYTES))
                        .ok_or_else(refused)?;
                    record = rest;
                    attachments
                        .regions
                        .push(FoundRegion::Copied(bytes[..len].into()));
                }
                _ => return Err(refused()),
            }
        }
        Ok(attachments)
    }

    /// Each parcel has to have come, so no count makes this run long.
    fn take_descriptors(
        &mut self,
        first: u64,
        count: u64,
        cargo: &mut CargoReceiver,
    ) -> Result<(), CargoError> {
        let mut left = count;
        let mut number = first;
        while left > 0 {
            let parcel = cargo.descriptors(number)?;
            if parcel.len() as u64 != left.min(MAX_ATTACHED as u64) {
                return Err(CargoError::Missing {
                    what: "descriptors",
                    number,
                });
            }
            left -= parcel.len() as u64;
            self.descriptors.extend(parcel);
            number = number.wrapping_add(1);
        }
        Ok(())
    }
}

fn entry(record: &mut Vec<u8>, numbers: [u64; 4]) {
    for number in numbers {
        record.extend_from_slice(&number.to_le_bytes());
    }
}

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 32;
/// Regions that can be attached to one message.
pub const MOST_REGIONS: usize = 16;
const REGION: u64 = 1;
const DESCRIPTORS: u64 = 2;
const COPIED: u64 = 3;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::wake::Courier;

    fn cargo() -> (CargoSender, CargoReceiver) {
        let Courier { sender, receiver } = Courier::new().unwrap();
        (CargoSender::new(sender), CargoReceiver::new(receiver))
    }

    fn some(count: usize) -> Vec<OwnedFd> {
        let null = || File::open("/dev/null").unwrap().into();
        std::iter::repeat_with(null).take(count).collect()
    }

    #[test]
    fn more_than_a_parcel_takes_arrive_in_several() {
        let (sender, mut receiver) = cargo();
        for count in [1, MAX_ATTACHED, MAX_ATTACHED + 1, 3 * MAX_ATTACHED - 1] {
            let attached = Attached::new(10, some(count), vec![]);
            assert_eq!(attached.send(&sender, 0).unwrap(), attached.next());
            let attachments = Attachments::take(&attached.record(), Some(&mut receiver)).unwrap();
            assert_eq!(attachments.descriptors.len(), count);
        }
    }

    #[test]
    fn what_had_no_room_is_sent_when_there_is() {
        let (sender, mut receiver) = cargo();
        let attached = Attached::new(1, some(1), vec![]);
        let mut fillers = 0;
        while sender
            .send_descriptors(0, &[attached.descriptors[0].as_fd()])
            .unwrap()
        {
            fillers += 1;
        }
        assert_eq!(attached.send(&sender, 1).unwrap(), 1);
        for _ in 0..fillers {
            receiver.descriptors(0).unwrap();
        }
        assert_eq!(attached.send(&sender, 1).unwrap(), 2);
        assert_eq!(attached.send(&sender, 2).unwrap(), 2);
        let attachments = Attachments::take(&attached.record(), Some(&mut receiver)).unwrap();
        assert_eq!(attachments.descriptors.len(), 1);
    }

    #[test]
    fn records_that_no_publisher_writes_are_refused() {
        let (sender, mut receiver) = cargo();
        let entry = |numbers: [u64; 4]| numbers.map(u64::to_le_bytes).concat();
        let attached = Attached::new(7, some(2), vec![]);
        attached.send(&sender, 0).unwrap();
        let refused = [
            vec![],
            vec![0; 31],
            vec![0; 33],
            entry([0, 7, 2, 0]),
            entry([9, 7, 2, 0]),
            entry([DESCRIPTORS, 7, 2, 1]),
            entry([DESCRIPTORS, 6, 2, 0]),
            entry([DESCRIPTORS, 7, u64::MAX, 0]),
            entry([DESCRIPTORS, u64::MAX, u64::MAX, 0]),
        ];
        for record in refused {
            assert!(
                Attachments::take(&record, Some(&mut receiver)).is_err(),
                "{record:?}"
            );
        }
        assert!(matches!(
            Attachments::take(&attached.record(), None),
            Err(CargoError::NoCourier)
        ));
    }
}
