//! TCP segments that the tests send, without their addresses and source ports.

use std::fmt::{self, Display, Formatter};

use etherparse::checksum::Sum16BitWords;

/// The port of the kernel's listener, on which tcp-bounce answers too.
pub const PORT: u16 = 80;

const TCP: u8 = 6;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}
use Family::{V4, V6};

impl Family {
    /// Returns the MSS for an MTU, both in bytes: the MTU without an IP and a TCP header.
    pub fn mss(self, mtu: u16) -> u16 {
        match self {
            V4 => mtu - 40,
            V6 => mtu - 60,
        }
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(if *self == V4 { "IPv4" } else { "IPv6" })
    }
}

/// A segment without its addresses and source port.
#[derive(Clone, Debug)]
pub struct Segment {
    pub name: String,
    /// The IP versions over which the segment is sent.
    pub families: &'static [Family],
    /// The DSCP and ECN bits: the type of service in IPv4, the traffic class in IPv6.
    pub traffic_class: u8,
    pub flow_label: u32,
    pub identification: u16,
    pub dont_fragment: bool,
    /// The TTL in IPv4, the hop limit in IPv6.
    pub ttl: u8,
    /// The protocol in the IPv4 header, or the next header in the IPv6 header.
    pub protocol: u8,
    /// The IPv4 options or IPv6 extension headers, in hex.
    pub ip_options: &'static str,
    pub destination_port: u16,
    pub sequence_number: u32,
    pub acknowledgment_number: u32,
    /// The four bits between the data offset and the flags.
    pub reserved: u8,
    pub flags: u8,
    pub window: u16,
    pub urgent_pointer: u16,
    /// The TCP options in the notation of [`bytes`].
    pub options: String,
    pub payload: Vec<u8>,
    /// The bytes after the IP packet in the frame.
    pub trailer: Vec<u8>,
}

impl Segment {
    /// Returns a SYN with the header fields of a Linux client. `options` is in the notation of [`bytes`].
    pub fn syn(name: &str, options: &str) -> Self {
        Self {
            name: name.to_owned(),
            families: &[V4, V6],
            traffic_class: 0,
            flow_label: 0,
            identification: 0x1234,
            dont_fragment: true,
            ttl: 64,
            protocol: TCP,
            ip_options: "",
            destination_port: PORT,
            sequence_number: 0x3b9a_ca07,
            acknowledgment_number: 0,
            reserved: 0,
            flags: SYN,
            window: 64240,
            urgent_pointer: 0,
            options: options.to_owned(),
            payload: Vec::new(),
            trailer: Vec::new(),
        }
    }

    /// Returns the IP packet and the trailer. The option `mss` contains the MSS for `mtu`.
    pub fn packet(&self, family: Family, (source, destination): (&[u8], &[u8]), source_port: u16, mtu: u16) -> Vec<u8> {
        let mut options = bytes(&self.options, family.mss(mtu));
        options.resize(options.len().next_multiple_of(4), 0);
        let mut segment = [
            &source_port.to_be_bytes()[..],
            &self.destination_port.to_be_bytes(),
            &self.sequence_number.to_be_bytes(),
            &self.acknowledgment_number.to_be_bytes(),
            &[((20 + options.len()) as u8 / 4) << 4 | self.reserved, self.flags],
            &self.window.to_be_bytes(),
            &[0; 2],
            &self.urgent_pointer.to_be_bytes(),
            &options,
            &self.payload,
        ]
        .concat();
        let pseudo_header = [source, destination, &[0, TCP], &(segment.len() as u16).to_be_bytes()].concat();
        let checksum = Sum16BitWords::new().add_slice(&pseudo_header).add_slice(&segment).ones_complement();
        segment[16..18].copy_from_slice(&checksum.to_ne_bytes());

        let ip_options = bytes(self.ip_options, 0);
        let length = (ip_options.len() + segment.len()) as u16;
        let addresses = [source, destination].concat();
        let header = match family {
            V4 => {
                let mut header = [
                    &[0x45 + (ip_options.len() / 4) as u8, self.traffic_class][..],
                    &(20 + length).to_be_bytes(),
                    &self.identification.to_be_bytes(),
                    &[u8::from(self.dont_fragment) << 6, 0, self.ttl, self.protocol, 0, 0],
                    &addresses,
                    &ip_options,
                ]
                .concat();
                let checksum = Sum16BitWords::new().add_slice(&header).ones_complement();
                header[10..12].copy_from_slice(&checksum.to_ne_bytes());
                header
            }
            V6 => {
                let first_word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
                let rest = [self.protocol, self.ttl];
                [&first_word.to_be_bytes()[..], &length.to_be_bytes(), &rest, &addresses, &ip_options].concat()
            }
        };
        [&header[..], &segment, &self.trailer].concat()
    }
}

/// Returns the bytes for a list of words. A word is the name of a common option, as in p0f, or bytes in hex.
fn bytes(words: &str, mss: u16) -> Vec<u8> {
    let word = |word| match word {
        "mss" => [&[2, 4][..], &mss.to_be_bytes()].concat(),
        "sok" => vec![4, 2],
        "ts" => vec![8, 10, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0],
        "ws" => vec![3, 3, 7],
        "nop" => vec![1],
        "eol" => vec![0],
        hex => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
    };
    words.split_whitespace().flat_map(word).collect()
}
