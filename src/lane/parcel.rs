//! What lanes carry that are copied from: messages on one topic, which stay together, with the topic's name.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | number of messages, u32, at least 1 |
//! | 4..8 | the publisher's number for the topic, u32 |
//! | 8..12 | bytes of the topic's name, u32 |
//! | 12..16 | bit 0: it says when the messages were published; bit 1: it has one message, which lies in the pool; u32 |
//! | 16..32 | that, as in a ring; else 0 |
//! | 32..40 | in the table of a lane, how many messages on this topic came before since the topic has its slot, u64; else 0 |
//! | 40.. | the name, filled up with zeros to a multiple of 16 |
//! | then | for each message its length, u32, 12 zeros, and the message, filled up to a multiple of 16 |
//!
//! A message that lies in the publisher's pool has in its stead the [`Chunk`] in which it does. All numbers are little-endian; multiples of 16 count from the parcel's beginning. A parcel needs nothing that came before it, so any other can be lost.

use std::ops::Range;

use rkyv::util::AlignedVec;

use crate::message::{EncodeError, Host, Message, Scratch, Timestamp};
use crate::pool::Chunk;
use crate::topic::{MAX_NAME_BYTES, Topic};

use super::{LaneError, MAX_TOPIC_IDS};

/// A parcel that is being made. Its memory is used again and again.
#[derive(Default)]
pub struct Parcel {
    bytes: AlignedVec<16>,
    messages: u32,
    message_bytes: usize,
}

/// A parcel that has come, and the message of it that is looked at.
#[derive(Default)]
pub struct Unpacked {
    bytes: AlignedVec<16>,
    /// By topic id: names come with each parcel, and are the same as a rule. Of one parcel alone, the only one is its own.
    topics: Vec<Option<Topic>>,
    /// Whether only the name of the last parcel is kept.
    keeps_one: bool,
    /// Of the last parcel, in `topics`.
    topic: usize,
    topic_id: u32,
    stamp: Option<Timestamp>,
    before: u64,
    /// Whether a message may lie in the pool.
    takes_chunks: bool,
    /// Where its message lies in the pool, if it does.
    chunk: Option<Chunk>,
    /// Messages that were not looked at yet.
    left: u32,
    /// Where the next one begins.
    next: usize,
    message: Range<usize>,
}

impl Parcel {
    /// Begins one, in place of what is there.
    pub fn begin(&mut self, topic_id: u32, name: &str, stamp: Option<&Timestamp>) {
        self.bytes.clear();
        self.messages = 0;
        self.message_bytes = 0;
        let flags = if stamp.is_some() { STAMPED } else { 0 };
        // In one piece: each piece is asked for room.
        let mut head = [0; NAME];
        head[4..8].copy_from_slice(&topic_id.to_le_bytes());
        head[8..12].copy_from_slice(&(name.len() as u32).to_le_bytes());
        head[12..16].copy_from_slice(&flags.to_le_bytes());
        if let Some(stamp) = stamp {
            head[16..32].copy_from_slice(&stamp.to_bytes());
        }
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(name.as_bytes());
        self.fill_up();
    }

    /// Adds a message; gives its length in bytes.
    ///
    /// # Errors
    /// It cannot be encoded; the parcel is of no use then.
    pub fn push<T: Message + ?Sized>(
        &mut self,
        message: &T,
        scratch: &mut Scratch,
    ) -> Result<usize, EncodeError> {
        let len = match T::ENCODED_LEN {
            Some(len) => len,
            None => message.encoded_len(scratch)?,
        };
        let written = message.encode(self.room(len), scratch)?;
        // A hand-written `Message` may claim anything.
        if written != len {
            return Err(EncodeError::Failed(format!(
                "{written} bytes were encoded, {len} announced"
            )));
        }
        self.fill_up();
        Ok(len)
    }

