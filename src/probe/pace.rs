//! The rate of connection attempts: a bucket of tokens that fills with time.

use std::time::{Duration, Instant};

/// The time in which the tokens of a full bucket come in. A larger burst can overflow the queue of a network interface.
const BURST: Duration = Duration::from_millis(5);

/// The attempts that may start now, and the time of the next one.
#[derive(Debug)]
pub struct Pace {
    rate: f64,
    tokens: f64,
    updated: Instant,
}

impl Pace {
    /// Creates a bucket for `rate` attempts a second, with a token for the first attempt at `now`.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self { rate: f64::from(rate.max(1)), tokens: 1.0, updated: now }
    }

    /// Takes a token for an attempt, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.updated);
        self.updated = now;
        let most = (BURST.as_secs_f64() * self.rate).max(1.0);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(most);
        let has_token = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(has_token));
        has_token
    }

    /// Returns the time from the last call of [`Self::take`] until there is a token.
    pub fn wait(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of attempts in a second, if tokens are taken every `step`.
    fn count(rate: u32, step: Duration) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(rate, start);
        let steps = (Duration::from_secs(1).as_micros() / step.as_micros()) as u32;
        (0..=steps).map(|index| (0..).take_while(|_| pace.take(start + step * index)).count()).sum()
    }

    #[test]
    fn the_rate_holds_with_any_step() {
        for step in [Duration::from_micros(10), Duration::from_millis(1), Duration::from_millis(4)] {
            for rate in [1, 10, 1000, 20_000] {
                let count = count(rate, step);
                let expected = rate as usize;
                assert!(count.abs_diff(expected) <= 2, "{count} of {expected} in steps of {step:?}");
            }
        }
    }

    #[test]
    fn a_pause_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(20_000, start);
        let later = start + Duration::from_secs(60);
        assert_eq!((0..).take_while(|_| pace.take(later)).count(), 100);
        assert!(pace.wait() <= Duration::from_micros(50));
    }
}
