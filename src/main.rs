//! The command `tcp-bounce`: parses its arguments and runs.

use std::process::ExitCode;

use clap::Parser as _;
use tcp_bounce::internals::Args;

fn main() -> ExitCode {
    Args::parse().execute()
}
