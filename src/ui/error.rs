//! Errors of the terminal and of standard output.

use std::io;

use crate::diagnosis;

/// The terminal or standard output cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Standard input or output is not a terminal.
    #[error("--watch needs a terminal for standard input and output")]
    NoTerminal,
    /// The process is in the background of its terminal.
    #[error("--watch needs the terminal, and this is not the process in its foreground")]
    Background,
    /// The terminal cannot be drawn on or read from.
    #[error("cannot draw on the terminal")]
    Terminal(#[source] io::Error),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// Standard output accepted nothing more before the deadline.
    #[error("standard output is blocked, so the rest of the output is lost")]
    Blocked,
}

impl UiError {
    /// Returns the remedy, if the error has one of its own.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTerminal => "--events prints lines, also to a file or a pipe",
            Self::Background => "start it without `&`, and not by a program like timeout; --for ends it, too",
            Self::Blocked => {
                "if Ctrl-S paused the terminal, press Ctrl-Q; if it is a pipe, its reader must keep reading"
            }
            Self::Terminal(_) | Self::Write(_) => return diagnosis::memory_hint(self),
        };
        Some(hint.to_owned())
    }
}
