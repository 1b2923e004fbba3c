//! Water marks: whether a ring is about to be full, told with hysteresis.

/// Whether the fill of a ring is high: from three quarters on, until it is down to a half.
#[derive(Clone, Copy, Debug, Default)]
pub struct Water {
    /// Odd while it is high.
    crossings: u64,
}

impl Water {
    /// Takes in the fill, in bytes; whether it has crossed a mark.
    pub fn is_crossed(&mut self, fill: u64, capacity: u64) -> bool {
        let crossed = match is_high(self.crossings) {
            true => fill <= capacity / 2,
            false => fill > high(capacity),
        };
        self.crossings += u64::from(crossed);
        crossed
    }

    /// How often a mark was crossed.
    pub fn crossings(&self) -> u64 {
        self.crossings
    }

    /// How much can be written, beyond what the slowest reader has read, before somebody has to look again.
    pub fn room(&self, capacity: u64) -> u64 {
        match is_high(self.crossings) {
            true => capacity,
            false => high(capacity),
        }
    }
}

/// Whether the fill is high after so many crossings.
pub fn is_high(crossings: u64) -> bool {
    crossings % 2 == 1
}

fn high(capacity: u64) -> u64 {
    capacity / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_marks_nothing_is_crossed() {
        let mut water = Water::default();
        let mut crossed = |fill| water.is_crossed(fill, 100);
        assert_eq!(
            [74, 75, 76, 100, 51].map(&mut crossed),
            [false, false, true, false, false]
        );
        assert_eq!([50, 76, 0].map(&mut crossed), [true, true, true]);
        assert_eq!(water.crossings(), 4);
    }
}
