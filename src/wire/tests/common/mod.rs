//! What the tests share: requests are built here, `bounce` runs over them, and what it did is checked by rules and a
//! parser that have nothing in common with the crate.

#![allow(dead_code, reason = "each test crate uses its own part of this")]

use etherparse::{Ethernet2Slice, IpNumber, Ipv4Slice, TcpSlice};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Action, Config, Frame, Ports, Settings, Verdict, bounce};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

/// An Ethernet header.
pub const ETHERNET_LENGTH: usize = 14;
/// An Ethernet header, an IPv4 header, a TCP header and the option MSS.
pub const REPLY_LENGTH: usize = ETHERNET_LENGTH + 20 + 20 + 4;

/// A frame to send to `bounce`, field by field. What is `None` follows from the rest, so that it fits together.
#[derive(Clone, Debug)]
pub struct Request {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub ethertype: u16,
    pub version: u8,
    pub ihl: Option<u8>,
    pub type_of_service: u8,
    pub total_length: Option<u16>,
    pub identification: u16,
    /// The flags and the fragment offset: 16 bits, as they stand in the header.
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
    /// The four bits between the data offset and the flags.
    pub reserved: u8,
    pub flags: u8,
    pub window: u16,
    pub checksum: u16,
    pub urgent_pointer: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// What lies in the frame behind the datagram.
    pub trailer: Vec<u8>,
}

