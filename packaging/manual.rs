//! The manual page.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

/// What the command line does not say.
const SECTIONS: &str = include_str!("sections.8");

/// Writes the manual page of `command`.
pub fn write(command: Command, page: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command).section("8").manual("System Administration");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    page.write_all(SECTIONS.as_bytes())
}
