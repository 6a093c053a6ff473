//! The collector: drains client events, reads the client tables, and summarizes the run.

use std::net::IpAddr;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tcp_bounce_wire::ClientCounts;

use super::TelemetryError;
use super::client_event::ClientEvent;
use super::comparison::{Comparison, Expectation};
use super::event_reader::EventReader;
use super::handshakes::CountedHandshakes;
use super::port_counts::PortCounts;
use super::port_report::PortReport;
use super::report_writer::ReportWriter;
use super::summary::{EventTotals, InterfaceCounters, Summary, TopEntry, TopList};
use crate::config::{Config, Observe, OutputOptions};
use crate::responder::{ResponderSet, Sample};
use crate::xdp::{ClientTables, TcpBounceSkel, XdpError, counters, event_ring};

/// A receiver of client events, such as a printer or a full-screen view.
pub trait EventSink: Send + Sync {
    /// Receives a batch of events.
    ///
    /// The function may block. If the ring buffer fills up meanwhile, the XDP program counts further events as dropped.
    fn deliver(&self, events: Vec<ClientEvent>);

    /// Returns the number of events that reached the user. `None` if the sink drops no events.
    ///
    /// The collector calls this function once, after the last batch. The function may wait for pending output.
    fn delivered(&self) -> Option<u64> {
        None
    }
}

/// Collects client events and the client tables, and delivers events to a sink.
///
/// [`Collector::start`] starts the reader threads. They deliver events once [`RunningCollector::release`] is called.
pub struct Collector {
    observe: Observe,
    handshakes: CountedHandshakes,
    /// Whether the ports have the services of a profile.
    has_profile: bool,
    /// Whether the summary lists the busiest ports and clients.
    lists_top: bool,
    port_report: Option<Arc<Mutex<PortReport>>>,
}

/// A [`Collector`] whose reader threads are running.
pub struct RunningCollector {
    collector: Collector,
    interfaces: Vec<String>,
    tables: Arc<ClientTables>,
    reader: EventReader,
    report_writer: Option<ReportWriter>,
    sink: Option<Arc<dyn EventSink>>,
    /// The gates of the reader threads. A reader thread delivers no events until its gate is dropped, so that no event
    /// is printed before the start message.
    gates: Vec<Sender<()>>,
}

/// The results of a run.
pub struct Collected {
    /// The totals, or an error if a map cannot be read.
    pub summary: Result<Summary, XdpError>,
    /// The number of ports in the written report, if there is one, or an error if it cannot be written.
    pub ports: Result<Option<usize>, TelemetryError>,
    /// The comparison with the policy, if there is one.
    pub comparison: Option<Comparison>,
}

impl Collector {
    /// Creates a collector for the telemetry that `config` enables and `outputs` need.
    ///
    /// # Errors
    ///
    /// The error of [`PortReport::new`].
    pub fn new(config: &Config, outputs: &OutputOptions) -> Result<Self, TelemetryError> {
        let port_report = outputs.report.as_ref().map(|file| PortReport::new(file, &config.scope.ports)).transpose()?;
        let expectation = || outputs.policy.clone().map(|policy| Expectation::new(policy, config));
        let port_report = port_report.map(|report| report.expecting(expectation()));
        Ok(Self {
            observe: config.observe,
            handshakes: CountedHandshakes::of(config),
            has_profile: config.profile.is_some(),
            lists_top: outputs.top || outputs.tui,
            port_report: port_report.map(|report| Arc::new(Mutex::new(report))),
        })
    }

    /// Returns the ports at which completed handshakes are counted.
    pub fn handshakes(&self) -> CountedHandshakes {
        self.handshakes
    }

    /// Starts a reader thread for each responder if events are enabled, and the thread that rewrites the port report.
    ///
    /// # Errors
    ///
    /// [`XdpError::Maps`] if a ring buffer cannot be mapped or a thread cannot be started.
    pub fn start(
        self,
        responders: &ResponderSet,
        tables: Arc<ClientTables>,
        sink: Option<Arc<dyn EventSink>>,
    ) -> Result<RunningCollector, XdpError> {
        let responders = responders.responders();
        let interfaces: Vec<String> = responders.iter().map(|responder| responder.interface().name.clone()).collect();
        let mut reader = EventReader::default();
        let mut gates = Vec::new();
        if self.observe.events != 0 {
            for (responder, interface) in responders.iter().zip(&interfaces) {
                let (gate, deliver) = self.gated_delivery(sink.clone());
                gates.push(gate);
                reader.read(responder.program(), interface, deliver).map_err(XdpError::Maps)?;
            }
        }
        let report_writer = self.start_report_writer(&interfaces, &tables)?;
        Ok(RunningCollector { collector: self, interfaces, tables, reader, report_writer, sink, gates })
    }

    /// Starts the thread that rewrites the port report, if there is one.
    ///
    /// # Errors
    ///
    /// [`XdpError::Maps`] if the thread cannot be started.
    fn start_report_writer(
        &self,
        interfaces: &[String],
        tables: &Arc<ClientTables>,
    ) -> Result<Option<ReportWriter>, XdpError> {
        let Some(report) = &self.port_report else { return Ok(None) };
        let interval = lock(report).interval();
        let (report, interfaces, tables) = (Arc::clone(report), interfaces.to_owned(), Arc::clone(tables));
        // The lock is released before the report is written, so that no reader thread waits for the disk.
        let contents = move |dropped| lock(&report).contents(&interfaces, |port| port_counts(&tables, port), dropped);
        ReportWriter::start(interval, contents).map(Some).map_err(|error| XdpError::Maps(error.into()))
    }

