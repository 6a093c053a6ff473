//! Telemetry: client events, the port report, the summary and Prometheus metrics.

pub mod client_event;
pub mod collector;
pub mod comparison;
mod error;
pub mod event_reader;
mod handshakes;
pub mod metrics;
mod port_activity;
mod port_counts;
pub mod port_report;
mod report_writer;
pub mod summary;

pub use client_event::ClientEvent;
pub use collector::{Collected, Collector, EventSink, RunningCollector};
pub use comparison::{Comparison, ComparisonRow};
pub use error::TelemetryError;
pub use handshakes::CountedHandshakes;
pub use metrics::MetricsServer;
pub use port_report::PortReport;
pub use summary::{EventTotals, InterfaceCounters, Summary, TopEntry, TopList};
