//! The subcommand `probe`: resolves the hosts, probes their ports, and prints the report.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use super::far::FarReport;
use super::identity::TokenCheck;
use super::report::render;
use super::results::{HostResults, Results};
use super::scanner::{Progress, scan};
use super::target::Target;
use super::{Format, ProbeConfig, ProbeError, ScanSettings};
use crate::config::{Policy, isn};
use crate::output::{SCHEMA_VERSION, StatusLine, print_text};

/// Probes the hosts, and prints the report on standard output. If standard error is a terminal, it shows the progress.
///
/// Returns whether all ports are as the policy expects. Without a policy, they are.
///
/// # Errors
///
/// The policy or the key cannot be used, a name cannot be resolved, a host with a policy has no route, no connection can
/// be opened, or standard output cannot be written. If the port report cannot be used, the results are printed without
/// it.
pub fn run(config: &ProbeConfig) -> Result<bool, ProbeError> {
    if config.far.is_some() && config.hosts.len() != 1 {
        return Err(ProbeError::FarHosts);
    }
    config.far.as_deref().map(FarReport::check_path).transpose()?;
    let policy = config.policy.as_deref().map(Policy::load).transpose()?;
    let key = config.key_file.as_deref().map(|path| isn::key(Some(path))).transpose()?;
    let settings = ScanSettings { tokens: TokenCheck(key), ..config.scan.clone() };
    let resolve = |host: &String| Target::resolve(host, config.family);
    let targets = config.hosts.iter().map(resolve).collect::<Result<Vec<_>, ProbeError>>()?;
    if let Some(target) = targets.iter().find(|target| policy.is_some() && target.source.is_none()) {
        return Err(ProbeError::NoRoute { host: target.host.clone() });
    }
    let started = Instant::now();
    let mut line = StatusLine::new(true);
    let results = scan(&targets, &settings, &mut |progress| line.set(describe(progress)))?;
    line.finish();
    let elapsed = started.elapsed();
    let (far, failure) = match config.far.as_deref().map(|path| wait_for_report(path, config.format)) {
        Some(Ok(report)) => (Some(report), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let hosts = targets.into_iter().zip(results);
    let hosts = hosts.map(|(target, ports)| HostResults::new(target, ports, policy.as_ref(), far.clone())).collect();
    let results = Results { hosts, elapsed, policy: config.policy.as_ref().map(|path| path.display().to_string()) };
    print_text(&render(&results, config.format, SCHEMA_VERSION)).map_err(ProbeError::Write)?;
    failure.map_or(Ok(results.differences() == 0), Err)
}

/// Waits for a port report that is written from now on.
fn wait_for_report(path: &Path, format: Format) -> Result<FarReport, ProbeError> {
    let explain = || {
        // With JSON, standard error has only errors. If it is closed, only this line is lost.
        if format != Format::Json {
            let path = path.display();
            let _ = writeln!(io::stderr(), "waiting for a new port report in {path}: stop tcp-bounce on the far side");
        }
    };
    FarReport::wait(path, explain)
}

/// Returns the text of the status line.
fn describe(progress: Progress) -> String {
    let Progress { round, ports, ended, open } = progress;
    format!("round {round}: {ended} of {ports} ports probed, {open} open")
}
