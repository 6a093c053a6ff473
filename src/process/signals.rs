//! Signal handlers: Ctrl-C, SIGTERM and SIGHUP end a run.

use std::io;
use std::process;
use std::sync::mpsc::Sender;

use nix::sys::signal::{SigHandler, Signal, signal};

use super::ProcessError;

/// Sends to `interrupt` at each Ctrl-C, SIGTERM or SIGHUP. SIGHUP stays ignored under `nohup`.
///
/// When nothing receives any more, the next signal ends the process at once.
///
/// # Errors
///
/// [`ProcessError::Signals`] if a handler cannot be installed.
pub fn forward(interrupt: Sender<()>) -> Result<(), ProcessError> {
    let has_nohup = matches!(set_hangup(SigHandler::SigIgn)?, SigHandler::SigIgn);
    ctrlc::set_handler(move || {
        if interrupt.send(()).is_err() {
            process::exit(1);
        }
    })
    .map_err(|error| match error {
        // The message of `ctrlc::Error` leaves out the cause.
        ctrlc::Error::System(source) => ProcessError::Signals(source),
        error => ProcessError::Signals(io::Error::other(error)),
    })?;
    if has_nohup {
        set_hangup(SigHandler::SigIgn)?;
    }
    // A background process that writes to its terminal would be stopped, and then only SIGKILL could end it.
    // SAFETY: `SigIgn` installs no function.
    unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }
        .map(drop)
        .map_err(|errno| ProcessError::Signals(errno.into()))
}

fn set_hangup(handler: SigHandler) -> Result<SigHandler, ProcessError> {
    // SAFETY: `handler` is not a function of Rust.
    unsafe { signal(Signal::SIGHUP, handler) }.map_err(|errno| ProcessError::Signals(errno.into()))
}
