//! Errors of the terminal and of standard output.

use std::io;

use crate::diagnosis;

/// A failure of the terminal or of standard output.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Standard input or output is not a terminal.
    #[error("--tui needs a terminal for standard input and output")]
    NoTerminal,
    /// The process is not in the foreground process group of its terminal.
    #[error("--tui needs the terminal, and this is not the process in its foreground")]
    Background,
    /// Setting up, drawing on, reading from or restoring the terminal failed.
    #[error("cannot draw on the terminal")]
    Terminal(#[source] io::Error),
    /// Writing to standard output failed.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// Standard output blocked until the deadline, so pending output was dropped.
    #[error("standard output is blocked, so the rest of the output is lost")]
    Blocked,
}

impl UiError {
    /// Returns a hint on how to resolve the error, if there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTerminal => "--events prints lines, also to a file or a pipe",
            Self::Background => "start it without `&`, and not by a program like timeout; --duration ends it, too",
            Self::Blocked => {
                "if Ctrl-S paused the terminal, press Ctrl-Q; if it is a pipe, its reader must keep reading"
            }
            Self::Terminal(_) | Self::Write(_) => return diagnosis::memory_hint(self),
        };
        Some(hint.to_owned())
    }
}
