//! The course of the command: prepare, attach, drop privileges, serve, finish.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use caps::Capability;
use tcp_bounce_wire::Isn;

use crate::config::{Config, OutputOptions, ReportFile, isn};
use crate::error::Error;
use crate::host::{Interface, kernel};
use crate::preflight::{self, Check, Finding};
use crate::process::privileges::{self, NeededLater};
use crate::process::{ProcessError, ServiceManager, signals};
use crate::responder::{
    self, AffectedConnections, AnswerSummary, Change, HostSnapshot, REFRESH_INTERVAL, ResponderSet, Sample,
};
use crate::telemetry::{Collector, EventSink, MetricsServer, PortReport, RunningCollector};
use crate::ui::{Message, Printer, Tui, UiError, output, tui};

/// Runs the preflight check, prints it, and returns whether tcp-bounce would start.
///
/// # Errors
///
/// The host cannot be read, or standard output not be written.
pub fn check(config: &Config, outputs: &OutputOptions) -> Result<bool, Error> {
    let check = Check::run(config, output_findings(outputs))?.brief(outputs.quiet);
    let starts = check.starts();
    if outputs.quiet && starts && !outputs.json {
        return Ok(true);
    }
    match output::Output::stdout(outputs.json).print([&Message::Check(check)]) {
        // A closed pipe (`| head`) is not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(starts),
        written => written.map(|()| starts).map_err(|error| UiError::Write(error).into()),
    }
}

/// Tries the outputs, and returns a finding for each that cannot be used. Nothing of it stays.
fn output_findings(outputs: &OutputOptions) -> Vec<Finding> {
    let report = outputs.report.as_ref().and_then(|file| PortReport::new(file).err());
    let metrics = outputs.metrics.and_then(|address| MetricsServer::bind(address).err());
    let terminal = outputs.tui.then(tui::check_terminal).and_then(Result::err);
    let errors: [(_, Option<Error>); 3] = [
        ("report", report.map(Error::from)),
        ("metrics", metrics.map(Error::from)),
        ("terminal", terminal.map(Error::from)),
    ];
    let errors = errors.into_iter().filter_map(|(code, error)| Some((code, error?)));
    errors.map(|(code, error)| Finding::error(code, &error, error.hint())).collect()
}

/// Answers on the interfaces of `config`, on all or on none, until a signal or the configured duration ends it. When it
/// returns, nothing is attached.
///
/// # Errors
///
/// tcp-bounce cannot start, has to stop, or cannot write an output. If there are several errors, the last one is returned
/// and the others are printed.
pub fn run(config: &Config, outputs: &OutputOptions) -> Result<(), Error> {
    let session = Session::prepare(config, outputs)?;
    let Some(attached) = session.attach()? else { return Ok(()) };
    session.drop_privileges(&attached.responders)?;
    session.serve(attached)?.finish()
}

/// A run that is prepared: everything is checked and opened that needs no program in the kernel.
struct Session<'a> {
    config: &'a Config,
    outputs: &'a OutputOptions,
    interfaces: Vec<Interface>,
    isn: Isn,
    collector: Collector,
    manager: ServiceManager,
    metrics: Option<MetricsServer>,
    printer: Printer,
    interrupt: Sender<()>,
    interrupted: Receiver<()>,
}

/// The programs of a run, which are attached and answer.
struct Attached {
    responders: ResponderSet,
    /// The findings to report at the start, for each responder.
    findings: Vec<Vec<Finding>>,
    started: Instant,
}

impl<'a> Session<'a> {
    fn prepare(config: &'a Config, outputs: &'a OutputOptions) -> Result<Self, Error> {
        if outputs.tui {
            tui::check_terminal()?;
        }
        let interfaces = Interface::find(&config.interfaces)?;
        kernel::check()?;
        interfaces.iter().try_for_each(responder::check_vacant)?;
        let (interrupt, interrupted) = mpsc::channel();
        let forward_to = interrupt.clone();
        unprivileged(|| signals::forward(forward_to))??;

        let isn = isn::resolve(&config.syn_ack, &config.post_handshake)?;
        let collector = Collector::new(config.observe, outputs.top || outputs.tui, outputs.report.as_ref())?;
        let manager = ServiceManager::from_environment();
        let listener = outputs.metrics.map(MetricsServer::bind).transpose()?;
        let start_threads = || Ok((listener.map(MetricsServer::serve).transpose()?, Printer::new(outputs)?));
        let (metrics, printer) = unprivileged(start_threads)?.map_err(ProcessError::Thread)?;
        Ok(Self { config, outputs, interfaces, isn, collector, manager, metrics, printer, interrupt, interrupted })
    }

