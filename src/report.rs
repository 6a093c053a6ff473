//! What the user sees while tcp-bounce runs.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tcp_bounce_wire::{Action, Counters, Verdict};

/// Lines on standard output, and on a terminal one line below them that changes as packets come.
pub struct Report {
    quiet: bool,
    status: ProgressBar,
    /// What the status line showed last, and when.
    shown: (Duration, Counters),
}

impl Report {
    /// A report that says nothing at all, if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let status = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let status =
            status.with_style(ProgressStyle::with_template("{wide_msg}").unwrap_or(ProgressStyle::default_spinner()));
        Self { quiet, status, shown: (Duration::ZERO, Counters::default()) }
    }

    /// Prints a line. That nobody may be reading any more is no reason to stop.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            self.status.suspend(|| {
                let _ = writeln!(io::stdout(), "{text}");
            });
        }
    }

    /// Shows on a terminal what has been counted in all, and how much each second since it was last shown.
    ///
    /// `elapsed` is the time since the start; it may be called more often than once a second, and does nothing
    /// then.
    pub fn progress(&mut self, elapsed: Duration, counters: &Counters) {
        let (last, before) = &self.shown;
        let seconds = elapsed.saturating_sub(*last).as_secs_f64();
        if seconds < 1.0 {
            return;
        }
        let show = |what: &str, of: fn(&Counters) -> u64| {
            let (now, before) = (of(counters), of(before));
            let rate = now.saturating_sub(before) as f64 / seconds;
            format!("{what} {} ({}/s)", HumanCount(now), HumanCount(rate.round() as u64))
        };
        // Short, for a terminal of 80 columns.
        let parts = [
            show("SYNs answered", |counters| counters[Verdict::Answered]),
            show("completed", |counters| counters[Verdict::Completed]),
            show("passed", |counters| counters.total(Action::Pass)),
        ];
        self.status.set_message(parts.join(", "));
        self.shown = (elapsed, *counters);
    }

    /// Prints what was counted from the start to the end.
    pub fn summary(&self, elapsed: Duration, counters: &Counters) {
        self.status.finish_and_clear();
        self.line(&format!("detached after {}", HumanDuration(elapsed)));
        for verdict in Verdict::ALL {
            let always = matches!(verdict, Verdict::Answered | Verdict::Completed);
            if always || counters[verdict] > 0 {
                self.line(&format!("{:>15} {}", HumanCount(counters[verdict]).to_string(), verdict.description()));
            }
        }
    }
}
