//! Times as data files write them.

/// Nanoseconds since 1970, UTC, of a time: `20200101 170000065`, `2013-01-01 22:00:00.295000+00:00`, or a number of
/// seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by its length. Without an offset it is UTC.
pub fn nanoseconds(text: &str) -> Option<u64> {
    let since_epoch = text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if since_epoch && text.len() != COMPACT_DATE_DIGITS {
        return epoch(text);
    }
    let mut rest = text;
    let year = number(&mut rest, 4)?;
    let dashes = take(&mut rest, "-");
    let month = number(&mut rest, 2)?;
    if dashes && !take(&mut rest, "-") {
        return None;
    }
    let day = number(&mut rest, 2)?;
    let _ = take(&mut rest, " ") || take(&mut rest, "T");
    let hour = number(&mut rest, 2)?;
    let colons = take(&mut rest, ":");
    let minute = number(&mut rest, 2)?;
    if colons && !take(&mut rest, ":") {
        return None;
    }
    let second = number(&mut rest, 2)?;
    // `20200101 170000065` has its milliseconds right behind the seconds.
    let fraction_ns = match take(&mut rest, ".") || !colons {
        true => fraction(&mut rest)?,
        false => 0,
    };
    let offset_s = offset(rest)?;
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let seconds =
        days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    let seconds = u64::try_from(seconds).ok().filter(|_| in_range)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction_ns)
}

fn epoch(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    let unit_ns = match digits.len() {
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    number.checked_mul(unit_ns)
}

/// `digits` digits from the front.
fn number(rest: &mut &str, digits: usize) -> Option<i64> {
    let (front, back) = rest.split_at_checked(digits)?;
    *rest = back;
    let all_digits = front.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| front.parse().ok()).flatten()
}

fn take(rest: &mut &str, prefix: &str) -> bool {
    match rest.strip_prefix(prefix) {
        Some(stripped) => {
            *rest = stripped;
            true
        }
        None => false,
    }
}

/// The digits at the front as a fraction of a second, in nanoseconds.
fn fraction(rest: &mut &str) -> Option<u64> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (front, back) = rest.split_at(digits);
    *rest = back;
    let kept = &front[..digits.min(9)];
    if kept.is_empty() {
        return Some(0);
    }
    let number: u64 = kept.parse().ok()?;
    Some(number * 10_u64.pow(9 - kept.len() as u32))
}

/// What is ahead of UTC, in seconds: nothing, `Z`, `+02:00`, `+0200` or `+02`.
fn offset(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if matches!(rest, "" | "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = match (take(&mut rest, "+"), take(&mut rest, "-")) {
        (true, false) => 1,
        (false, true) => -1,
        _ => return None,
    };
    let hours = number(&mut rest, 2)?;
    let _ = take(&mut rest, ":");
    let minutes = match rest {
        "" => 0,
        _ => number(&mut rest, 2)?,
    };
    rest.is_empty()
        .then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days of the Gregorian calendar, by Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `20200101170000` is a date, not a number of milliseconds.
const COMPACT_DATE_DIGITS: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_written_in_every_way_is_the_same_number() {
        for text in [
            "20200101 170000065",
            "2020-01-01 17:00:00.065",
            "2020-01-01T17:00:00.065000Z",
            "2020-01-01 18:00:00.065+01:00",
            "2020-01-01 15:30:00.065-0130",
            "1577898000065",
            "1577898000065000",
            "1577898000065000000",
        ] {
            assert_eq!(nanoseconds(text), Some(1_577_898_000_065_000_000), "{text}");
        }
        for text in [
            "20200101170000",
            "20200101 170000",
            "2020-01-01 17:00:00",
            "1577898000",
        ] {
            assert_eq!(nanoseconds(text), Some(1_577_898_000_000_000_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "x",
            "2020",
            "20200101",
            "2020-13-01 00:00:00",
            "2020-01-01 24:00:00",
            "2020-01-01 00:00:00 noon",
            "2020-01-01 00:00",
            "1960-01-01 00:00:00",
            "é020-01-01 00:00:00",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
