//! Frames that a host sent: their fields, checksums and TCP options.

use std::ops::Range;

use etherparse::{NetHeaders, PacketHeaders, TcpHeader, TransportHeader};

use super::segment::SYN;

/// The flow label's highest bit, which `net.ipv6.flowlabel_state_ranges` sets (`IPV6_FLOWLABEL_STATELESS_FLAG`).
const STATELESS_FLAG: u32 = 0x80000;

/// The kinds of TCP options.
pub const WINDOW_SCALE: u8 = 3;
pub const TIMESTAMPS: u8 = 8;

/// The name of the fields that depend on other fields.
const DERIVED: &str = "lengths and checksums";

/// A frame with a TCP segment over IPv4, or over IPv6 without extension headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// Returns the frame in `bytes`, or `None` if it does not contain a TCP segment.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let headers = PacketHeaders::from_ethernet_slice(bytes).ok()?;
        matches!(headers.transport, Some(TransportHeader::Tcp(_))).then(|| Self(bytes.to_vec()))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the TCP header.
    pub fn tcp(&self) -> TcpHeader {
        PacketHeaders::from_ethernet_slice(&self.0).unwrap().transport.unwrap().tcp().unwrap()
    }

    /// Returns the TCP flags without AE.
    pub fn flags(&self) -> u8 {
        self.0[self.tcp_offset() + 13]
    }

    pub fn is_syn_ack(&self) -> bool {
        let tcp = self.tcp();
        tcp.syn && tcp.ack
    }

    /// Returns the data of the TCP option `kind`, without kind and length.
    pub fn option(&self, kind: u8) -> Option<&[u8]> {
        let (_, range) = self.options().into_iter().find(|&(found, _)| found == kind)?;
        Some(&self.0[range])
    }

    /// Returns TSval, the time of the sender, or `None` without timestamps.
    pub fn tsval(&self) -> Option<u32> {
        self.option(TIMESTAMPS).map(|data| u32::from_be_bytes(data[..4].try_into().unwrap()))
    }

    /// Returns the shift count of the window scale option, or 0 without this option.
    pub fn window_scale(&self) -> u8 {
        self.option(WINDOW_SCALE).map_or(0, |data| data[0])
    }

    /// Returns the flow label. Over IPv4 it is 0.
    pub fn flow_label(&self) -> u32 {
        if self.is_v4() { 0 } else { u32::from_be_bytes(self.0[14..18].try_into().unwrap()) & 0xfffff }
    }

    /// Returns whether all checksums are right, and all bytes after the IP packet are zero.
    pub fn is_intact(&self) -> bool {
        self.0[self.end()..].iter().all(|&byte| byte == 0) && self.has_right_checksums()
    }

    fn has_right_checksums(&self) -> bool {
        let headers = PacketHeaders::from_ethernet_slice(&self.0).unwrap();
        let (tcp, payload) = (self.tcp(), headers.payload.slice());
        let (ip_is_right, expected) = match headers.net.unwrap() {
            NetHeaders::Ipv4(ip, _) => {
                (ip.header_checksum == ip.calc_header_checksum(), tcp.calc_checksum_ipv4(&ip, payload))
            }
            NetHeaders::Ipv6(ip, _) => (true, tcp.calc_checksum_ipv6(&ip, payload)),
            NetHeaders::Arp(_) => unreachable!("the frame contains a TCP segment"),
        };
        let expected = expected.unwrap();
        // In one's complement 0xffff is also zero. The kernel writes it instead of zero (`CSUM_MANGLED_0`).
        ip_is_right && (tcp.checksum == expected || (tcp.checksum, expected) == (0xffff, 0))
    }

    fn is_v4(&self) -> bool {
        self.0[12..14] == [0x08, 0x00]
    }

    /// Returns the offset of the TCP header, in bytes.
    fn tcp_offset(&self) -> usize {
        if self.is_v4() { 14 + 4 * usize::from(self.0[14] & 0xf) } else { 54 }
    }

    /// Returns the offset of the end of the IP packet, in bytes. Ethernet padding may follow.
    fn end(&self) -> usize {
        let length = |at| usize::from(u16::from_be_bytes([self.0[at], self.0[at + 1]]));
        if self.is_v4() { 14 + length(16) } else { 54 + length(18) }
    }

    /// Returns the offset of the end of the TCP header, in bytes.
    fn end_of_header(&self) -> usize {
        let tcp = self.tcp_offset();
        tcp + 4 * usize::from(self.0[tcp + 12] >> 4)
    }

    /// Returns the kind of each TCP option, and the range of its data in the frame.
    fn options(&self) -> Vec<(u8, Range<usize>)> {
        let (mut at, end) = (self.tcp_offset() + 20, self.end_of_header());
        let mut options = Vec::new();
        while at < end && self.0[at] != 0 {
            let length = if self.0[at] == 1 { 1 } else { usize::from(self.0[at + 1]).max(2) };
            if length > 1 {
                options.push((self.0[at], at + 2..at + length));
            }
            at += length;
        }
        options
    }

    /// Returns this frame without padding, and with zeros as TSval and TCP checksum.
    pub fn without_time(&self) -> Self {
        let mut frame = Self(self.0[..self.end()].to_vec());
        let tcp = frame.tcp_offset();
        frame.0[tcp + 16..tcp + 18].fill(0);
        if let Some((_, range)) = frame.options().into_iter().find(|&(kind, _)| kind == TIMESTAMPS) {
            frame.0[range.start..range.start + 4].fill(0);
        }
        frame
    }

    /// Returns this frame without padding, with fixed values in the fields that differ for each connection: the
    /// client's port, a SYN-ACK's ISN, TSval, and the TCP checksum.
    ///
    /// A flow label that is neither 0 nor `request_label`, the flow label of the request, differs as well. Only its
    /// highest bit is kept if `marks_flow_labels`.
    pub fn comparable(&self, request_label: u32, marks_flow_labels: bool) -> Self {
        let mut frame = self.without_time();
        let tcp = frame.tcp_offset();
        frame.0[tcp + 2..tcp + 4].fill(0);
        if frame.flags() & SYN != 0 {
            frame.0[tcp + 4..tcp + 8].fill(0);
        }
        let label = frame.flow_label();
        if label != 0 && label != request_label {
            let kept = if marks_flow_labels { label & STATELESS_FLAG } else { 0 };
            let word = u32::from_be_bytes(frame.0[14..18].try_into().unwrap());
            frame.0[14..18].copy_from_slice(&(word & !0xfffff | kept | 1).to_be_bytes());
        }
        frame
    }

    /// Returns the fields with their names. Lengths and checksums, which depend on other fields, come first.
    pub fn fields(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (tcp, options) = (self.tcp_offset(), self.end_of_header());
        let ip: &[_] = if self.is_v4() {
            &[
                (DERIVED, 14..15),
                (DERIVED, 16..18),
                (DERIVED, 24..26),
                ("type of service", 15..16),
                ("identification", 18..20),
                ("DF", 20..22),
                ("TTL", 22..23),
                ("protocol", 23..24),
                ("addresses", 26..34),
                ("IP options", 34..tcp),
            ]
        } else {
            &[
                (DERIVED, 18..20),
                ("traffic class and flow label", 14..18),
                ("next header", 20..21),
                ("hop limit", 21..22),
                ("addresses", 22..54),
            ]
        };
        let fields = [
            ("MACs and EtherType", 0..14),
            ("source port", tcp..tcp + 2),
            ("sequence number", tcp + 4..tcp + 8),
            ("acknowledgment number", tcp + 8..tcp + 12),
            ("flags", tcp + 13..tcp + 14),
            ("window", tcp + 14..tcp + 16),
            ("urgent pointer", tcp + 18..tcp + 20),
            ("options", tcp + 20..options),
            ("data", options..self.0.len()),
        ];
        let fields = ip.iter().cloned().chain(fields).map(|(name, range)| (name, self.0[range].to_vec()));
        fields.chain([("reserved bits", vec![self.0[tcp + 12] & 0xf])]).collect()
    }
}

/// Returns `bytes` in hex, without spaces.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
