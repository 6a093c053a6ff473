//! What the user sees while tcp-bounce runs.

use std::io::{self, Stdout};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tcp_bounce_wire::{Counters, Verdict, XdpAction};

use super::UiError;
use super::format::Output;
use super::message::Message;
use crate::config::OutputOptions;
use crate::telemetry::{ClientEvent, EventSink, Summary};

/// How many lines wait to be printed at most. What comes while nobody reads the rest is not printed.
const BACKLOG: usize = 1000;

/// How many batches of events wait at most. Those that come while nobody reads the rest wait in the program's own buffer.
const BATCHES: usize = 8;

/// How much is kept while somebody else has the terminal, in bytes.
const HELD: usize = 1 << 20;

/// How many events are printed at once.
const CHUNK: usize = 64;

/// How long the end waits for events that are still to be printed.
const GRACE: Duration = Duration::from_secs(3);

/// How long it then waits for what is being printed, and for the last words.
const LAST: Duration = Duration::from_secs(1);

/// Lines on standard output, and on a terminal one line below them that changes as packets come.
///
/// They are printed by a thread of their own. A terminal may stop taking them, by Ctrl-S or because its connection is cut,
/// and whoever watches the interfaces must not wait for it.
pub struct Printer {
    teller: EventPrinter,
    /// What the printer says when it has ended.
    printer: Receiver<io::Result<()>>,
}

/// What events are handed to.
#[derive(Clone)]
pub struct EventPrinter {
    jobs: Sender<Job>,
    queue: Arc<Queue>,
}

type Job = Box<dyn FnOnce(&mut PrinterThread) + Send>;

/// How long the queue of jobs is.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// How many wait, the one that is being done included.
    waiting: usize,
    /// When nobody waits for room any more.
    end: Option<Instant>,
    /// Whether the user does not want to wait any longer.
    is_abandoned: bool,
    /// How many events have been printed.
    printed: u64,
}

impl State {
    /// How long there may be waited for events.
    fn left(&self) -> Duration {
        if self.is_abandoned {
            return Duration::ZERO;
        }
        self.end.map_or(GRACE, |end| end.saturating_duration_since(Instant::now()))
    }

    /// How long there may be waited for what is being printed.
    fn left_for_last(&self) -> Duration {
        if self.is_abandoned {
            return Duration::ZERO;
        }
        let end = self.end.map(|end| end + LAST);
        end.map_or(GRACE, |end| end.saturating_duration_since(Instant::now()))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Printer {
    /// Starts the printer thread.
    pub fn new(outputs: &OutputOptions) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let (ended, printer) = mpsc::channel();
        let queue = Arc::new(Queue::default());
        let waiting = Arc::clone(&queue);
        let mut does = PrinterThread::new(outputs.quiet, outputs.json);
        thread::Builder::new().spawn(move || {
            for job in received {
                job(&mut does);
                waiting.change(|state| state.waiting -= 1);
            }
            // Nobody may be waiting any more.
            let _ = ended.send(does.outcome);
        })?;
        Ok(Self { teller: EventPrinter { jobs, queue }, printer })
    }

    /// Says something.
    pub fn say(&self, message: Message) {
        self.teller.print(BACKLOG, move |printer| printer.say(&message));
    }

    /// Keeps what there is to say until [`Self::release`]: somebody else has the terminal.
    pub fn hold(&self) {
        self.teller.print(usize::MAX, |printer| printer.held = Some(String::new()));
    }

    /// Says what was kept.
    pub fn release(&self) {
        self.teller.print(usize::MAX, |printer| {
            let held = printer.held.take().unwrap_or_default();
            printer.write(|output| output.write(&held));
        });
    }

    /// Returns a sink that prints events.
    pub fn event_printer(&self) -> EventPrinter {
        self.teller.clone()
    }

    /// Shows on a terminal what has been counted in all, and how much each second since it was last shown.
    ///
    /// `elapsed` is the time since the start; it may be called more often than once a second, and does nothing
    /// then.
    pub fn progress(&self, elapsed: Duration, counters: Counters) {
        self.teller.print(1, move |printer| printer.progress(elapsed, counters));
    }

    /// From now on the end is near: events are printed for a few seconds more, and not longer.
    ///
    /// The next signal ends that wait; the one after it ends the process.
    pub fn end(&self, interrupted: Receiver<()>) {
        self.teller.queue.change(|state| state.end = Some(Instant::now() + GRACE));
        let queue = Arc::clone(&self.teller.queue);
        let wait = move || {
            if interrupted.recv().is_ok() {
                queue.change(|state| state.is_abandoned = true);
            }
        };
        // Without the thread, which drops the receiver, the next signal ends the process.
        let _ = thread::Builder::new().spawn(wait);
    }

    /// Prints what was counted from the start to the end, if that is known, and waits for all to be printed.
    ///
    /// If something could not be written, that is told, unless nobody reads it: he has read enough.
    pub fn finish(self, summary: Option<Summary>) -> Result<(), UiError> {
        self.teller.print(usize::MAX, move |printer| {
            printer.status.finish_and_clear();
            summary.map(Message::Summary).iter().for_each(|summary| printer.say(summary));
        });
        // Also if all the time went to what comes before it.
        self.teller.queue.change(|state| state.end = state.end.max(Some(Instant::now())));
        if !self.teller.wait(State::left_for_last, |state| state.waiting == 0) {
            return Err(UiError::Blocked);
        }
        drop(self.teller);
        self.printer.recv_timeout(LAST).unwrap_or(Ok(())).map_err(UiError::Write)
    }
}

impl EventSink for EventPrinter {
    /// Prints `events` once there is room for them. Drops them if there is none by the deadline.
    fn deliver(&self, events: Vec<ClientEvent>) {
        if self.wait(State::left, |state| state.waiting < BATCHES) {
            let queue = Arc::clone(&self.queue);
            self.print(usize::MAX, move |printer| {
                for chunk in events.chunks(CHUNK) {
                    // The remaining time belongs to the summary.
                    if queue.lock().left().is_zero() || !printer.events(chunk) {
                        break;
                    }
                    queue.change(|state| state.printed += chunk.len() as u64);
                }
            });
        }
    }

