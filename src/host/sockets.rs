//! The TCP sockets of the host.

use std::io;

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::host::netlink;

/// The addresses and ports of the sockets of the calling thread's network namespace that are in one of `states`.
///
/// It asks the kernel's `inet_diag`, which tells of those alone; `/proc/net/tcp` would list every connection.
pub fn in_states(states: StateFlags) -> io::Result<Vec<SocketId>> {
    let mut sockets = Vec::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id,
        });
        for message in netlink::dump(NETLINK_SOCK_DIAG, request)? {
            let SockDiagMessage::InetResponse(socket) = message else { continue };
            sockets.push(socket.header.socket_id);
        }
    }
    Ok(sockets)
}
