//! The report of a scan, in its formats. All functions here are pure.

mod describe;
mod json;
mod junit;
mod matrix;
mod text;

use super::results::Results;

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A table for people. Adjacent ports with equal results are one row.
    #[default]
    Text,
    /// One line of JSON, as `docs/output.schema.json` describes it.
    Json,
    /// JUnit XML, for CI systems.
    Junit,
}

/// Returns the report of `results` in `format`. `version` is the version of the JSON schema.
pub fn render(results: &Results, format: Format, version: u32) -> String {
    match format {
        Format::Text => text::render(results),
        Format::Json => json::render(results, version),
        Format::Junit => junit::render(results),
    }
}

#[cfg(test)]
mod tests;
