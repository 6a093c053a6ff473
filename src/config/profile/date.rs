//! The date in payloads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The days of the week, from the first of January 1970.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns the date and time in the form of RFC 5322, in UTC: `Mon, 30 Nov 2026 07:00:00 +0000`.
pub fn rfc_5322(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // The text looks like 2026-11-30T07:00:00Z.
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    let [year, month, day, clock] = [0..4, 5..7, 8..10, 11..19].map(|range| text.get(range).unwrap_or_default());
    let month = month.parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"");
    let weekday = WEEKDAYS[(seconds / 86_400 % 7) as usize];
    format!("{weekday}, {day} {month} {year} {clock} +0000")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn agrees_with_the_command_date() {
        // The first and last second of a year, a leap day, the ends of the supported years, and others.
        let days = (0..40_000).step_by(997).map(|day| day * 86_400 + day);
        for seconds in [0, 1, 951_825_599, 1_709_208_000, 1_735_689_599, 1_735_689_600].into_iter().chain(days) {
            let output = Command::new("date").args(["--utc", "--rfc-email", "--date", &format!("@{seconds}")]).output();
            let expected = String::from_utf8(output.unwrap().stdout).unwrap();
            assert_eq!(rfc_5322(UNIX_EPOCH + Duration::from_secs(seconds)), expected.trim_end(), "{seconds}");
        }
    }
}
