//! How a publisher waits for room.

use std::time::Duration;

use super::Patience;

/// How a publisher waits for room in the lane of a `Block` subscriber. Deadlines are the same in each case.
///
/// While it waits it is told of every message that the subscriber has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Sleeps until the subscriber wakes it: a system call of the subscriber for each time.
    #[default]
    Wake,
    /// Does not wait: a message that would have to is refused with [`WouldBlock`](crate::PublishError::WouldBlock) and goes to
    /// nobody.
    Never,
    /// Tries again and again, offering its core to others in between: the subscriber wakes it once for each wait. Futures yield to
    /// other tasks.
    Yield,
    /// Sleeps between attempts, longer each time, whatever happens meanwhile: the subscriber wakes it once for each wait.
    Backoff {
        /// The first sleep. Each further one is twice as long as the one before; each is shortened by up to a half, by chance, so that
        /// several publishers do not try at the same time.
        first: Duration,
        /// No sleep is longer.
        longest: Duration,
    },
}

impl Retry {
    /// How long a call waits that would have this patience.
    #[inline]
    pub(super) fn patience(self, patience: Patience) -> Patience {
        match self {
            Self::Never => Patience::None,
            Self::Wake | Self::Yield | Self::Backoff { .. } => patience,
        }
    }

    /// The sleep before the next attempt of one wait; `pause` is what the last one could have been, zero before the first.
    pub(super) fn next_pause(self, pause: &mut Duration) -> Duration {
        let Self::Backoff { first, longest } = self else {
            return Duration::ZERO;
        };
        let next = if pause.is_zero() { first } else { *pause * 2 };
        *pause = next.min(longest).clamp(SHORTEST, LONGEST);
        let ns = pause.as_nanos() as u64;
        Duration::from_nanos(fastrand::u64(ns / 2..=ns))
    }
}

/// Below that a sleep takes longer than it is to.
const SHORTEST: Duration = Duration::from_micros(1);
/// Longer than anybody waits; what can be doubled.
const LONGEST: Duration = Duration::from_secs(1 << 30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary() {
        let retry = Retry::Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(6),
        };
        let mut seen = Vec::new();
        for _ in 0..100 {
            let mut pause = Duration::ZERO;
            for most_ms in [1, 2, 4, 6, 6] {
                let most = Duration::from_millis(most_ms);
                let slept = retry.next_pause(&mut pause);
                assert!((most / 2..=most).contains(&slept), "{slept:?} of {most:?}");
                seen.push(slept);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 400, "{} different pauses of 500", seen.len());
    }

    #[test]
    fn pauses_without_bounds_are_possible() {
        for bound in [Duration::ZERO, Duration::MAX] {
            let retry = Retry::Backoff {
                first: bound,
                longest: bound,
            };
            let mut pause = Duration::ZERO;
            for _ in 0..200 {
                assert!(retry.next_pause(&mut pause) <= LONGEST);
            }
        }
    }
}
