//! The packet logic of tcp-bounce: which TCP segments are answered, and with what.
//!
//! One source, two worlds. The XDP program runs [`respond`] over the frame that the NIC received; the tests run the
//! very same function over a buffer on the host. So this crate knows no kernel and no command line, allocates
//! nothing, contains no `unsafe`, and cannot panic: libbpf refuses a program in which a panic path is left.
//!
//! Follow a SYN: [`respond()`] parses it ([`ethernet`], [`ipv4`], [`tcp`]), decides ([`Verdict`]), and writes
//! the reply ([`syn_ack`]).

#![no_std]
#![forbid(unsafe_code)]

pub mod action;
pub mod address_set;
pub mod checksum;
pub mod config;
pub mod counters;
pub mod ethernet;
pub mod event;
pub mod fast_path;
pub mod frame;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod isn;
pub mod port_set;
pub mod post_handshake;
pub mod respond;
pub mod segment;
pub mod syn_ack;
pub mod tcp;
pub mod tcp_options;
pub mod verdict;

pub use action::{Action, ActionByPort, ActionSet};
pub use address_set::AddressSet;
pub use config::{Filters, InterfaceState, ProgramConfig, ProgramSettings};
pub use counters::Counters;
pub use event::{Bucket, ClientCounters, ClientCounts, Event, EventCounts, EventKind, Slot, TelemetrySettings};
pub use frame::Frame;
pub use isn::Isn;
pub use port_set::PortSet;
pub use respond::{Host, Policy, respond};
pub use verdict::{Verdict, XdpAction};
