//! Generates the manual page.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::Command;
use clap_mangen::Man;

/// The sections that are not generated from the definition of the command line, in roff.
const SECTIONS: &str = include_str!("sections.8");

/// Writes the manual page of `command` to `page`, with the given date.
pub fn write(mut command: Command, date: DateTime<Utc>, page: &mut dyn Write) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let man = Man::new(command).section("8").manual("System Administration").date(date.format("%F").to_string());
    man.render_title(page)?;
    man.render_name_section(page)?;
    let arguments = usage.strip_prefix("Usage: tcp-bounce ").ok_or_else(|| io::Error::other(usage.clone()))?;
    writeln!(page, ".SH SYNOPSIS\n\\fBtcp\\-bounce\\fR {}", arguments.replace('-', "\\-"))?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    page.write_all(SECTIONS.as_bytes())
}
