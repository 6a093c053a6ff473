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

/// Returns `count` with at most five characters, rounded down if it is long, as in `99999`, `123k` or `1.23M`.
///
/// Counts from 10^15 on take more than five characters.
pub fn short(count: u64) -> String {
    const SUFFIXES: [(u64, char); 4] = [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')];
    let suffix = SUFFIXES.into_iter().find(|&(unit, _)| count >= unit);
    let Some((unit, suffix)) = suffix.filter(|_| count >= 100_000) else { return count.to_string() };
    let (whole, thousandths) = (count / unit, count % unit / (unit / 1000));
    match whole {
        0..10 => format!("{whole}.{:02}{suffix}", thousandths / 10),
        10..100 => format!("{whole}.{}{suffix}", thousandths / 100),
        _ => format!("{whole}{suffix}"),
    }
}

/// Returns the number and the noun, in the singular for 1, as in `1 port` or `1,234 ports`. `noun` takes an `s` in the
/// plural.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Returns `duration` in one unit, rounded, as in `0.5 seconds` or `89 minutes`.
///
/// Below ten seconds, the number has one decimal unless it is whole. A unit is used from about 1.5 units on. Only
/// `1 second` occurs in the singular: `1 hour` would be too imprecise.
pub fn rounded(duration: Duration) -> String {
    let fits = |index: usize| {
        let unit = Duration::from_secs(UNITS[index].0);
        let half_of_smaller = Duration::from_secs(UNITS[index + 1].0) / 2;
        duration.saturating_add(half_of_smaller) >= unit * 3 / 2
    };
    let smallest = UNITS.len() - 1;
    let index = (0..smallest).find(|&index| fits(index)).unwrap_or(smallest);
    let (seconds, name) = UNITS[index];
    let count = duration.div_duration_f64(Duration::from_secs(seconds));
    let tenths = (count * 10.0).round() as u64;
    if index == smallest && tenths < 100 && !tenths.is_multiple_of(10) {
        return format!("{}.{} {name}s", tenths / 10, tenths % 10);
    }
    let count = count.round() as u64;
    counted(if index < smallest { count.max(2) } else { count }, name)
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
    fn shortens_to_five_characters() {
        for (count, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_999, "999k"),
            (1_009_999, "1.00M"),
            (1_019_999, "1.01M"),
            (12_399_999, "12.3M"),
            (999_999_999, "999M"),
            (9_999_999_999, "9.99G"),
            (999_999_999_999_999, "999T"),
        ] {
            assert_eq!(short(count), text);
            assert!(text.len() <= 5);
        }
    }

    #[test]
    fn uses_the_singular_for_one() {
        assert_eq!([0, 1, 1000].map(|count| counted(count, "port")), ["0 ports", "1 port", "1,000 ports"]);
    }

    #[test]
    fn rounds_to_one_unit() {
        for (milliseconds, text) in [
            (0, "0 seconds"),
            (49, "0 seconds"),
            (50, "0.1 seconds"),
            (500, "0.5 seconds"),
            (949, "0.9 seconds"),
            (950, "1 second"),
            (1000, "1 second"),
            (1049, "1 second"),
            (2400, "2.4 seconds"),
            (9949, "9.9 seconds"),
            (9950, "10 seconds"),
            (10_400, "10 seconds"),
            (60_000, "60 seconds"),
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
