//! The command: parse, run, and say what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use tcp_bounce::cli::Cli;
use tcp_bounce::message::Message;
use tcp_bounce::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let end = if cli.check { tcp_bounce::check(&cli) } else { tcp_bounce::run(&cli).map(|()| true) };
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // If nobody is there to read it, the exit status must do.
            let _ = Output::stderr(cli.json).say([&Message::from(&error)]);
            ExitCode::FAILURE
        }
    }
}
