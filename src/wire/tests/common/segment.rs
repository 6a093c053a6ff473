//! TCP segments as etherparse reads them, and the verdicts that they should get.

use std::fmt::{self, Debug, Formatter};

use etherparse::{IpNumber, Ipv6ExtensionSlice, LinkSlice, NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use tcp_bounce_wire::Verdict;

use super::request::{ACK, ETHERNET_LENGTH, FIN, RST, SYN};
use super::setup::Choice;
use super::syn_options::SynOptions;

/// A whole TCP segment, as etherparse reads it: strictly, so that all lengths agree.
pub struct Segment<'a> {
    pub source_mac: [u8; 6],
    pub destination_mac: [u8; 6],
    /// VLAN tags.
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
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let tags = packet.link_exts.len();
        // etherparse knows 0x9100, too, which came before IEEE 802.1ad.
        let is_vlan = |tag: usize| [[0x81, 0], [0x88, 0xa8]].contains(&[frame[12 + tag * 4], frame[13 + tag * 4]]);
        if tags > 2 || !(0..tags).all(is_vlan) {
            return None;
        }
        // etherparse also looks behind AH, and takes an IPv6 packet of length 0 for a jumbogram.
        let is_primary = match packet.net.as_ref()? {
            NetSlice::Ipv4(ipv4) => ipv4.header().protocol() == IpNumber::TCP,
            NetSlice::Ipv6(ipv6) => {
                let header = ipv6.header();
                header.payload_length() > 0 && [6, 0, 43, 60].contains(&header.next_header().0)
            }
            NetSlice::Arp(_) => false,
        };
        if !is_primary {
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

    /// Source and destination address.
    pub fn addresses(&self) -> (Vec<u8>, Vec<u8>) {
        match &self.net {
            NetSlice::Ipv4(ipv4) => (ipv4.header().source().to_vec(), ipv4.header().destination().to_vec()),
            NetSlice::Ipv6(ipv6) => (ipv6.header().source().to_vec(), ipv6.header().destination().to_vec()),
            NetSlice::Arp(_) => unreachable!("it carries TCP"),
        }
    }

    /// Where the datagram ends in its frame.
    pub fn end(&self) -> usize {
        let datagram = match &self.net {
            NetSlice::Ipv4(ipv4) => usize::from(ipv4.header().total_len()),
            NetSlice::Ipv6(ipv6) => 40 + usize::from(ipv6.header().payload_length()),
            NetSlice::Arp(_) => unreachable!("it carries TCP"),
        };
        ETHERNET_LENGTH + self.tags * 4 + datagram
    }

    /// The checksum that it should have.
    pub fn checksum(&self) -> u16 {
        let checksum = match &self.net {
            NetSlice::Ipv4(ipv4) => self.tcp.calc_checksum_ipv4(ipv4.header().source(), ipv4.header().destination()),
            NetSlice::Ipv6(ipv6) => self.tcp.calc_checksum_ipv6(ipv6.header().source(), ipv6.header().destination()),
            NetSlice::Arp(_) => unreachable!("it carries TCP"),
        };
        checksum.expect("it is not too long")
    }

    /// Whether it is on its way from one host to another one.
    pub fn is_unicast(&self) -> bool {
        let is_group = |mac: [u8; 6]| mac[0] % 2 == 1;
        let (source, destination) = self.addresses();
        !is_group(self.source_mac)
            && !is_group(self.destination_mac)
            && is_host(&source)
            && is_host(&destination)
            && source != destination
    }

    /// Whether its extension headers are not too many, and none says that it is to be routed on, that it is authenticated, or that
    /// it is a fragment, be it the only one (RFC 6946).
    pub fn is_looked_at(&self) -> bool {
        let NetSlice::Ipv6(ipv6) = &self.net else { return true };
        let mut extensions = ipv6.extensions().clone().into_iter();
        let is_in_the_way = |extension| match extension {
            Ipv6ExtensionSlice::Routing(routing) => routing.slice()[3] != 0,
            Ipv6ExtensionSlice::HopByHop(_) | Ipv6ExtensionSlice::DestinationOptions(_) => false,
            _ => true,
        };
        extensions.clone().count() <= 4 && !extensions.any(is_in_the_way)
    }

    pub fn flags(&self) -> u8 {
        self.tcp.slice()[13]
    }

    /// The ISN that a SYN-ACK to its sender has.
    pub fn isn(&self, settings: &Choice) -> u32 {
        settings.isn_of(&self.tuple())
    }

    /// Addresses and ports, as they lie in it.
    pub fn tuple(&self) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let ports = [self.tcp.source_port().to_be_bytes(), self.tcp.destination_port().to_be_bytes()].concat();
        [source, destination, ports].concat()
    }

    /// What becomes of it, if its port is not spared and its addresses are answered.
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

/// Whether a host on a network can have this address.
pub fn is_host(address: &[u8]) -> bool {
    match <[u8; 16]>::try_from(address) {
        Ok(v6) => {
            let address = std::net::Ipv6Addr::from(v6);
            !address.is_multicast()
                && !address.is_loopback()
                && !address.is_unspecified()
                && address.to_ipv4_mapped().is_none()
        }
        Err(_) => matches!(address[0], 1..=126 | 128..=223),
    }
}

/// What becomes of a segment from one host to another that is not signed. `is_ours`: its acknowledgment number is our
/// ISN + 1.
pub fn expected(flags: u8, is_ours: bool, has_payload: bool, takeover: bool) -> Verdict {
    let [fin, syn, rst, ack] = [FIN, SYN, RST, ACK].map(|flag| flags & flag != 0);
    match (syn, ack, fin || rst || has_payload) {
        (true, false, _) if !fin && !rst => Verdict::Answered,
        (false, true, false) if is_ours => Verdict::Completed,
        (false, true, true) if is_ours => Verdict::Later,
        _ if takeover => Verdict::TakenOver,
        _ => Verdict::OtherTcp,
    }
}
