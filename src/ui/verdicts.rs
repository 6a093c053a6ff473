//! The descriptions of verdicts in the summary and in the full-screen view, and their order in the summary.

use tcp_bounce_wire::Verdict;

/// Returns all verdicts in the order of the summary. Completed handshakes follow each other.
pub fn in_order() -> [Verdict; Verdict::ALL.len()] {
    let mut verdicts = Verdict::ALL;
    verdicts.sort_by_key(|verdict| match verdict {
        Verdict::Answered => 0,
        Verdict::Completed => 1,
        _ => 2,
    });
    verdicts
}

/// Returns the description of `count` frames with `verdict`.
///
/// `has_profile` states that the ports have the services of a profile. A port that is not answered then has no service,
/// a local listener, or an exclusion by the user. A handshake may be completed with and without a banner.
pub fn description(verdict: Verdict, count: u64, has_profile: bool) -> &'static str {
    match verdict {
        Verdict::Excluded if has_profile => "passed: to a port that is not answered",
        Verdict::Completed if has_profile && count == 1 => "handshake completed, no banner",
        Verdict::Completed if has_profile && count > 1 => "handshakes completed, no banner",
        _ => verdict.description(count),
    }
}
