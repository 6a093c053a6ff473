//! What became of a packet, and why.

use zerocopy::TryFromBytes;

/// What is to happen to a frame: the XDP actions that tcp-bounce uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAction {
    /// To the kernel's own stack, untouched.
    Pass,
    /// Nowhere.
    Drop,
    /// Back out of the interface it came in by.
    Tx,
}

/// Why a frame got the action it got. Each has a counter, whose index it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Verdict {
    /// A SYN, answered with a SYN-ACK.
    Answered,
    /// An ACK that completes a handshake, answered with a RST.
    Reset,
    /// The same, answered with a FIN.
    Closed,
    /// A later segment of a bounced connection, answered.
    Replied,
    /// The ACK that completes a handshake: it acknowledges our SYN-ACK and carries nothing.
    Completed,
    /// A later segment of a bounced connection, not answered.
    Later,
    /// Any other TCP, under takeover.
    TakenOver,
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but not TCP.
    NotTcp,
    /// A fragment of a datagram.
    Fragment,
    /// Truncated, or with lengths that contradict each other.
    Malformed,
    /// To a MAC address that is not the interface's: the kernel's `PACKET_OTHERHOST`.
    OtherHost,
    /// Not a packet from one host to another: group or impossible addresses, or a source that is its own
    /// destination.
    NotUnicast,
    /// To an address that is not answered for.
    OtherDestination,
    /// From an address that is not answered.
    OtherSource,
    /// To a port that is not ours: the host listens there, or the user excepted it.
    Excluded,
    /// TCP that is no SYN and does not belong to a bounced connection: of the host's own connections, or a reset.
    OtherTcp,
    /// A SYN that is signed (MD5, TCP-AO), which asks for a signed answer.
    Signed,
    /// A SYN whose frame had no room for the reply.
    NoRoom,
}

impl Verdict {
    /// Every verdict, in the order of its index.
    pub const ALL: [Self; 19] = [
        Self::Answered,
        Self::Reset,
        Self::Closed,
        Self::Replied,
        Self::Completed,
        Self::Later,
        Self::TakenOver,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::Malformed,
        Self::OtherHost,
        Self::NotUnicast,
        Self::OtherDestination,
        Self::OtherSource,
        Self::Excluded,
        Self::OtherTcp,
        Self::Signed,
        Self::NoRoom,
    ];

    /// What happens to the frame.
    #[inline(always)]
    pub const fn action(self) -> XdpAction {
        match self {
            Self::Answered | Self::Reset | Self::Closed | Self::Replied => XdpAction::Tx,
            Self::Completed | Self::Later | Self::TakenOver => XdpAction::Drop,
            Self::NotIp
            | Self::NotTcp
            | Self::Fragment
            | Self::Malformed
            | Self::OtherHost
            | Self::NotUnicast
            | Self::OtherDestination
            | Self::OtherSource
            | Self::Excluded
            | Self::OtherTcp
            | Self::Signed
            | Self::NoRoom => XdpAction::Pass,
        }
    }

    /// A name for programs, which stays the same.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Replied => "replied",
            Self::Completed => "completed",
            Self::Later => "later",
            Self::TakenOver => "taken_over",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::OtherHost => "other_host",
            Self::NotUnicast => "not_unicast",
            Self::OtherDestination => "other_destination",
            Self::OtherSource => "other_source",
            Self::Excluded => "spared",
            Self::OtherTcp => "not_ours",
            Self::Signed => "signed",
            Self::NoRoom => "no_room",
        }
    }

    /// The same in words, after a number of frames.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Answered => "SYNs answered",
            Self::Completed => "handshakes completed",
            Self::Reset => "handshakes completed and reset",
            Self::Closed => "handshakes completed and closed",
            Self::Replied => "later segments of bounced connections answered",
            Self::Later => "later segments of bounced connections dropped",
            Self::TakenOver => "other TCP segments dropped",
            Self::NotIp => "passed: not IP",
            Self::NotTcp => "passed: not TCP",
            Self::Fragment => "passed: fragment",
            Self::Malformed => "passed: malformed",
            Self::OtherHost => "passed: to another MAC address",
            Self::NotUnicast => "passed: not from one host to another",
            Self::OtherDestination => "passed: to an address that is not answered for",
            Self::OtherSource => "passed: from an address that is not answered",
            Self::Excluded => "passed: to a spared port",
            Self::OtherTcp => "passed: other TCP segments",
            Self::Signed => "passed: signed SYNs (MD5, TCP-AO)",
            Self::NoRoom => "passed: no room for the reply",
        }
    }
}
