//! The `tcp-bounce` command: parses the command-line arguments and executes them.

use std::env;
use std::process::ExitCode;

use tcp_bounce::internals::run_command_line;

fn main() -> ExitCode {
    run_command_line(env::args_os())
}
