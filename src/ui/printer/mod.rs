//! The printer: writes messages and client events to standard output, in a separate thread.

mod job;
mod queue;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tcp_bounce_wire::Counters;

use self::job::{Job, Shared};
use self::thread::PrinterThread;
use super::UiError;
use super::message::Message;
use crate::config::OutputOptions;
use crate::telemetry::{ClientEvent, CountedHandshakes, EventSink};

/// The number of pending jobs at which new messages are dropped.
const MESSAGE_LIMIT: usize = 1000;

/// The number of pending jobs at which new event batches wait.
///
/// Meanwhile, events accumulate in the ring buffer. When it is full, the XDP program counts further events as dropped.
const BATCH_LIMIT: usize = 8;

/// The time limit for pending events at the end of a run.
const EVENT_GRACE: Duration = Duration::from_secs(3);

/// The additional time limit for the summary, after [`EVENT_GRACE`].
const SUMMARY_GRACE: Duration = Duration::from_secs(1);

/// Prints messages and events on standard output, and a status line on standard error if that is a terminal.
///
/// A terminal may stop accepting output, for example after Ctrl-S or when its connection hangs. Only the printer thread
/// waits for the terminal, so no method of this type blocks before [`Self::finish`].
pub struct Printer {
    shared: Arc<Shared>,
    /// Receives the first write error when the printer thread ends.
    outcome: Receiver<io::Result<()>>,
}

/// An [`EventSink`] that prints events.
pub struct EventPrinter(Arc<Shared>);

impl Printer {
    /// Starts the printer thread. The status line shows completed handshakes if `handshakes` are counted.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn new(outputs: &OutputOptions, handshakes: CountedHandshakes) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut thread = PrinterThread::new(outputs.quiet, outputs.json, handshakes);
        let (ended, outcome) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let run = move || {
            while let Some(job) = theirs.queue.take() {
                thread.perform(job, &theirs);
            }
            // Fails if the receiver was dropped, as after `UiError::Blocked`.
            let _ = ended.send(thread.into_outcome());
        };
        Builder::new().name("printer".to_owned()).spawn(run)?;
        Ok(Self { shared, outcome })
    }

    /// Queues `message` for printing. Drops it if [`MESSAGE_LIMIT`] jobs are pending.
    pub fn print(&self, message: Message) {
        self.shared.queue.push(Job::Print(Box::new(message)), MESSAGE_LIMIT);
    }

    /// Holds back messages until [`Self::release`], while the full-screen view owns the terminal.
    pub fn hold(&self) {
        self.shared.queue.push(Job::Hold, usize::MAX);
    }

    /// Prints the messages held back since [`Self::hold`].
    pub fn release(&self) {
        self.shared.queue.push(Job::Release, usize::MAX);
    }

    /// Returns a sink that prints events.
    pub fn event_printer(&self) -> EventPrinter {
        EventPrinter(Arc::clone(&self.shared))
    }

    /// Shows totals and rates in the status line, at most once a second. `elapsed` is the time since the start.
    pub fn show_progress(&self, elapsed: Duration, counters: Counters) {
        self.shared.queue.push(Job::ShowProgress(elapsed, Box::new(counters)), 1);
    }

    /// Limits the time for pending output to [`EVENT_GRACE`]. A message on `interrupted` ends that time at once.
    pub fn begin_shutdown(&self, interrupted: Receiver<()>) {
        self.shared.queue.set_deadline(Instant::now() + EVENT_GRACE);
        let shared = Arc::clone(&self.shared);
        let wait = move || {
            if interrupted.recv().is_ok() {
                shared.queue.abandon();
            }
        };
        // If the thread cannot be started, the receiver is dropped, so that the next signal ends the process.
        let _ = Builder::new().name("shutdown".to_owned()).spawn(wait);
    }

    /// Prints the last messages, which include the summary, and waits for pending output.
    ///
    /// # Errors
    ///
    /// [`UiError::Write`] with the first error of a write. A closed pipe (`| head`) is not an error.
    /// [`UiError::Blocked`] if standard output still blocks when [`SUMMARY_GRACE`] has passed.
    pub fn finish(self, messages: Vec<Message>) -> Result<(), UiError> {
        let queue = &self.shared.queue;
        queue.push(Job::Finish(messages), usize::MAX);
        // Guarantees the summary its own time, even if events have used up theirs.
        queue.set_deadline(Instant::now());
        if !queue.wait_until_done(SUMMARY_GRACE) {
            return Err(UiError::Blocked);
        }
        queue.close();
        // All jobs are done, so the thread ends without blocking.
        self.outcome.recv().unwrap_or(Ok(())).map_err(UiError::Write)
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl EventSink for EventPrinter {
    /// Queues `events` once fewer than [`BATCH_LIMIT`] jobs are pending. Drops them if the deadline passes first.
    fn deliver(&self, events: Vec<ClientEvent>) {
        self.0.queue.push_in_time(Job::PrintEvents(events), BATCH_LIMIT);
    }

    /// Waits for pending output, at most until [`SUMMARY_GRACE`] after the deadline, and returns the number of printed
    /// events.
    fn delivered(&self) -> Option<u64> {
        self.0.queue.wait_until_done(SUMMARY_GRACE);
        Some(self.0.printed_events.load(Relaxed))
    }
}
