//! The TCP ports of local listeners.

use std::collections::BTreeSet;

use netlink_packet_sock_diag::inet::StateFlags;

use super::HostError;
use crate::host::sockets;

/// Lists the TCP ports with a listening socket, in the network namespace of the calling thread.
///
/// Sockets that are bound to a loopback address are skipped: no packet from a network reaches them.
///
/// # Errors
///
/// [`HostError::ListListeners`] if the sock_diag dump fails.
pub fn ports() -> Result<BTreeSet<u16>, HostError> {
    let listeners = sockets::in_states(StateFlags::LISTEN).map_err(HostError::ListListeners)?;
    let reachable = listeners.iter().filter(|id| !id.source_address.to_canonical().is_loopback());
    Ok(reachable.map(|id| id.source_port).collect())
}
