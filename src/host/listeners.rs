//! The TCP ports that the host itself listens on.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_sock_diag::inet::StateFlags;

use crate::host::sockets;

/// The ports on which a socket of the calling thread's network namespace listens, on any address but loopback's:
/// what comes in from a network cannot reach those.
pub fn ports() -> io::Result<BTreeSet<u16>> {
    let listeners = sockets::in_states(StateFlags::LISTEN)?;
    let reachable = listeners.iter().filter(|id| !id.source_address.to_canonical().is_loopback());
    Ok(reachable.map(|id| id.source_port).collect())
}
