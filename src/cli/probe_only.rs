//! The command without a subcommand, in a build that has only `tcp-bounce probe`.

use std::ffi::OsString;
use std::process::ExitCode;

use super::usage::USAGE_ERROR;
use crate::output::{self, ErrorMessage};

/// Prints the version, or an error. Returns the exit status.
pub fn run(arguments: &[OsString]) -> ExitCode {
    if arguments.get(1).is_some_and(|argument| argument == "-V" || argument == "--version") {
        let _ = output::print_text(concat!("tcp-bounce ", env!("CARGO_PKG_VERSION"), " (probe only)\n"));
        return ExitCode::SUCCESS;
    }
    let message = ErrorMessage {
        message: "this build of tcp-bounce has only `tcp-bounce probe`".to_owned(),
        hint: Some("run `tcp-bounce probe -h`, or build it with its default features".to_owned()),
        libbpf: Vec::new(),
    };
    output::print_errors(false, vec![message]);
    USAGE_ERROR.into()
}
