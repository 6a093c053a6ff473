//! The configuration of a run, validated before anything on the host changes.
//!
//! This module depends on neither the command line nor the kernel. The constructors [`PostHandshake::new`] and
//! [`PortSelection::new`] validate their own part. [`Config::validate`] checks the rules between parts.

mod attach_mode;
mod error;
pub mod isn;
mod outputs;
mod policy;
mod port_list;
mod port_pattern;
mod post_handshake;
pub mod prefixes;
mod profile;
mod scope;
mod similar;
mod syn_ack;
mod text_file;
mod toml_file;
mod values;

use std::time::Duration;

use tcp_bounce_wire::{DataEvent, Isn};

pub use attach_mode::AttachMode;
pub use error::ConfigError;
pub use outputs::{MetricsAddress, OutputOptions, ReportFile, ReportFormat};
pub use policy::{Policy, PossibleRules};
pub use port_list::{PortList, PortSelection};
pub use port_pattern::PortPattern;
pub use post_handshake::{ActionChoice, IdentityFormat, PostHandshake};
pub use prefixes::PrefixList;
pub use profile::{
    BuiltIn, PayloadConfig, PlaceholderValues, Prefix, Profile, ProfileError, ProfileFormat, ReplyConfig,
    ServiceConfig, ServicePorts, System, rfc_5322,
};
pub use scope::{DestinationChoice, DestinationList, ScopeConfig};
pub use syn_ack::{IsnChoice, SynAckConfig};
pub use text_file::read_text_up_to;
pub use toml_file::TomlError;
pub use values::{ValueError, parse_duration, parse_number, parse_optional_duration};

/// The configuration of a run: the interfaces, the scope, the replies and the telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The names of the network interfaces to answer on. Alternative names (`altname` in `ip link`) are accepted.
    pub interfaces: Vec<String>,
    /// How to attach the program. `None` selects native mode where the driver accepts it, and skb mode elsewhere.
    pub attach_mode: Option<AttachMode>,
    /// The header fields of the SYN-ACK.
    pub syn_ack: SynAckConfig,
    /// The packets that are answered.
    pub scope: ScopeConfig,
    /// The post-handshake action of each port.
    pub post_handshake: PostHandshake,
    /// The services that the host appears to run, which replace the post-handshake actions.
    pub profile: Option<Profile>,
    /// The statistics and events that the program collects.
    pub observe: Observe,
    /// How long to run. With `None`, the run continues until it is stopped.
    pub duration: Option<Duration>,
}

/// The statistics and events that the program collects. Disabled statistics and events cost nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Counts SYNs and completed handshakes for each port.
    pub ports: bool,
    /// Counts SYNs and completed handshakes for each client address.
    pub sources: bool,
    /// The sampling interval of client events: the program emits one event in this many. 0 disables events.
    pub events: u32,
    /// The number of payload bytes in a `data` event, at most [`Self::MAX_DATA`]. 0 disables these events.
    pub data: u32,
}

impl Observe {
    /// The largest number of payload bytes in a `data` event.
    pub const MAX_DATA: u32 = DataEvent::MAX_DATA as u32;
}

impl Config {
    /// Returns the configuration that answers on `interfaces`, with default settings.
    pub fn new<Name: Into<String>>(interfaces: impl IntoIterator<Item = Name>) -> Self {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            attach_mode: None,
            syn_ack: SynAckConfig::default(),
            scope: ScopeConfig::default(),
            post_handshake: PostHandshake::default(),
            profile: None,
            observe: Observe::default(),
            duration: None,
        }
    }

    /// Checks the rules between the parts of the configuration.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoInterfaces`] if no interface is configured.
    /// - [`ConfigError::OutOfRange`] if a TTL or MSS is 0 or a window scale exceeds 14.
    /// - The error of [`ScopeConfig::validate`] for the destinations and sources.
    /// - [`ConfigError::ProfileWithActions`] if there are a profile and post-handshake actions.
    /// - [`ConfigError::NoProfilePorts`] if no port of the profile is selected.
    /// - [`ConfigError::ProfileNeedsKey`] or [`ConfigError::NeedsKey`] if a profile or an action requires a keyed ISN
    ///   and the ISN is fixed.
    /// - [`ConfigError::UnusedKey`] if a key file is configured for a fixed ISN.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let SynAckConfig { ttl, window_scale, mss, .. } = self.syn_ack;
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterfaces);
        }
        if ttl == Some(0) || window_scale > Some(14) || mss == Some(0) {
            return Err(ConfigError::OutOfRange);
        }
        self.scope.validate()?;
        if let Some(profile) = &self.profile {
            if !self.post_handshake.is_default() {
                return Err(ConfigError::ProfileWithActions);
            }
            if !profile.may_serve(&self.scope.ports) {
                return Err(no_profile_ports(&self.scope.ports));
            }
        }
        isn::choose(&self.syn_ack, &self.post_handshake, self.profile.as_ref()).map(drop)
    }

    /// Returns this configuration with only those ports selected that have a service of the profile, given the source
    /// of the ISN. Its key selects the random ports of the profile. Without a profile, nothing changes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoProfilePorts`] if no port of the profile is selected.
    pub fn with_ports_of_profile(&self, isn: Isn) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        if let (Some(profile), Isn::Keyed(key)) = (&self.profile, isn) {
            let ports = &self.scope.ports;
            let served = PortList(profile.ports(&key).into_keys().filter(|&port| ports.contains(port)).collect());
            let only = (!served.is_complete()).then_some(served);
            let selected = PortSelection::new(only, ports.excluded().clone());
            config.scope.ports = selected.map_err(|_| no_profile_ports(ports))?;
        }
        Ok(config)
    }
}

/// Returns the error for a profile without a port in `selection`.
fn no_profile_ports(selection: &PortSelection) -> ConfigError {
    let (has_ports, has_excluded) = (selection.only().is_some(), !selection.excluded().0.is_empty());
    ConfigError::NoProfilePorts { has_ports, has_excluded }
}
