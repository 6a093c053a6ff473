//! The TCP ports that the host itself listens on.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::netlink;

/// The ports on which a socket of the calling thread's network namespace listens, on any address but loopback's:
/// what comes in from a network cannot reach those.
///
/// It asks the kernel's `inet_diag` for listeners alone; `/proc/net/tcp` would list every connection too.
pub fn ports() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::LISTEN,
            socket_id,
        });
        for message in netlink::dump(NETLINK_SOCK_DIAG, request)? {
            let SockDiagMessage::InetResponse(socket) = message else { continue };
            if !socket.header.socket_id.source_address.to_canonical().is_loopback() {
                ports.insert(socket.header.socket_id.source_port);
            }
        }
    }
    Ok(ports)
}
