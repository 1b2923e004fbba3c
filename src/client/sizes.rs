//! How large the memory of a publisher's lanes is.

use std::sync::Arc;

use crate::lane::{
    MAX_RING_BYTES, MIN_RING_BYTES, OwnMedium, PRELUDE_BYTES, longest_parcel, table,
};
use crate::message::Message;
use crate::pool::Chunk;
use crate::ring::{capacity_for, lossy, max_payload_bytes, record_bytes};
use crate::segment::Kind;
use crate::table::bytes_for;

use super::error::RequestError;
use super::outbound::{Gate, History};
use super::publisher::PublisherBuilder;

impl<T: Message + ?Sized> PublisherBuilder<'_, T> {
    pub(super) fn make_history(&self) -> Result<Option<History>, RequestError> {
        if self.history == 0 {
            return Ok(None);
        }
        let size = |what, asked: usize, most: usize| RequestError::Size {
            what,
            asked: asked as u64,
            least: 0,
            most: most as u64,
        };
        if self.history > MOST_HISTORY {
            let (asked, most) = (self.history as usize, MOST_HISTORY as usize);
            return Err(size("history", asked, most));
        }
        let least = table_bytes(self.max_message_bytes, self.history);
        let bytes = self.history_bytes.checked_next_power_of_two();
        let bytes = bytes
            .map(|bytes| bytes.max(least))
            .filter(|bytes| *bytes <= MAX_RING_BYTES)
            .ok_or_else(|| {
                size(
                    "history_bytes",
                    self.history_bytes.max(least),
                    MAX_RING_BYTES,
                )
            })?;
        let options = self.client.shared().options();
        let memory = OwnMedium::create(Kind::Table, bytes, options)?;
        let table = table(memory.clone(), self.history)
            .map_err(|_| size("history_bytes", bytes, MAX_RING_BYTES))?;
        let gate = Arc::new(Gate::new(memory, table.sequence()));
        Ok(Some(History { table, gate }))
    }

    /// Whether subscribers can share rings: those are for messages none of which is long enough for the pool.
    pub(super) fn shares_rings(&self) -> bool {
        let longest = T::ENCODED_LEN.unwrap_or(self.max_message_bytes);
        self.share_rings && longest <= self.copied_up_to()
    }

    /// Messages that are so long are copied into each ring.
    pub(super) fn copied_up_to(&self) -> usize {
        let short = self.pool_threshold.saturating_sub(1);
        short.min(self.max_message_bytes)
    }

    /// Bytes of rings for all messages, and of those for short ones. The first are not possible if messages are too long; who needs
    /// such a ring is refused then.
    pub(super) fn checked_ring_bytes(&self) -> Result<(usize, usize), RequestError> {
        let size = |what, asked: usize, most: usize, least: usize| RequestError::Size {
            what,
            asked: asked as u64,
            least: least as u64,
            most: most as u64,
        };
        let most = max_payload_bytes(MAX_RING_BYTES) - PRELUDE_BYTES;
        let needed = |bytes: usize| {
            capacity_for(bytes.saturating_add(PRELUDE_BYTES))
                .filter(|needed| *needed <= MAX_RING_BYTES)
        };
        let for_short = needed(self.copied_up_to().max(Chunk::BYTES));
        let for_all = needed(self.max_message_bytes);
        let pooled = usize::try_from(self.pool_bytes).unwrap_or(usize::MAX);
        let Some(for_short) =
            for_short.filter(|_| for_all.is_some() || self.max_message_bytes <= pooled)
        else {
            let most = most.max(pooled);
            return Err(size("max_message_bytes", self.max_message_bytes, most, 0));
        };
        if !(MIN_RING_BYTES..=MAX_RING_BYTES).contains(&self.ring_bytes) {
            return Err(size(
                "ring_bytes",
                self.ring_bytes,
                MAX_RING_BYTES,
                MIN_RING_BYTES,
            ));
        }
        let asked = self.ring_bytes.next_power_of_two();
        Ok((
            asked.max(for_all.unwrap_or(usize::MAX)),
            asked.max(for_short),
        ))
    }
}

/// Bytes of a lossy ring for messages of this length.
pub(super) fn lossy_bytes(max_message_bytes: usize) -> usize {
    let longest = longest_parcel(record_bytes(max_message_bytes));
    lossy::capacity_for(longest).unwrap_or(usize::MAX)
}

/// Bytes of a table that holds so many messages of each topic, as long as they may be.
pub(super) fn table_bytes(max_message_bytes: usize, history: u32) -> usize {
    let longest = longest_parcel(record_bytes(max_message_bytes));
    let bytes = bytes_for(longest, history + 1).max(MIN_RING_BYTES);
    bytes.checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// Messages of a topic that can be kept.
const MOST_HISTORY: u32 = 63;
