//! The last phase of a run: detach, restore the terminal, write the port report, print the summary.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::views::Views;
use crate::config::OutputOptions;
use crate::error::Error;
use crate::output::{self, ErrorMessage};
use crate::process::ServiceManager;
use crate::responder::ResponderSet;
use crate::telemetry::{Collected, RunningCollector};
use crate::ui::{Message, Tui, UiError};

/// A run that has ended, but whose programs are still attached.
pub struct Ended<'a> {
    /// The outputs that the user selected.
    pub outputs: &'a OutputOptions,
    /// The attached programs.
    pub responders: ResponderSet,
    /// The duration of the run.
    pub elapsed: Duration,
    /// The error that ended the run. `Ok` if a signal or the configured duration ended it.
    pub result: Result<(), Error>,
    /// The collector, which still has to drain events.
    pub collector: RunningCollector,
    /// The service manager to notify.
    pub manager: ServiceManager,
    /// The outputs to shut down.
    pub views: Views,
    /// Receives the first signal, unless that signal ended the run.
    pub interrupted: Receiver<()>,
}

impl Ended<'_> {
    /// Detaches, restores the terminal, writes the report and prints the summary.
    ///
    /// Returns whether all ports are as the policy expects. Without a policy, they are.
    ///
    /// # Errors
    ///
    /// The run or a step failed. If there are several errors, the last one is returned and the others are printed.
    pub fn finish(self) -> Result<bool, Error> {
        let Self { outputs, responders, elapsed, result, collector, manager, views, interrupted } = self;
        // Detaching comes before anything that may block. The maps of a removed interface stay readable.
        let programs = responders.detach();
        manager.notify_stopping();
        let Views { printer, tui, .. } = views;
        let restored = tui.map_or(Ok(()), Tui::finish).map_err(UiError::Terminal);
        printer.release();
        // Discard earlier signals and key presses, such as a key that was pressed twice. A signal after this line ends
        // the wait for pending output.
        while interrupted.try_recv().is_ok() {}
        printer.begin_shutdown(interrupted);
        let Collected { summary, ports, comparison } = collector.finish(elapsed, &programs);
        let dropped = summary.as_ref().ok().and_then(|summary| summary.events).map_or(0, |events| events.dropped);
        let (summary, read) = split(summary);
        let (ports, written) = split(ports);
        let report = outputs.report.as_ref().zip(ports.flatten());
        let report = report.map(|(file, ports)| Message::ReportWritten { path: file.path().to_owned(), ports });
        let is_as_expected = comparison.as_ref().is_none_or(|comparison| comparison.differences == 0);
        let messages = [summary.map(Message::Summary), report, comparison.map(Message::Comparison)];
        let printed = printer.finish(messages.into_iter().flatten().collect());
        // A quiet run prints no summary, so the dropped events are reported on standard error.
        if outputs.quiet && dropped > 0 {
            output::print_errors(outputs.json, vec![Message::EventsDropped { events: dropped }]);
        }
        let results = [result, written.map_err(Error::from), restored.map_err(Error::from), read.map_err(Error::from)];
        last_error(results.into_iter().chain([printed.map_err(Error::from)]), outputs).map(|()| is_as_expected)
    }
}

/// Splits a result into its value and its error.
fn split<T, E>(result: Result<T, E>) -> (Option<T>, Result<(), E>) {
    match result {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error)),
    }
}

/// Returns the last error of `results`, and prints the others.
fn last_error(results: impl Iterator<Item = Result<(), Error>>, outputs: &OutputOptions) -> Result<(), Error> {
    let mut errors: Vec<Error> = results.filter_map(Result::err).collect();
    let Some(last) = errors.pop() else { return Ok(()) };
    if !errors.is_empty() {
        output::print_errors(outputs.json, errors.iter().map(ErrorMessage::from).collect());
    }
    Err(last)
}
