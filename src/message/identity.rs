//! What has to be equal on both sides of a route.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rkyv::{Archive, Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::canonical::{write_layout, write_number, write_text};
use super::{Describe, Difference, Layout, difference};

/// Identity of a message type.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MessageType {
    /// Stable name, 1 to 255 bytes.
    pub name: String,
    /// Version.
    pub version: u32,
    /// How a value lies in memory.
    pub layout: Layout,
    /// Hash of all the above; see [`MessageType::computed_fingerprint`].
    pub fingerprint: u64,
}

impl MessageType {
    /// The identity made of these.
    pub fn new(name: &str, version: u32, layout: Layout) -> Self {
        let mut made = Self {
            name: name.to_owned(),
            version,
            layout,
            fingerprint: 0,
        };
        made.fingerprint = made.computed_fingerprint();
        made
    }

    /// The identity of a type under a name.
    pub fn of<T: Describe>(name: &str, version: u32) -> Self {
        Self::new(name, version, Layout::of::<T>())
    }

    /// XXH3 (64 bits, seed 0) of the name, the version (u32) and the layout.
    ///
    /// All numbers are little endian; text has its length (u32) before it, a list its number (u32). The layout is the list of
    /// its types, each with size and alignment (u32 each), a byte for the kind, and what that holds:
    ///
    /// | kind | byte | then |
    /// |---|---|---|
    /// | unit, bool | 0, 1 | |
    /// | unsigned, signed, float | 2, 3, 4 | bits (u8) |
    /// | char, string | 5, 6 | |
    /// | struct | 7 | list of fields: name, offset (u32), type index (u32) |
    /// | enum | 8 | list of variants: name, tag (u8), list of fields |
    /// | list | 9 | type index (u32) |
    /// | array | 10 | type index (u32), length (u32) |
    /// | option, boxed | 11, 12 | type index (u32) |
    /// | raw | 13 | |
    /// | tail | 14 | type index (u32) of the header, of the elements; alignment (u32) |
    pub fn computed_fingerprint(&self) -> u64 {
        let mut bytes = Vec::new();
        write_text(&mut bytes, &self.name);
        write_number(&mut bytes, self.version);
        write_layout(&mut bytes, &self.layout);
        xxh3_64(&bytes)
    }

    /// The first thing in which `other`, a peer's, differs from this one.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        difference::of_types(self, other)
    }
}

/// The identity of a type with parameters, made once: a `static` in a generic function would be one for all of them.
pub(super) fn once_for<T: ?Sized + 'static>(
    make: impl FnOnce() -> MessageType,
) -> &'static MessageType {
    static MADE: Mutex<BTreeMap<TypeId, &'static MessageType>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(TypeId::of::<T>())
        .or_insert_with(|| Box::leak(Box::new(make())))
}

impl fmt::Display for MessageType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} v{}", self.name, self.version)
    }
}
