//! When a message was published, by which clock.

use std::fmt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A clock of the system that a publisher stamps its messages with.
///
/// Reading one costs some 20 ns and no system call where the kernel lets programs read its time source (x86-64 with `tsc` or
/// `kvm-clock`, arm64); a system call elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Clock {
    /// Nanoseconds since 1970, UTC (`CLOCK_REALTIME`). Means something on every host, as far as their clocks are set alike, and
    /// jumps when the time is set.
    Realtime = 1,
    /// Nanoseconds since some moment (`CLOCK_MONOTONIC`). Never jumps; processes of one machine share it, and nobody else.
    Monotonic = 2,
}

/// Whose clock it was that a message was stamped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// That of this host.
    This,
    /// That of the host at the other end of a connection, which may be this one: nobody has compared them.
    Other,
}

/// A moment by a clock that is named.
///
/// ```
/// use ringmain::{Clock, Timestamp};
///
/// let before = Clock::Monotonic.now();
/// let after = Clock::Monotonic.now();
/// assert_eq!(before.clock, Clock::Monotonic);
/// assert!(before.ns <= after.ns);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// The clock.
    pub clock: Clock,
    /// What it showed, in nanoseconds.
    pub ns: u64,
    /// Whose clock it was.
    pub host: Host,
}

impl Clock {
    /// What the clock shows.
    pub fn now(self) -> Timestamp {
        let id = match self {
            Self::Realtime => ClockId::CLOCK_REALTIME,
            Self::Monotonic => ClockId::CLOCK_MONOTONIC,
        };
        // Every Linux has both; before 1970 nothing can be said.
        let ns = clock_gettime(id).ok().and_then(|time| {
            let seconds = u64::try_from(time.tv_sec()).ok()?;
            seconds
                .checked_mul(1_000_000_000)?
                .checked_add(time.tv_nsec() as u64)
        });
        Timestamp {
            clock: self,
            ns: ns.unwrap_or(0),
            host: Host::This,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Realtime),
            2 => Some(Self::Monotonic),
            _ => None,
        }
    }
}

impl Timestamp {
    /// Bytes that it takes before a payload.
    pub const BYTES: usize = 16;

    /// How long ago it was, by its clock; zero if that was set back meanwhile, or if another host's is ahead.
    ///
    /// `None` for a [`Clock::Monotonic`] of another host, of which this one can say nothing; moments of that are to be
    /// compared with each other only.
    pub fn elapsed(self) -> Option<Duration> {
        match (self.clock, self.host) {
            (Clock::Monotonic, Host::Other) => None,
            _ => Some(Duration::from_nanos(
                self.clock.now().ns.saturating_sub(self.ns),
            )),
        }
    }

    /// Nanoseconds, then the clock's number; the rest is zero. The host is what the ring says.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        (u128::from(self.ns) | (self.clock as u128) << 64).to_le_bytes()
    }

    /// `None` if a byte is not as [`to_bytes`](Self::to_bytes) writes it.
    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES], host: Host) -> Option<Self> {
        let both = u128::from_le_bytes(bytes);
        let clock = u8::try_from(both >> 64).ok().and_then(Clock::from_byte)?;
        Some(Self {
            clock,
            ns: both as u64,
            host,
        })
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Realtime => "realtime",
            Self::Monotonic => "monotonic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_its_documented_bytes() {
        let timestamp = Timestamp {
            clock: Clock::Monotonic,
            ns: 0x0807_0605_0403_0201,
            host: Host::This,
        };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(timestamp.to_bytes(), bytes);
        assert_eq!(Timestamp::from_bytes(bytes, Host::This), Some(timestamp));
    }

    #[test]
    fn clocks_that_there_are_not_are_refused() {
        for (at, byte) in [(8, 0), (8, 3), (8, 255), (9, 1), (15, 0x80)] {
            let mut bytes = Clock::Realtime.now().to_bytes();
            bytes[at] = byte;
            assert_eq!(Timestamp::from_bytes(bytes, Host::This), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_timestamp_ages_by_its_own_clock() {
        for clock in [Clock::Realtime, Clock::Monotonic] {
            let now = clock.now();
            let earlier = Timestamp {
                ns: now.ns - 1_000_000_000,
                ..now
            };
            let elapsed = earlier.elapsed().unwrap();
            assert!(elapsed >= Duration::from_secs(1), "{clock}: {elapsed:?}");
        }
    }

    #[test]
    fn a_monotonic_time_of_another_host_has_no_age_here() {
        let elsewhere = |clock: Clock| Timestamp {
            host: Host::Other,
            ..clock.now()
        };
        assert_eq!(elsewhere(Clock::Monotonic).elapsed(), None);
        assert!(elsewhere(Clock::Realtime).elapsed().is_some());
    }
}
