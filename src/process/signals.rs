//! Signal handlers. The first Ctrl-C, SIGTERM or SIGHUP ends the run; a second Ctrl-C or SIGTERM ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::ProcessError;

/// The time after the first signal in which more signals are ignored as duplicates.
///
/// `timeout` signals its child and then its process group. When a terminal closes, the kernel and the shell both send
/// SIGHUP.
const BURST: Duration = Duration::from_millis(250);

/// The installed handlers of Ctrl-C, SIGTERM and SIGHUP.
///
/// Until [`SignalHandlers::defer_exit`] is called, any signal ends the process. Afterwards, the first signal is sent to
/// the main thread, and SIGHUP is ignored from then on. The process ends with status 1 at a second Ctrl-C or SIGTERM
/// after [`BURST`], or if the main thread no longer receives signals.
pub struct SignalHandlers {
    is_deferred: Arc<AtomicBool>,
}

impl SignalHandlers {
    /// Installs the handlers. SIGHUP stays ignored under `nohup`.
    ///
    /// `early_status` is the exit status until the exit is deferred. `interrupt` sends the first signal to the main
    /// thread. `before_exit` runs before the process ends because of a second signal, and must return soon.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Signals`] if a handler cannot be installed.
    pub fn install(
        early_status: i32,
        interrupt: Sender<()>,
        before_exit: impl Fn() + Send + 'static,
    ) -> Result<Self, ProcessError> {
        let is_deferred = Arc::new(AtomicBool::new(false));
        let has_deferred = Arc::clone(&is_deferred);
        let mut handle_late = handler(interrupt, before_exit);
        let handler = move || match has_deferred.load(Ordering::SeqCst) {
            true => handle_late(),
            false => exit(early_status),
        };
        let has_nohup = matches!(set_hangup(SigHandler::SigIgn)?, SigHandler::SigIgn);
        ctrlc::set_handler(handler).map_err(|error| match error {
            // The message of `ctrlc::Error` omits the error of the system call.
            ctrlc::Error::System(source) => ProcessError::Signals(source),
            error => ProcessError::Signals(io::Error::other(error)),
        })?;
        if has_nohup {
            set_hangup(SigHandler::SigIgn)?;
        }
        // By default, SIGTTOU stops a background process that writes to its terminal. A stopped process does not handle
        // SIGTERM.
        // SAFETY: `SigIgn` installs no function.
        unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }.map_err(|errno| ProcessError::Signals(errno.into()))?;
        Ok(Self { is_deferred })
    }

    /// Defers the exit from now on: the first signal goes to the main thread, which detaches programs and removes files
    /// before it exits.
    pub fn defer_exit(&self) {
        self.is_deferred.store(true, Ordering::SeqCst);
    }
}

/// Returns the function that the signal thread calls for each signal once the exit is deferred.
fn handler(interrupt: Sender<()>, before_exit: impl Fn()) -> impl FnMut() {
    let mut sequence = SignalSequence { first: None };
    move || {
        let ends_process = match sequence.next(Instant::now()) {
            Reaction::Interrupt => {
                // When a terminal closes, the kernel and the shell may send SIGHUP at different times. A second SIGHUP
                // is therefore no reason to exit early.
                let _ = set_hangup(SigHandler::SigIgn);
                interrupt.send(()).is_err()
            }
            Reaction::Ignore => false,
            Reaction::Exit => true,
        };
        if ends_process {
            before_exit();
            exit(1);
        }
    }
}

/// The signals that have arrived so far.
struct SignalSequence {
    first: Option<Instant>,
}

/// The reaction to one signal.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// Send the signal to the main thread.
    Interrupt,
    /// Ignore the signal, a duplicate of the first one.
    Ignore,
    /// End the process with status 1.
    Exit,
}

impl SignalSequence {
    /// Returns the reaction to a signal that arrives at `now`.
    fn next(&mut self, now: Instant) -> Reaction {
        match self.first {
            None => {
                self.first = Some(now);
                Reaction::Interrupt
            }
            Some(first) if now.saturating_duration_since(first) < BURST => Reaction::Ignore,
            Some(_) => Reaction::Exit,
        }
    }
}

/// Ends the process immediately. The kernel then closes its bpf_links, which detaches its programs.
fn exit(status: i32) -> ! {
    // Unlike `_exit`, `exit(3)` runs exit handlers. They may wait for a lock that a blocked main thread holds.
    // SAFETY: `_exit` only ends the process.
    unsafe { libc::_exit(status) }
}

fn set_hangup(handler: SigHandler) -> Result<SigHandler, ProcessError> {
    // SAFETY: All callers pass `SigIgn`, which installs no function.
    unsafe { signal(Signal::SIGHUP, handler) }.map_err(|errno| ProcessError::Signals(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_at_the_first_signal_and_exits_at_the_second() {
        let start = Instant::now();
        let mut sequence = SignalSequence { first: None };
        assert_eq!(sequence.next(start), Reaction::Interrupt);
        assert_eq!(sequence.next(start + BURST), Reaction::Exit);
        assert_eq!(sequence.next(start + BURST), Reaction::Exit);
    }

    #[test]
    fn takes_a_burst_for_one_signal() {
        let start = Instant::now();
        let mut sequence = SignalSequence { first: None };
        assert_eq!(sequence.next(start), Reaction::Interrupt);
        assert_eq!(sequence.next(start), Reaction::Ignore);
        assert_eq!(sequence.next(start + BURST - Duration::from_nanos(1)), Reaction::Ignore);
    }
}
