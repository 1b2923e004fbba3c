//! Quantities as people read them.

use std::time::Duration;

/// A time, in the unit that makes it short.
pub fn time(time: Duration) -> String {
    let ns = time.as_nanos() as f64;
    match ns {
        0.0 => "0".into(),
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} us", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.1} s", ns / 1e9),
    }
}

/// A number of bytes, in the unit that makes it short.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        ..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let times = [0, 999, 1_500, 2_500_000, 60_000_000_000].map(Duration::from_nanos);
        assert_eq!(
            times.map(time),
            ["0", "999 ns", "1.5 us", "2.5 ms", "60.0 s"]
        );
        let sizes = [9_999.0, 12_345.0, 1.5e6, 2e9];
        assert_eq!(sizes.map(bytes), ["9999 B", "12.3 kB", "1.5 MB", "2.0 GB"]);
    }
}
