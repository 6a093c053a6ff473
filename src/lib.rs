//! Makes every TCP port of a machine accept connections, with no sockets and no state.
//!
//! An XDP program answers each SYN that arrives on a network interface with a SYN-ACK, before the kernel's network
//! stack sees it. The ports of local listeners are excluded, so the host's own services keep working. This crate loads
//! the program, attaches it, follows the state of the host, and reads counters and client events.
//!
//! # Example
//!
//! [`Run::start`] attaches the program. The program is detached when the [`Run`] is stopped or dropped:
//!
//! ```no_run
//! use tcp_bounce::{Config, Error, Observe, Run};
//!
//! fn main() -> Result<(), Error> {
//!     let config = Config { observe: Observe { events: 1, ..Observe::default() }, ..Config::new(["eth0"]) };
//!     let run = Run::start(&config)?;
//!     for event in run.events().take(10) {
//!         println!("{event}");
//!     }
//!     let counters = run.stop()?;
//!     println!("handshakes completed: {}", counters.completed());
//!     Ok(())
//! }
//! ```
//!
//! [`preflight()`] checks whether a configuration would start, without attaching anything.
//!
//! # Requirements
//!
//! The process needs Linux 5.9 or newer, and `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`. Before Linux 5.11, it also
//! needs `CAP_SYS_RESOURCE`. Root has these capabilities outside of user namespaces. A [`Run`] keeps its privileges; the
//! command `tcp-bounce` drops them once it is attached.
//!
//! # Features
//!
//! | feature | contents |
//! |---|---|
//! | `responder` (default) | The XDP program and all items of the library; includes `probe` |
//! | `probe` | The command `tcp-bounce`, with the subcommand `probe` alone. It needs neither a BPF toolchain nor libbpf |
//! | `static` | Links libbpf, libelf and zlib statically |
//!
//! # Layers
//!
//! Each module imports only from lower layers. Only the listed items are public.
//!
//! | layer | purpose | public items |
//! |---|---|---|
//! | `cli` | The command line | |
//! | `command`, `run` | The phases of the command; the library's handle on a run | [`Run`], [`Stopper`] |
//! | `error` | The error type that combines the errors of all layers | [`Error`] |
//! | `ui` | Messages of a run, the full-screen view | [`UiError`] |
//! | `preflight` | The check before a start: facts, rules, findings | [`preflight()`], [`Check`], [`Finding`] |
//! | `telemetry` | Client events, the port report, metrics | [`ClientEvent`], [`TelemetryError`] |
//! | `responder` | Attached programs: mode, scope, excluded ports | [`ResponderError`] |
//! | `xdp` | Loads the XDP program, and accesses its maps | [`XdpError`], [`Counters`] |
//! | `host` | Reads the state of the host | [`HostError`] |
//! | `process` | Privileges, signals, the service manager | [`ProcessError`] |
//! | `probe` | The unprivileged client of `tcp-bounce probe` | |
//! | `output` | Output streams and their formats, messages about errors | |
//! | `config` | The validated configuration | [`Config`] and its parts, [`ConfigError`] |
//! | `port_table` | Tables of ports | |
//!
//! The packet logic is the crate [`tcp_bounce_wire`]. It determines the verdict of each packet, in the kernel and in
//! tests. The XDP program's entry point is in `src/bpf` of the repository. `docs/internals/architecture.md` describes
//! how the parts work together.

#![warn(clippy::too_many_lines)]
#![cfg_attr(not(feature = "responder"), allow(dead_code, unused_imports, reason = "the responder uses the rest"))]

mod cli;
mod config;
mod diagnosis;
mod output;
mod port_table;
mod probe;

#[cfg(feature = "responder")]
mod command;
#[cfg(feature = "responder")]
mod error;
#[cfg(feature = "responder")]
mod host;
#[cfg(feature = "responder")]
mod preflight;
#[cfg(feature = "responder")]
mod process;
#[cfg(feature = "responder")]
mod responder;
#[cfg(feature = "responder")]
mod run;
#[cfg(feature = "responder")]
mod telemetry;
#[cfg(feature = "responder")]
mod ui;
#[cfg(feature = "responder")]
mod xdp;

pub use config::{
    ActionChoice, AttachMode, BuiltIn, Config, ConfigError, DestinationChoice, DestinationList, IsnChoice, Observe,
    PayloadConfig, PortList, PortPattern, PortSelection, PostHandshake, Prefix, PrefixList, Profile, ProfileError,
    ProfileFormat, ReplyConfig, ScopeConfig, ServiceConfig, ServicePorts, SynAckConfig, System, TomlError, ValueError,
};
pub use ipnet::IpNet;
#[cfg(feature = "responder")]
pub use responder_items::*;
pub use tcp_bounce_wire::{Counters, Ending, Verdict};

/// The public items that need the feature `responder`.
#[cfg(feature = "responder")]
mod responder_items {
    pub use crate::error::Error;
    pub use crate::host::HostError;
    pub use crate::preflight::{Check, Finding, Severity};
    pub use crate::process::ProcessError;
    pub use crate::responder::ResponderError;
    pub use crate::run::{Run, Stopper};
    pub use crate::telemetry::{ClientEvent, TelemetryError};
    pub use crate::ui::UiError;
    pub use crate::xdp::{AttachedProgram, XdpError};

    /// Checks whether [`Run::start`] would succeed with `config`, and collects warnings for the user.
    ///
    /// The program is loaded so that the kernel verifies it, and then unloaded. Nothing is attached or changed.
    ///
    /// # Errors
    ///
    /// - A setting of `config` is invalid or contradicts another one, or the key file cannot be read.
    /// - An interface does not exist or is named twice.
    /// - The kernel does not report the state of the host, or the attached programs.
    pub fn preflight(config: &crate::Config) -> Result<Check, Error> {
        config.validate()?;
        Ok(Check::run(config, Vec::new())?)
    }
}

/// Items for this project's own tests, benchmarks and packaging. They are not a public API, and change without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::cli::{ProbeArgs, run as run_command_line};
    #[cfg(feature = "responder")]
    pub use crate::responder_internals::*;
}

#[cfg(feature = "responder")]
mod responder_internals {
    pub use crate::cli::Args;
    pub use crate::command::run;
    pub use crate::config::{AttachMode, OutputOptions, ReportFile, prefixes};
    pub use crate::host::{Interface, ethtool, kernel};
    pub use crate::process::privileges;
    pub use crate::telemetry::CountedHandshakes;
    pub use crate::telemetry::event_reader::EventReader;
    pub use crate::ui::tui::Tui;
    pub use crate::xdp::{XdpLink, attached, client_tables, counters, event_ring, loader, skel};
}
