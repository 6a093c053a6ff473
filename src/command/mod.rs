//! The top level of the command: the preflight check, or a run in five phases.

mod finish;
mod session;
mod views;

use std::io;

use self::session::Session;
use crate::config::{Config, OutputOptions, ReportFile};
use crate::error::Error;
use crate::host::kernel;
use crate::output::Output;
use crate::preflight::{self, Check, Finding};
use crate::process::ProcessError;
use crate::telemetry::{MetricsServer, PortReport};
use crate::ui::{Message, UiError, tui};

/// Answers on all interfaces of `config` until a signal, an error or the configured duration ends the run.
///
/// If attaching to one interface fails, the program stays attached to none. When the function returns, nothing is
/// attached.
///
/// Returns whether all ports are as the policy expects. Without a policy, they are.
///
/// # Errors
///
/// The run cannot start, is ended by an error, or cannot write an output. If there are several errors, the last one is
/// returned and the others are printed.
pub fn run(config: &Config, outputs: &OutputOptions) -> Result<bool, Error> {
    let session = Session::prepare(config, outputs)?;
    // The file may be out of reach once privileges are dropped, and slow to reach on a network file system.
    let mut warnings: Vec<Finding> = preflight::key_file::check(&config.syn_ack).into_iter().collect();
    let Some(attached) = session.attach()? else {
        return if outputs.policy.is_none() { Ok(true) } else { Err(ProcessError::Stopped.into()) };
    };
    warnings.extend(session.profile_findings(&attached));
    warnings.extend(attached.tracking_finding());
    warnings.extend(session.drop_privileges(&attached)?);
    session.serve(attached, warnings)?.finish()
}

/// Runs the preflight check, prints it, and returns whether tcp-bounce would start.
///
/// # Errors
///
/// The error of [`Check::run`], or standard output cannot be written.
pub fn check(config: &Config, outputs: &OutputOptions) -> Result<bool, Error> {
    let mut findings = output_findings(config, outputs);
    // On an old kernel or without capabilities, a run fails before it drops privileges.
    if kernel::check().is_ok() {
        findings.extend(preflight::privileges::predict(outputs.report.as_ref().map(ReportFile::folder)));
    }
    let check = Check::run(config, findings)?.brief(outputs.quiet);
    let starts = check.starts();
    if outputs.quiet && starts && !outputs.json {
        return Ok(true);
    }
    match Output::stdout(outputs.json).print([&Message::Check(check)]) {
        // A closed pipe (`| head`) is not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(starts),
        written => written.map(|()| starts).map_err(|error| UiError::Write(error).into()),
    }
}

/// Checks the selected outputs: port report, metrics server and full-screen view. Returns an error for each output
/// that cannot be used.
fn output_findings(config: &Config, outputs: &OutputOptions) -> Vec<Finding> {
    let report = outputs.report.as_ref().and_then(|file| PortReport::new(file, &config.scope.ports).err());
    let metrics = outputs.metrics.and_then(|address| MetricsServer::bind(address).err());
    let terminal = outputs.tui.then(tui::check_terminal).and_then(Result::err);
    let errors: [(_, Option<Error>); 3] = [
        ("report", report.map(Error::from)),
        ("metrics", metrics.map(Error::from)),
        ("terminal", terminal.map(Error::from)),
    ];
    let errors = errors.into_iter().filter_map(|(code, error)| Some((code, error?)));
    errors.map(|(code, error)| Finding::from_error(code, &error, error.hint())).collect()
}
