//! The findings of the preflight check.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::diagnosis;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The finding keeps tcp-bounce from starting.
    Problem,
    /// tcp-bounce would start, but may not behave as expected.
    Warning,
}

/// A fact that the user should know, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// A stable name, for programs.
    pub code: &'static str,
    /// A description, for people.
    pub message: String,
    /// Further explanation, or the remedy where no command is one.
    pub hint: Option<String>,
    /// The command that removes the cause.
    pub command: Option<String>,
}

impl Finding {
    /// Creates a finding that keeps tcp-bounce from starting.
    pub fn problem(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, code, message: message.into(), hint: None, command: None }
    }

    /// Creates a finding that does not keep tcp-bounce from starting.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(code, message) }
    }

    /// Creates a problem from the error that would keep tcp-bounce from starting, and the error's hint.
    pub fn error(code: &'static str, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::problem(code, diagnosis::with_causes(error)) }
    }

    /// Adds a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds a command.
    pub fn with_command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// Returns whether the finding keeps tcp-bounce from starting.
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let severity = if self.is_problem() { "problem" } else { "warning" };
        write!(f, "{severity}: {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
        self.command.iter().try_for_each(|command| write!(f, "\n  command: {command}"))
    }
}