    /// Attaches to all interfaces. `None` if a signal arrived before that.
    fn attach(&self) -> Result<Option<Attached>, Error> {
        let scope = &self.config.scope;
        if scope.takeover {
            let connections = AffectedConnections::list(&self.interfaces, scope, &HostSnapshot::read(scope)?)?;
            if !connections.is_empty() {
                self.printer.print(Message::AffectedConnections { connections });
            }
        }
        let mut responders = ResponderSet::new(self.config, self.isn);
        for interface in &self.interfaces {
            if self.interrupted.try_recv().is_ok() {
                return Ok(None);
            }
            responders.attach(interface)?;
        }
        if self.interrupted.try_recv().is_ok() {
            return Ok(None);
        }
        let started = Instant::now();
        if self.outputs.tui {
            self.printer.hold();
        }
        let (snapshot, _) = responders.refresh()?;
        let findings = responders.responders().iter();
        let findings = findings.map(|responder| preflight::start_findings(self.config, responder, &snapshot)).collect();
        Ok(Some(Attached { responders, findings, started }))
    }

    /// Drops every privilege that reading the maps or writing the report does not need.
    fn drop_privileges(&self, responders: &ResponderSet) -> Result<(), Error> {
        // Before Linux 5.19, reading maps needs CAP_BPF where unprivileged BPF is disabled.
        let reads_maps = || responders.samples().is_ok();
        let folder = self.outputs.report.as_ref().map(ReportFile::folder);
        let writes_report = || folder.is_none_or(|folder| tempfile::tempfile_in(folder).is_ok());
        let needed: [NeededLater; 2] = [
            (&[Capability::CAP_BPF, Capability::CAP_SYS_ADMIN], &reads_maps),
            // Root may write to another user's folder only with this capability.
            (&[Capability::CAP_DAC_OVERRIDE], &writes_report),
        ];
        Ok(privileges::drop_privileges(&needed, folder).map_err(ProcessError::Privileges)?)
    }

    /// Reports the start, and follows the host until a signal, the configured duration or an error ends it.
    fn serve(self, attached: Attached) -> Result<Ended<'a>, Error> {
        let Self { config, outputs, collector, manager, metrics, printer, interrupt, interrupted, .. } = self;
        let Attached { mut responders, findings, started } = attached;
        let tables = Arc::new(responders.client_tables()?);
        let tui = outputs.tui.then(|| Tui::start(Arc::clone(&tables), interrupt));
        let tui = tui.transpose().map_err(UiError::Terminal)?;
        let sink: Option<Arc<dyn EventSink>> = match &tui {
            Some(tui) => Some(Arc::new(tui.tui_events())),
            None if outputs.events => Some(Arc::new(printer.event_printer())),
            None => None,
        };
        // The reader threads may fail to start, so they start before the line that promises events.
        let mut collector = collector.start(&responders, tables, sink)?;
        let views = Views { config, printer, tui, metrics };
        views.report_start(&responders, findings);
        collector.release();
        manager.notify_ready(&status(&responders));
        views.publish(started.elapsed(), responders.samples()?);

        // A duration beyond the range of the clock never ends.
        let deadline = config.duration.and_then(|duration| started.checked_add(duration));
        let result = wait(&interrupted, deadline, || {
            let (_, changes) = responders.refresh()?;
            views.report_changes(changes);
            views.publish(started.elapsed(), responders.samples()?);
            Ok(())
        });
        let elapsed = started.elapsed();
        Ok(Ended { outputs, responders, elapsed, result, collector, manager, views, interrupted })
    }
}

/// The outputs while the programs run.
struct Views<'a> {
    config: &'a Config,
    printer: Printer,
    tui: Option<Tui>,
    metrics: Option<MetricsServer>,
}

