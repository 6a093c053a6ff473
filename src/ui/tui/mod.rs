//! `--watch`: a full screen that shows what clients do, as it happens.

pub mod heat_map;
pub mod screen;

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::{self, getpgrp, tcgetpgrp};
use ratatui::crossterm::terminal::disable_raw_mode;
use tcp_bounce_wire::{Counters, Verdict};

use self::heat_map::Heat;
use self::screen::{View, draw};
use super::UiError;
use crate::responder::Sample;
use crate::telemetry::{ClientEvent, EventSink};
use crate::xdp::ClientTables;

/// How often it is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often rates are taken, and the lists made.
const SECOND: Duration = Duration::from_secs(1);

/// How long the end waits for the terminal.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many of the newest events, and of the last seconds, are kept.
const KEPT: usize = 500;

/// The bytes of the keys that end the run: q and Ctrl-C, as a terminal in raw mode sends them.
const QUIT_KEYS: [u8; 2] = [b'q', 0x03];

/// How many ports and clients are listed at most.
const LISTED: usize = 20;

/// The screen, until it is finished.
pub struct Tui {
    news: Arc<Mutex<News>>,
    stop: Arc<AtomicBool>,
    giving_back: Arc<Mutex<GivingBack>>,
    /// What draws it.
    thread: JoinHandle<()>,
    /// What comes of it in the end.
    outcome: Receiver<io::Result<()>>,
}

/// What it has been told, and has not looked at yet.
#[derive(Default)]
struct News {
    samples: Vec<Sample>,
    events: VecDeque<ClientEvent>,
}

/// What tells it of events.
#[derive(Clone)]
pub struct TuiEvents(Arc<Mutex<News>>);

impl EventSink for TuiEvents {
    /// Keeps the newest events for the next frame.
    fn deliver(&self, events: Vec<ClientEvent>) {
        let mut news = lock(&self.0);
        news.events.extend(events);
        let excess = news.events.len().saturating_sub(KEPT);
        news.events.drain(..excess);
    }
}

/// Whether there is a terminal to be had.
pub fn check_terminal() -> Result<(), UiError> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(UiError::NoTerminal);
    }
    // One that is not the session's has no foreground.
    if tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
        return Err(UiError::Background);
    }
    Ok(())
}

impl Tui {
    /// Takes the terminal. If the user wants an end, `interrupt` is told.
    pub fn start(tables: Arc<ClientTables>, interrupt: Sender<()>) -> io::Result<Self> {
        let news = Arc::new(Mutex::new(News::default()));
        let stop = Arc::new(AtomicBool::new(false));
        // See https://no-color.org; the library draws without colours then.
        let is_colourless = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let heat = if is_colourless { Heat::shaded() } else { Heat::new() };
        let mut renderer = Renderer {
            tables,
            news: Arc::clone(&news),
            view: View { heat, ..View::default() },
            started: Instant::now(),
            second: Instant::now(),
            before: Counters::default(),
        };
        // Also if a thread panics, or cannot be started, the terminal is given back.
        let giving_back = Arc::new(Mutex::new(GivingBack::default()));
        let guard = Guard(Arc::clone(&giving_back));
        handle_resize_signal()?;
        let mut terminal = ratatui::try_init()?;
        let is_stopped = Arc::clone(&stop);
        let quit = interrupt.clone();
        let paint = move || {
            let _guard = guard;
            while !is_stopped.load(Relaxed) {
                renderer.look();
                terminal.draw(|frame| draw(frame, &renderer.view))?;
                if wants_end(FRAME)? {
                    // Nobody waits for it if the end has come already.
                    let _ = quit.send(());
                }
            }
            Ok(())
        };
        let (ended, outcome) = mpsc::channel();
        let signal_end = SignalEnd(interrupt);
        let paint = move || {
            let _signal_end = signal_end;
            let _ = ended.send(paint());
        };
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(paint)?;
        Ok(Self { news, stop, giving_back, thread, outcome })
    }

    /// What to tell of events.
    pub fn tui_events(&self) -> TuiEvents {
        TuiEvents(Arc::clone(&self.news))
    }

