//! The `tcp-bounce` command: parses the command-line arguments and executes them.

use std::env;
use std::process::ExitCode;

use tcp_bounce::internals::Args;

fn main() -> ExitCode {
    Args::run(env::args_os())
}
