//! The time limit for retries after failures to read the host.

use std::time::{Duration, Instant};

/// Tracks a series of consecutive failures, and gives up when the series exceeds a time limit.
#[derive(Debug)]
pub struct RetryWindow {
    length: Duration,
    failing_since: Option<Instant>,
}

/// The reaction to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Warn, and try again: the first failure of a series.
    Warn,
    /// Try again without another warning.
    Retry,
    /// Give up: the series has lasted for the whole time limit.
    GiveUp,
}

impl RetryWindow {
    /// Creates a window with `length` as its time limit, and no failures.
    pub fn new(length: Duration) -> Self {
        Self { length, failing_since: None }
    }

    /// Records a failure at `now`, and returns the reaction to it.
    pub fn record_failure(&mut self, now: Instant) -> Reaction {
        match self.failing_since {
            None => {
                self.failing_since = Some(now);
                Reaction::Warn
            }
            Some(start) if now.saturating_duration_since(start) < self.length => Reaction::Retry,
            Some(_) => Reaction::GiveUp,
        }
    }

    /// Records a success, and returns whether it ends a series of failures.
    pub fn record_success(&mut self) -> bool {
        self.failing_since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn warns_once_and_gives_up_after_the_window() {
        let start = Instant::now();
        let mut window = RetryWindow::new(60 * SECOND);
        assert_eq!(window.record_failure(start), Reaction::Warn);
        assert_eq!(window.record_failure(start + SECOND), Reaction::Retry);
        assert_eq!(window.record_failure(start + 59 * SECOND), Reaction::Retry);
        assert_eq!(window.record_failure(start + 60 * SECOND), Reaction::GiveUp);
    }

    #[test]
    fn starts_again_after_a_success() {
        let start = Instant::now();
        let mut window = RetryWindow::new(60 * SECOND);
        assert!(!window.record_success());
        window.record_failure(start);
        assert!(window.record_success());
        assert!(!window.record_success());
        assert_eq!(window.record_failure(start + 70 * SECOND), Reaction::Warn);
        assert_eq!(window.record_failure(start + 129 * SECOND), Reaction::Retry);
        assert_eq!(window.record_failure(start + 130 * SECOND), Reaction::GiveUp);
    }
}
