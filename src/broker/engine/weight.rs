//! Upper bounds for the encoded size of what travels in parts.

use crate::message::MessageType;
use crate::topic::Pattern;
use crate::wire::{LimitKind, Limits, Refusal};

/// Bytes that a frame takes besides its entries.
pub(super) const FRAME: usize = 256;
/// Bytes that a removed route takes.
pub(super) const REMOVE: usize = 64;
/// Bytes that an entry of a frame takes besides its texts and its type.
pub(super) const ENTRY: usize = 256;

/// Bytes that a text takes.
pub(super) fn text(text: &str) -> usize {
    text.len() + 16
}

/// Bytes that a subscriber's patterns take.
pub(super) fn patterns(patterns: &[Pattern]) -> usize {
    patterns.iter().map(|pattern| text(pattern.as_str())).sum()
}

/// Bytes that a type takes.
pub(super) fn of_type(message_type: &MessageType) -> usize {
    rkyv::to_bytes::<rkyv::rancor::Error>(message_type).map_or(usize::MAX, |bytes| bytes.len())
}

/// Bytes that the entries of one frame may take.
pub(super) fn room(limits: &Limits) -> usize {
    (limits.frame_bytes as usize).saturating_sub(FRAME)
}

/// Refuses more than `limit`.
pub(super) fn within(kind: LimitKind, asked: usize, limit: u32) -> Result<(), Refusal> {
    if asked as u64 <= u64::from(limit) {
        return Ok(());
    }
    Err(Refusal::Limit {
        kind,
        limit: limit.into(),
        asked: asked as u64,
    })
}
