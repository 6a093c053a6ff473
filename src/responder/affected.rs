//! The host's established connections that takeover affects.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::inet::{SocketId, StateFlags};
use serde::Serialize;

use super::{HostSnapshot, Scope};
use crate::config::ScopeConfig;
use crate::host::{HostError, Interface, sockets};

/// The maximum number of connections that the text output lists.
const SHOWN: usize = 20;

/// An established connection of the host. Connections are ordered by local address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
}

impl From<SocketId> for Connection {
    /// Converts the two ends of a socket. The IPv4-mapped addresses of an IPv6 socket become IPv4 addresses.
    fn from(id: SocketId) -> Self {
        Self {
            local: (id.source_address.to_canonical(), id.source_port).into(),
            remote: (id.destination_address.to_canonical(), id.destination_port).into(),
        }
    }
}

impl Display for Connection {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} with {}", self.local, self.remote)
    }
}

/// The host's established connections that takeover affects: the host no longer receives their segments.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct AffectedConnections(Vec<Connection>);

impl AffectedConnections {
    /// Lists the established connections that takeover of `interfaces` affects.
    ///
    /// Takeover affects a connection if the local address is answered, the local port is not excluded, and `scope`
    /// includes the remote address as a source. Outgoing connections are included. Connections between two addresses of
    /// the host are not affected.
    ///
    /// # Errors
    ///
    /// [`HostError::ListConnections`] if the kernel does not list the connections.
    pub fn list(interfaces: &[Interface], scope: &ScopeConfig, snapshot: &HostSnapshot) -> Result<Self, HostError> {
        let connections = sockets::in_states(StateFlags::ESTABLISHED).map_err(HostError::ListConnections)?;
        let connections = connections.into_iter().map(Connection::from);
        Ok(Self::select(connections, interfaces, scope, snapshot))
    }

    /// Selects the affected connections, as [`Self::list`] describes them.
    fn select(
        connections: impl Iterator<Item = Connection>,
        interfaces: &[Interface],
        scope: &ScopeConfig,
        snapshot: &HostSnapshot,
    ) -> Self {
        // There may be 100,000 connections, so each set is built once.
        let excluded = snapshot.exclusions.to_set();
        let own: BTreeSet<IpAddr> = snapshot.addresses.iter().map(|address| address.address).collect();
        let answered: BTreeSet<IpAddr> =
            interfaces.iter().flat_map(|interface| answered_addresses(interface, scope, snapshot)).collect();
        let is_client =
            |address| scope.sources.is_empty() || scope.sources.iter().any(|prefix| prefix.contains(&address));
        let mut affected: Vec<_> = connections
            .filter(|Connection { local, remote }| {
                // Segments between two addresses of the host use the loopback interface, which has no program.
                !own.contains(&remote.ip())
                    && !excluded.contains(local.port())
                    && answered.contains(&local.ip())
                    && is_client(remote.ip())
            })
            .collect();
        affected.sort_unstable();
        Self(affected)
    }

    /// Returns whether no connection is affected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the host's addresses that are in `scope` and reachable through `interface`.
fn answered_addresses(interface: &Interface, scope: &ScopeConfig, snapshot: &HostSnapshot) -> BTreeSet<IpAddr> {
    let HostSnapshot { interfaces: all, addresses, .. } = snapshot;
    let scope = Scope::of(interface, &scope.destinations, snapshot);
    let received = receivers(interface, all).flat_map(|receiver| receiver.addresses(all, addresses));
    received.filter(|&address| scope.contains(address)).collect()
}

/// Returns the interfaces whose addresses are reachable through `interface`: itself, the bridge or bond above it, and
/// loopback.
fn receivers<'a>(interface: &'a Interface, all: &'a [Interface]) -> impl Iterator<Item = &'a Interface> {
    let others = all.iter().filter(|other| interface.master == Some(other.index) || other.is_loopback());
    [interface].into_iter().chain(others)
}

impl Display for AffectedConnections {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "--takeover affects {} established connection{plural} of this host:", self.0.len())?;
        for connection in self.0.iter().take(SHOWN) {
            write!(f, "\n  {connection}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests;
