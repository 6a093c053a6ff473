//! Verdicts on frames. A verdict names the reason for a frame's XDP action.

use zerocopy::TryFromBytes;

/// The XDP actions that tcp-bounce uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAction {
    /// Pass the frame to the host's network stack, unchanged.
    Pass,
    /// Drop the frame.
    Drop,
    /// Send the frame out of the interface on which it arrived.
    Tx,
}

/// The reason for a frame's XDP action. The numeric value is the index of the verdict's counter.
///
/// Verdicts on frames that are sent come first, then those on frames that are dropped, and last those on frames that
/// are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Verdict {
    /// A SYN, answered with a SYN-ACK.
    Answered,
    /// The ACK that completes a handshake, answered with a RST.
    Reset,
    /// The ACK that completes a handshake, answered with a FIN.
    Closed,
    /// The ACK that completes a handshake, answered with the banner of a service.
    Greeted,
    /// The ACK that completes a handshake and carries data, answered.
    Accepted,
    /// A later segment of a connection that tcp-bounce accepted, answered.
    Replied,
    /// The ACK that completes a handshake, not answered.
    Completed,
    /// A later segment of a connection that tcp-bounce accepted, not answered.
    Later,
    /// A segment without ACK and RST that is not a SYN, such as a FIN, NULL or Xmas probe. A listener drops it, too.
    WithoutAck,
    /// The ACK that completes a handshake, or a later segment of a connection that tcp-bounce accepted, in a frame that
    /// has no room for the payload to send.
    NoRoomForPayload,
    /// Any other TCP segment that passes the filters, dropped because takeover is enabled.
    TakenOver,
    /// A frame that is neither IPv4 nor IPv6.
    NotIp,
    /// An IP packet whose payload is not TCP, or whose extension headers are not supported.
    NotTcp,
    /// An IP fragment, unless it is the first fragment of a later segment ([`Verdict::Later`]). An IPv4 fragment of a
    /// protocol other than TCP is `NotTcp` instead.
    Fragment,
    /// A truncated packet, or a packet with contradictory lengths or a wrong IP version.
    Malformed,
    /// A frame to a foreign MAC address (`PACKET_OTHERHOST` in the kernel).
    OtherHost,
    /// A frame with VLAN tags that the host does not have.
    OtherVlan,
    /// A packet that is not from one host to another: a group or broadcast address, an impossible address, or equal
    /// source and destination.
    NotUnicast,
    /// A packet to an address outside the filter's destinations.
    OtherDestination,
    /// A packet from an address outside the filter's sources.
    OtherSource,
    /// A segment to an excluded port. The host listens on the port or has just stopped to listen, or the user excluded
    /// the port.
    Excluded,
    /// A segment of the host's own connections, or a stray one: neither a SYN for tcp-bounce nor part of a connection
    /// that tcp-bounce accepted. Passed to the host, because takeover is disabled.
    OtherTcp,
    /// A SYN with a signature (MD5, TCP-AO). The client accepts only a signed reply.
    Signed,
    /// A SYN in a frame that has no room for the reply.
    NoRoom,
}

impl Verdict {
    /// All verdicts, in ascending order of their values.
    pub const ALL: [Self; 24] = [
        Self::Answered,
        Self::Reset,
        Self::Closed,
        Self::Greeted,
        Self::Accepted,
        Self::Replied,
        Self::Completed,
        Self::Later,
        Self::WithoutAck,
        Self::NoRoomForPayload,
        Self::TakenOver,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::Malformed,
        Self::OtherHost,
        Self::OtherVlan,
        Self::NotUnicast,
        Self::OtherDestination,
        Self::OtherSource,
        Self::Excluded,
        Self::OtherTcp,
        Self::Signed,
        Self::NoRoom,
    ];

