//! Generates documents from the definition of the command line, and files of the package.
//!
//! `tcp-bounce-documents FOLDER` writes these files of the package to a directory:
//!
//! - the manual page and the shell completions, from the definition of the command line
//! - the object of the XDP program
//! - the licences of third-party packages
//! - the changelog in Debian's format
//!
//! `tcp-bounce-documents --reference FILE` writes the reference page of the command line. `make docs` runs it.

mod completions;
mod manual;
mod notices;
mod reference;
#[cfg(test)]
mod tests;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Command, CommandFactory as _};
use tcp_bounce::internals::Args;
use tcp_bounce::internals::skel::OBJECT;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the documents that the arguments select.
fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [option, file] if option == "--reference" => Ok(fs::write(file, reference::page(Args::command()))?),
        [folder] => write_package_files(Path::new(folder)),
        _ => {
            Err("wrong arguments: run `tcp-bounce-documents FOLDER` or `tcp-bounce-documents --reference FILE`".into())
        }
    }
}

fn write_package_files(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    // `scripts/reproducible` sets the time of the last commit, so that each commit always gives the same package.
    let seconds = env::var("SOURCE_DATE_EPOCH").map_err(|_| "SOURCE_DATE_EPOCH is not set")?.parse()?;
    let date = DateTime::from_timestamp(seconds, 0).ok_or("SOURCE_DATE_EPOCH is out of range")?;
    let command = Args::command();
    manual::write(command.clone(), date, &mut File::create(folder.join("tcp-bounce.8"))?)?;
    completions::write(command.clone(), folder)?;
    fs::write(folder.join("tcp_bounce.bpf.o"), OBJECT)?;
    fs::write(folder.join("third-party-licences"), notices::notices()?)?;
    fs::write(folder.join("changelog"), changelog(&command, date))?;
    Ok(())
}

/// Returns a changelog in Debian's format, with one entry that refers to the project's changelog.
fn changelog(command: &Command, date: DateTime<Utc>) -> String {
    let version = command.get_version().unwrap_or_default();
    format!(
        "tcp-bounce ({version}-1) unstable; urgency=medium\n\n  * Version {version}: see /usr/share/doc/tcp-bounce/changelog.gz.\n\n \
         -- {}  {}\n",
        env!("CARGO_PKG_AUTHORS"),
        date.to_rfc2822()
    )
}