    /// Waits until the queue is empty, and returns the number of printed events.
    fn delivered(&self) -> Option<u64> {
        self.wait(State::left_for_last, |state| state.waiting == 0);
        Some(self.queue.lock().printed)
    }
}

impl EventPrinter {
    /// Waits until it is so, which it may never be; but not longer than is left.
    fn wait(&self, left: impl Fn(&State) -> Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let mut state = self.queue.lock();
        while !is_so(&state) {
            let left = left(&state);
            if left.is_zero() {
                return false;
            }
            let waited = self.queue.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Has the printer do `job`, unless `most` wait already.
    fn print(&self, most: usize, job: impl FnOnce(&mut PrinterThread) + Send + 'static) {
        let mut state = self.queue.lock();
        if state.waiting < most {
            state.waiting += 1;
            // The printer ends no sooner than this.
            let _ = self.jobs.send(Box::new(job));
        }
    }
}

/// Prints what is reported.
struct PrinterThread {
    quiet: bool,
    output: Output<Stdout>,
    /// The first thing that went wrong with it.
    outcome: io::Result<()>,
    /// What is not to be said yet.
    held: Option<String>,
    status: ProgressBar,
    /// What the status line showed last, and when.
    shown: (Duration, Counters),
}

impl PrinterThread {
    fn new(quiet: bool, json: bool) -> Self {
        let status = if quiet || json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let status =
            status.with_style(ProgressStyle::with_template("{wide_msg}").unwrap_or(ProgressStyle::default_spinner()));
        Self {
            quiet,
            output: Output::stdout(json),
            outcome: Ok(()),
            held: None,
            status,
            shown: (Duration::ZERO, Counters::default()),
        }
    }

    fn say(&mut self, message: &Message) {
        if self.quiet {
            return;
        }
        match &mut self.held {
            // More than anybody would read.
            Some(held) if held.len() > HELD => {}
            Some(held) => held.push_str(&self.output.line(message)),
            None => {
                self.write(|output| output.say([message]));
            }
        }
    }

    /// Whether they could be.
    fn events(&mut self, events: &[ClientEvent]) -> bool {
        let events: Vec<_> = events.iter().cloned().map(Message::Event).collect();
        self.write(|output| output.say(&events))
    }

    /// Whether it could be written.
    fn write(&mut self, write: impl FnOnce(&Output<Stdout>) -> io::Result<()>) -> bool {
        let written = self.status.suspend(|| write(&self.output));
        let is_written = written.is_ok();
        if self.outcome.is_ok() && !written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.outcome = written;
        }
        is_written
    }

    fn progress(&mut self, elapsed: Duration, counters: Counters) {
        let (last, before) = &self.shown;
        let seconds = elapsed.saturating_sub(*last).as_secs_f64();
        if seconds < 1.0 || self.held.is_some() {
            return;
        }
        let show = |what: &str, of: fn(&Counters) -> u64| {
            let (now, before) = (of(&counters), of(before));
            let rate = now.saturating_sub(before) as f64 / seconds;
            format!("{what} {} ({}/s)", HumanCount(now), HumanCount(rate.round() as u64))
        };
        // Short, for a terminal of 80 columns.
        let parts = [
            show("SYNs answered", |counters| counters[Verdict::Answered]),
            show("completed", Counters::completed),
            show("passed", |counters| counters.total(XdpAction::Pass)),
        ];
        self.status.set_message(parts.join(", "));
        self.shown = (elapsed, counters);
    }
}
