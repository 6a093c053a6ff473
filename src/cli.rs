//! The command line: `tcp-bounce` and its subcommand `tcp-bounce probe`.

mod probe;
#[cfg(not(feature = "responder"))]
mod probe_only;
#[cfg(feature = "responder")]
mod responder;
mod usage;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

pub use self::probe::ProbeArgs;
#[cfg(not(feature = "responder"))]
use self::probe_only as responder;
#[cfg(feature = "responder")]
pub use self::responder::Args;

/// Runs the command that `arguments` select. The first argument is the name of the program.
///
/// If the second argument is `probe`, the subcommand runs. Returns the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_probe = arguments.get(1).is_some_and(|argument| argument == ProbeArgs::NAME);
    if is_probe { ProbeArgs::run(&arguments) } else { responder::run(&arguments) }
}
