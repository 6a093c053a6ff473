//! A snapshot of the host: the state that responders follow.

use std::collections::BTreeSet;

use tcp_bounce_wire::PortSet;

use super::Exclusions;
use crate::config::ScopeConfig;
use crate::host::listeners::{self, Listener};
use crate::host::{HostAddress, HostError, Interface, TcpSettings};

/// The interfaces, addresses, listeners, excluded ports and TCP settings of the host at one point in time.
#[derive(Debug)]
pub struct HostSnapshot {
    /// All interfaces of the network namespace.
    pub interfaces: Vec<Interface>,
    /// All IP addresses of the network namespace.
    pub addresses: Vec<HostAddress>,
    /// The local listeners. Empty under takeover, which does not spare them.
    pub listeners: BTreeSet<Listener>,
    /// The excluded ports, including those of local listeners.
    pub exclusions: Exclusions,
    /// The sysctls that shape replies. `None` if they cannot be read.
    pub tcp_settings: Option<TcpSettings>,
}

impl HostSnapshot {
    /// Reads the current state of the host. The excluded ports depend on `scope`.
    ///
    /// # Errors
    ///
    /// The error of the netlink dump that failed.
    pub fn read(scope: &ScopeConfig) -> Result<Self, HostError> {
        let (interfaces, addresses) = (Interface::list()?, HostAddress::list()?);
        let listeners = if scope.takeover { BTreeSet::new() } else { listeners::list()? };
        let exclusions = Exclusions::new(scope, listeners.iter().map(|listener| listener.port).collect());
        Ok(Self { interfaces, addresses, listeners, exclusions, tcp_settings: TcpSettings::read().ok() })
    }

    /// Returns the ports that the filter of the program on the interface with this index excludes.
    ///
    /// The filter excludes a listener only if it is bound to another device, such as a bridge or a VLAN device above
    /// the interface. The program does not find such a listener by a lookup.
    pub fn filtered_ports(&self, interface: u32) -> PortSet {
        let mut set = self.exclusions.configured();
        let is_bound_elsewhere = |listener: &&Listener| ![0, interface].contains(&listener.device);
        self.listeners.iter().filter(is_bound_elsewhere).for_each(|listener| set.insert(listener.port));
        set
    }
}
