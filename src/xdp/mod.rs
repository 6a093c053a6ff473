//! Loads and attaches the XDP program, reads its counters, tables and events, and finds the XDP programs of other
//! processes.

pub mod attached;
pub mod client_tables;
pub mod counters;
mod error;
pub mod event_ring;
pub mod link;
pub mod loader;
mod per_cpu;
pub mod skel;

pub use attached::AttachedProgram;
pub use client_tables::ClientTables;
pub use error::XdpError;
pub use link::XdpLink;
pub use skel::TcpBounceSkel;
