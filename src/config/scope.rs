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
    /// Answers SYNs to the ports of local listeners too. Drops all other TCP segments in the scope, unless they belong
    /// to a connection that tcp-bounce accepted.
    ///
    /// The host's established connections in the scope break, including SSH sessions.
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
