//! Telemetry: client events, the port report, the summary and Prometheus metrics.

pub mod client_event;
pub mod collector;
mod error;
pub mod event_reader;
mod handshakes;
pub mod metrics;
pub mod port_report;
mod report_writer;
pub mod summary;

pub use client_event::ClientEvent;
pub use collector::{Collector, EventSink, RunningCollector};
pub use error::TelemetryError;
pub use handshakes::CountedHandshakes;
pub use metrics::MetricsServer;
pub use port_report::PortReport;
pub use summary::{EventTotals, InterfaceCounters, Summary, TopEntry, TopList};

/// The schema version of the JSON output and of the port report. It is incremented when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 2;
