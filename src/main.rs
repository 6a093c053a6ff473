//! The `tcp-bounce` command: parses the command-line arguments and executes them.

use std::process::ExitCode;

use clap::Parser as _;
use tcp_bounce::internals::Args;

fn main() -> ExitCode {
    Args::parse().execute()
}