    /// Returns the XDP action of frames with this verdict.
    #[inline(always)]
    pub const fn action(self) -> XdpAction {
        // Comparisons of numbers take fewer instructions than a `match`.
        if self as u32 <= Self::Replied as u32 {
            XdpAction::Tx
        } else if self as u32 <= Self::TakenOver as u32 {
            XdpAction::Drop
        } else {
            XdpAction::Pass
        }
    }

    /// Returns the verdict on a segment that also completes a handshake, given the verdict on its data.
    #[inline(always)]
    pub const fn completing_handshake(self) -> Self {
        match self {
            Self::Later => Self::Completed,
            Self::Replied => Self::Accepted,
            verdict => verdict,
        }
    }

    /// Returns the verdict's name in JSON and metrics. Names never change, so that consumers keep working.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Greeted => "greeted",
            Self::Accepted => "accepted",
            Self::Replied => "replied",
            Self::Completed => "completed",
            Self::Later => "later",
            Self::WithoutAck => "without_ack",
            Self::NoRoomForPayload => "no_room_for_payload",
            Self::TakenOver => "taken_over",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::OtherHost => "other_host",
            Self::OtherVlan => "other_vlan",
            Self::NotUnicast => "not_unicast",
            Self::OtherDestination => "other_destination",
            Self::OtherSource => "other_source",
            Self::Excluded => "excluded",
            Self::OtherTcp => "other_tcp",
            Self::Signed => "signed",
            Self::NoRoom => "no_room",
        }
    }

    /// Returns the description of `count` frames with this verdict, for a line of the summary. The number precedes it,
    /// so that the description is in the singular or in the plural.
    pub const fn description(self, count: u64) -> &'static str {
        let (singular, plural) = self.descriptions();
        if count == 1 { singular } else { plural }
    }

    /// Returns the descriptions of one frame and of several.
    const fn descriptions(self) -> (&'static str, &'static str) {
        match self {
            Self::Answered => ("SYN answered", "SYNs answered"),
            Self::Completed => ("handshake completed", "handshakes completed"),
            Self::Reset => ("handshake completed and reset", "handshakes completed and reset"),
            Self::Closed => ("handshake completed and closed", "handshakes completed and closed"),
            Self::Greeted => ("handshake completed, banner sent", "handshakes completed, banner sent"),
            Self::Accepted => ("handshake completed with data", "handshakes completed with data"),
            Self::Replied => ("later segment answered", "later segments answered"),
            Self::Later => ("later segment dropped", "later segments dropped"),
            Self::WithoutAck => ("segment without ACK dropped", "segments without ACK dropped"),
            Self::NoRoomForPayload => {
                ("segment dropped: no room for the payload", "segments dropped: no room for the payload")
            }
            Self::TakenOver => ("other TCP segment dropped", "other TCP segments dropped"),
            Self::NotIp => ("passed: not IP", "passed: not IP"),
            Self::NotTcp => ("passed: not TCP", "passed: not TCP"),
            Self::Fragment => ("passed: fragment", "passed: fragments"),
            Self::Malformed => ("passed: malformed", "passed: malformed"),
            Self::OtherHost => ("passed: to another MAC address", "passed: to another MAC address"),
            Self::OtherVlan => ("passed: with an unknown VLAN tag", "passed: with an unknown VLAN tag"),
            Self::NotUnicast => ("passed: not unicast", "passed: not unicast"),
            Self::OtherDestination => ("passed: to another IP address", "passed: to another IP address"),
            Self::OtherSource => ("passed: from an unselected source", "passed: from an unselected source"),
            Self::Excluded => ("passed: to an excluded port", "passed: to an excluded port"),
            Self::OtherTcp => ("passed: other TCP segment", "passed: other TCP segments"),
            Self::Signed => ("passed: signed SYN (MD5, TCP-AO)", "passed: signed SYNs (MD5, TCP-AO)"),
            Self::NoRoom => ("passed: no room for the reply", "passed: no room for the reply"),
        }
    }
}
