//! `--watch`: a full screen that shows what clients do, as it happens.

pub mod heat;
pub mod screen;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tcp_bounce_wire::{Counters, Verdict};

use self::screen::{View, draw};
use crate::events::Knock;
use crate::metrics::Sample;
use crate::tables::Tables;

/// How often it is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often rates are taken, and the lists made.
const SECOND: Duration = Duration::from_secs(1);

/// How long the end waits for the terminal.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many of the newest events, and of the last seconds, are kept.
const KEPT: usize = 500;

/// How many ports and clients are listed at most.
const LISTED: usize = 20;

/// The screen, until it is finished.
pub struct Watch {
    news: Arc<Mutex<News>>,
    stop: Arc<AtomicBool>,
    /// What comes of it in the end.
    outcome: Receiver<io::Result<()>>,
}

/// What it has been told, and has not looked at yet.
#[derive(Default)]
struct News {
    samples: Vec<Sample>,
    knocks: VecDeque<Knock>,
}

/// What tells it of events.
#[derive(Clone)]
pub struct Onlooker(Arc<Mutex<News>>);

impl Onlooker {
    /// Of these, it shows the newest.
    pub fn tell(&self, knocks: Vec<Knock>) {
        let mut news = lock(&self.0);
        news.knocks.extend(knocks);
        let excess = news.knocks.len().saturating_sub(KEPT);
        news.knocks.drain(..excess);
    }
}

impl Watch {
    /// Takes the terminal. If the user wants an end, `interrupt` is told.
    pub fn start(tables: Arc<Tables>, interrupt: Sender<()>) -> io::Result<Self> {
        let news = Arc::new(Mutex::new(News::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut painter = Painter {
            tables,
            news: Arc::clone(&news),
            view: View::default(),
            started: Instant::now(),
            second: Instant::now(),
            before: Counters::default(),
        };
        // Also if a thread panics the terminal is given back.
        let mut terminal = ratatui::try_init()?;
        let is_stopped = Arc::clone(&stop);
        let mut paint = move || {
            let _terminal = Guard;
            while !is_stopped.load(Relaxed) {
                painter.look();
                terminal.draw(|frame| draw(frame, &painter.view))?;
                if wants_end(FRAME)? {
                    // Nobody waits for it if the end has come already.
                    let _ = interrupt.send(());
                }
            }
            Ok(())
        };
        let (ended, outcome) = mpsc::channel();
        let paint = move || drop(ended.send(paint()));
        thread::Builder::new().name("watch".to_owned()).spawn(paint)?;
        Ok(Self { news, stop, outcome })
    }

    /// What to tell of events.
    pub fn onlooker(&self) -> Onlooker {
        Onlooker(Arc::clone(&self.news))
    }

    /// What is counted now.
    pub fn publish(&self, samples: Vec<Sample>) {
        lock(&self.news).samples = samples;
    }

    /// Gives the terminal back, and tells what went wrong with it.
    pub fn finish(&self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        // A terminal that takes nothing any more cannot be given back.
        match self.outcome.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::other("it does not take what is drawn")),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Gives the terminal back when it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn lock(news: &Mutex<News>) -> MutexGuard<'_, News> {
    news.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for so long, and returns whether the user has asked for an end meanwhile.
fn wants_end(time: Duration) -> io::Result<bool> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as u16;
        let stdin = io::stdin();
        let mut stdin = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut stdin, left) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Of that the library would not say anything, but look for events for ever.
        if stdin[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)) {
            return Err(io::Error::other("it is gone"));
        }
        if !event::poll(Duration::ZERO)? {
            continue;
        }
        if let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event::read()? {
            let is_interrupt = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || code == KeyCode::Char('q') {
                return Ok(true);
            }
        }
    }
}

/// What looks, and makes a view of it.
struct Painter {
    tables: Arc<Tables>,
    news: Arc<Mutex<News>>,
    view: View,
    started: Instant,
    /// When rates were taken last, and of what.
    second: Instant,
    before: Counters,
}

impl Painter {
    fn look(&mut self) {
        let Self { tables, view, .. } = self;
        view.elapsed = self.started.elapsed();
        view.heat.look(|port| tables.port(port).syns);
        let news = lock(&self.news);
        let names = news.samples.iter().map(|sample| format!("{} ({} mode)", sample.interface, sample.mode));
        view.title = format!("tcp-bounce on {}", names.collect::<Vec<_>>().join(", "));
        view.counters = news.samples.iter().map(|sample| sample.counters).sum();
        view.knocks = news.knocks.iter().cloned().collect();
        drop(news);
        let elapsed = self.second.elapsed();
        if elapsed >= SECOND {
            self.second = Instant::now();
            self.each_second(elapsed);
        }
    }

    fn each_second(&mut self, elapsed: Duration) {
        let Self { view, before, .. } = self;
        let rate = |verdict: Verdict| {
            (view.counters[verdict].saturating_sub(before[verdict]) as f64 / elapsed.as_secs_f64()).round() as u64
        };
        view.rates = Counters::from(Verdict::ALL.map(rate));
        *before = view.counters;
        view.history.push(view.rates[Verdict::Answered]);
        let excess = view.history.len().saturating_sub(KEPT);
        view.history.drain(..excess);
        view.ports = most(view.heat.counts());
        let (sources, _) = self.tables.sources();
        view.sources = most(sources.into_iter().map(|(source, count)| (source, count.syns)));
    }
}

/// Those with the highest counts.
fn most<T: Ord + Copy>(counts: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    counts.truncate(LISTED);
    counts
}
