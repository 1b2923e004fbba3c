//! The first bytes of a connection, by which both sides agree on a protocol version.
//!
//! Both send theirs at once, wait for the other's, and take the highest version that both speak. Neither side waits with
//! its own for the other's, so a side that speaks no common version learns the other's range too.

use std::fmt;

use thiserror::Error;

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
}

/// Why a connection ends before its first frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// The other side is not a part of ringmain.
    #[error(
        "the peer begins with {found:02x?}, which is not ringmain's protocol: check the address"
    )]
    Magic {
        /// What it begins with.
        found: [u8; 8],
    },
    /// The two sides have no version in common.
    #[error(
        "the peer speaks protocol {theirs}, this side {ours}: upgrade the side with the lower numbers"
    )]
    NoCommonVersion {
        /// What this build speaks.
        ours: Versions,
        /// What the other side speaks.
        theirs: Versions,
    },
}

impl Versions {
    /// What this build speaks.
    pub const OURS: Self = Self {
        lowest: PROTOCOL_VERSION,
        highest: PROTOCOL_VERSION,
    };

    /// The preamble of a side that speaks these.
    pub fn encode(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.lowest.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.highest.to_le_bytes());
        bytes
    }

    /// What the sender of a preamble speaks.
    ///
    /// # Errors
    /// [`PreambleError::Magic`].
    pub fn decode(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Self, PreambleError> {
        let [m @ .., l0, l1, h0, h1, _, _, _, _] = *bytes;
        if m != MAGIC {
            return Err(PreambleError::Magic { found: m });
        }
        Ok(Self {
            lowest: u16::from_le_bytes([l0, l1]),
            highest: u16::from_le_bytes([h0, h1]),
        })
    }

    /// The version that two sides use.
    ///
    /// # Errors
    /// [`PreambleError::NoCommonVersion`].
    pub fn agree(self, theirs: Self) -> Result<u16, PreambleError> {
        let version = self.highest.min(theirs.highest);
        if version < self.lowest.max(theirs.lowest) {
            return Err(PreambleError::NoCommonVersion { ours: self, theirs });
        }
        Ok(version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "version {}", self.lowest)
        } else {
            write!(f, "versions {} to {}", self.lowest, self.highest)
        }
    }
}

/// The version of the frames in this build.
pub const PROTOCOL_VERSION: u16 = 1;
/// Length of a preamble in bytes.
pub const PREAMBLE_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"RINGMAIN";

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(lowest: u16, highest: u16) -> Versions {
        Versions { lowest, highest }
    }

    #[test]
    fn a_preamble_has_these_bytes() {
        let bytes = versions(0x0102, 0x0304).encode();
        assert_eq!(&bytes, b"RINGMAIN\x02\x01\x04\x03\0\0\0\0");
        assert_eq!(Versions::decode(&bytes), Ok(versions(0x0102, 0x0304)));
        assert!(
            include_str!("../../docs/control-protocol.md")
                .contains(&format!("Protocol version: {PROTOCOL_VERSION}\n"))
        );
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(versions(1, 3).agree(versions(2, 5)), Ok(3));
        assert_eq!(versions(4, 4).agree(versions(1, 4)), Ok(4));
    }

    #[test]
    fn both_sides_name_both_ranges_when_they_share_no_version() {
        let (old, new) = (versions(1, 2), versions(3, 4));
        assert_eq!(
            old.agree(new),
            Err(PreambleError::NoCommonVersion {
                ours: old,
                theirs: new
            })
        );
        let error = new.agree(old).unwrap_err().to_string();
        assert!(
            error.contains("versions 1 to 2") && error.contains("versions 3 to 4"),
            "{error}"
        );
        // A range that is none has nothing in common with any.
        assert!(versions(1, 9).agree(versions(5, 4)).is_err());
    }

    #[test]
    fn other_protocols_are_refused() {
        assert_eq!(
            Versions::decode(b"GET / HTTP/1.1\r\n"),
            Err(PreambleError::Magic {
                found: *b"GET / HT"
            })
        );
    }
}
