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
        Self { message: diagnosis::with_causes(error), hint, libbpf: Vec::new() }
    }
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
