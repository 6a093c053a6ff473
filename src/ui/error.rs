//! Errors of the terminal and of standard output.

use std::io;

use crate::diagnosis;

/// A failure of the terminal or of standard output.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Standard input or output is not a terminal.
    #[error("--tui needs a terminal as standard input and output")]
    NoTerminal,
    /// The process is not in the foreground process group of its terminal.
    #[error("--tui cannot run in the background of a terminal")]
    Background,
    /// Setting up, drawing on, reading from or restoring the terminal failed.
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    /// Writing to standard output failed.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// Standard output blocked until the deadline, so pending output was dropped.
    #[error("standard output is blocked; the rest of the output is lost")]
    Blocked,
}

impl UiError {
    /// Returns a hint on how to resolve the error, if there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTerminal => "use --events to print lines to a file or a pipe",
            Self::Background => "start tcp-bounce without `&` or `timeout`; --duration sets a time limit",
            Self::Blocked => "press Ctrl-Q if Ctrl-S paused the terminal, or keep reading if the output is a pipe",
            Self::Terminal(_) | Self::Write(_) => return diagnosis::memory_hint(self),
        };
        Some(hint.to_owned())
    }
}
