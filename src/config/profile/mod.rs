//! Profiles: the services that a host with tcp-bounce appears to run.
//!
//! A profile is one of the [built-in profiles](BuiltIn), or a file. [`Profile::parse`] checks all its rules, so that
//! each [`Profile`] can be served: its payloads fit into one segment, and no port has two services.

mod built_in;
mod date;
mod error;
mod keys;
mod load;
mod parse;
mod payload;
mod port_rules;
mod ports;
mod portspoof;
mod portspoof_syntax;
mod service;
mod system;

pub use built_in::BuiltIn;
pub use date::rfc_5322;
pub use error::ProfileError;
pub use load::ProfileFormat;
pub use payload::{PayloadConfig, PlaceholderValues};
pub use service::{Prefix, ReplyConfig, ServiceConfig, ServicePorts};
pub use system::System;

/// The services that a host appears to run, and the operating system that it appears to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: String,
    system: System,
    services: Vec<ServiceConfig>,
    skipped_lines: usize,
}

impl Profile {
    /// The maximum length of a payload in bytes, so that every IPv6 path carries it in one segment: 1280, minus the
    /// headers (40 + 20) and the timestamps option (12).
    pub const MAX_PAYLOAD: usize = tcp_bounce_wire::service::MAX_PAYLOAD;
    /// The maximum number of placeholders in a payload that the program renders for each client.
    pub const MAX_FIELDS: usize = tcp_bounce_wire::Fields::MAX_COUNT;
    /// The maximum length of a reply's prefix in bytes.
    pub const MAX_PREFIX: usize = tcp_bounce_wire::service::MAX_PREFIX;
    /// The maximum number of replies of a service.
    pub const MAX_REPLIES: usize = tcp_bounce_wire::service::MAX_REPLIES;

    /// Returns the name of a built-in profile, or the path of a file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the operating system whose SYN-ACKs the profile imitates.
    pub fn system(&self) -> System {
        self.system
    }

    /// Returns the number of lines that are left out, because they cannot be expanded to a banner. Only signature files
    /// of portspoof have any.
    pub fn skipped_lines(&self) -> usize {
        self.skipped_lines
    }

    /// Returns the services. There is at least one.
    pub fn services(&self) -> &[ServiceConfig] {
        &self.services
    }
}
