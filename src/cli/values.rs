//! Parsers of the values of options.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{ValueError, parse_duration, parse_number, parse_optional_duration};

/// Parses a value with the parser of its type. The examples in an error become a tip of clap, and later the hint.
pub fn parse<T: FromStr<Err = ValueError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| with_tip(&error))
}

/// Parses a value of `--duration`.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| with_tip(&error))
}

/// Parses a value of `--listener-grace`.
pub fn optional_duration(text: &str) -> Result<Duration, String> {
    parse_optional_duration(text).map_err(|error| with_tip(&error))
}

fn with_tip(error: &ValueError) -> String {
    let tip = error.examples().map(|examples| format!("\n\n  tip: {examples}"));
    format!("{}{}", error.reason(), tip.unwrap_or_default())
}

/// Returns a parser of decimal or hexadecimal numbers in `range`.
pub fn number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, ValueError> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| parse_number(text, &range)
}
