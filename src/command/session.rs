//! The first four phases of a run: prepare, attach, drop privileges, serve.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use caps::Capability;
use tcp_bounce_wire::Isn;

use super::finish::Ended;
use super::views::Views;
use crate::config::{Config, OutputOptions, ReportFile, isn};
use crate::error::Error;
use crate::host::{Interface, kernel};
use crate::preflight::{self, Finding};
use crate::process::privileges::{self, LaterTask};
use crate::process::{ProcessError, ServiceManager, SignalHandlers};
use crate::responder::{self, AffectedConnections, HostSnapshot, ResponderSet};
use crate::telemetry::{Collector, MetricsServer};
use crate::ui::{Message, Printer, Tui, UiError, tui};

/// A prepared run: the host has been checked, and the outputs are open. Nothing is attached.
pub struct Session<'a> {
    config: Config,
    outputs: &'a OutputOptions,
    interfaces: Vec<Interface>,
    isn: Isn,
    collector: Collector,
    manager: ServiceManager,
    metrics: Option<MetricsServer>,
    printer: Printer,
    signals: Signals,
}

/// The signal handlers, and the channel to end the run. The handlers and the full-screen view send to the channel.
struct Signals {
    sender: Sender<()>,
    receiver: Receiver<()>,
    handlers: SignalHandlers,
    /// Whether [`Signals::have_arrived`] has received a signal.
    are_received: Cell<bool>,
}

/// The attached programs of a run.
pub struct Attached {
    responders: ResponderSet,
    /// The findings to report at the start, as a list for each responder.
    findings: Vec<Vec<Finding>>,
    started: Instant,
}

impl Attached {
    /// Returns a warning if the kernel does not record the host's sockets.
    pub fn tracking_finding(&self) -> Option<Finding> {
        self.responders.tracking_error().map(preflight::sockets::warning)
    }
}

impl<'a> Session<'a> {
    /// Checks the host, installs the signal handlers, reads the key, and opens the outputs.
    ///
    /// # Errors
    ///
    /// The run cannot start as configured. Nothing is attached.
    pub fn prepare(config: &Config, outputs: &'a OutputOptions) -> Result<Self, Error> {
        if outputs.tui {
            tui::check_terminal()?;
        }
        let interfaces = Interface::find(&config.interfaces)?;
        kernel::check()?;
        interfaces.iter().try_for_each(responder::check_vacant)?;
        // A run with a policy must not seem to have compared the ports.
        let signals = Signals::handle(i32::from(outputs.policy.is_some()))?;

        let isn = isn::resolve(&config.syn_ack, &config.post_handshake, config.profile.as_ref())?;
        let config = config.with_ports_of_profile(isn)?;
        // Until this line, a signal ends the process at once. Nothing needs cleanup yet, and reading the key may block:
        // the key file may be a FIFO without a writer.
        signals.handlers.defer_exit();
        let collector = Collector::new(&config, outputs)?;
        let manager = ServiceManager::from_environment();
        let listener = outputs.metrics.map(MetricsServer::bind).transpose()?;
        let handshakes = collector.handshakes();
        let start_threads =
            || Ok((listener.map(MetricsServer::start).transpose()?, Printer::new(outputs, handshakes)?));
        let (metrics, printer) = unprivileged(start_threads)?.map_err(ProcessError::Thread)?;
        Ok(Self { config, outputs, interfaces, isn, collector, manager, metrics, printer, signals })
    }

    /// Attaches to all interfaces or to none. Returns `None`, with nothing attached, if a signal arrives meanwhile.
    ///
    /// # Errors
    ///
    /// The state of the host cannot be read, or the program cannot be attached to an interface.
    pub fn attach(&self) -> Result<Option<Attached>, Error> {
        if self.config.scope.takeover {
            self.report_affected_connections()?;
        }
        let mut responders = ResponderSet::new(&self.config, self.isn)?;
        if !responders.attach(&self.interfaces, || self.signals.have_arrived())? {
            return Ok(None);
        }
        let started = Instant::now();
        if self.outputs.tui {
            self.printer.hold();
        }
        let (snapshot, _) = responders.refresh()?;
        let findings = responders.responders().iter();
        let findings =
            findings.map(|responder| preflight::start_findings(&self.config, responder, &snapshot)).collect();
        Ok(Some(Attached { responders, findings, started }))
    }

    /// Returns the warnings about the profile, given the local listeners at the start.
    pub fn profile_findings(&self, attached: &Attached) -> Vec<Finding> {
        preflight::profile::check(&self.config, attached.responders.exclusions())
    }

