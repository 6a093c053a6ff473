//! The TCP sockets of the host, listed with sock_diag (`sock_diag(7)`).

use std::io;

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::host::netlink::{self, Object, Stream};

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
    for request in requests(states) {
        for object in netlink::dump(NETLINK_SOCK_DIAG, request)? {
            let socket = InetResponseHeader::parse(&object.0)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sockets.push(socket.socket_id);
        }
    }
    Ok(sockets)
}

/// A dump of the local ports of all TCP sockets, in any state, which yields a list of ports at a time.
///
/// A port is listed once for each of its sockets. A socket that changes its state during the dump may be missing.
pub struct PortDump {
    stream: Stream,
    /// The requests for the families that are still to be dumped.
    requests: Vec<SockDiagMessage>,
}

impl PortDump {
    /// Starts a dump in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// The error of the netlink socket.
    pub fn start() -> io::Result<Self> {
        let [first, second] = requests(StateFlags::all());
        Ok(Self { stream: netlink::stream(NETLINK_SOCK_DIAG, first)?, requests: vec![second] })
    }
}

impl Iterator for PortDump {
    type Item = io::Result<Vec<u16>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(received) = self.stream.next() {
                return Some(received.map(|sockets| sockets.iter().filter_map(local_port).collect()));
            }
            match netlink::stream(NETLINK_SOCK_DIAG, self.requests.pop()?) {
                Ok(stream) => self.stream = stream,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Returns the local port of a socket, from the `id.idiag_sport` of its `struct inet_diag_msg`.
fn local_port(socket: &Object) -> Option<u16> {
    socket.0.get(4..).and_then(|id| id.first_chunk()).copied().map(u16::from_be_bytes)
}

/// Returns the requests for the TCP sockets in one of `states`, one for each address family.
fn requests(states: StateFlags) -> [SockDiagMessage; 2] {
    [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())].map(|(family, socket_id)| {
        SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id,
        })
    })
}