impl Request {
    /// A SYN without options. Its checksums are wrong, as they are where the sender leaves them to the hardware.
    pub fn syn() -> Self {
        Self {
            destination_mac: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            source_mac: [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef],
            ethertype: 0x0800,
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

    /// The last segment of a handshake with a SYN-ACK that had the default ISN.
    pub fn ack() -> Self {
        Self {
            sequence_number: 0x3b9a_ca08,
            acknowledgment_number: Settings::DEFAULT.isn + 1,
            flags: ACK,
            ..Self::syn()
        }
    }

    /// The length of both headers with their options.
    pub fn headers_length(&self) -> usize {
        40 + self.ip_options.len() + self.options.len()
    }

    /// The length of the datagram.
    pub fn datagram_length(&self) -> usize {
        self.headers_length() + self.payload.len()
    }

    pub fn frame(&self) -> Vec<u8> {
        let ihl = self.ihl.unwrap_or((20 + self.ip_options.len()).div_ceil(4) as u8);
        let data_offset = self.data_offset.unwrap_or((20 + self.options.len()).div_ceil(4) as u8);
        let total_length = self.total_length.unwrap_or(self.datagram_length() as u16);
        let fields: [&[u8]; 25] = [
            &self.destination_mac,
            &self.source_mac,
            &self.ethertype.to_be_bytes(),
            &[self.version << 4 | ihl, self.type_of_service],
            &total_length.to_be_bytes(),
            &self.identification.to_be_bytes(),
            &self.fragment.to_be_bytes(),
            &[self.ttl],
            &[self.protocol],
            &self.header_checksum.to_be_bytes(),
            &self.source,
            &self.destination,
            &self.ip_options,
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
}

/// What tcp-bounce is told, and the room that its buffers have behind a frame.
#[derive(Clone, Debug)]
pub struct Setup {
    pub settings: Settings,
    pub spared: Ports,
    pub room: usize,
}

impl Setup {
    /// No port is spared, and there is room enough.
    pub fn new(settings: Settings) -> Self {
        Self { settings, spared: Ports::new(), room: 64 }
    }

    /// The default settings.
    pub fn standard() -> Self {
        Self::new(Settings::DEFAULT)
    }

    /// The default settings, but what is not ours is dropped.
    pub fn takeover() -> Self {
        Self::new(Settings { takeover: true, ..Settings::DEFAULT })
    }

    /// Without and with takeover.
    pub fn both() -> [Self; 2] {
        [Self::standard(), Self::takeover()]
    }

    /// The verdict on `frame`, after a check of all that holds for every frame.
    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        self.bounce(frame).0
    }

    /// The verdict on `frame` and what it became.
    ///
    /// Whatever the test is about, this holds: what lies behind the frame in memory changes nothing and is not changed;
    /// a frame that is not answered keeps its length and every byte; one that is has become the right reply.
    pub fn bounce(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let outcome = self.bounce_before_junk(frame, 0xa5);
        assert_eq!(outcome, self.bounce_before_junk(frame, 0x5a), "depends on what lies behind the frame");
        let (verdict, result) = outcome;
        if verdict == Verdict::Answered {
            assert_answer(frame, &result, &self.settings);
        } else {
            assert_eq!(frame, result, "not answered ({verdict:?}), but changed");
        }
        (verdict, result)
    }

    fn bounce_before_junk(&self, frame: &[u8], junk: u8) -> (Verdict, Vec<u8>) {
        let mut bytes = frame.to_vec();
        bytes.resize(frame.len() + self.room, junk);
        let mut buffer = Buffer::new(&mut bytes, frame.len());
        let verdict = bounce(&mut buffer, &Config::new(self.settings), &self.spared);
        let length = buffer.len();
        let behind = &bytes[frame.len().max(length)..];
        assert!(behind.iter().all(|&byte| byte == junk), "{verdict:?} wrote behind the frame: {behind:02x?}");
        bytes.truncate(length);
        (verdict, bytes)
    }
}

/// A whole TCP segment over IPv4, as etherparse reads it: strictly, so that all lengths agree.
pub struct Segment<'a> {
    pub ethernet: Ethernet2Slice<'a>,
    pub ipv4: Ipv4Slice<'a>,
    pub tcp: TcpSlice<'a>,
}

impl<'a> Segment<'a> {
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
        if ethernet.ether_type().0 != 0x0800 {
            return None;
        }
        let ipv4 = Ipv4Slice::from_slice(ethernet.payload_slice()).ok()?;
        if ipv4.header().protocol() != IpNumber::TCP || ipv4.is_payload_fragmented() {
            return None;
        }
        let tcp = TcpSlice::from_slice(ipv4.payload().payload).ok()?;
        Some(Self { ethernet, ipv4, tcp })
    }

    /// Whether it is on its way from one host to another one.
    pub fn is_unicast(&self) -> bool {
        let header = self.ipv4.header();
        let is_group = |mac: [u8; 6]| mac[0] % 2 == 1;
        let is_host = |address: [u8; 4]| matches!(address[0], 1..=126 | 128..=223);
        !is_group(self.ethernet.source())
            && !is_group(self.ethernet.destination())
            && is_host(header.source())
            && is_host(header.destination())
            && header.source() != header.destination()
    }

    pub fn flags(&self) -> u8 {
        self.tcp.slice()[13]
    }

    /// What becomes of it, if its port is not spared.
    pub fn expected(&self, settings: &Settings) -> Verdict {
        let is_ours = self.tcp.acknowledgment_number() == settings.isn.wrapping_add(1);
        expected(self.flags(), is_ours, !self.tcp.payload().is_empty(), settings.takeover)
    }
}

/// What becomes of a segment from one host to another. `is_ours`: its acknowledgment number is our ISN + 1.
pub fn expected(flags: u8, is_ours: bool, has_payload: bool, takeover: bool) -> Verdict {
    let [fin, syn, rst, ack] = [FIN, SYN, RST, ACK].map(|flag| flags & flag != 0);
    match (syn, ack, fin || rst || has_payload) {
        (true, false, _) if !fin && !rst => Verdict::Answered,
        (false, true, false) if is_ours => Verdict::Completed,
        (false, true, true) if is_ours => Verdict::Later,
        _ if takeover => Verdict::TakenOver,
        _ => Verdict::NotOurs,
    }
}

/// Checks the verdict on any bytes at all, if no port is spared and there is room: etherparse says what they are.
pub fn assert_expected(frame: &[u8], verdict: Verdict, settings: &Settings) {
    match Segment::parse(frame).filter(Segment::is_unicast) {
        Some(segment) => assert_eq!(segment.expected(settings), verdict),
        None => assert_eq!(Action::Pass, verdict.action(), "{verdict:?} on what is no segment between two hosts"),
    }
}

/// Checks that `reply` is the answer to `request` in every field, and holds nothing else.
pub fn assert_answer(request: &[u8], reply: &[u8], settings: &Settings) {
    let request_length = request.len();
    let request = Segment::parse(request).expect("only a whole segment is answered");
    assert!(request.is_unicast(), "only what goes from one host to another is answered");
    assert_eq!(request.expected(settings), Verdict::Answered, "only a SYN is answered");
    let reply_length = reply.len();
    assert!(reply_length <= request_length.max(REPLY_LENGTH), "{request_length} bytes are answered by {reply_length}");
    let padding = reply.get(REPLY_LENGTH..).expect("a frame that is too short for a reply");
    assert!(padding.iter().all(|&byte| byte == 0), "behind the reply: {padding:02x?}");
    let reply = Segment::parse(reply).expect("the reply is no whole segment");

    assert_eq!(reply.ethernet.destination(), request.ethernet.source(), "destination MAC");
    assert_eq!(reply.ethernet.source(), request.ethernet.destination(), "source MAC");

    let (asked, header) = (request.ipv4.header(), reply.ipv4.header());
    assert_eq!(header.ihl(), 5, "IHL");
    assert_eq!(header.slice()[1], 0, "type of service");
    assert_eq!(usize::from(header.total_len()), REPLY_LENGTH - ETHERNET_LENGTH, "total length");
    assert_eq!(header.identification(), 0, "identification");
    assert_eq!(header.slice()[6..8], [0x40, 0], "DF alone, and no fragment offset");
    assert_eq!(header.ttl(), settings.ttl, "TTL");
    assert_eq!(header.source(), asked.destination(), "source address");
    assert_eq!(header.destination(), asked.source(), "destination address");
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");

    let (asked, tcp) = (request.tcp, reply.tcp);
    assert_eq!(tcp.source_port(), asked.destination_port(), "source port");
    assert_eq!(tcp.destination_port(), asked.source_port(), "destination port");
    assert_eq!(tcp.sequence_number(), settings.isn, "sequence number");
    assert_eq!(tcp.acknowledgment_number(), asked.sequence_number().wrapping_add(1), "acknowledgment number");
    assert_eq!(tcp.slice()[12], 6 << 4, "data offset, and reserved bits of zero");
    assert_eq!(tcp.slice()[13], SYN | ACK, "flags");
    assert_eq!(tcp.window_size(), settings.window, "window");
    assert_eq!(tcp.urgent_pointer(), 0, "urgent pointer");
    let [mss_high, mss_low] = settings.mss.to_be_bytes();
    assert_eq!(tcp.options(), [2, 4, mss_high, mss_low], "options");
    assert_eq!(tcp.payload(), [0; 0], "payload");
    let checksum = tcp.calc_checksum_ipv4(header.source(), header.destination()).expect("a length that TCP can have");
    assert_eq!(tcp.checksum(), checksum, "TCP checksum");
}
