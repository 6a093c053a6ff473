//! The text of the status line: totals and rates.

use tcp_bounce_wire::{Counters, Verdict, XdpAction};

use super::numbers::{grouped, short};
use crate::telemetry::CountedHandshakes;

/// The maximum length of the text, in columns.
const WIDTH: usize = 80;

/// Returns the totals in `counters`, and the rates since `last`, which was `seconds` ago.
///
/// Long numbers are shortened so that the text fits into [`WIDTH`].
pub fn line(counters: &Counters, last: &Counters, seconds: f64, handshakes: CountedHandshakes) -> String {
    let completed = match handshakes {
        CountedHandshakes::All => Some("completed"),
        CountedHandshakes::ExceptEcho => Some("completed (not echo)"),
        CountedHandshakes::None => None,
    };
    let answered = counters[Verdict::Answered];
    let names = [
        (Some(if answered == 1 { "SYN answered" } else { "SYNs answered" }), answered, last[Verdict::Answered]),
        (completed, counters.completed(), last.completed()),
        (Some("passed"), counters.total(XdpAction::Pass), last.total(XdpAction::Pass)),
    ];
    let parts = |number: fn(u64) -> String, count: usize| {
        let parts = names.iter().take(count).filter_map(|&(name, total, last_total)| {
            let rate = (total.saturating_sub(last_total) as f64 / seconds).round() as u64;
            Some(format!("{} {} ({}/s)", number(total), name?, number(rate)))
        });
        parts.collect::<Vec<_>>().join(", ")
    };
    let candidates = [parts(grouped, 3), parts(short, 3), parts(short, 2)];
    let fitting = candidates.iter().find(|text| text.len() <= WIDTH);
    fitting.unwrap_or(&candidates[2]).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(answered: u64, completed: u64, passed: u64) -> Counters {
        Counters::from(Verdict::ALL.map(|verdict| match verdict {
            Verdict::Answered => answered,
            Verdict::Completed => completed,
            Verdict::OtherTcp => passed,
            _ => 0,
        }))
    }

    #[test]
    fn shows_totals_and_rates() {
        let (now, last) = (counters(12_345, 1, 7), counters(345, 1, 6));
        assert_eq!(
            line(&now, &last, 2.0, CountedHandshakes::All),
            "12,345 SYNs answered (6,000/s), 1 completed (0/s), 7 passed (1/s)"
        );
        assert_eq!(line(&now, &last, 2.0, CountedHandshakes::None), "12,345 SYNs answered (6,000/s), 7 passed (1/s)");
        assert!(line(&counters(1, 0, 0), &last, 1.0, CountedHandshakes::All).starts_with("1 SYN answered (0/s), "));
    }

    #[test]
    fn fits_into_80_columns_with_any_counters() {
        for digits in 0..15 {
            for count in [10u64.pow(digits), 10u64.pow(digits + 1) - 1] {
                for handshakes in [CountedHandshakes::All, CountedHandshakes::ExceptEcho, CountedHandshakes::None] {
                    let text = line(&counters(count, count, count), &counters(0, 0, 0), 1.0, handshakes);
                    assert!(text.len() <= WIDTH, "{text}");
                    assert!(
                        text.contains("SYN") && (handshakes == CountedHandshakes::None) != text.contains("completed")
                    );
                }
            }
        }
        let many = counters(9_876_543_210, 9_876_543_210, 9_876_543_210);
        assert_eq!(
            line(&many, &many, 1.0, CountedHandshakes::All),
            "9.87G SYNs answered (0/s), 9.87G completed (0/s), 9.87G passed (0/s)"
        );
    }
}
