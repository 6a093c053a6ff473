//! The host's own TCP connections, of which takeover cuts some.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use netlink_packet_sock_diag::inet::{SocketId, StateFlags};
use serde::Serialize;

use crate::answered::Destinations;
use crate::cli::Cli;
use crate::error::Error;
use crate::interface::Interface;
use crate::sockets;
use crate::surroundings::Surroundings;

/// How many are shown.
const SHOWN: usize = 20;

/// One connection, as the host sees it. They are ordered by the local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
}

impl From<SocketId> for Connection {
    /// A socket for IPv6 may well have a connection over IPv4.
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

/// Established connections of the host that end when tcp-bounce takes over.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Cut(Vec<Connection>);

impl Cut {
    /// Those whose packets come to one of `interfaces` and are not passed on, as `cli` says.
    ///
    /// They are known by their local address. What the host says to itself never leaves it.
    pub fn by_takeover(interfaces: &[Interface], cli: &Cli, surroundings: &Surroundings) -> Result<Self, Error> {
        let Surroundings { interfaces: all, addresses, spared } = surroundings;
        let spared = spared.ports();
        let is_own = |address| addresses.iter().any(|&(_, own)| own == address);
        let is_admitted = |address| cli.from.is_empty() || cli.from.iter().any(|prefix| prefix.contains(&address));
        let is_served = |interface: &Interface, address| {
            Destinations::now(cli, interface, surroundings).contains(address)
                && receivers(interface, all).any(|receiver| receiver.addresses(all, addresses).contains(&address))
        };
        let connections = sockets::in_states(StateFlags::ESTABLISHED).map_err(Error::ListConnections)?;
        let mut cut: Vec<_> = connections.into_iter().map(Connection::from).collect();
        cut.retain(|Connection { local, remote }| {
            !is_own(remote.ip())
                && !spared.contains(local.port())
                && is_admitted(remote.ip())
                && interfaces.iter().any(|interface| is_served(interface, local.ip()))
        });
        cut.sort_unstable();
        Ok(Self(cut))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A port of a bridge or bond has no addresses, but its packets are for those of its master; and what is for an address of
/// the loopback interface comes by any other.
fn receivers<'a>(interface: &'a Interface, all: &'a [Interface]) -> impl Iterator<Item = &'a Interface> {
    [interface]
        .into_iter()
        .chain(all.iter().filter(|other| interface.master == Some(other.index) || other.is_loopback()))
}

impl Display for Cut {
    /// A line for each of the first, and one for the rest.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "--takeover cuts these connections of the host:")?;
        for connection in self.0.iter().take(SHOWN) {
            write!(f, "\n  {connection}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