    /// What is counted now.
    pub fn publish(&self, samples: Vec<Sample>) {
        lock(&self.news).samples = samples;
    }

    /// Gives the terminal back, and tells what went wrong with it.
    pub fn finish(self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        self.wait()
    }

    /// Waits until the other thread has given it back.
    fn wait(&self) -> io::Result<()> {
        match self.outcome.recv_timeout(PATIENCE) {
            Ok(outcome) => return outcome,
            // The panic hook has printed the reason.
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("its thread panicked")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // It takes nothing, as over a connection that hangs, and the other thread waits for it.
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.make_room()? {
            thread::sleep(FRAME / 10);
        }
        self.outcome
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| disable_raw_mode().and(Err(io::Error::other("it does not take what is drawn"))))
    }

    /// Throws away what is on its way to the terminal, but not what gives it back: whether it was needed.
    fn make_room(&self) -> io::Result<bool> {
        let mut giving_back = lock(&self.giving_back);
        if giving_back.has_begun {
            return Ok(false);
        }
        giving_back.needs_room = true;
        tcflush(io::stdout(), FlushArg::TCOFLUSH)?;
        // The kernel does not tell a thread that waits for room that there is some now. It looks again after a signal that is
        // handled, and this one says nothing new.
        pthread_kill(self.thread.as_pthread_t(), Signal::SIGWINCH)?;
        Ok(true)
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        // If it is not finished already.
        if !self.stop.swap(true, Relaxed) {
            let _ = self.wait();
        }
    }
}

/// How far it is with giving the terminal back.
#[derive(Default)]
struct GivingBack {
    has_begun: bool,
    needs_room: bool,
}

/// Gives the terminal back when it is dropped.
struct Guard(Arc<Mutex<GivingBack>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut giving_back = lock(&self.0);
        giving_back.has_begun = true;
        if giving_back.needs_room {
            let _ = tcflush(io::stdout(), FlushArg::TCOFLUSH);
        }
        drop(giving_back);
        ratatui::restore();
    }
}

/// Ends the run when it is dropped: nothing may answer on unseen.
struct SignalEnd(Sender<()>);

impl Drop for SignalEnd {
    fn drop(&mut self) {
        // The run may have ended already.
        let _ = self.0.send(());
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs a handler of SIGWINCH that does nothing, so that the signal interrupts a blocked write (`make_room`).
fn handle_resize_signal() -> io::Result<()> {
    extern "C" fn ignore(_signal: c_int) {}
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: The handler does nothing, so it is safe at any moment.
    unsafe { sigaction(Signal::SIGWINCH, &action) }.map(drop).map_err(io::Error::from)
}

/// Waits for so long, and returns whether the user has asked for an end meanwhile.
fn wants_end(time: Duration) -> io::Result<bool> {
    let end = Instant::now() + time;
    let mut input = [0; 256];
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as u16;
        let stdin = io::stdin();
        let mut stdin = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut stdin, left) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if stdin[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)) {
            return Err(io::Error::other("it is gone"));
        }
        match unistd::read(io::stdin(), &mut input) {
            Ok(0) => return Err(io::Error::other("it is gone")),
            Ok(length) if input[..length].iter().any(|byte| QUIT_KEYS.contains(byte)) => return Ok(true),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        // There may be more input without an end.
        if left == 0 {
            return Ok(false);
        }
    }
}

/// What looks, and makes a view of it.
struct Renderer {
    tables: Arc<ClientTables>,
    news: Arc<Mutex<News>>,
    view: View,
    started: Instant,
    /// When rates were taken last, and of what.
    second: Instant,
    before: Counters,
}

impl Renderer {
    fn look(&mut self) {
        let Self { tables, view, .. } = self;
        view.elapsed = self.started.elapsed();
        view.heat.look(|port| tables.port(port).syns);
        let news = lock(&self.news);
        let names = news.samples.iter().map(|sample| format!("{} ({} mode)", sample.interface, sample.mode));
        view.title = format!("tcp-bounce on {}", names.collect::<Vec<_>>().join(", "));
        view.counters = news.samples.iter().map(|sample| sample.counters).sum();
        view.events = news.events.iter().cloned().collect();
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
