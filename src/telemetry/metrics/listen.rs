//! The listening socket of the metrics server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt, socket, sockopt,
};

/// The maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens on `address`. The unspecified IPv6 address stands for every IPv4 and IPv6 address.
///
/// # Errors
///
/// The address is not available.
pub fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(address);
    }
    match listen_on_all(address.port()) {
        // The kernel has no IPv6 (`ipv6.disable=1`), or a sandbox denies it.
        Err(Errno::EAFNOSUPPORT) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())),
        listener => Ok(listener?),
    }
}

/// Listens on `port` of every IPv4 and IPv6 address, whatever the default of the kernel is (`net.ipv6.bindv6only`).
fn listen_on_all(port: u16) -> nix::Result<TcpListener> {
    let socket = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}
