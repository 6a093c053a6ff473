//! An attempt: one connection to a port, from the SYN to the first data or to the end of the connection.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr, Linger, SocketError};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getpeername, getsockname, getsockopt, recv,
    setsockopt, socket,
};

use super::icmp::IcmpError;
use super::identity::{Identification, Identity, TokenCheck};
use super::state::{Answer, PortState, Silence};

/// An open connection, or one that is being opened.
#[derive(Debug)]
pub struct Attempt {
    socket: OwnedFd,
    started: Instant,
    /// The time that the handshake took. `None` until it is completed.
    latency: Option<Duration>,
    /// The data received so far.
    received: Vec<u8>,
    was_reset: bool,
}

/// The progress of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is decided.
    Pending,
    /// The handshake was completed, and data may follow.
    Connected,
    /// The attempt has ended.
    Ended(PortState),
}

impl Attempt {
    /// Sends a SYN to `address`.
    ///
    /// # Errors
    ///
    /// The error of `socket(2)`, `setsockopt(2)` or `connect(2)`.
    pub fn start(address: SocketAddr, now: Instant) -> nix::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None)?;
        // A connection that ends with RST leaves no state behind, even if the other side never acknowledges a FIN.
        setsockopt(&socket, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        // Queues ICMP errors, so that a refusal by ICMP can be told from one by RST.
        if address.is_ipv4() {
            setsockopt(&socket, Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)?;
        }
        let attempt = Self { socket, started: now, latency: None, received: Vec::new(), was_reset: false };
        match connect(attempt.socket.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(attempt),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the socket, to wait for events.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the time that the handshake took, or the time until `now` if it was not completed.
    pub fn latency(&self, now: Instant) -> Duration {
        self.latency.unwrap_or_else(|| now.saturating_duration_since(self.started))
    }

    /// Takes the events of the socket into account.
    pub fn advance(&mut self, events: EpollFlags, now: Instant, tokens: TokenCheck) -> Step {
        let was_connected = self.latency.is_some();
        if !was_connected {
            match getsockopt(&self.socket, SocketError).unwrap_or_else(|errno| errno as i32) {
                0 if !events.contains(EpollFlags::EPOLLOUT) => return Step::Pending,
                0 => {}
                // Only a connection that was open can be reset. The kernel uses the second error after a FIN.
                libc::ECONNRESET | libc::EPIPE => self.was_reset = true,
                errno => return Step::Ended(self.failure(Errno::from_raw(errno))),
            }
            if self.is_connected_to_itself() {
                return Step::Ended(PortState::Refused);
            }
            self.latency = Some(now.saturating_duration_since(self.started));
        }
        match self.receive(tokens) {
            Some(state) => Step::Ended(state),
            None if was_connected => Step::Pending,
            None => Step::Connected,
        }
    }

    /// Returns the state after the timeout.
    pub fn expire(&mut self) -> PortState {
        match self.latency {
            None => PortState::Filtered,
            Some(_) => self.ended(Silence::Open),
        }
    }

    /// Returns the state after a failed `connect(2)`.
    fn failure(&self, errno: Errno) -> PortState {
        let icmp = IcmpError::read(self.socket());
        match errno {
            Errno::ECONNREFUSED if icmp.is_none() => PortState::Refused,
            Errno::ETIMEDOUT => PortState::Filtered,
            _ => PortState::Unreachable { errno, icmp },
        }
    }

    /// Reads all data. Returns the state if it is decided.
    fn receive(&mut self, tokens: TokenCheck) -> Option<PortState> {
        let mut chunk = [0; Answer::MAX_DATA];
        loop {
            match recv(self.socket.as_raw_fd(), &mut chunk, MsgFlags::empty()) {
                Ok(0) => {
                    let silence = if self.was_reset { Silence::Reset } else { Silence::Closed };
                    return Some(self.ended(silence));
                }
                Ok(length) => {
                    self.received.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    if let Some(identity) = Identity::parse(&self.received) {
                        let identification =
                            Identification { identity, local: self.local(), is_proven: tokens.check(&identity) };
                        return Some(PortState::Open(Answer::Identified(identification)));
                    }
                    if !Identity::may_follow(&self.received) || self.received.len() >= 4 * Answer::MAX_DATA {
                        return Some(self.ended(Silence::Open));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET | Errno::EPIPE) => return Some(self.ended(Silence::Reset)),
                // No more data, or an ICMP error about an open connection, which does not end it.
                Err(_) => return None,
            }
        }
    }

    /// Returns the state of an open port whose connection has ended, or is not followed any longer.
    fn ended(&mut self, silence: Silence) -> PortState {
        if self.received.is_empty() {
            return PortState::Open(Answer::Silent(silence));
        }
        self.received.truncate(Answer::MAX_DATA);
        PortState::Open(Answer::Data(std::mem::take(&mut self.received)))
    }

    /// Returns whether the kernel chose the probed address and port for this side, too. A socket can connect to itself
    /// only if no listener has the port.
    fn is_connected_to_itself(&self) -> bool {
        let socket = self.socket.as_raw_fd();
        let ends = (getsockname::<SockaddrStorage>(socket), getpeername::<SockaddrStorage>(socket));
        matches!(ends, (Ok(local), Ok(peer)) if local == peer)
    }

    fn local(&self) -> Option<SocketAddr> {
        let address: SockaddrStorage = getsockname(self.socket.as_raw_fd()).ok()?;
        let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    }
}

/// Returns the state of a port to which no SYN could be sent.
pub fn unsent(errno: Errno) -> PortState {
    match errno {
        Errno::ECONNREFUSED => PortState::Refused,
        _ => PortState::Unreachable { errno, icmp: None },
    }
}

/// Returns whether a failure to start an attempt comes from a limit of this host, so that fewer attempts at a time
/// help.
pub fn is_shortage(errno: Errno) -> bool {
    use Errno::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    matches!(errno, EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM | ENOSPC)
}
