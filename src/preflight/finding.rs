//! What a check has to say.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::diagnosis;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// tcp-bounce would not start.
    Problem,
    /// It would start, but may not do what is expected of it.
    Warning,
}

/// One thing that somebody should know, and how to change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// A name for programs, which stays the same.
    pub code: &'static str,
    /// What it is, for people.
    pub message: String,
    /// What else there is to know, or what to do where no command does it.
    pub hint: Option<String>,
    /// The command that mends it.
    pub command: Option<String>,
}

impl Finding {
    /// Something that keeps tcp-bounce from starting.
    pub fn problem(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, code, message: message.into(), hint: None, command: None }
    }

    /// Something that does not.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(code, message) }
    }

    /// Reports the error that keeps tcp-bounce from starting, with the hint of the error.
    pub fn error(code: &'static str, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::problem(code, diagnosis::with_causes(error)) }
    }

    /// The same with this hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with this command.
    pub fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// Whether it keeps tcp-bounce from starting.
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
