//! The scope of a run: the destinations, sources and ports that are answered.

use ipnet::IpNet;

use super::PortSelection;

/// The packets that are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeConfig {
    /// The destination addresses that are answered.
    pub destinations: DestinationChoice,
    /// The prefixes of the clients that are answered. An empty list selects every client.
    pub sources: Vec<IpNet>,
    /// The ports that are answered.
    pub ports: PortSelection,
    /// Answers on ports with local listeners too, and drops all other TCP segments within the scope.
    ///
    /// The host's established connections within the scope break, SSH included.
    pub takeover: bool,
}

/// The destination addresses that are answered, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DestinationChoice {
    /// The addresses of the interface and of its VLAN devices.
    #[default]
    Own,
    /// Every address.
    Any,
    /// The addresses within these prefixes.
    Prefixes(Vec<IpNet>),
}
