//! How large the memory of lanes has to be for messages of a length.

use crate::lane::{MIN_RING_BYTES, longest_parcel};
use crate::ring::{lossy, record_bytes};
use crate::table::bytes_for;

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
