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

/// An error or a warning for the user, with advice on how to resolve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether the finding is an error or a warning.
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
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), hint: None, command: None }
    }

    /// Creates a finding that does not keep tcp-bounce from starting.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Creates an error finding from `error` and its hint. The message includes the causes of `error`.
    pub fn from_error(code: &'static str, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::error(code, diagnosis::with_causes(error)) }
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
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Returns the text of the finding with its subject, such as `warning: eth1: MESSAGE`, and a line for each hint.
    ///
    /// `interface` is the subject. It is omitted if the message names it, or if it is `None`, which stands for the
    /// host.
    pub fn about<'a>(&'a self, interface: Option<&'a str>) -> impl Display + 'a {
        About { finding: self, subject: interface }
    }
}

impl Display for Finding {
    /// Writes the severity and the message, and a line for each hint.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.about(None).fmt(f)
    }
}

/// The text of a [`Finding`] that names its subject.
struct About<'a> {
    finding: &'a Finding,
    subject: Option<&'a str>,
}

impl Display for About<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { finding: Finding { severity, message, hint, command, .. }, subject } = self;
        write!(f, "{severity}: ")?;
        if let Some(subject) = subject.filter(|subject| !names(message, subject)) {
            write!(f, "{subject}: ")?;
        }
        f.write_str(message)?;
        hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
        command.iter().try_for_each(|command| write!(f, "\n  hint: run `{command}`"))
    }
}

/// Returns whether `message` contains `interface` as a word: `eth1` is in `below eth1:`, but not in `below eth1.5`.
fn names(message: &str, interface: &str) -> bool {
    let continues = |it: char| it.is_alphanumeric() || matches!(it, '-' | '_' | '.' | '@');
    message.match_indices(interface).any(|(start, _)| {
        let (before, after) = (&message[..start], &message[start + interface.len()..]);
        !before.ends_with(continues) && !after.starts_with(continues)
    })
}

impl Display for Severity {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_interface_once() {
        for (interface, message, text) in [
            ("eth1", "the interface is down", "warning: eth1: the interface is down"),
            ("eth1", "eth1 is the loopback interface: no", "warning: eth1 is the loopback interface: no"),
            ("eth1", "cannot attach to eth1: no", "warning: cannot attach to eth1: no"),
            // The name is only a part of another word.
            ("eth1", "replies for eth1.5 are untagged", "warning: eth1: replies for eth1.5 are untagged"),
            ("lan", "the NIC strips vlan tags", "warning: lan: the NIC strips vlan tags"),
        ] {
            assert_eq!(Finding::warning("code", message).about(Some(interface)).to_string(), text);
        }
    }
}
