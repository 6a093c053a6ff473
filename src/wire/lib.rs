//! The packet logic of tcp-bounce: which TCP segments are answered, and with what.
//!
//! One source, two worlds. The XDP program runs [`bounce`] over the frame that the NIC received; the tests run the
//! very same function over a buffer on the host. So this crate knows no kernel and no command line, allocates
//! nothing, contains no `unsafe`, and cannot panic: libbpf refuses a program in which a panic path is left.
//!
//! Follow a SYN: [`bounce()`] parses it ([`ethernet`], [`ipv4`], [`tcp`]), decides ([`Verdict`]), and writes
//! the reply ([`syn_ack`]).

#![no_std]
#![forbid(unsafe_code)]

pub mod addresses;
pub mod bounce;
pub mod checksum;
pub mod config;
pub mod counters;
pub mod ethernet;
pub mod event;
pub mod express;
pub mod frame;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod isn;
pub mod later;
pub mod options;
pub mod ports;
pub mod segment;
pub mod syn_ack;
pub mod tcp;
pub mod then;
pub mod verdict;

pub use addresses::AddressSet;
pub use bounce::{Rules, World, bounce};
pub use config::{Config, Filters, Link, Settings};
pub use counters::Counters;
pub use event::{Bucket, Count, Event, EventCount, Kind, Observe, Place, Tally};
pub use frame::Frame;
pub use isn::Isn;
pub use ports::Ports;
pub use then::{Then, ThenByPort, Thens};
pub use verdict::{Action, Verdict};
