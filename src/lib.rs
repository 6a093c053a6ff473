//! tcp-bounce makes every TCP port of a machine accept connections, with no sockets and no state.
//!
//! This crate is the user-space half: it loads the XDP program, attaches it, spares the ports that the host itself
//! listens on, and reads the counters. What the program does to a packet is in the package `tcp-bounce-wire`
//! (`src/wire`); how it is called by the kernel is in `src/bpf`.

pub mod answered;
pub mod arrivals;
pub mod attach;
pub mod bouncer;
pub mod check;
pub mod cli;
pub mod connections;
pub mod error;
pub mod ethtool;
pub mod events;
pub mod interface;
pub mod kernel;
pub mod key;
pub mod listeners;
pub mod loader;
pub mod message;
pub mod metrics;
pub mod netlink;
pub mod observer;
pub mod output;
pub mod ports;
pub mod prefixes;
pub mod privileges;
pub mod report;
pub mod run;
pub mod service;
pub mod skel;
pub mod sockets;
pub mod spared;
pub mod stats;
pub mod surroundings;
pub mod tables;
pub mod then;
pub mod watch;

pub use check::check;
pub use run::run;
