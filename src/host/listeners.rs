//! The TCP ports of local listeners.

use std::collections::BTreeSet;

use netlink_packet_sock_diag::inet::StateFlags;

use super::HostError;
use crate::host::sockets;

/// The port of a listening TCP socket, and the device that the socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The local port.
    pub port: u16,
    /// The index of the interface that the socket is bound to, for example with `SO_BINDTODEVICE`. 0 if there is none.
    pub device: u32,
}

/// Lists the listening TCP sockets in the network namespace of the calling thread.
///
/// Sockets that are bound to a loopback address are skipped: no packet from a network reaches them.
///
/// # Errors
///
/// [`HostError::ListListeners`] if the sock_diag dump fails.
pub fn list() -> Result<BTreeSet<Listener>, HostError> {
    let listeners = sockets::in_states(StateFlags::LISTEN).map_err(HostError::ListListeners)?;
    let reachable = listeners.iter().filter(|id| !id.source_address.to_canonical().is_loopback());
    Ok(reachable.map(|id| Listener { port: id.source_port, device: id.interface_id }).collect())
}
