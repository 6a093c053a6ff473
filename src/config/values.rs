//! Parsers of numbers and durations, and the error for a malformed value.

use std::borrow::Cow;
use std::fmt::Display;
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A value that cannot be parsed. It displays as the reason, and the examples of valid values if there are any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", examples.as_ref().map(|examples| format!("; {examples}")).unwrap_or_default())]
pub struct ValueError {
    reason: String,
    examples: Option<Cow<'static, str>>,
}

impl ValueError {
    /// Creates an error with its reason, which may name the malformed part of the value.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), examples: None }
    }

    /// Sets the examples of valid values.
    pub fn with_examples(self, examples: impl Into<Cow<'static, str>>) -> Self {
        Self { examples: Some(examples.into()), ..self }
    }

    /// Returns the reason, without the examples.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns a phrase with examples of valid values, if there are any.
    pub fn examples(&self) -> Option<&str> {
        self.examples.as_deref()
    }
}

/// Parses a decimal or hexadecimal (`0x...`) number in `range`.
///
/// # Errors
///
/// The error names the range.
pub fn parse_number<N>(text: &str, range: &RangeInclusive<N>) -> Result<N, ValueError>
where
    N: TryFrom<u64> + PartialOrd + Display,
{
    let number: Result<u64, ParseIntError> = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    // The standard library accepts a plus sign, as in `+5` or `0x+5`.
    let number = number.ok().filter(|_| !text.contains('+'));
    let number = number.and_then(|number| N::try_from(number).ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        ValueError::new(format!("not a number from {first} to {last} (decimal or 0x hexadecimal)"))
    })
}

/// Parses a duration with units, such as `10s`, or `0`.
///
/// # Errors
///
/// The error has examples.
pub fn parse_optional_duration(text: &str) -> Result<Duration, ValueError> {
    humantime::parse_duration(text)
        .map_err(|_| ValueError::new("not a duration with a unit").with_examples("a duration looks like 10s, 1m or 0"))
}

/// Parses a duration above zero with units, such as `1h30m`.
///
/// # Errors
///
/// The error has examples.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| {
        ValueError::new("not a duration above zero with a unit")
            .with_examples("a duration looks like 60s, 10m or 1h30m")
    })
}
