//! The findings of the preflight check.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::diagnosis;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The finding keeps tcp-bounce from starting.
    Error,
    /// tcp-bounce would start, but may not behave as expected.
    Warning,
}

/// A problem or warning for the user, with advice on how to resolve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether the finding is a problem or a warning.
    pub severity: Severity,
    /// A stable, machine-readable name such as `occupied`.
    pub code: &'static str,
    /// A human-readable description in one line.
    pub message: String,
    /// An explanation, or advice that is not a complete command.
    pub hint: Option<String>,
    /// A shell command that removes the cause.
    pub command: Option<String>,
}

impl Finding {
    /// Creates a finding that keeps tcp-bounce from starting.
    pub fn problem(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), hint: None, command: None }
    }

    /// Creates a finding that does not keep tcp-bounce from starting.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(code, message) }
    }

    /// Creates a problem from an error and its hint. The message includes the causes of the error.
    pub fn error(code: &'static str, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::problem(code, diagnosis::with_causes(error)) }
    }

    /// Sets the hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Sets the command.
    pub fn with_command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// Returns whether the finding keeps tcp-bounce from starting.
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let severity = if self.is_problem() { "error" } else { "warning" };
        write!(f, "{severity}: {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
        self.command.iter().try_for_each(|command| write!(f, "\n  hint: run `{command}`"))
    }
}
