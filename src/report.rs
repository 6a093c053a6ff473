//! What the user sees while tcp-bounce runs.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tcp_bounce_wire::{Action, Counters, Verdict};

/// How many lines wait to be printed at most. What comes while nobody reads the rest is not printed.
const BACKLOG: usize = 1000;

/// How long the end waits for what is still to be printed.
const GRACE: Duration = Duration::from_secs(5);

/// Lines on standard output, and on a terminal one line below them that changes as packets come.
///
/// They are printed by a thread of their own. A terminal may stop taking them, by Ctrl-S or because its connection is cut,
/// and whoever watches the interfaces must not wait for it.
pub struct Report {
    jobs: Sender<Job>,
    /// How many of them wait.
    backlog: Arc<AtomicUsize>,
    /// Nothing ever comes, until the printer has ended.
    printer: Receiver<()>,
}

type Job = Box<dyn FnOnce(&mut Printer) + Send>;

impl Report {
    /// A report that says nothing at all, if `quiet`.
    pub fn new(quiet: bool) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let (ended, printer) = mpsc::channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&backlog);
        thread::Builder::new().spawn(move || {
            let _ended: Sender<()> = ended;
            let mut printer = Printer::new(quiet);
            for job in received {
                job(&mut printer);
                waiting.fetch_sub(1, Relaxed);
            }
        })?;
        Ok(Self { jobs, backlog, printer })
    }

    /// Prints a line.
    pub fn line(&self, text: impl Into<String>) {
        let text = text.into();
        self.print(BACKLOG, move |printer| printer.line(&text));
    }

    /// Shows on a terminal what has been counted in all, and how much each second since it was last shown.
    ///
    /// `elapsed` is the time since the start; it may be called more often than once a second, and does nothing
    /// then.
    pub fn progress(&self, elapsed: Duration, counters: Counters) {
        self.print(1, move |printer| printer.progress(elapsed, counters));
    }

    /// Prints what was counted from the start to the end, and waits a few seconds for all to be printed.
    pub fn summary(self, elapsed: Duration, counters: Counters) {
        self.print(usize::MAX, move |printer| printer.summary(elapsed, &counters));
        drop(self.jobs);
        let _ = self.printer.recv_timeout(GRACE);
    }

    /// Has the printer do `job`, unless `most` wait already.
    fn print(&self, most: usize, job: impl FnOnce(&mut Printer) + Send + 'static) {
        if self.backlog.load(Relaxed) < most {
            self.backlog.fetch_add(1, Relaxed);
            // The printer ends no sooner than this.
            let _ = self.jobs.send(Box::new(job));
        }
    }
}

/// Prints what is reported.
struct Printer {
    quiet: bool,
    status: ProgressBar,
    /// What the status line showed last, and when.
    shown: (Duration, Counters),
}

impl Printer {
    fn new(quiet: bool) -> Self {
        let status = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let status =
            status.with_style(ProgressStyle::with_template("{wide_msg}").unwrap_or(ProgressStyle::default_spinner()));
        Self { quiet, status, shown: (Duration::ZERO, Counters::default()) }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            self.status.suspend(|| {
                let _ = writeln!(io::stdout(), "{text}");
            });
        }
    }

    fn progress(&mut self, elapsed: Duration, counters: Counters) {
        let (last, before) = &self.shown;
        let seconds = elapsed.saturating_sub(*last).as_secs_f64();
        if seconds < 1.0 {
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
            show("passed", |counters| counters.total(Action::Pass)),
        ];
        self.status.set_message(parts.join(", "));
        self.shown = (elapsed, counters);
    }

    fn summary(&self, elapsed: Duration, counters: &Counters) {
        self.status.finish_and_clear();
        self.line(&format!("detached after {}", HumanDuration(elapsed)));
        for verdict in Verdict::ALL {
            let always = match verdict {
                Verdict::Answered => true,
                Verdict::Completed => counters.completed() == 0,
                _ => false,
            };
            if always || counters[verdict] > 0 {
                self.line(&format!("{:>15} {}", HumanCount(counters[verdict]).to_string(), verdict.description()));
            }
        }
    }
}
