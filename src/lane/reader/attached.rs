//! What is attached to messages.

use crate::lane::{Attachments, CargoError, LaneError, Next, Reader};
use crate::ring::{Polled, Read, Record};

use super::{LONGEST_ATTACHED_BYTES, cargo_error};

impl Reader {
    /// Takes in what is attached to the message behind it, and goes on to that, which was committed along with it.
    #[cold]
    pub(super) fn attach(&mut self, record: Record) -> Result<Next, LaneError> {
        let mut bytes = [0; LONGEST_ATTACHED_BYTES];
        let Some(named) = bytes.get_mut(..record.len_bytes) else {
            let len = record.len_bytes;
            return Err(cargo_error(&CargoError::Record { len }));
        };
        self.consumer.storage().copy_out(record.offset, named);
        let attachments = Attachments::take(named, self.cargo.as_mut());
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

    /// What is attached to the message; once.
    pub fn take_attachments(&mut self) -> Option<Attachments> {
        let end = self.end;
        let (_, attachments) = self.attachments.take_if(|(at, _)| *at == end)?;
        Some(attachments)
    }
}
