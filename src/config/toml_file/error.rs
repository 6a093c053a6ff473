//! Mistakes in a file in TOML that do not depend on the kind of file.

use crate::config::ValueError;

/// A mistake in a file in TOML. `line` is a line of the file, counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TomlError {
    /// The file has a mistake in the syntax of TOML.
    #[error("line {line}: {}", reason.reason())]
    Syntax {
        /// The line.
        line: usize,
        /// The reason.
        reason: ValueError,
    },
    /// A table has a key that files of this kind do not have there.
    #[error("line {line}: \"{key}\" is not a key of a {table}")]
    UnknownKey {
        /// The line of the key.
        line: usize,
        /// A noun for the table, such as "service".
        table: &'static str,
        /// The key.
        key: String,
        /// The advice.
        hint: String,
    },
    /// A table lacks a required key.
    #[error("line {line}: the {table} has no {key}")]
    MissingKey {
        /// The line of the table.
        line: usize,
        /// A noun for the table, such as "service".
        table: &'static str,
        /// The key.
        key: &'static str,
        /// An example of the key with a value.
        example: &'static str,
    },
    /// A value has the wrong type.
    #[error("line {line}: {key} must be {expected}, not {found}")]
    WrongType {
        /// The line of the value.
        line: usize,
        /// The key.
        key: &'static str,
        /// A phrase for the type of the value.
        found: &'static str,
        /// A phrase for the right type.
        expected: &'static str,
        /// An example of the key with a value.
        example: &'static str,
    },
    /// A value has the right type and is malformed, such as a port above 65535.
    #[error("line {line}: {}", reason.reason())]
    Malformed {
        /// The line of the value.
        line: usize,
        /// The reason.
        reason: ValueError,
    },
}

impl TomlError {
    /// Returns the line of the mistake.
    pub fn line(&self) -> usize {
        match self {
            Self::Syntax { line, .. }
            | Self::UnknownKey { line, .. }
            | Self::MissingKey { line, .. }
            | Self::WrongType { line, .. }
            | Self::Malformed { line, .. } => *line,
        }
    }

    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { reason, .. } | Self::Malformed { reason, .. } => reason.examples().map(str::to_owned),
            Self::UnknownKey { hint, .. } => Some(hint.clone()),
            Self::MissingKey { example, .. } => Some(format!("add {example}")),
            Self::WrongType { example, .. } => Some(format!("write {example}")),
        }
    }
}
