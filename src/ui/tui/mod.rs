//! `--tui`: a full-screen view of client activity.

mod feed;
mod heat_map;
mod input;
mod renderer;
mod screen;
mod terminal;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal::disable_raw_mode;

use self::feed::{Feed, TuiEvents};
use self::renderer::Renderer;
use self::screen::draw;
use self::terminal::{RESTORE_TIMEOUT, RestoreGuard, RestoreState};
use self::thread::TuiThread;
use crate::responder::Sample;
use crate::telemetry::CountedHandshakes;
use crate::xdp::ClientTables;

pub use self::terminal::{check as check_terminal, restore_now};

/// The time between two redraws.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two attempts to unblock the thread that draws.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The full-screen view. [`Tui::finish`] or dropping it restores the terminal.
pub struct Tui {
    feed: Feed,
    stop: Arc<AtomicBool>,
    restore_state: Arc<RestoreState>,
    thread: TuiThread,
}

impl Tui {
    /// Switches the terminal to the full-screen view, and draws in a separate thread. The view shows completed
    /// handshakes if `handshakes` are counted. `has_profile` states that the ports have the services of a profile.
    ///
    /// Sends to `interrupt` when the user presses q or Ctrl-C, and when the thread ends because of an error or a panic.
    ///
    /// # Errors
    ///
    /// The terminal cannot be set up, or the thread cannot be started.
    pub fn start(
        tables: Arc<ClientTables>,
        handshakes: CountedHandshakes,
        has_profile: bool,
        interrupt: Sender<()>,
    ) -> io::Result<Self> {
        let feed = Feed::default();
        let stop = Arc::new(AtomicBool::new(false));
        let restore_state = Arc::new(RestoreState::default());
        let mut renderer = Renderer::new(tables, handshakes, has_profile, feed.clone());
        terminal::handle_resize_signal()?;
        // From here on, an error or a panic restores the terminal.
        let guard = RestoreGuard::new(Arc::clone(&restore_state));
        let mut terminal = ratatui::try_init()?;
        let is_stopped = Arc::clone(&stop);
        let quit = interrupt.clone();
        let run = move || {
            let _guard = guard;
            while !is_stopped.load(Relaxed) {
                renderer.update();
                terminal.draw(|frame| draw(frame, renderer.view()))?;
                if input::wait_for_quit(FRAME_INTERVAL)? {
                    // Fails if the run is already ending and has dropped the receiver.
                    let _ = quit.send(());
                }
            }
            Ok(())
        };
        let thread = TuiThread::start(Arc::clone(&stop), interrupt, run)?;
        Ok(Self { feed, stop, restore_state, thread })
    }

    /// Returns a sink that shows events in the view.
    pub fn tui_events(&self) -> TuiEvents {
        TuiEvents(self.feed.clone())
    }

    /// Shows the counters in `samples` from the next redraw on.
    pub fn publish(&self, samples: Vec<Sample>) {
        self.feed.lock().samples = samples;
    }

    /// Ends drawing, and restores the terminal.
    ///
    /// # Errors
    ///
    /// Drawing has failed, or the terminal no longer accepts output.
    pub fn finish(self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        self.wait()
    }

    /// Waits until the thread has restored the terminal. Discards pending output if it blocks the thread.
    fn wait(&self) -> io::Result<()> {
        if let Some(outcome) = self.thread.wait(RESTORE_TIMEOUT) {
            return outcome;
        }
        // The thread is blocked in a write, because the terminal accepts no output (its connection may hang).
        let end = Instant::now() + RESTORE_TIMEOUT;
        // Discarding output does not wake a blocked writer, so a signal makes the thread retry.
        while Instant::now() < end && self.restore_state.discard_output(|| self.thread.retry_write())? {
            std::thread::sleep(RETRY_INTERVAL);
        }
        self.thread
            .wait(RESTORE_TIMEOUT)
            .unwrap_or_else(|| disable_raw_mode().and(Err(io::Error::other("it accepts no output"))))
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        let is_finished = self.stop.swap(true, Relaxed);
        if !is_finished {
            let _ = self.wait();
        }
    }
}
