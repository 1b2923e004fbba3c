//! Messages that stand ready one behind the other.

use crate::lane::Reader;
use crate::lane::block::Payload;
use crate::ring::{InPlace, Kind};

impl Reader {
    /// The payload of the message that stands next, as [`ready`](Self::ready) finds it.
    ///
    /// # Safety
    /// As [`payload`](Self::payload).
    #[expect(unsafe_code, reason = "passes on a promise to the ring")]
    #[inline(always)]
    pub unsafe fn ready_payload(&mut self, len_bytes: Option<usize>) -> Option<&[u8]> {
        // SAFETY: the caller's promise; `ready` has found it.
        self.ready(len_bytes).then(|| unsafe { self.payload() })
    }

    /// The same behind a message that was found in one of these ways, with the same length where one is given, and passed. That
    /// costs less where one message is like the other.
    ///
    /// # Safety
    /// As [`payload`](Self::payload).
    #[expect(unsafe_code, reason = "passes on a promise to the ring")]
    #[inline(always)]
    pub unsafe fn next_payload(&mut self, len_bytes: Option<usize>) -> Option<&[u8]> {
        let len = self.len_of(len_bytes);
        let payload = match self
            .consumer
            .ready_like(Kind::Message, self.message.topic, len)
        {
            Some(offset) => {
                let start = self.consumer.storage().address(offset);
                self.message.payload = Payload::at(start, len);
                self.message.payload
            }
            None if !self.ready_otherwise(len_bytes) => return None,
            None => self.message.payload,
        };
        // SAFETY: the caller's promise; it was found.
        Some(unsafe { payload.bytes() })
    }

    #[inline(never)]
    fn ready_otherwise(&mut self, len_bytes: Option<usize>) -> bool {
        self.ready(len_bytes)
    }

    /// Goes on behind the message that [`ready_payload`](Self::ready_payload) or [`next_payload`](Self::next_payload) has found,
    /// for this length where one is given. It is neither counted yet nor given back: [`end_run`](Self::end_run) does both. Whether
    /// that is to be done now.
    #[inline(always)]
    pub fn pass(&mut self, len_bytes: Option<usize>) -> bool {
        let end = self.consumer.end_of(self.len_of(len_bytes));
        self.step(end)
    }

    /// The length of the message, which is this one where it is given: then it is a constant.
    #[inline(always)]
    fn len_of(&self, len_bytes: Option<usize>) -> usize {
        len_bytes.unwrap_or(self.message.payload.len_bytes())
    }

    /// Counts messages that were passed, of so many bytes together, and gives them back if that `is_due`, or later.
    #[inline]
    pub fn end_run(&mut self, messages: u64, len_bytes: usize, is_due: bool) {
        let position = self.consumer.position();
        self.counters.messages(messages, len_bytes, position);
        if is_due {
            self.publish_cursor();
        }
    }
}
