//! Human-readable numbers and durations.

use std::time::Duration;

/// The units of [`rounded`] and their lengths in seconds, longest first.
const UNITS: [(u64, &str); 6] =
    [(365 * 86_400, "year"), (7 * 86_400, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];

/// Returns `count` with a comma after each group of three digits, as in `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns `duration` in one unit, rounded, as in `89 minutes`.
///
/// A unit is used from about 1.5 units on. Only `1 second` occurs in the singular: `1 hour` would be too imprecise.
pub fn rounded(duration: Duration) -> String {
    let fits = |index: usize| {
        let unit = Duration::from_secs(UNITS[index].0);
        let half_of_smaller = Duration::from_secs(UNITS[index + 1].0) / 2;
        duration.saturating_add(half_of_smaller) >= unit * 3 / 2
    };
    let smallest = UNITS.len() - 1;
    let index = (0..smallest).find(|&index| fits(index)).unwrap_or(smallest);
    let (seconds, name) = UNITS[index];
    let count = duration.div_duration_f64(Duration::from_secs(seconds)).round() as u64;
    let count = if index < smallest { count.max(2) } else { count };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {name}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_three_digits() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn rounds_to_one_unit() {
        for (milliseconds, text) in [
            (0, "0 seconds"),
            (499, "0 seconds"),
            (500, "1 second"),
            (1499, "1 second"),
            (1500, "2 seconds"),
            (89_499, "89 seconds"),
            (89_500, "2 minutes"),
            (150_000, "3 minutes"),
            (5_369_999, "89 minutes"),
            (5_370_000, "2 hours"),
            (35 * 3_600_000, "35 hours"),
            (36 * 3_600_000, "2 days"),
            (9 * 86_400_000, "9 days"),
            (11 * 86_400_000, "2 weeks"),
            (365 * 86_400_000, "52 weeks"),
            (2 * 365 * 86_400_000, "2 years"),
        ] {
            assert_eq!(rounded(Duration::from_millis(milliseconds)), text, "{milliseconds}");
        }
    }
}
