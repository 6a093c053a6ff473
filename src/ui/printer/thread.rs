//! The printer thread: performs the jobs of the queue.

use std::io::{self, Stdout};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tcp_bounce_wire::Counters;

use super::job::{Job, Shared};
use crate::output::{Output, StatusLine};
use crate::telemetry::{ClientEvent, CountedHandshakes};
use crate::ui::message::Message;
use crate::ui::progress;

/// The length of held-back text beyond which messages are dropped, in bytes.
const HELD_LIMIT: usize = 1 << 20;

/// The maximum number of events in one write. The deadline is checked before each write.
const EVENTS_PER_WRITE: usize = 64;

/// The minimum time between two updates of the status line, in seconds.
const PROGRESS_INTERVAL: f64 = 1.0;

/// The state of the printer thread.
pub struct PrinterThread {
    is_quiet: bool,
    output: Output<Stdout>,
    /// The first error of a write.
    outcome: io::Result<()>,
    /// The text that is held back while the full-screen view owns the terminal, else `None`.
    held: Option<Vec<u8>>,
    status_line: StatusLine,
    handshakes: CountedHandshakes,
    /// The time and the counters of the last update of the status line.
    last_progress: (Duration, Counters),
}

impl PrinterThread {
    /// Creates the state of a thread that prints on standard output.
    pub fn new(is_quiet: bool, json: bool, handshakes: CountedHandshakes) -> Self {
        Self {
            is_quiet,
            output: Output::stdout(json),
            outcome: Ok(()),
            held: None,
            status_line: StatusLine::new(!is_quiet && !json),
            handshakes,
            last_progress: (Duration::ZERO, Counters::default()),
        }
    }

    /// Performs `job`, and records the first write error for [`Self::into_outcome`].
    pub fn perform(&mut self, job: Job, shared: &Shared) {
        match job {
            Job::Print(message) => self.print(&message),
            Job::PrintEvents(events) => self.print_events(events, shared),
            Job::ShowProgress(elapsed, counters) => self.show_progress(elapsed, *counters),
            Job::Hold => self.held = Some(Vec::new()),
            Job::Release => {
                let held = self.held.take().unwrap_or_default();
                self.write(|output| output.write(&held));
            }
            Job::Finish(messages) => self.finish(&messages),
        }
    }

    /// Returns the first error of a write.
    pub fn into_outcome(self) -> io::Result<()> {
        self.outcome
    }

    fn print(&mut self, message: &Message) {
        if self.is_quiet {
            return;
        }
        match &mut self.held {
            Some(held) if held.len() > HELD_LIMIT => {}
            Some(held) => self.output.append(held, message),
            None => {
                self.write(|output| output.print([message]));
            }
        }
    }

    fn print_events(&mut self, events: Vec<ClientEvent>, shared: &Shared) {
        let mut events = events.into_iter().map(Message::Event);
        loop {
            let messages: Vec<Message> = events.by_ref().take(EVENTS_PER_WRITE).collect();
            // The time after the deadline is reserved for the summary.
            if messages.is_empty() || shared.queue.is_over() || !self.write(|output| output.print(&messages)) {
                return;
            }
            shared.printed_events.fetch_add(messages.len() as u64, Relaxed);
        }
    }

    fn finish(&mut self, messages: &[Message]) {
        self.status_line.finish();
        messages.iter().for_each(|message| self.print(message));
    }

    /// Calls `write` while the status line is cleared, and returns whether it succeeded. Records the first error.
    fn write(&mut self, write: impl FnOnce(&Output<Stdout>) -> io::Result<()>) -> bool {
        let output = &self.output;
        let written = self.status_line.suspend(|| write(output));
        let is_written = written.is_ok();
        // A closed pipe (`| head`) is not an error.
        if self.outcome.is_ok() && !written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.outcome = written;
        }
        is_written
    }

    fn show_progress(&mut self, elapsed: Duration, counters: Counters) {
        let (last_elapsed, last_counters) = &self.last_progress;
        let seconds = elapsed.saturating_sub(*last_elapsed).as_secs_f64();
        if seconds < PROGRESS_INTERVAL || self.held.is_some() {
            return;
        }
        self.status_line.set(progress::line(&counters, last_counters, seconds, self.handshakes));
        self.last_progress = (elapsed, counters);
    }
}
