//! The command: parse, run, and say what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use tcp_bounce::cli::Cli;

fn main() -> ExitCode {
    match tcp_bounce::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::FAILURE
        }
    }
}
