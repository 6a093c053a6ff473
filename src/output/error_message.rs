//! The message about an error.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::{Entry, Priority};
use crate::diagnosis;

/// An error that kept a command from starting, or ended it. `docs/output.schema.json` describes its JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "error")]
pub struct ErrorMessage {
    /// The error and its causes.
    pub message: String,
    /// A hint on how to resolve the error.
    pub hint: Option<String>,
    /// The lines that libbpf printed.
    pub libbpf: Vec<String>,
}

impl ErrorMessage {
    /// Creates a message about `error` and its causes.
    pub fn new(error: &dyn Error, hint: Option<String>) -> Self {
        Self {
            message: printable(&diagnosis::with_causes(error)),
            hint: hint.as_deref().map(printable),
            libbpf: Vec::new(),
        }
    }
}

/// Escapes control characters. The text may quote a file, or a host on the network.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut printable, it| {
        if it.is_control() {
            printable.extend(it.escape_default())
        } else {
            printable.push(it)
        }
        printable
    })
}

impl Entry for ErrorMessage {
    fn priority(&self) -> Priority {
        Priority::Error
    }
}

impl Display for ErrorMessage {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
        self.libbpf.iter().try_for_each(|line| write!(f, "\n  libbpf: {line}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let error = io::Error::other("unknown variant `\u{1b}]0;title\u{7}\u{9b}2J\nerror: é`");
        let message = ErrorMessage::new(&error, Some("use \r".to_owned()));
        let text = "error: unknown variant `\\u{1b}]0;title\\u{7}\\u{9b}2J\\nerror: é`\n  hint: use \\r";
        assert_eq!(message.to_string(), text);
    }
}
