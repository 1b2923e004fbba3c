//! Ticks that nobody traded.

use super::Tick;

/// A seeded random walk: the same ticks in every process.
pub fn random_walk(count: usize) -> Vec<Tick> {
    let mut random = SplitMix(SEED);
    let mut ts_ns = START_NS;
    // In pips, so that steps add up without rounding.
    let mut bid_pips: i64 = 112_000;
    (0..count)
        .map(|_| {
            ts_ns += 1_000_000 + random.below(500_000_000);
            bid_pips = (bid_pips + random.below(21) as i64 - 10).clamp(50_000, 200_000);
            let ask_pips = bid_pips + 1 + random.below(30) as i64;
            Tick {
                ts_ns,
                bid: bid_pips as f64 / PIPS,
                ask: ask_pips as f64 / PIPS,
                bid_size: (1 + random.below(50)) as f64 * 100_000.0,
                ask_size: (1 + random.below(50)) as f64 * 100_000.0,
            }
        })
        .collect()
}

/// Sebastiano Vigna's SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const SEED: u64 = 20_200_101;
/// 2020-01-01 17:00 UTC.
const START_NS: u64 = 1_577_898_000_000_000_000;
const PIPS: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_makes_up_the_same_quotes() {
        let ticks = random_walk(1000);
        assert_eq!(ticks, random_walk(1000));
        assert!(ticks.iter().all(|tick| tick.bid < tick.ask));
        assert!(ticks.is_sorted_by_key(|tick| tick.ts_ns));
        assert!(ticks.iter().any(|tick| tick.bid != ticks[0].bid));
    }
}