impl Views<'_> {
    fn report_start(&self, responders: &ResponderSet, findings: Vec<Vec<Finding>>) {
        let answering = AnswerSummary::new(self.config, responders.exclusions());
        for (responder, findings) in responders.responders().iter().zip(findings) {
            let interface = responder.interface().name.clone();
            self.printer.print(Message::Started {
                interface: interface.clone(),
                mode: responder.mode(),
                remark: responder.remark().map(str::to_owned),
                scope: responder.scope().clone(),
                answering: answering.clone(),
            });
            for finding in findings {
                self.printer.print(Message::Warning { interface: interface.clone(), finding });
            }
        }
    }

    fn report_changes(&self, changes: Vec<Change>) {
        for change in changes {
            self.printer.print(match change {
                Change::Scope { interface, scope } => Message::ScopeChanged { interface, scope },
                Change::Exclusions(exclusions) => Message::AnswerChanged(AnswerSummary::new(self.config, &exclusions)),
            });
        }
    }

    fn publish(&self, elapsed: Duration, samples: Vec<Sample>) {
        self.printer.show_progress(elapsed, samples.iter().map(|sample| sample.counters).sum());
        if let Some(tui) = &self.tui {
            tui.publish(samples.clone());
        }
        if let Some(metrics) = &self.metrics {
            metrics.publish(samples);
        }
    }
}

/// A run that has ended, with the programs still attached.
struct Ended<'a> {
    outputs: &'a OutputOptions,
    responders: ResponderSet,
    elapsed: Duration,
    /// The reason, if it is an error.
    result: Result<(), Error>,
    collector: RunningCollector,
    manager: ServiceManager,
    views: Views<'a>,
    interrupted: Receiver<()>,
}

impl Ended<'_> {
    /// Detaches, restores the terminal, writes the report and prints the summary. Returns the last error and prints the
    /// others.
    fn finish(self) -> Result<(), Error> {
        let Self { outputs, responders, elapsed, result, collector, manager, views, interrupted } = self;
        // Detaching comes before anything that may block. The maps of a removed interface stay readable.
        let programs = responders.detach();
        manager.notify_stopping();
        let Views { printer, tui, .. } = views;
        let restored = tui.map_or(Ok(()), Tui::finish).map_err(UiError::Terminal);
        printer.release();
        // From here on, another signal ends the waiting, and a third one the process.
        printer.begin_shutdown(interrupted);
        let (summary, written) = collector.finish(elapsed, &programs);
        let (summary, read) = match summary {
            Ok(summary) => (Some(summary), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let dropped = summary.as_ref().and_then(|summary| summary.events).map_or(0, |events| events.dropped);
        let printed = printer.finish(summary);
        // A quiet run prints no summary that could tell.
        if outputs.quiet && dropped > 0 {
            output::print_errors(outputs.json, vec![Message::EventsDropped { events: dropped }]);
        }
        let results = [
            result,
            written.map_err(Error::from),
            restored.map_err(Error::from),
            read.map_err(Error::from),
            printed.map_err(Error::from),
        ];
        let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        let Some(last) = errors.pop() else { return Ok(()) };
        if !errors.is_empty() {
            output::print_errors(outputs.json, errors.iter().map(Message::from).collect());
        }
        Err(last)
    }
}

/// Calls `tick` regularly until a signal arrives, the deadline passes or `tick` fails.
fn wait(
    interrupted: &Receiver<()>,
    deadline: Option<Instant>,
    mut tick: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let left = deadline.map_or(REFRESH_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
        match interrupted.recv_timeout(left.min(REFRESH_INTERVAL)) {
            Err(RecvTimeoutError::Timeout) if left > REFRESH_INTERVAL || deadline.is_none() => tick()?,
            _ => return Ok(()),
        }
    }
}

/// The status line for the service manager.
fn status(responders: &ResponderSet) -> String {
    let names = responders.responders().iter();
    let names = names.map(|responder| format!("{} ({} mode)", responder.interface().name, responder.mode()));
    format!("Answering on {}", names.collect::<Vec<_>>().join(", "))
}

/// Runs `work` in a thread without privileges, so that the threads that it starts have none to drop.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ProcessError> {
    privileges::run_unprivileged(work).map_err(ProcessError::Privileges)
}
