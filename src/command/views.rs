//! The outputs that are updated during a run: the printer, the full-screen view and the metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, OutputOptions};
use crate::diagnosis;
use crate::preflight::{Finding, Severity};
use crate::responder::{AnswerSummary, Change, ResponderSet, Sample};
use crate::telemetry::{EventSink, MetricsServer, TelemetryError};
use crate::ui::{Message, Printer, Tui};

/// The outputs that are updated during a run.
pub struct Views {
    /// The configuration of the run, which the start message summarizes.
    pub config: Config,
    /// The printer of messages, and of the status line on a terminal.
    pub printer: Printer,
    /// The full-screen view, if it is enabled.
    pub tui: Option<Tui>,
    /// The metrics server, if it is enabled.
    pub metrics: Option<MetricsServer>,
}

impl Views {
    /// Returns the sink of client events, if an output shows them.
    pub fn event_sink(&self, outputs: &OutputOptions) -> Option<Arc<dyn EventSink>> {
        match &self.tui {
            Some(tui) => Some(Arc::new(tui.tui_events())),
            None if outputs.events => Some(Arc::new(self.printer.event_printer())),
            None => None,
        }
    }

    /// Reports the start on each interface, and its findings. `findings` has a list for each responder.
    pub fn report_start(&self, responders: &ResponderSet, findings: Vec<Vec<Finding>>) {
        let answering = AnswerSummary::new(&self.config, responders.exclusions()).imitating(responders.tcp_settings());
        for (responder, findings) in responders.responders().iter().zip(findings) {
            let interface = responder.interface().name.clone();
            self.printer.print(Message::Started {
                interface: interface.clone(),
                mode: responder.mode(),
                remark: responder.remark().map(str::to_owned),
                scope: responder.scope().clone(),
                answering: answering.clone(),
            });
            self.report_warnings(Some(&interface), findings);
        }
    }

    /// Reports the address of the metrics server, if it is enabled.
    pub fn report_metrics(&self) {
        if let Some(metrics) = &self.metrics {
            self.printer.print(Message::Metrics { address: metrics.address() });
        }
    }

    /// Reports findings about `interface`. `None` stands for the host.
    pub fn report_warnings(&self, interface: Option<&str>, findings: Vec<Finding>) {
        for finding in findings {
            self.printer.print(Message::Warning { interface: interface.map(str::to_owned), finding });
        }
    }

    /// Reports that the port report could not be rewritten.
    pub fn report_failed_rewrite(&self, updated: Result<(), TelemetryError>) {
        if let Err(error) = updated {
            let finding = Finding::from_error("report_not_written", &error, error.hint());
            self.report_warnings(None, vec![Finding { severity: Severity::Warning, ..finding }]);
        }
    }

    /// Prints a message for each change of the scope or the exclusions, and when the host's state becomes unreadable or
    /// readable again.
    pub fn report_changes(&self, changes: Vec<Change>) {
        for change in changes {
            self.printer.print(match change {
                Change::Scope { interface, scope } => Message::ScopeChanged { interface, scope },
                Change::Exclusions(exclusions) => Message::AnswerChanged(AnswerSummary::new(&self.config, &exclusions)),
                Change::Unreadable(error) => {
                    Message::HostUnreadable { message: diagnosis::with_causes(&error), hint: error.hint() }
                }
                Change::Readable => Message::HostReadable,
            });
        }
    }

    /// Publishes the counters to all outputs. `elapsed` is the time since the start.
    pub fn publish(&self, elapsed: Duration, samples: Vec<Sample>) {
        self.printer.show_progress(elapsed, samples.iter().map(|sample| sample.counters).sum());
        if let Some(metrics) = &self.metrics {
            metrics.publish(&samples);
        }
        if let Some(tui) = &self.tui {
            tui.publish(samples);
        }
    }
}
