//! Builds frames field by field, valid or not.

use tcp_bounce_wire::Action;

use super::segment::Segment;
use super::setup::Choice;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

/// The length of an Ethernet header, in bytes.
pub const ETHERNET_LENGTH: usize = 14;
/// The length of the frame that answers a SYN without options over IPv4, in bytes. The only TCP option is MSS.
pub const REPLY_LENGTH: usize = ETHERNET_LENGTH + 20 + 20 + 4;

/// The TCP options of a SYN of macOS: MSS, NOP, window scale, NOP, NOP, timestamps, SACK permitted, end of list.
pub const MACOS_OPTIONS: [u8; 24] = [2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0];

/// The TCP options of a SYN of Windows 10: MSS, NOP, window scale, NOP, NOP, SACK permitted.
pub const WINDOWS_OPTIONS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];

/// The TCP options of Linux's SYN: MSS, SACK permitted, timestamps, NOP, window scale.
pub const LINUX_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];

/// A frame, field by field. Lengths that are `None` are computed from the other fields.
#[derive(Clone, Debug)]
pub struct Request {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    /// VLAN tags of 4 bytes: a tag's ethertype, then its tag control information.
    pub tags: Vec<u8>,
    pub ethertype: u16,
    /// The IPv6 fields, or `None` for IPv4. An IPv6 frame uses `version`, `ttl` and `protocol`, but no other IPv4
    /// field.
    pub v6: Option<V6>,
    pub version: u8,
    pub ihl: Option<u8>,
    pub type_of_service: u8,
    pub total_length: Option<u16>,
    pub identification: u16,
    /// Flags and fragment offset: 16 bits, as in the header.
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub header_checksum: u16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub ip_options: Vec<u8>,
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence_number: u32,
    pub acknowledgment_number: u32,
    pub data_offset: Option<u8>,
    /// The four reserved bits between data offset and flags.
    pub reserved: u8,
    pub flags: u8,
    pub window: u16,
    pub checksum: u16,
    pub urgent_pointer: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// Bytes after the IP packet, such as Ethernet padding.
    pub trailer: Vec<u8>,
}

/// The fields of a request over IPv6.
#[derive(Clone, Debug)]
pub struct V6 {
    pub class_and_flow: u32,
    pub payload_length: Option<u16>,
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// The type of the first extension header. `None` selects `protocol`.
    pub next_header: Option<u8>,
    /// The bytes of all extension headers.
    pub extensions: Vec<u8>,
}

impl V6 {
    /// Returns the fields of a packet from 2001:db8::a to 2001:db8::7 without extension headers.
    pub fn new() -> Self {
        let address = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        Self {
            class_and_flow: 0,
            payload_length: None,
            source: address(0x0a),
            destination: address(7),
            next_header: None,
            extensions: Vec::new(),
        }
    }
}

impl Request {
    /// Returns this request over IPv6.
    pub fn over_ipv6(self) -> Self {
        Self { ethertype: 0x86dd, version: 6, v6: Some(V6::new()), ..self }
    }

    /// Returns this request over IPv6 as the first of several fragments.
    pub fn first_fragment(self) -> Self {
        let v6 = V6 { next_header: Some(44), extensions: vec![6, 0, 0, 1, 0, 0, 0, 9], ..V6::new() };
        Self { v6: Some(v6), ..self.over_ipv6() }
    }

    /// Returns this request with one VLAN tag.
    pub fn tagged(self) -> Self {
        Self { tags: vec![0x81, 0x00, 0xa0, 0x2a], ..self }
    }

    /// Returns this request with two VLAN tags.
    pub fn twice_tagged(self) -> Self {
        Self { tags: vec![0x88, 0xa8, 0x60, 0x07, 0x81, 0x00, 0x00, 0x2a], ..self }
    }

    /// Returns a SYN without options. Its IPv4 and TCP checksums are wrong, which must have no effect.
    pub fn syn() -> Self {
        Self {
            destination_mac: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            source_mac: [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef],
            tags: Vec::new(),
            ethertype: 0x0800,
            v6: None,
            version: 4,
            ihl: None,
            type_of_service: 0,
            total_length: None,
            identification: 0x1234,
            fragment: 0x4000,
            ttl: 61,
            protocol: 6,
            header_checksum: 0xbad1,
            source: [192, 0, 2, 10],
            destination: [198, 51, 100, 7],
            ip_options: Vec::new(),
            source_port: 40262,
            destination_port: 443,
            sequence_number: 0x3b9a_ca07,
            acknowledgment_number: 0,
            data_offset: None,
            reserved: 0,
            flags: SYN,
            window: 64240,
            checksum: 0xbad2,
            urgent_pointer: 0,
            options: Vec::new(),
            payload: Vec::new(),
            trailer: Vec::new(),
        }
    }

    /// Returns the ACK of a SYN-ACK with the default ISN.
    pub fn ack() -> Self {
        Self { sequence_number: 0x3b9a_ca08, acknowledgment_number: Choice::DEFAULT.isn + 1, flags: ACK, ..Self::syn() }
    }

