//! The ICMP error that ended a connection attempt, read from the error queue of the socket.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

/// An ICMP error about a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Whether the error is of ICMPv6.
    pub is_v6: bool,
    /// The type of the message.
    pub kind: u8,
    /// The code of the message.
    pub code: u8,
    /// The address of its sender. `None` if the kernel does not report it.
    pub sender: Option<IpAddr>,
}

impl IcmpError {
    /// Reads the first ICMP error from the error queue of a socket with `IP_RECVERR` or `IPV6_RECVERR`.
    ///
    /// Returns `None` if there is none. Linux queues the errors of TCP sockets since 5.9.
    pub fn read(socket: BorrowedFd) -> Option<Self> {
        let mut control = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut [], Some(&mut control), flags).ok()?;
        // The kernel sets this flag for a message from the error queue. QEMU's user-mode emulation has no such queue.
        if !message.flags.contains(MsgFlags::MSG_ERRQUEUE) {
            return None;
        }
        message.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4RecvErr(error, sender) => Self::new(
                error,
                libc::SO_EE_ORIGIN_ICMP,
                sender.map(|sender| Ipv4Addr::from_bits(u32::from_be(sender.sin_addr.s_addr)).into()),
            ),
            ControlMessageOwned::Ipv6RecvErr(error, sender) => Self::new(
                error,
                libc::SO_EE_ORIGIN_ICMP6,
                sender.map(|sender| Ipv6Addr::from(sender.sin6_addr.s6_addr).into()),
            ),
            _ => None,
        })
    }

    /// Returns the error if it is of the given origin, and not of this host.
    fn new(error: libc::sock_extended_err, origin: u8, sender: Option<IpAddr>) -> Option<Self> {
        (error.ee_origin == origin).then_some(Self {
            is_v6: origin == libc::SO_EE_ORIGIN_ICMP6,
            kind: error.ee_type,
            code: error.ee_code,
            sender,
        })
    }

    /// Returns the name of the message, in the words of the RFCs 792, 1122, 1812 and 4443. `None` for uncommon
    /// messages.
    fn name(&self) -> Option<&'static str> {
        Some(match (self.is_v6, self.kind, self.code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) => "port unreachable",
            (false, 3, 9) => "network prohibited",
            (false, 3, 10) => "host prohibited",
            (false, 3, 13) => "administratively prohibited",
            (false, 11, 0) | (true, 3, 0) => "time to live exceeded",
            (true, 1, 0) => "no route",
            (true, 1, 1) => "administratively prohibited",
            (true, 1, 3) => "address unreachable",
            (true, 1, 4) => "port unreachable",
            (true, 1, 5) => "source address failed policy",
            (true, 1, 6) => "route rejected",
            _ => return None,
        })
    }
}

impl Display for IcmpError {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let version = if self.is_v6 { "ICMPv6" } else { "ICMP" };
        match self.name() {
            Some(name) => write!(f, "{version} {name}")?,
            None => write!(f, "{version} type {}, code {}", self.kind, self.code)?,
        }
        self.sender.iter().try_for_each(|sender| write!(f, " from {sender}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_named_by_version_type_and_code() {
        let sender = Some(Ipv4Addr::new(192, 0, 2, 254).into());
        for (error, text) in [
            (IcmpError { is_v6: false, kind: 3, code: 3, sender }, "ICMP port unreachable from 192.0.2.254"),
            (IcmpError { is_v6: false, kind: 3, code: 13, sender: None }, "ICMP administratively prohibited"),
            (IcmpError { is_v6: true, kind: 1, code: 4, sender: None }, "ICMPv6 port unreachable"),
            (IcmpError { is_v6: true, kind: 3, code: 0, sender: None }, "ICMPv6 time to live exceeded"),
            (IcmpError { is_v6: true, kind: 3, code: 3, sender: None }, "ICMPv6 type 3, code 3"),
            (IcmpError { is_v6: false, kind: 12, code: 0, sender: None }, "ICMP type 12, code 0"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