    /// Prints the established connections that takeover affects, if there are any.
    fn report_affected_connections(&self) -> Result<(), Error> {
        let scope = &self.config.scope;
        let connections = AffectedConnections::list(&self.interfaces, scope, &HostSnapshot::read(scope)?)?;
        if !connections.is_empty() {
            self.printer.print(Message::AffectedConnections { connections });
        }
        Ok(())
    }

    /// Drops every privilege that reading the maps or writing the report does not need, and returns a warning for each
    /// protection that does not take effect.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Privileges`] if a privilege cannot be dropped.
    pub fn drop_privileges(&self, attached: &Attached) -> Result<Vec<Finding>, Error> {
        // Before Linux 5.19, reading maps needs CAP_BPF if unprivileged BPF is disabled.
        let reads_maps = || attached.responders.samples().is_ok();
        let folder = self.outputs.report.as_ref().map(ReportFile::folder);
        let writes_report = || folder.is_none_or(|folder| tempfile::tempfile_in(folder).is_ok());
        let later = [
            LaterTask { capabilities: &[Capability::CAP_BPF, Capability::CAP_SYS_ADMIN], works: &reads_maps },
            // Root needs this capability to write to another user's directory.
            LaterTask { capabilities: &[Capability::CAP_DAC_OVERRIDE], works: &writes_report },
        ];
        let gaps = privileges::drop_privileges(&later, folder).map_err(ProcessError::Privileges)?;
        Ok(gaps.into_iter().map(preflight::privileges::warning).collect())
    }

    /// Reports the start, and updates the programs until a signal, the configured duration or an error ends the run.
    ///
    /// `warnings` are warnings about the host. They are reported after the start.
    ///
    /// # Errors
    ///
    /// The client tables cannot be mapped, or the full-screen view or a reader thread cannot be started. Later errors
    /// are stored in [`Ended::result`].
    pub fn serve(self, attached: Attached, warnings: Vec<Finding>) -> Result<Ended<'a>, Error> {
        let Self { config, outputs, collector, manager, metrics, printer, signals, .. } = self;
        let Attached { mut responders, findings, started } = attached;
        let tables = Arc::new(responders.client_tables()?);
        let handshakes = collector.handshakes();
        let has_profile = config.profile.is_some();
        let tui = outputs.tui.then(|| Tui::start(Arc::clone(&tables), handshakes, has_profile, signals.sender.clone()));
        let views = Views { config, printer, tui: tui.transpose().map_err(UiError::Terminal)?, metrics };
        // Starting the reader threads may fail, so they start before the success is reported.
        let mut collector = collector.start(&responders, tables, views.event_sink(outputs))?;
        views.report_start(&responders, findings);
        views.report_metrics();
        views.report_warnings(None, warnings);
        collector.release();
        manager.notify_ready(&status(&responders));

        // If the end of the duration exceeds the range of `Instant`, there is no deadline.
        let deadline = views.config.duration.and_then(|duration| started.checked_add(duration));
        let mut publish = |responders: &ResponderSet| -> Result<(), Error> {
            let samples = responders.samples()?;
            views.report_failed_rewrite(collector.update_report(responders, &samples));
            views.publish(started.elapsed(), samples);
            Ok(())
        };
        let result = publish(&responders).and_then(|()| {
            responder::tick_until(&signals.receiver, deadline, || {
                views.report_changes(responders.follow()?);
                publish(&responders)
            })
        });
        let elapsed = started.elapsed();
        Ok(Ended { outputs, responders, elapsed, result, collector, manager, views, interrupted: signals.receiver })
    }
}

impl Signals {
    /// Installs the handlers of Ctrl-C, SIGTERM and SIGHUP. `early_status` is the exit status until the exit is deferred.
    fn handle(early_status: i32) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel();
        let handlers = unprivileged(|| SignalHandlers::install(early_status, sender.clone(), tui::restore_now))??;
        Ok(Self { sender, receiver, handlers, are_received: Cell::new(false) })
    }

    /// Returns whether a signal has arrived since the handlers were installed.
    fn have_arrived(&self) -> bool {
        if self.receiver.try_recv().is_ok() {
            self.are_received.set(true);
        }
        self.are_received.get()
    }
}

/// Returns the status text for `systemctl status`.
fn status(responders: &ResponderSet) -> String {
    let names = responders.responders().iter();
    let names = names.map(|responder| format!("{} ({} mode)", responder.interface().name, responder.mode()));
    format!("answering on {}", names.collect::<Vec<_>>().join(", "))
}

/// Runs `work` in an unprivileged thread. The threads that `work` starts are unprivileged, too.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ProcessError> {
    privileges::run_unprivileged(work).map_err(ProcessError::Privileges)
}
