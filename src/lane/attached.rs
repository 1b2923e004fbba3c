//! What is attached to a message.
//!
//! A record of the kind `Attachments` stands before the message, in one batch with it: entries of 32 bytes, each four
//! numbers of 8, little-endian.
//!
//! | what | then |
//! |---|---|
//! | 2, descriptors | number of the first parcel of the lane's courier, how many descriptors, 0; a parcel has 253, the last what is left |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::wake::{CourierError, MAX_ATTACHED};

use super::{CargoError, CargoReceiver, CargoSender};

/// What is attached to a message that is published.
#[derive(Debug)]
pub struct Attached {
    /// Number of the first parcel.
    first: u64,
    descriptors: Vec<OwnedFd>,
}

/// What was attached to a message that has come.
#[derive(Debug, Default)]
pub struct Attachments {
    /// In the order in which they were attached; closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Attached {
    /// Descriptors, which go in parcels from the number `first` on.
    pub fn descriptors(first: u64, descriptors: Vec<OwnedFd>) -> Self {
        Self { first, descriptors }
    }

    /// The number behind that of the last parcel.
    pub fn next(&self) -> u64 {
        self.first + self.parcels()
    }

    fn parcels(&self) -> u64 {
        self.descriptors.len().div_ceil(MAX_ATTACHED) as u64
    }

    /// The payload of the record.
    pub fn record(&self) -> [u8; ENTRY_BYTES] {
        let numbers = [DESCRIPTORS, self.first, self.descriptors.len() as u64, 0];
        let mut record = [0; ENTRY_BYTES];
        for (bytes, number) in record.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        record
    }

    /// Sends the parcels from the number `from` on; gives the number of the next one to be sent: [`next`](Self::next) if there
    /// was room for all. Does not block.
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
    pub fn take(record: &[u8], cargo: Option<&mut CargoReceiver>) -> Result<Self, CargoError> {
        let cargo = cargo.ok_or(CargoError::NoCourier)?;
        let (entries, rest) = record.as_chunks::<ENTRY_BYTES>();
        if entries.is_empty() || !rest.is_empty() {
            return Err(CargoError::Record { len: record.len() });
        }
        let mut attachments = Self::default();
        for entry in entries {
            let mut numbers = [0; 4];
            for (number, bytes) in numbers.iter_mut().zip(entry.as_chunks().0) {
                *number = u64::from_le_bytes(*bytes);
            }
            let [DESCRIPTORS, first, count, 0] = numbers else {
                return Err(CargoError::Record { len: record.len() });
            };
            attachments.take_descriptors(first, count, cargo)?;
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

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 32;
const DESCRIPTORS: u64 = 2;

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
            let attached = Attached::descriptors(10, some(count));
            assert_eq!(attached.send(&sender, 0).unwrap(), attached.next());
            let attachments = Attachments::take(&attached.record(), Some(&mut receiver)).unwrap();
            assert_eq!(attachments.descriptors.len(), count);
        }
    }

    #[test]
    fn what_had_no_room_is_sent_when_there_is() {
        let (sender, mut receiver) = cargo();
        let attached = Attached::descriptors(1, some(1));
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
        let attached = Attached::descriptors(7, some(2));
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
