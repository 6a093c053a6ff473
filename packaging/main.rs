//! Writes into a folder what a package has besides the command: the manual page and the completions of the shells, made from
//! the definition of the command line, the object of the XDP program, the licences of all that both are linked with, and the
//! changelog in the form that Debian wants.

mod manual;
mod notices;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use tcp_bounce::cli::Cli;
use tcp_bounce::skel::OBJECT;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("name a folder to write to")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let mut command = Cli::command();
    manual::write(command.clone(), &mut File::create(folder.join("tcp-bounce.8"))?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "tcp-bounce", folder)?;
    }
    fs::write(folder.join("tcp_bounce.bpf.o"), OBJECT)?;
    fs::write(folder.join("third-party-licences"), notices::notices()?)?;
    fs::write(folder.join("changelog"), changelog(&command)?)?;
    Ok(())
}

/// The changelog of the package: what has changed is in the project's.
fn changelog(command: &Command) -> Result<String, Box<dyn Error>> {
    let version = command.get_version().unwrap_or_default();
    // Of the last commit, so that the same source gives the same package.
    let seconds = env::var("SOURCE_DATE_EPOCH").map_err(|_| "SOURCE_DATE_EPOCH is not set")?.parse()?;
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).replace("GMT", "+0000");
    Ok(format!(
        "tcp-bounce ({version}-1) unstable; urgency=medium\n\n  * Version {version}: see /usr/share/doc/tcp-bounce/changelog.gz.\n\n \
         -- {}  {date}\n",
        env!("CARGO_PKG_AUTHORS")
    ))
}
