//! The deadlines of attempts. All attempts have one timeout, so their deadlines pass in the order of their starts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A timeout that no scan reaches. Longer ones could exceed the range of [`Instant`].
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A queue of deadlines, each with the value of its owner.
#[derive(Debug)]
pub struct Schedule<T> {
    timeout: Duration,
    queue: VecDeque<(Instant, T)>,
}

impl<T: Copy> Schedule<T> {
    /// Creates a queue whose deadlines are `timeout` after they are added.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.min(LONGEST), queue: VecDeque::new() }
    }

    /// Adds a deadline, and returns it. `now` never decreases.
    pub fn add(&mut self, now: Instant, owner: T) -> Instant {
        let deadline = now + self.timeout;
        self.queue.push_back((deadline, owner));
        deadline
    }

    /// Removes the first deadline if it has passed, and returns it with its owner.
    pub fn expire(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.first().filter(|&deadline| deadline <= now).and_then(|_| self.queue.pop_front())
    }

    /// Returns the first deadline.
    pub fn first(&self) -> Option<Instant> {
        self.queue.front().map(|&(deadline, _)| deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_in_their_order() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = Schedule::new(3 * second);
        assert_eq!(schedule.first(), None);
        assert_eq!(schedule.add(start, 'a'), start + 3 * second);
        schedule.add(start + second, 'b');
        assert_eq!(schedule.first(), Some(start + 3 * second));
        assert_eq!(schedule.expire(start + 2 * second), None);
        assert_eq!(schedule.expire(start + 3 * second), Some((start + 3 * second, 'a')));
        assert_eq!(schedule.expire(start + 3 * second), None);
        assert_eq!(schedule.expire(start + 9 * second), Some((start + 4 * second, 'b')));
        assert_eq!(schedule.expire(start + 9 * second), None);
    }

    #[test]
    fn the_longest_timeout_is_a_deadline() {
        let start = Instant::now();
        assert_eq!(Schedule::new(Duration::MAX).add(start, ()), start + LONGEST);
    }
}
