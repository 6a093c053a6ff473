//! Rewrites the port report during a run, so that little is lost if the process is killed.

use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::port_report::Report;

/// Rewrites the port report at regular intervals, in a separate thread. The caller does not wait for the disk.
pub struct ReportWriter {
    schedule: Schedule,
    /// Requests a report, with the number of dropped events so far.
    requests: SyncSender<u64>,
    thread: JoinHandle<()>,
}

impl ReportWriter {
    /// Starts the thread. `contents` returns the report for a number of dropped events.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(interval: Duration, contents: impl Fn(u64) -> Report + Send + 'static) -> io::Result<Self> {
        // A request is dropped if the thread is still busy and another request waits.
        let (requests, received) = mpsc::sync_channel(1);
        let write = move || {
            for events_dropped in received {
                // The next report replaces this one. Only an error of the last report is reported.
                let _ = contents(events_dropped).write_interim();
            }
        };
        let thread = thread::Builder::new().name("report".to_owned()).spawn(write)?;
        Ok(Self { schedule: Schedule::new(interval, Instant::now()), requests, thread })
    }

    /// Requests a new report if the interval has passed since the last request.
    pub fn update(&mut self, events_dropped: u64) {
        if self.schedule.is_due(Instant::now()) {
            let _ = self.requests.try_send(events_dropped);
        }
    }

    /// Waits until the thread has written its last report, and ends it.
    pub fn finish(self) {
        drop(self.requests);
        // A panic of the thread is already printed, and the last report is written by the caller.
        let _ = self.thread.join();
    }
}

/// The times at which the report is rewritten.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    /// Creates a schedule whose first time is one interval after `now`.
    fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next: now + interval }
    }

    /// Returns whether the next time has come. If so, the time after it is one interval after `now`.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.interval;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_once_per_interval() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = Schedule::new(60 * second, start);
        let due = [0, 59, 60, 61, 119, 120, 500, 501, 559, 560].map(|age| schedule.is_due(start + age * second));
        assert_eq!(due, [false, false, true, false, false, true, true, false, false, true]);
    }
}
