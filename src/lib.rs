//! tcp-bounce makes every TCP port of a machine accept connections, with no sockets and no state.
//!
//! This crate is the user-space half: it loads the XDP program, attaches it, excludes the ports that the host itself
//! listens on, and reads the counters. The packet logic is the package `tcp-bounce-wire` (`src/wire`); `src/bpf` is its
//! entry point in the kernel.

#![warn(clippy::too_many_lines)]

mod cli;
mod command;
mod config;
mod diagnosis;
mod error;
mod host;
mod preflight;
mod process;
mod responder;
mod run;
mod telemetry;
mod ui;
mod xdp;

pub use config::{
    ActionChoice, AttachMode, Config, ConfigError, DestinationChoice, IsnChoice, Observe, PortList, PortSelection,
    PostHandshake, ScopeConfig, SynAckConfig,
};
pub use error::Error;
pub use host::HostError;
pub use preflight::{Check, Finding};
pub use process::ProcessError;
pub use responder::ResponderError;
pub use run::Run;
pub use tcp_bounce_wire::{Counters, Verdict};
pub use telemetry::{ClientEvent, TelemetryError};
pub use ui::UiError;
pub use xdp::XdpError;

/// Checks whether [`Run::start`] would succeed with `config`, and collects what the user should know before. Attaches and
/// changes nothing.
///
/// # Errors
///
/// An interface does not exist, or the host cannot be read.
pub fn preflight(config: &Config) -> Result<Check, Error> {
    Ok(Check::run(config, Vec::new())?)
}

/// Parts for this project's own tests, benches and packaging. They are not an API and change without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::cli::Args;
    pub use crate::config::{AttachMode, action_names, prefixes};
    pub use crate::host::{Interface, ethtool, kernel};
    pub use crate::process::privileges;
    pub use crate::telemetry::event_reader::EventReader;
    pub use crate::ui::tui::Tui;
    pub use crate::xdp::{XdpLink, attached, client_tables, counters, event_ring, loader, skel};
}
