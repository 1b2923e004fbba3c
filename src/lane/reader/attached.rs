//! What is attached to messages.

use crate::lane::{
    Attachments, CannotHold, CargoError, FoundRegion, LaneError, MappedRegion, Next, Reader,
};
use crate::pool::Place;
use crate::ring::{Polled, Read, Record};

use super::cargo_error;

impl Reader {
    /// Takes in what is attached to the message behind it, and goes on to that, which was committed along with it.
    #[cold]
    pub(super) fn attach(&mut self, record: Record) -> Result<Next, LaneError> {
        // No longer than a message of this ring can be.
        let mut named = vec![0; record.len_bytes];
        self.consumer.storage().copy_out(record.offset, &mut named);
        let attachments = Attachments::take(&named, self.cargo.as_mut());
        let attachments = attachments.map_err(|error| cargo_error(&error))?;
        // Given back along with the message.
        let end = self.consumer.end(&record);
        self.consumer.advance_to(end);
        let next = match self.consumer.poll()? {
            Polled::Record(record) if record.kind.is_message() => self.any_message(record),
            _ => {
                let len = record.len_bytes;
                Err(cargo_error(&CargoError::Record { len }))
            }
        }?;
        self.attachments = Some((self.end, attachments));
        Ok(next)
    }

    /// The regions that are attached to the message, each kept for itself. Once; what cannot be kept may be taken later.
    pub fn take_regions(&mut self) -> Result<Vec<MappedRegion>, CannotHold> {
        let end = self.end;
        let found = self.attachments.as_mut().filter(|(at, _)| *at == end);
        let Some((_, Attachments { regions, .. })) = found else {
            return Ok(Vec::new());
        };
        let mut taken = Vec::with_capacity(regions.len());
        for region in regions.iter() {
            taken.push(match (region, &self.pool) {
                (FoundRegion::Copied(bytes), _) => MappedRegion::copied(bytes.clone()),
                (FoundRegion::Mapped(memory, len, number), Some(pool)) => {
                    let kept = pool.keep(Place::of_region(*number))?;
                    MappedRegion::mapped(memory.clone(), *len, kept)
                }
                // Where memory comes there is somebody who keeps it.
                (FoundRegion::Mapped(..), None) => return Err(CannotHold::UsedUp),
            });
        }
        regions.clear();
        Ok(taken)
    }

    /// What is attached to the message.
    pub fn attachments(&mut self) -> Option<&mut Attachments> {
        let end = self.end;
        let (at, attachments) = self.attachments.as_mut()?;
        (*at == end).then_some(attachments)
    }
}