    /// Returns the addresses and ports, in network byte order.
    pub fn tuple(&self) -> Vec<u8> {
        let addresses = match &self.v6 {
            Some(v6) => [v6.source, v6.destination].concat(),
            None => [self.source, self.destination].concat(),
        };
        [&addresses[..], &self.source_port.to_be_bytes(), &self.destination_port.to_be_bytes()].concat()
    }

    /// Returns this request with the acknowledgment number that tcp-bounce expects after its SYN-ACK.
    pub fn acknowledging(self, settings: &Choice) -> Self {
        let tuple = self.tuple();
        let acknowledgment_number = match settings.action {
            Action::Serve => settings.service_isn(&tuple, self.sequence_number.wrapping_sub(1), true).wrapping_add(1),
            action if action.follows_client() => self.sequence_number.wrapping_add(settings.offset_of(&tuple)),
            _ => settings.isn_of(&tuple).wrapping_add(1),
        };
        Self { acknowledgment_number, ..self }
    }

    /// Returns this request with the correct TCP checksum, or unchanged if it is not a TCP segment.
    pub fn with_checksum(self) -> Self {
        let frame = self.frame();
        let checksum = Segment::parse(&frame).map_or(self.checksum, |segment| segment.checksum());
        Self { checksum, ..self }
    }

    /// Returns this request with the checksum of the pseudo-header alone, or unchanged if it is not a TCP segment.
    ///
    /// A sender on the same machine leaves the rest of the checksum to hardware (`CHECKSUM_PARTIAL` in the kernel).
    pub fn with_partial_checksum(self) -> Self {
        let frame = self.frame();
        let Some(segment) = Segment::parse(&frame) else { return self };
        let (source, destination) = segment.addresses();
        let length = segment.tcp.slice().len() as u32;
        let addresses = [source, destination].concat();
        let words = addresses.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum = words.sum::<u32>() + 6 + length;
        let folded = (sum & 0xffff) + (sum >> 16);
        Self { checksum: ((folded & 0xffff) + (folded >> 16)) as u16, ..self }
    }

    /// Returns the length of the IP and TCP headers together, in bytes, including options and extension headers.
    pub fn headers_length(&self) -> usize {
        let ip = match &self.v6 {
            Some(v6) => 40 + v6.extensions.len(),
            None => 20 + self.ip_options.len(),
        };
        ip + 20 + self.options.len()
    }

    /// Returns the length of the frame that answers this SYN, in bytes. `options` is the length of all reply options
    /// except MSS.
    pub fn reply_length(&self, options: usize) -> usize {
        ETHERNET_LENGTH + self.tags.len() + if self.v6.is_some() { 40 } else { 20 } + 24 + options
    }

    /// Returns the length of the IP packet, in bytes.
    pub fn datagram_length(&self) -> usize {
        self.headers_length() + self.payload.len()
    }

    /// Returns the bytes of the frame.
    pub fn frame(&self) -> Vec<u8> {
        let data_offset = self.data_offset.unwrap_or((20 + self.options.len()).div_ceil(4) as u8);
        let fields: [&[u8]; 17] = [
            &self.destination_mac,
            &self.source_mac,
            &self.tags,
            &self.ethertype.to_be_bytes(),
            &self.ip_header(),
            &self.source_port.to_be_bytes(),
            &self.destination_port.to_be_bytes(),
            &self.sequence_number.to_be_bytes(),
            &self.acknowledgment_number.to_be_bytes(),
            &[data_offset << 4 | self.reserved],
            &[self.flags],
            &self.window.to_be_bytes(),
            &self.checksum.to_be_bytes(),
            &self.urgent_pointer.to_be_bytes(),
            &self.options,
            &self.payload,
            &self.trailer,
        ];
        fields.concat()
    }

    fn ip_header(&self) -> Vec<u8> {
        let Some(v6) = &self.v6 else { return self.ipv4_header() };
        let payload_length = v6.payload_length.unwrap_or((self.datagram_length() - 40) as u16);
        let fields: [&[u8]; 6] = [
            &(u32::from(self.version) << 28 | v6.class_and_flow).to_be_bytes(),
            &payload_length.to_be_bytes(),
            &[v6.next_header.unwrap_or(self.protocol), self.ttl],
            &v6.source,
            &v6.destination,
            &v6.extensions,
        ];
        fields.concat()
    }

    fn ipv4_header(&self) -> Vec<u8> {
        let ihl = self.ihl.unwrap_or((20 + self.ip_options.len()).div_ceil(4) as u8);
        let total_length = self.total_length.unwrap_or(self.datagram_length() as u16);
        let fields: [&[u8]; 9] = [
            &[self.version << 4 | ihl, self.type_of_service],
            &total_length.to_be_bytes(),
            &self.identification.to_be_bytes(),
            &self.fragment.to_be_bytes(),
            &[self.ttl, self.protocol],
            &self.header_checksum.to_be_bytes(),
            &self.source,
            &self.destination,
            &self.ip_options,
        ];
        fields.concat()
    }
}
