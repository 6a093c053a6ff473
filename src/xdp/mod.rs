//! Loads and attaches the XDP program, reads its counters, tables and events, tracks the host's sockets, and finds
//! the XDP programs of other processes.

pub mod attached;
pub mod client_tables;
pub mod counters;
mod error;
pub mod event_ring;
pub mod link;
pub mod loader;
mod local_port_table;
mod per_cpu;
pub mod skel;
mod socket_tracker;
mod upkeep;

pub use attached::AttachedProgram;
pub use client_tables::ClientTables;
pub use error::XdpError;
pub use link::XdpLink;
pub use local_port_table::LocalPortTable;
pub use skel::TcpBounceSkel;
pub use socket_tracker::{SocketTracker, TrackingError};