    /// Returns a function that delivers batches of events, and its gate. The function blocks until the gate is dropped.
    fn gated_delivery(&self, sink: Option<Arc<dyn EventSink>>) -> (Sender<()>, impl FnMut(Vec<ClientEvent>) + use<>) {
        let port_report = self.port_report.clone();
        let (gate, opened) = mpsc::channel();
        let deliver = move |events: Vec<ClientEvent>| {
            // Returns an error when the gate is dropped. No message is ever sent.
            let _ = opened.recv();
            if let Some(port_report) = &port_report {
                let mut port_report = lock(port_report);
                events.iter().for_each(|event| port_report.add(event));
            }
            if let Some(sink) = &sink {
                sink.deliver(events);
            }
        };
        (gate, deliver)
    }
}

impl RunningCollector {
    /// Lets the reader threads deliver events.
    pub fn release(&mut self) {
        self.gates.clear();
    }

    /// Rewrites the port report in its own thread if its interval has passed. `samples` are the current counters.
    ///
    /// A comparison with a policy takes the current scopes of `responders` into account.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Report`] if an earlier report could not be written. Further failures are errors only after a
    /// report was written again.
    pub fn update_report(&mut self, responders: &ResponderSet, samples: &[Sample]) -> Result<(), TelemetryError> {
        let (Some(writer), Some(report)) = (&mut self.report_writer, &self.collector.port_report) else {
            return Ok(());
        };
        responders.responders().iter().for_each(|responder| lock(report).add_scope(responder.scope()));
        let dropped = samples.iter().filter_map(|sample| sample.events).map(|events| events.dropped).sum();
        match writer.update(dropped) {
            Some(source) => Err(TelemetryError::Report { path: lock(report).path().to_owned(), source }),
            None => Ok(()),
        }
    }

    /// Drains the remaining events, writes the port report and summarizes the run.
    ///
    /// The caller must have detached `programs`, since the reader threads end only when the ring buffers are empty.
    pub fn finish(self, elapsed: Duration, programs: &[TcpBounceSkel]) -> Collected {
        let Self { collector, interfaces, tables, reader, report_writer, sink, gates } = self;
        let Collector { observe, handshakes, has_profile, lists_top, port_report } = collector;
        // `reader.finish` waits for the reader threads, and a thread may be waiting for its gate.
        drop(gates);
        let delivered = reader.finish();
        let events = (observe.events != 0).then(|| event_totals(delivered, programs)).transpose();
        let dropped = events.as_ref().ok().copied().flatten().map_or(0, |events| events.dropped);
        // An earlier report must not replace the last one.
        report_writer.into_iter().for_each(ReportWriter::finish);
        let report = port_report.map(|report| {
            let report = lock(&report);
            let counts = |port| port_counts(&tables, port);
            let contents = report.contents(&interfaces, counts, dropped);
            let written = contents.write().map(|()| contents.ports());
            (written, contents.into_comparison().or_else(|| report.compare(counts)))
        });
        let (written, comparison) = report.unzip();
        // The sink may have dropped events that the reader threads delivered to it.
        let after_sink = |events: EventTotals| {
            let delivered = sink.and_then(|sink| sink.delivered()).unwrap_or(events.delivered);
            let dropped = events.dropped + events.delivered.saturating_sub(delivered);
            EventTotals { delivered, dropped, ..events }
        };
        let events = events.map(|events| events.map(after_sink));
        let summary = interface_counters(interfaces, programs).and_then(|interfaces| {
            let counters = interfaces.iter().map(|interface| interface.counters).sum();
            let ports = lists_top.then(|| top_ports(&tables));
            let sources = lists_top.then(|| top_sources(&tables));
            Ok(Summary { elapsed, counters, interfaces, handshakes, has_profile, events: events?, ports, sources })
        });
        Collected {
            summary: summary.map_err(XdpError::Maps),
            ports: written.transpose(),
            comparison: comparison.flatten(),
        }
    }
}

/// Reads the counters of `programs`, which are in the order of their `interfaces`.
fn interface_counters(
    interfaces: Vec<String>,
    programs: &[TcpBounceSkel],
) -> libbpf_rs::Result<Vec<InterfaceCounters>> {
    let read = |(interface, program)| counters::read(program).map(|counters| InterfaceCounters { interface, counters });
    interfaces.into_iter().zip(programs).map(read).collect()
}

fn port_counts(tables: &ClientTables, port: u16) -> PortCounts {
    PortCounts { answered: tables.port(port), excluded_syns: tables.excluded_syns(port) }
}

fn lock(report: &Mutex<PortReport>) -> MutexGuard<'_, PortReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the event totals of `programs`, given the number of events that the reader threads delivered.
fn event_totals(delivered: u64, programs: &[TcpBounceSkel]) -> libbpf_rs::Result<EventTotals> {
    let mut totals = EventTotals { delivered, ..EventTotals::default() };
    let mut sampled = 0;
    for program in programs {
        let counts = event_ring::counts(program)?;
        totals.seen += counts.seen;
        sampled += counts.delivered + counts.dropped;
    }
    // The program submits an event before it counts it, so `delivered` may exceed `sampled`.
    totals.dropped = sampled.saturating_sub(delivered);
    Ok(totals)
}

fn top_ports(tables: &ClientTables) -> TopList<u16> {
    let entries = (0..=u16::MAX).map(|port| entry(port, tables.port(port)));
    TopList::new(entries.filter(|entry| entry.syns > 0).collect(), false)
}

fn top_sources(tables: &ClientTables) -> TopList<IpAddr> {
    let (sources, is_full) = tables.sources();
    TopList::new(sources.into_iter().map(|(source, counts)| entry(source, counts)).collect(), is_full)
}

fn entry<T>(name: T, ClientCounts { syns, completed }: ClientCounts) -> TopEntry<T> {
    TopEntry { name, syns, completed }
}
