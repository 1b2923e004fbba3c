//! Topics as their publisher names them.

use crate::lane::{LaneError, MAX_TOPIC_IDS, Next, Reader};
use crate::ring::{Kind, Polled, Read, Record};
use crate::topic::{MAX_NAME_BYTES, Topic};

impl Reader {
    /// Takes in a topic definition and goes on to the message, which its publisher committed along with it.
    #[cold]
    pub(super) fn define(&mut self, record: Record) -> Result<Next, LaneError> {
        let refused = LaneError::Topic {
            id: record.detail,
            len: record.len_bytes,
        };
        let mut bytes = [0; MAX_NAME_BYTES];
        let name = bytes.get_mut(..record.len_bytes).ok_or(refused.clone())?;
        self.consumer.storage().copy_out(record.offset, name);
        let topic = std::str::from_utf8(name)
            .ok()
            .and_then(|name| Topic::try_from(name).ok())
            .ok_or(refused.clone())?;
        let id = usize::try_from(record.detail)
            .ok()
            .filter(|id| *id < MAX_TOPIC_IDS as usize)
            .ok_or(refused.clone())?;
        if self.topics.len() <= id {
            self.topics.resize(id + 1, None);
        }
        self.topics[id] = Some(topic);
        if self.keeps_account {
            // Not published before the message is given back: whoever reads on needs the name.
            let end = self.consumer.end(&record);
            self.consumer.advance_to(end);
        } else {
            let published = self.consumer.release(record);
            self.wake(published);
        }
        match self.consumer.poll()? {
            Polled::Record(record) if record.kind.is_message() => self.any_message(record),
            Polled::Record(record) if record.kind == Kind::Attachments => self.attach(record),
            // Only the definition goes before its message.
            _ => Err(refused),
        }
    }
}
