//! Rewrites the port report during a run, so that little is lost if the process is killed.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::port_report::Report;

/// Rewrites the port report at regular intervals, in a separate thread. The caller does not wait for the disk.
pub struct ReportWriter {
    schedule: Schedule,
    /// Requests a report, with the number of dropped events so far.
    requests: SyncSender<u64>,
    /// Receives the first error of each series of failures.
    failures: Receiver<io::Error>,
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
        let (failed, failures) = mpsc::channel();
        let write = move || {
            let mut is_failing = false;
            for events_dropped in received {
                let written = contents(events_dropped).write_interim();
                let is_first = written.is_err() && !is_failing;
                is_failing = written.is_err();
                if let Err(error) = written
                    && is_first
                {
                    let _ = failed.send(error);
                }
            }
        };
        let thread = thread::Builder::new().name("report".to_owned()).spawn(write)?;
        Ok(Self { schedule: Schedule::new(interval, Instant::now()), requests, failures, thread })
    }

    /// Requests a new report if the interval has passed since the last request. Returns the error if an earlier report
    /// could not be written. After the first failure, further ones are not returned until a report is written.
    pub fn update(&mut self, events_dropped: u64) -> Option<io::Error> {
        if self.schedule.is_due(Instant::now()) {
            let _ = self.requests.try_send(events_dropped);
        }
        self.failures.try_recv().ok()
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
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::port_counts::PortCounts;
    use super::super::port_report::PortReport;
    use super::*;
    use crate::config::PortSelection;

    /// Calls `update` until `is_done`. Returns the errors.
    fn update_until(writer: &mut ReportWriter, is_done: impl Fn(&[io::Error]) -> bool) -> Vec<io::Error> {
        let start = Instant::now();
        let mut errors = Vec::new();
        while !is_done(&errors) {
            errors.extend(writer.update(0));
            // Each report is synced, which takes seconds on a busy disk. The limit only ends a test that hangs.
            assert!(start.elapsed() < Duration::from_secs(300), "{errors:?}");
            thread::sleep(Duration::from_millis(1));
        }
        errors
    }

    #[test]
    fn first_of_several_failures_is_returned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let report = PortReport::new(&path.to_str().unwrap().parse().unwrap(), &PortSelection::default()).unwrap();
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let contents = move |dropped| {
            counted.fetch_add(1, Relaxed);
            report.contents(&[], |_| PortCounts::default(), dropped)
        };
        let mut writer = ReportWriter::start(Duration::ZERO, contents).unwrap();
        for _ in 0..2 {
            // The thread may write another report before the directory takes its name.
            while fs::create_dir(&path).is_err() {
                let _ = fs::remove_file(&path);
            }
            let last = attempts.load(Relaxed) + 3;
            let failures = update_until(&mut writer, |errors| !errors.is_empty() && attempts.load(Relaxed) >= last);
            assert_eq!(failures.len(), 1, "{failures:?}");
            fs::remove_dir(&path).unwrap();
            assert!(update_until(&mut writer, |_| path.is_file()).is_empty());
        }
        writer.finish();
    }

    #[test]
    fn is_due_once_per_interval() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = Schedule::new(60 * second, start);
        let due = [0, 59, 60, 61, 119, 120, 500, 501, 559, 560].map(|age| schedule.is_due(start + age * second));
        assert_eq!(due, [false, false, true, false, false, true, true, false, false, true]);
    }
}
