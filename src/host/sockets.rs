//! The TCP sockets of the host, listed with sock_diag (`sock_diag(7)`).

use std::io;

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::host::netlink;

/// Lists the addresses and ports of all TCP sockets in one of `states`, in the network namespace of the calling thread.
///
/// The kernel filters the sockets by state. The alternative, `/proc/net/tcp`, lists every connection.
///
/// # Errors
///
/// `NotFound` if the kernel module `inet_diag` or `tcp_diag` is missing; any other error of the netlink dump;
/// `InvalidData` if a reply cannot be parsed.
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
        for object in netlink::dump(NETLINK_SOCK_DIAG, request)? {
            let socket = InetResponseHeader::parse(&object.0)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sockets.push(socket.socket_id);
        }
    }
    Ok(sockets)
}
