//! Generates documents from the definition of the command line, and files of the package.
//!
//! `tcp-bounce-documents FOLDER [PLATFORM]` writes these files of the package for a platform to a directory:
//!
//! - the manual pages and the shell completions, from the definition of the command line
//! - the object of the XDP program
//! - the licences of third-party packages
//! - the changelog in Debian's format
//!
//! The platform is a target of Rust, such as `aarch64-unknown-linux-gnu`. Only the licences depend on it. By default,
//! it is the architecture of this program, with glibc.
//!
//! `tcp-bounce-documents --reference FOLDER` writes the reference pages of the command line. `make docs` runs it.

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
use tcp_bounce::internals::skel::OBJECT;
use tcp_bounce::internals::{Args, ProbeArgs};

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
        [option, folder] if option == "--reference" => Ok(reference::write(Path::new(folder))?),
        [folder] => write_package_files(Path::new(folder), &format!("{}-unknown-linux-gnu", env::consts::ARCH)),
        [folder, platform] => write_package_files(Path::new(folder), &platform.to_string_lossy()),
        _ => Err("wrong arguments: run `tcp-bounce-documents FOLDER [PLATFORM]` or \
                  `tcp-bounce-documents --reference FOLDER`"
            .into()),
    }
}

fn write_package_files(folder: &Path, platform: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    // `scripts/reproducible` sets the time of the last commit, so that each commit always gives the same package.
    let seconds = env::var("SOURCE_DATE_EPOCH").map_err(|_| "SOURCE_DATE_EPOCH is not set")?.parse()?;
    let date = DateTime::from_timestamp(seconds, 0).ok_or("SOURCE_DATE_EPOCH is out of range")?;
    let command = Args::command();
    manual::write(command.clone(), manual::SECTIONS, date, &mut File::create(folder.join("tcp-bounce.8"))?)?;
    let mut page = File::create(folder.join("tcp-bounce-probe.8"))?;
    manual::write(ProbeArgs::command(), manual::PROBE_SECTIONS, date, &mut page)?;
    completions::write(folder)?;
    fs::write(folder.join("tcp_bounce.bpf.o"), OBJECT)?;
    fs::write(folder.join("third-party-licences"), notices::notices(platform)?)?;
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