    /// Has a message that lies in the pool, and no other.
    pub fn refer_to(&mut self, chunk: Chunk) {
        // Of the flags, the low byte.
        self.bytes[12] |= POOLED as u8;
        self.room(Chunk::BYTES).copy_from_slice(&chunk.to_bytes());
        self.message_bytes = chunk.len_bytes as usize;
    }

    /// Its messages.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes of its messages, without what stands around them.
    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// All of it, once there is a message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, in two parts: what stands before, and behind, the number of messages that came before.
    pub fn around_before(&self) -> (&[u8], &[u8]) {
        (&self.bytes[..BEFORE.start], &self.bytes[BEFORE.end..])
    }

    /// Room for one more message of this length.
    fn room(&mut self, len: usize) -> &mut [u8] {
        self.messages += 1;
        self.message_bytes += len;
        self.bytes[..4].copy_from_slice(&self.messages.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&(len as u32).to_le_bytes());
        self.bytes.extend_from_slice(&header);
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        &mut self.bytes[start..]
    }

    fn fill_up(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
    }
}

impl Unpacked {
    /// For parcels of which each is looked at by itself: no name is kept but the last one's.
    pub fn of_one() -> Self {
        Self {
            keeps_one: true,
            ..Self::default()
        }
    }

    /// Messages may lie in the pool.
    pub fn taking_chunks(mut self) -> Self {
        self.takes_chunks = true;
        self
    }

    /// Where the message of the parcel lies in the pool; what [`message`](Self::message) gives has no meaning then.
    pub fn chunk(&self) -> Option<Chunk> {
        self.chunk
    }

    /// Where a parcel is to be copied, before [`Unpacked::open`].
    pub fn buffer(&mut self) -> &mut AlignedVec<16> {
        self.left = 0;
        &mut self.bytes
    }

    /// Takes in the parcel in the buffer, which a publisher of this host wrote.
    ///
    /// # Errors
    /// [`LaneError::Parcel`]: it is none.
    pub fn open(&mut self, host: Host) -> Result<(), LaneError> {
        self.left = 0;
        self.read(host).ok_or(LaneError::Parcel {
            len: self.bytes.len(),
        })
    }

    /// Goes on to the next message; whether there is one.
    ///
    /// # Errors
    /// [`LaneError::Parcel`]: there should be one.
    pub fn advance(&mut self) -> Result<bool, LaneError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(false);
        };
        self.left = left;
        self.message = self.next_message().ok_or(LaneError::Parcel {
            len: self.bytes.len(),
        })?;
        self.next = self.message.end.next_multiple_of(16);
        Ok(true)
    }

    /// Messages that were not looked at yet.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The message that is looked at.
    pub fn message(&self) -> &[u8] {
        &self.bytes[self.message.clone()]
    }

    /// Its topic.
    pub fn topic(&self) -> Option<&Topic> {
        self.topics.get(self.topic)?.as_ref()
    }

    /// The publisher's number for that.
    pub fn topic_id(&self) -> u32 {
        self.topic_id
    }

    /// When it was published, if that is told.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.stamp
    }

    /// In the table of a lane, how many messages on its topic came before since the topic has its slot; as is told.
    pub fn before(&self) -> u64 {
        self.before
    }

    fn read(&mut self, host: Host) -> Option<()> {
        let (left, topic_id) = (self.word(0)?, self.word(4)?);
        let (name_len, flags) = (self.word(8)? as usize, self.word(12)?);
        let is_pooled = flags & POOLED != 0;
        if left == 0
            || topic_id >= MAX_TOPIC_IDS
            || name_len > MAX_NAME_BYTES
            || flags > STAMPED | POOLED
            || is_pooled && (left > 1 || !self.takes_chunks)
        {
            return None;
        }
        self.stamp = match flags & STAMPED {
            0 => None,
            _ => {
                let bytes = self.bytes.get(16..32)?.try_into().ok()?;
                Some(Timestamp::from_bytes(bytes, host)?)
            }
        };
        let before = self.bytes.get(BEFORE)?.try_into().ok()?;
        self.before = u64::from_le_bytes(before);
        let name = self.bytes.get(NAME..NAME + name_len)?;
        let name = std::str::from_utf8(name).ok()?;
        let index = match self.keeps_one {
            true => 0,
            false => topic_id as usize,
        };
        let known = self.topics.get(index).and_then(Option::as_ref);
        if known.is_none_or(|known| known.as_str() != name) {
            let topic = Topic::try_from(name).ok()?;
            if self.topics.len() <= index {
                self.topics.resize(index + 1, None);
            }
            self.topics[index] = Some(topic);
        }
        self.topic = index;
        self.topic_id = topic_id;
        self.next = (NAME + name_len).next_multiple_of(16);
        self.chunk = match is_pooled {
            false => None,
            true => Some(chunk_in(&self.bytes)?),
        };
        self.left = left;
        Some(())
    }

    fn next_message(&self) -> Option<Range<usize>> {
        message_at(&self.bytes, self.next)
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.bytes, at)
    }
}

