//! The XDP program in the kernel: loading and attaching it, its counters, its tables, and programs of others.

pub mod attached;
pub mod client_tables;
pub mod counters;
mod error;
pub mod event_ring;
pub mod link;
pub mod loader;
pub mod skel;

pub use attached::AttachedProgram;
pub use client_tables::ClientTables;
pub use error::XdpError;
pub use link::XdpLink;
pub use skel::TcpBounceSkel;
