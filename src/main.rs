//! The command: parse, run, and say what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use tcp_bounce::cli::Cli;
use tcp_bounce::message::Message;
use tcp_bounce::output::complain;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let end = if cli.check { tcp_bounce::check(&cli) } else { tcp_bounce::run(&cli).map(|()| true) };
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(cli.json, vec![Message::from(&error)]);
            ExitCode::FAILURE
        }
    }
}