/// Whether the message of a parcel lies in the pool: of one that may be none, and is not opened.
#[inline(always)]
pub(super) fn is_pooled(parcel: &[u8]) -> bool {
    // Of the flags, the low byte.
    parcel
        .get(12)
        .is_some_and(|flags| flags & POOLED as u8 != 0)
}

/// Where it does.
pub(super) fn chunk_in(parcel: &[u8]) -> Option<Chunk> {
    let name_len = word(parcel, 8)? as usize;
    let first = NAME.checked_add(name_len)?.checked_next_multiple_of(16)?;
    let chunk = parcel.get(message_at(parcel, first)?)?;
    Chunk::from_bytes(chunk.try_into().ok()?)
}

/// Where the message is whose header stands there.
fn message_at(parcel: &[u8], at: usize) -> Option<Range<usize>> {
    let len = word(parcel, at)? as usize;
    let start = at.checked_add(HEADER_BYTES)?;
    let end = start.checked_add(len)?;
    (end <= parcel.len()).then_some(start..end)
}

fn word(parcel: &[u8], at: usize) -> Option<u32> {
    let bytes = parcel.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The longest parcel with messages that take this much in a ring, headers included.
pub const fn longest_parcel(record_bytes: usize) -> usize {
    PARCEL_BYTES + record_bytes
}

/// Of a message within a parcel, as long as a record's.
const HEADER_BYTES: usize = 16;
/// What stands before the messages, at most.
const PARCEL_BYTES: usize = (NAME + MAX_NAME_BYTES).next_multiple_of(16);
/// Where the number of messages that came before stands.
const BEFORE: Range<usize> = 32..40;
/// In the flags: it says when its messages were published.
const STAMPED: u32 = 1;
/// In the flags: its one message lies in the pool.
const POOLED: u32 = 2;
/// Where the name begins.
const NAME: usize = BEFORE.end;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Bytes, Clock};

    fn parcel(topic_id: u32, name: &str, stamped: bool, messages: &[Vec<u8>]) -> Parcel {
        let mut parcel = Parcel::default();
        let stamp = Clock::Monotonic.now();
        parcel.begin(topic_id, name, stamped.then_some(&stamp));
        for message in messages {
            parcel
                .push(Bytes::new(message), &mut Scratch::new())
                .unwrap();
        }
        parcel
    }

    fn unpack(unpacked: &mut Unpacked, bytes: &[u8]) -> Result<Vec<Vec<u8>>, LaneError> {
        unpacked.buffer().clear();
        unpacked.buffer().extend_from_slice(bytes);
        unpacked.open(Host::This)?;
        let mut messages = Vec::new();
        while unpacked.advance()? {
            messages.push(unpacked.message().to_vec());
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            id in 0..MAX_TOPIC_IDS,
            name in "[a-z]{1,40}",
            stamped: bool,
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..5),
        ) {
            let parcel = parcel(id, &name, stamped, &messages);
            let mut unpacked = Unpacked::default();
            prop_assert_eq!(unpack(&mut unpacked, parcel.bytes()).unwrap(), messages);
            prop_assert_eq!(unpacked.topic().unwrap().as_str(), name);
            prop_assert_eq!((unpacked.topic_id(), unpacked.timestamp().is_some()), (id, stamped));
        }

        #[test]
        fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..200_usize, with: u8) {
            let _ = unpack(&mut Unpacked::default(), &bytes);
            bytes = parcel(3, "some/topic", true, &[vec![1; 20], vec![2; 3]]).bytes().to_vec();
            let end = at.min(bytes.len());
            bytes[at.min(end.saturating_sub(1))] = with;
            let _ = unpack(&mut Unpacked::default(), &bytes);
            let _ = unpack(&mut Unpacked::default(), &bytes[..end]);
        }
    }

    fn hint(chunk: Chunk) -> Vec<u8> {
        let mut parcel = Parcel::default();
        parcel.begin(7, "t", None);
        parcel.refer_to(chunk);
        assert_eq!((parcel.messages(), parcel.message_bytes()), (1, 5000));
        parcel.bytes().to_vec()
    }

    #[test]
    fn a_message_in_the_pool_is_found_where_that_may_be() {
        let bytes = hint(Chunk::at(7, 128, 5000));
        let expected = [
            [1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0],
            [0; 16],
            [0, 0, 0, 0, 0, 0, 0, 0, b't', 0, 0, 0, 0, 0, 0, 0],
            [16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [2, 0, 0, 0, 8, 0, 0, 0, 0x88, 0x13, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
        let mut unpacked = Unpacked::default().taking_chunks();
        unpack(&mut unpacked, &bytes).unwrap();
        let chunk = unpacked.chunk().unwrap();
        assert_eq!(
            (
                chunk.place.segment,
                chunk.place.offset_bytes(),
                chunk.len_bytes
            ),
            (7, 128, 5000)
        );
        assert!(unpack(&mut Unpacked::default(), &bytes).is_err());
        // The next one is none.
        unpack(
            &mut unpacked,
            parcel(7, "t", true, &[vec![1; Chunk::BYTES]]).bytes(),
        )
        .unwrap();
        assert_eq!(unpacked.chunk(), None);
    }

    #[test]
    fn a_message_in_the_pool_that_names_no_chunk_is_refused() {
        let good = hint(Chunk::at(3, 128, 5000));
        // Two messages; another flag; the length of the name of the chunk; its segment.
        for (at, with) in [(0, 2), (12, 4), (48, 15), (68, 0)] {
            let mut bytes = good.clone();
            bytes[at] = with;
            let mut unpacked = Unpacked::default().taking_chunks();
            assert!(unpack(&mut unpacked, &bytes).is_err(), "{at}");
        }
        for end in 0..good.len() {
            let mut unpacked = Unpacked::default().taking_chunks();
            assert!(unpack(&mut unpacked, &good[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn of_one_parcel_one_name_is_kept() {
        let mut unpacked = Unpacked::of_one();
        for (id, name) in [(MAX_TOPIC_IDS - 1, "last"), (0, "first"), (7, "first")] {
            unpack(&mut unpacked, parcel(id, name, false, &[vec![1]]).bytes()).unwrap();
            assert_eq!(unpacked.topic().unwrap().as_str(), name);
            assert_eq!((unpacked.topic_id(), unpacked.topics.len()), (id, 1));
        }
    }

    #[test]
    fn a_parcel_has_these_bytes() {
        let parcel = parcel(7, "t", false, &[vec![9; 3]]);
        let expected = [
            [1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            [0; 16],
            [0, 0, 0, 0, 0, 0, 0, 0, b't', 0, 0, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(parcel.bytes(), expected.concat());
    }
}
