//! TCP segments as etherparse parses them, and the verdicts that the packet logic must return for them.

use std::fmt::{self, Debug, Formatter};

use etherparse::{IpNumber, Ipv6ExtensionSlice, LinkSlice, NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use tcp_bounce_wire::Verdict;

use super::request::{ACK, ETHERNET_LENGTH, FIN, RST, SYN};
use super::setup::Choice;
use super::syn_options::SynOptions;

/// A complete TCP segment. etherparse has checked its lengths.
pub struct Segment<'a> {
    pub source_mac: [u8; 6],
    pub destination_mac: [u8; 6],
    /// The number of VLAN tags.
    pub tags: usize,
    pub net: NetSlice<'a>,
    pub tcp: TcpSlice<'a>,
}

impl Debug for Segment<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:?} {:?}", self.net, self.tcp)
    }
}

impl<'a> Segment<'a> {
    /// Parses the frame. Returns `None` unless it is a complete TCP segment that tcp-bounce handles.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let tags = packet.link_exts.len();
        // etherparse also accepts 0x9100, which predates IEEE 802.1ad.
        let is_vlan = |tag: usize| [[0x81, 0], [0x88, 0xa8]].contains(&[frame[12 + tag * 4], frame[13 + tag * 4]]);
        if tags > 2 || !(0..tags).all(is_vlan) {
            return None;
        }
        // Unlike tcp-bounce, etherparse skips authentication headers and accepts an IPv6 payload length of 0 as a
        // jumbogram.
        let is_plain = match packet.net.as_ref()? {
            NetSlice::Ipv4(ipv4) => ipv4.header().protocol() == IpNumber::TCP,
            NetSlice::Ipv6(ipv6) => {
                let header = ipv6.header();
                header.payload_length() > 0 && [6, 0, 43, 60].contains(&header.next_header().0)
            }
            NetSlice::Arp(_) => false,
        };
        if !is_plain {
            return None;
        }
        Some(Self {
            source_mac: ethernet.source(),
            destination_mac: ethernet.destination(),
            tags,
            tcp: tcp.clone(),
            net: packet.net?,
        })
    }

    /// Returns the source and the destination address in network byte order.
    pub fn addresses(&self) -> (Vec<u8>, Vec<u8>) {
        match &self.net {
            NetSlice::Ipv4(ipv4) => (ipv4.header().source().to_vec(), ipv4.header().destination().to_vec()),
            NetSlice::Ipv6(ipv6) => (ipv6.header().source().to_vec(), ipv6.header().destination().to_vec()),
            NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
        }
    }

    /// Returns the offset in the frame at which the IP packet ends.
    pub fn end(&self) -> usize {
        let datagram = match &self.net {
            NetSlice::Ipv4(ipv4) => usize::from(ipv4.header().total_len()),
            NetSlice::Ipv6(ipv6) => 40 + usize::from(ipv6.header().payload_length()),
            NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
        };
        ETHERNET_LENGTH + self.tags * 4 + datagram
    }

    /// Returns the correct TCP checksum for this segment.
    pub fn checksum(&self) -> u16 {
        let checksum = match &self.net {
            NetSlice::Ipv4(ipv4) => self.tcp.calc_checksum_ipv4(ipv4.header().source(), ipv4.header().destination()),
            NetSlice::Ipv6(ipv6) => self.tcp.calc_checksum_ipv6(ipv6.header().source(), ipv6.header().destination()),
            NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
        };
        checksum.expect("the segment is not too long")
    }

    /// Returns whether the segment is sent from one host to another.
    pub fn is_unicast(&self) -> bool {
        let is_group = |mac: [u8; 6]| mac[0] % 2 == 1;
        let (source, destination) = self.addresses();
        !is_group(self.source_mac)
            && !is_group(self.destination_mac)
            && is_host(&source)
            && is_host(&destination)
            && source != destination
    }

    /// Returns whether tcp-bounce skips all extension headers.
    ///
    /// It skips up to four. It skips no routing header with segments left, no authentication header and no fragment
    /// header, not even of an atomic fragment (RFC 6946).
    pub fn has_plain_extensions(&self) -> bool {
        let NetSlice::Ipv6(ipv6) = &self.net else { return true };
        let mut extensions = ipv6.extensions().clone().into_iter();
        let is_obstacle = |extension| match extension {
            Ipv6ExtensionSlice::Routing(routing) => routing.slice()[3] != 0,
            Ipv6ExtensionSlice::HopByHop(_) | Ipv6ExtensionSlice::DestinationOptions(_) => false,
            _ => true,
        };
        extensions.clone().count() <= 4 && !extensions.any(is_obstacle)
    }

    /// Returns the TCP flags.
    pub fn flags(&self) -> u8 {
        self.tcp.slice()[13]
    }

    /// Returns the ISN of the SYN-ACK in this connection, for an action that does not follow the client.
    pub fn isn(&self, settings: &Choice) -> u32 {
        settings.isn_of(&self.tuple())
    }

    /// Returns source address, destination address, source port and destination port in network byte order.
    pub fn tuple(&self) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let ports = [self.tcp.source_port().to_be_bytes(), self.tcp.destination_port().to_be_bytes()].concat();
        [source, destination, ports].concat()
    }

    /// Returns the expected verdict without filters by IP address or port. For a segment after the handshake, the
    /// verdict applies to the action `Ignore`.
    pub fn expected(&self, settings: &Choice) -> Verdict {
        if settings.mac.is_some_and(|mac| mac != self.destination_mac) {
            return Verdict::OtherHost;
        }
        let is_ours = self.tcp.acknowledgment_number() == self.isn(settings).wrapping_add(1);
        let expected = expected(self.flags(), is_ours, !self.tcp.payload().is_empty(), settings.takeover);
        let is_signed = SynOptions::of(self.tcp.options()).signed;
        if expected == Verdict::Answered && is_signed { Verdict::Signed } else { expected }
    }
}

/// Returns whether a host on a network can have this IPv4 or IPv6 address.
pub fn is_host(address: &[u8]) -> bool {
    match <[u8; 16]>::try_from(address) {
        Ok(v6) => {
            let address = std::net::Ipv6Addr::from(v6);
            !address.is_multicast()
                && !address.is_loopback()
                && !address.is_unspecified()
                && address.to_ipv4_mapped().is_none()
        }
        Err(_) => matches!(address[0], 1..=126 | 128..=223 | 240..) && address != [255; 4],
    }
}

/// Returns the expected verdict on an unsigned segment, with the action `Ignore`. `is_ours` means that the segment
/// acknowledges ISN + 1.
pub fn expected(flags: u8, is_ours: bool, has_payload: bool, takeover: bool) -> Verdict {
    let [fin, syn, rst, ack] = [FIN, SYN, RST, ACK].map(|flag| flags & flag != 0);
    match (syn, ack, fin || rst || has_payload) {
        (true, false, _) if !fin && !rst => Verdict::Answered,
        (false, true, false) if is_ours => Verdict::Completed,
        (false, true, true) if is_ours => Verdict::Later,
        _ if takeover => Verdict::TakenOver,
        (_, false, _) if !rst => Verdict::WithoutAck,
        _ => Verdict::OtherTcp,
    }
}
