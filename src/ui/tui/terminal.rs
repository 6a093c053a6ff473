//! The terminal of the full-screen view: checks whether the view can use it, and restores it.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::Builder;
use std::time::Duration;

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::{self, getpgrp, tcgetpgrp};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{LeaveAlternateScreen, disable_raw_mode};

use crate::ui::UiError;

/// Checks that standard input and output are terminals, and that this process is in the foreground.
///
/// # Errors
///
/// [`UiError::NoTerminal`] or [`UiError::Background`].
pub fn check() -> Result<(), UiError> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(UiError::NoTerminal);
    }
    // `tcgetpgrp` fails if the terminal is not the session's controlling terminal. Then there are no background jobs.
    if tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
        return Err(UiError::Background);
    }
    Ok(())
}

/// Installs a SIGWINCH handler that does nothing, so that the signal interrupts a blocked write.
///
/// After the handler (`SA_RESTART`), the kernel restarts a write that has written nothing. The view does not need the
/// signal, because it queries the terminal size before each redraw.
///
/// # Errors
///
/// The handler cannot be installed.
pub fn handle_resize_signal() -> io::Result<()> {
    extern "C" fn ignore(_signal: c_int) {}
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: The handler does nothing, so it is async-signal-safe.
    unsafe { sigaction(Signal::SIGWINCH, &action) }?;
    Ok(())
}

/// The time that each step of restoring the terminal may take.
pub const RESTORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a [`RestoreGuard`] exists.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// A guard that restores the terminal when it is dropped.
pub struct RestoreGuard(Arc<RestoreState>);

/// The progress of a [`RestoreGuard`], shared with the thread that waits until the terminal is restored.
#[derive(Default)]
pub struct RestoreState(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    has_begun: bool,
    /// Whether pending output was discarded because the terminal accepts none.
    is_blocked: bool,
}

impl RestoreGuard {
    /// Creates the guard. From now on, the terminal is restored even if drawing never starts.
    pub fn new(state: Arc<RestoreState>) -> Self {
        IS_TAKEN.store(true, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for RestoreGuard {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        progress.has_begun = true;
        if progress.is_blocked {
            // The last redraw may have filled the terminal's output queue again.
            let _ = tcflush(io::stdout(), FlushArg::TCOFLUSH);
        }
        drop(progress);
        ratatui::restore();
        IS_TAKEN.store(false, Ordering::SeqCst);
    }
}

impl RestoreState {
    /// Discards pending output of the view, calls `retry` to wake its writer, and returns `true`.
    ///
    /// Once the guard has begun to restore the terminal, does nothing and returns `false` instead: the guard's escape
    /// sequences must not be discarded.
    ///
    /// # Errors
    ///
    /// The terminal is gone, or `retry` fails.
    pub fn discard_output(&self, retry: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        // The lock is held until the end, so that the guard cannot begin in the meantime.
        let mut progress = self.lock();
        if progress.has_begun {
            return Ok(false);
        }
        progress.is_blocked = true;
        tcflush(io::stdout(), FlushArg::TCOFLUSH)?;
        retry()?;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Restores the terminal for a process that exits without waiting for its threads. Does nothing if the view does not
/// own the terminal.
///
/// Takes at most [`RESTORE_TIMEOUT`], even if the terminal accepts no output.
pub fn restore_now() {
    if !IS_TAKEN.load(Ordering::SeqCst) {
        return;
    }
    let (sender, restored) = mpsc::channel();
    let restore = move || {
        let _ = disable_raw_mode();
        let mut sequence = Vec::new();
        let _ = queue!(sequence, LeaveAlternateScreen, Show);
        let _ = tcflush(io::stdout(), FlushArg::TCOFLUSH);
        // Bypasses the standard library, because the drawing thread may hold the lock of standard output.
        let _ = unistd::write(io::stdout(), &sequence);
        let _ = sender.send(());
    };
    if Builder::new().spawn(restore).is_ok() {
        let _ = restored.recv_timeout(RESTORE_TIMEOUT);
    }
}
