//! Times in buckets of equal relative width.
//!
//! Below 8 ns each nanosecond has a bucket; above, each power of two is cut into eight, so a bucket is at most an
//! eighth wide of what it holds. The last bucket takes all from 17 seconds on.

use std::time::Duration;

use super::page::BUCKETS;

/// How many messages took how long. A time is told as the end of its bucket, at most an eighth too much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Empty, or one count for each bucket.
    buckets: Vec<u64>,
}

impl Histogram {
    pub(super) fn from_buckets(buckets: impl Iterator<Item = u64>) -> Self {
        let buckets: Vec<u64> = buckets.take(BUCKETS).collect();
        match buckets.iter().all(|count| *count == 0) {
            true => Self::default(),
            false => Self { buckets },
        }
    }

    /// Messages in all.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// The time within which that share of all messages arrived, from 0 to 1: 0.5 gives the median. `None` if there
    /// are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share.clamp(0.0, 1.0) * self.count() as f64)
            .ceil()
            .max(1.0) as u64;
        let mut seen = 0_u64;
        let mut buckets = self.buckets.iter().enumerate();
        let found = buckets.find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen >= wanted
        });
        found.map(|(bucket, _)| Duration::from_nanos(last_of(bucket)))
    }

    /// The buckets that are not empty: the longest time that falls into each, messages.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let filled = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (Duration::from_nanos(last_of(bucket)), *count))
    }

    /// Adds another one's messages.
    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_add);
    }

    /// Takes those of an earlier state of the same histogram off.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.combine(earlier, u64::saturating_sub);
        since
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = with(*own, *other);
        }
    }
}

/// The bucket that a time in nanoseconds falls into.
#[inline]
pub(super) fn bucket_of(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let exponent = ns.ilog2();
    let part = (ns >> (exponent - PART_BITS)) & (PARTS - 1);
    let bucket = u64::from(exponent - PART_BITS + 1) * PARTS + part;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest time, in nanoseconds, that falls into a bucket; where the last one begins.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let (shift, part) = (bucket / PARTS - 1, bucket % PARTS);
    if bucket == BUCKETS as u64 - 1 {
        return (PARTS + part) << shift;
    }
    ((PARTS + part + 1) << shift) - 1
}

/// Buckets for a power of two.
const PARTS: u64 = 1 << PART_BITS;
const PART_BITS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        for bucket in 0..BUCKETS - 1 {
            let last = last_of(bucket);
            assert_eq!(bucket_of(last), bucket);
            assert_eq!(bucket_of(last + 1), bucket + 1);
        }
        assert_eq!(bucket_of(last_of(BUCKETS - 1)), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(last_of(BUCKETS - 1), 15 << 30);
    }

    #[test]
    fn a_bucket_is_at_most_an_eighth_wide() {
        for bucket in PARTS as usize..BUCKETS - 1 {
            let (first, last) = (last_of(bucket - 1) + 1, last_of(bucket));
            assert!((last - first + 1) * 8 <= first, "{first} to {last}");
        }
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut counts = vec![0; BUCKETS];
        let times: Vec<u64> = (1..=1000).map(|time| time * 977).collect();
        for time in &times {
            counts[bucket_of(*time)] += 1;
        }
        let histogram = Histogram::from_buckets(counts.into_iter());
        assert_eq!(histogram.count(), 1000);
        for (share, index) in [(0.0, 0), (0.5, 499), (0.99, 989), (1.0, 999)] {
            let found = histogram.quantile(share).unwrap().as_nanos() as u64;
            assert!(times[index] <= found && found <= times[index] + times[index] / 8);
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(histogram.since(&histogram).count(), 0);
    }
}
