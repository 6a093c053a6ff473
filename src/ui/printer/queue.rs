//! The queue of the printer thread: bounded, and with a deadline at the end of a run.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait of [`Queue::wait_until_done`] after [`Queue::abandon`]. A stream that accepts output needs less.
const ABANDONED_GRACE: Duration = Duration::from_millis(100);

/// A queue with one consumer, which works on one job at a time.
///
/// The channels of the standard library and of crossbeam lack three features that the printer needs: a limit for each
/// kind of job, a deadline that can be set while producers already wait, and waiting until the last job is done.
pub struct Queue<Job> {
    state: Mutex<State<Job>>,
    changed: Condvar,
}

struct State<Job> {
    jobs: VecDeque<Job>,
    /// Whether the consumer is still working on the job that it took last.
    is_busy: bool,
    is_closed: bool,
    deadline: Deadline,
}

/// The time at which producers and [`Queue::wait_until_done`] stop waiting.
#[derive(Clone, Copy)]
enum Deadline {
    /// There is no deadline before the shutdown.
    None,
    At(Instant),
    /// The deadline passed at this time, because of [`Queue::abandon`].
    Abandoned(Instant),
}

impl Deadline {
    /// Returns whether the deadline, extended by `extra`, has passed.
    fn has_passed(self, extra: Duration) -> bool {
        self.remaining(extra).is_some_and(|remaining| remaining.is_zero())
    }

    /// Returns the time until the deadline, extended by `extra`. `None` if there is no deadline.
    ///
    /// After [`Queue::abandon`], the extension is at most [`ABANDONED_GRACE`].
    fn remaining(self, extra: Duration) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::At(deadline) => Some((deadline + extra).saturating_duration_since(Instant::now())),
            Self::Abandoned(time) => {
                Some((time + extra.min(ABANDONED_GRACE)).saturating_duration_since(Instant::now()))
            }
        }
    }
}

impl<Job> State<Job> {
    /// Returns the number of jobs that are queued or in progress.
    fn pending(&self) -> usize {
        self.jobs.len() + usize::from(self.is_busy)
    }
}

impl<Job> Default for Queue<Job> {
    /// Creates an empty queue without a deadline.
    fn default() -> Self {
        let state = State { jobs: VecDeque::new(), is_busy: false, is_closed: false, deadline: Deadline::None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<Job> Queue<Job> {
    /// Adds `job`. Drops it if `limit` or more jobs are pending.
    pub fn push(&self, job: Job, limit: usize) {
        self.change(|state| {
            if state.pending() < limit {
                state.jobs.push_back(job);
            }
        });
    }

    /// Adds `job` once fewer than `limit` jobs are pending. Drops it if the deadline passes first.
    pub fn push_in_time(&self, job: Job, limit: usize) {
        let (mut state, has_room) = self.wait(Duration::ZERO, |state| state.pending() < limit);
        if has_room {
            state.jobs.push_back(job);
            self.changed.notify_all();
        }
    }

    /// Marks the previous job as done, and takes the next one. Blocks while the queue is empty.
    ///
    /// Returns `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<Job> {
        self.change(|state| state.is_busy = false);
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.is_busy = true;
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all jobs are done, at most until `extra` after the deadline. Returns whether all jobs are done.
    pub fn wait_until_done(&self, extra: Duration) -> bool {
        self.wait(extra, |state| state.pending() == 0).1
    }

    /// Returns whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.lock().deadline.has_passed(Duration::ZERO)
    }

    /// Sets the deadline, or extends it. After [`Self::abandon`], it can only be extended to the present time.
    pub fn set_deadline(&self, deadline: Instant) {
        self.change(|state| {
            state.deadline = match state.deadline {
                Deadline::None => Deadline::At(deadline),
                Deadline::At(earlier) => Deadline::At(earlier.max(deadline)),
                Deadline::Abandoned(earlier) => Deadline::Abandoned(earlier.max(deadline.min(Instant::now()))),
            }
        });
    }

    /// Makes the deadline pass now and for good. From then on, [`Self::wait_until_done`] waits at most
    /// [`ABANDONED_GRACE`], and producers do not wait at all.
    pub fn abandon(&self) {
        self.change(|state| state.deadline = Deadline::Abandoned(Instant::now()));
    }

    /// Makes [`Self::take`] return `None` after the remaining jobs.
    pub fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Waits until `is_met` returns true, at most until `extra` after the deadline.
    ///
    /// Returns the locked state, and the last result of `is_met`.
    fn wait(&self, extra: Duration, is_met: impl Fn(&State<Job>) -> bool) -> (MutexGuard<'_, State<Job>>, bool) {
        let mut state = self.lock();
        loop {
            if is_met(&state) {
                return (state, true);
            }
            state = match state.deadline.remaining(extra) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return (state, false),
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn change(&self, change: impl FnOnce(&mut State<Job>)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<Job>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// A timeout that no test reaches.
    const NEVER: Duration = Duration::from_secs(3600);

    #[test]
    fn drops_jobs_beyond_the_limit() {
        let queue = Queue::default();
        (0..5).for_each(|job| queue.push(job, 3));
        queue.close();
        assert_eq!(std::iter::from_fn(|| queue.take()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn counts_the_job_at_work_as_pending() {
        let queue = Queue::default();
        queue.push(0, 1);
        assert_eq!(queue.take(), Some(0));
        queue.push(1, 1);
        queue.abandon();
        assert!(!queue.wait_until_done(NEVER));
        queue.close();
        assert_eq!(queue.take(), None);
        assert!(queue.wait_until_done(NEVER));
    }

    #[test]
    fn waits_for_room() {
        let queue = Arc::new(Queue::default());
        queue.push(0, 1);
        let producer = Arc::clone(&queue);
        let producer = thread::spawn(move || producer.push_in_time(1, 1));
        assert_eq!([queue.take(), queue.take()], [Some(0), Some(1)]);
        producer.join().unwrap();
    }

    #[test]
    fn drops_jobs_without_room_at_the_deadline() {
        let queue = Queue::default();
        queue.push(0, 1);
        queue.set_deadline(Instant::now());
        queue.push_in_time(1, 1);
        queue.close();
        assert_eq!([queue.take(), queue.take()], [Some(0), None]);
    }

    #[test]
    fn ends_the_waiting_when_abandoned() {
        let queue = Arc::new(Queue::default());
        queue.push(0, 1);
        queue.set_deadline(Instant::now() + NEVER);
        let waiting = Arc::clone(&queue);
        let waiting = thread::spawn(move || waiting.wait_until_done(NEVER));
        queue.abandon();
        assert!(!waiting.join().unwrap());
        queue.set_deadline(Instant::now() + NEVER);
        assert!(queue.is_over(), "the deadline cannot move to the future any more");
    }

    #[test]
    fn completes_the_summary_after_it_was_abandoned() {
        let completes = || {
            let queue = Arc::new(Queue::default());
            queue.abandon();
            queue.push(0, usize::MAX);
            queue.set_deadline(Instant::now());
            let consumer = Arc::clone(&queue);
            let consumer = thread::spawn(move || while consumer.take().is_some() {});
            let is_done = queue.wait_until_done(NEVER);
            queue.close();
            consumer.join().unwrap();
            is_done
        };
        // On a busy machine, the consumer may start only after the grace time.
        assert!((0..10).any(|_| completes()));
    }
}
