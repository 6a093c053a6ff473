//! The collector: drains client events, reads the client tables, and summarizes the run.

use std::net::IpAddr;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tcp_bounce_wire::{ClientCounts, Counters};

use super::TelemetryError;
use super::client_event::ClientEvent;
use super::event_reader::EventReader;
use super::port_report::PortReport;
use super::summary::{EventTotals, Summary, TopEntry, TopList};
use crate::config::{Observe, ReportFile};
use crate::responder::ResponderSet;
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
    sink: Option<Arc<dyn EventSink>>,
    /// The gates of the reader threads. A reader thread delivers no events until its gate is dropped, so that no event
    /// is printed before the start message.
    gates: Vec<Sender<()>>,
}

impl Collector {
    /// Creates a collector for the telemetry that `observe` enables, and for the port report if there is a file for it.
    ///
    /// # Errors
    ///
    /// The error of [`PortReport::new`].
    pub fn new(observe: Observe, lists_top: bool, report: Option<&ReportFile>) -> Result<Self, TelemetryError> {
        let port_report = report.map(PortReport::new).transpose()?;
        Ok(Self { observe, lists_top, port_report: port_report.map(|report| Arc::new(Mutex::new(report))) })
    }

    /// Starts a reader thread for each responder, if events are enabled.
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
        Ok(RunningCollector { collector: self, interfaces, tables, reader, sink, gates })
    }

    /// Returns a function that delivers batches of events, and its gate. The function blocks until the gate is dropped.
    fn gated_delivery(&self, sink: Option<Arc<dyn EventSink>>) -> (Sender<()>, impl FnMut(Vec<ClientEvent>) + use<>) {
        let port_report = self.port_report.clone();
        let (gate, opened) = mpsc::channel();
        let deliver = move |events: Vec<ClientEvent>| {
            // Returns an error when the gate is dropped. No message is ever sent.
            let _ = opened.recv();
            if let Some(port_report) = &port_report {
                let mut port_report = port_report.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Drains the remaining events, writes the port report and summarizes the run.
    ///
    /// The caller must have detached `programs`, since the reader threads end only when the ring buffers are empty.
    ///
    /// # Errors
    ///
    /// The first result is an error if a map cannot be read. The second is an error if the report cannot be written.
    pub fn finish(
        self,
        elapsed: Duration,
        programs: &[TcpBounceSkel],
    ) -> (Result<Summary, XdpError>, Result<(), TelemetryError>) {
        let Self { collector, interfaces, tables, reader, sink, gates } = self;
        let Collector { observe, lists_top, port_report } = collector;
        // `reader.finish` waits for the reader threads, and a thread may be waiting for its gate.
        drop(gates);
        let delivered = reader.finish();
        let events = (observe.events != 0).then(|| event_totals(delivered, programs)).transpose();
        let dropped = events.as_ref().ok().copied().flatten().map_or(0, |events| events.dropped);
        // The reader threads have ended, so nothing else shares the report.
        let written = port_report.and_then(Arc::into_inner).map_or(Ok(()), |report| {
            let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
            let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
            report.write(&interfaces, |port| tables.port(port), dropped)
        });
        // The sink may have dropped events that the reader threads delivered to it.
        let after_sink = |events: EventTotals| {
            let delivered = sink.and_then(|sink| sink.delivered()).unwrap_or(events.delivered);
            let dropped = events.dropped + events.delivered.saturating_sub(delivered);
            EventTotals { delivered, dropped, ..events }
        };
        let events = events.map(|events| events.map(after_sink));
        let counters = programs.iter().map(counters::read).sum::<Result<Counters, _>>();
        let summary = counters.and_then(|counters| {
            let ports = lists_top.then(|| top_ports(&tables));
            let sources = lists_top.then(|| top_sources(&tables));
            Ok(Summary { elapsed, counters, events: events?, ports, sources })
        });
        (summary.map_err(XdpError::Maps), written)
    }
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
