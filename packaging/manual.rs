//! Generates the manual pages of the command and of its subcommand.

use std::collections::BTreeSet;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::Command;
use clap_mangen::Man;

/// The sections of `tcp-bounce` that are not generated from the definition of the command line, in roff.
pub const SECTIONS: &str = include_str!("sections.8");

/// The sections of `tcp-bounce probe` that are not generated.
pub const PROBE_SECTIONS: &str = include_str!("probe-sections.8");

/// Writes the manual page of `command` to `page`, with the given date. The page ends with `sections`.
pub fn write(mut command: Command, sections: &str, date: DateTime<Utc>, page: &mut dyn Write) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let headings: BTreeSet<String> =
        command.get_arguments().filter_map(|arg| arg.get_help_heading()).map(str::to_owned).collect();
    let man = Man::new(command).section("8").manual("System Administration").date(date.format("%F").to_string());
    man.render_title(page)?;
    man.render_name_section(page)?;
    let arguments = usage.strip_prefix("Usage: tcp-bounce ").ok_or_else(|| io::Error::other(usage.clone()))?;
    writeln!(page, ".SH SYNOPSIS\n\\fBtcp\\-bounce\\fR {}", arguments.replace('-', "\\-"))?;
    man.render_description_section(page)?;
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    page.write_all(nested(&String::from_utf8_lossy(&options), &headings).as_bytes())?;
    page.write_all(sections.as_bytes())
}

/// Returns the options with each of `headings` as a subsection of OPTIONS. clap_mangen writes them as sections.
fn nested(options: &str, headings: &BTreeSet<String>) -> String {
    let line = |line: &str| {
        let heading = headings.iter().find(|heading| line == format!(".SH {}", heading.to_uppercase()));
        heading.map_or_else(|| format!("{line}\n"), |heading| format!(".SS {}\n", heading.replace('-', "\\-")))
    };
    options.lines().map(line).collect()
}
