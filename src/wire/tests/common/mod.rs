//! What the tests share: requests are built here, `respond` runs over them, and what it did is checked by rules and a
//! parser that have nothing in common with the crate.

#![allow(dead_code, reason = "each test crate uses its own part of this")]

pub mod generator;

use std::fmt::{self, Debug, Formatter};

use etherparse::{IpNumber, Ipv6ExtensionSlice, LinkSlice, NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use tcp_bounce_wire::address_set::AddressBits;
use tcp_bounce_wire::ethernet::Mac;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::segment::FourTuple;
use tcp_bounce_wire::{
    Action, ActionByPort, ActionSet, Filters, Frame, Host, InterfaceState, Isn, Policy, PortSet, ProgramConfig,
    ProgramSettings, TelemetrySettings, Verdict, XdpAction, respond,
};
use tcp_bounce_wire::{ipv4, ipv6};
use zerocopy::FromZeros as _;

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
/// An Ethernet header, an IPv4 header, a TCP header and the option MSS: the reply to a SYN that offers nothing.
pub const REPLY_LENGTH: usize = ETHERNET_LENGTH + 20 + 20 + 4;

/// The options of Linux's SYN.
pub const LINUX_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];

/// A frame to send to `respond`, field by field. What is `None` follows from the rest, so that it fits together.
#[derive(Clone, Debug)]
pub struct Request {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    /// VLAN tags, each with its ethertype before it.
    pub tags: Vec<u8>,
    pub ethertype: u16,
    /// Over IPv6: then all fields of IPv4 but `ttl` and `protocol` have no meaning.
    pub v6: Option<V6>,
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

/// What a request over IPv6 has instead of what one over IPv4 has.
#[derive(Clone, Debug)]
pub struct V6 {
    pub class_and_flow: u32,
    pub payload_length: Option<u16>,
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// The type of the first extension header. The last names `protocol`.
    pub next_header: Option<u8>,
    /// All extension headers.
    pub extensions: Vec<u8>,
}

impl V6 {
    /// From 2001:db8::a to 2001:db8::7, without extension headers.
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
    /// The same over IPv6.
    pub fn over_ipv6(self) -> Self {
        Self { ethertype: 0x86dd, version: 6, v6: Some(V6::new()), ..self }
    }

    /// The same with one VLAN tag.
    pub fn tagged(self) -> Self {
        Self { tags: vec![0x81, 0x00, 0xa0, 0x2a], ..self }
    }

    /// The same with two VLAN tags.
    pub fn twice_tagged(self) -> Self {
        Self { tags: vec![0x88, 0xa8, 0x60, 0x07, 0x81, 0x00, 0x00, 0x2a], ..self }
    }

    /// A SYN without options. Its checksums are wrong, as they are where the sender leaves them to the hardware.
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

    /// The last segment of a handshake with a SYN-ACK that had the default ISN.
    pub fn ack() -> Self {
        Self { sequence_number: 0x3b9a_ca08, acknowledgment_number: Choice::DEFAULT.isn + 1, flags: ACK, ..Self::syn() }
    }

    /// The same with the right TCP checksum.
    pub fn with_checksum(self) -> Self {
        let frame = self.frame();
        let checksum = Segment::parse(&frame).map_or(self.checksum, |segment| segment.checksum());
        Self { checksum, ..self }
    }

    /// The same with the sum of the pseudo-header alone, to which a NIC adds the rest: as it comes from a sender that is
    /// not across a wire.
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

    /// The length of both headers with their options or extension headers.
    pub fn headers_length(&self) -> usize {
        let ip = match &self.v6 {
            Some(v6) => 40 + v6.extensions.len(),
            None => 20 + self.ip_options.len(),
        };
        ip + 20 + self.options.len()
    }

    /// The length of the reply's frame, if its options have `options` bytes besides MSS.
    pub fn reply_length(&self, options: usize) -> usize {
        ETHERNET_LENGTH + self.tags.len() + if self.v6.is_some() { 40 } else { 20 } + 24 + options
    }

    /// The length of the datagram.
    pub fn datagram_length(&self) -> usize {
        self.headers_length() + self.payload.len()
    }

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

/// What a user may choose, and the MTU of the interface: what a reply is made from besides the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub isn: u32,
    /// Instead of `isn`.
    pub key: Option<[u8; 16]>,
    pub ttl: u8,
    pub window_scale: u8,
    /// What becomes of connections to every port, unless a [`Setup`] says otherwise.
    pub action: Action,
    pub takeover: bool,
    pub attach_mode: u16,
    pub mtu: u32,
    pub mss: Option<u16>,
    pub window: Option<u16>,
    /// The time that TSval tells.
    pub now: u32,
    /// The MAC address of the interface, if only frames for it are answered.
    pub mac: Option<[u8; 6]>,
    /// The addresses that most clients ask for, if it is known that these are answered.
    pub primary: Option<([u8; 4], [u8; 16])>,
}

impl Choice {
    pub const DEFAULT: Self = Self {
        isn: 0x7463_7062,
        key: None,
        ttl: 64,
        window_scale: 7,
        action: Action::Ignore,
        takeover: false,
        attach_mode: 0,
        mtu: 1500,
        mss: None,
        window: None,
        now: 0x0102_0304,
        mac: None,
        primary: None,
    };

    /// For the program. Whether there are filters is told apart.
    pub fn settings(&self, filters_destinations: bool, filters_sources: bool) -> ProgramSettings {
        ProgramSettings {
            isn: self.key.map_or(Isn::Fixed(self.isn), Isn::Keyed),
            ttl: self.ttl,
            window_scale: self.window_scale,
            actions: ActionSet::only(self.action),
            takeover: self.takeover,
            checks_mac: self.mac.is_some(),
            filters_destinations,
            filters_sources,
            telemetry: TelemetrySettings::default(),
            frags: false,
            attach_mode: self.attach_mode,
        }
    }

    pub fn interface(&self) -> InterfaceState {
        let mut link = InterfaceState::new(Mac(self.mac.unwrap_or_default()), self.mtu, self.mss, self.window);
        if let Some((v4, v6)) = self.primary {
            (link.primary_v4, link.primary_v6) = (ipv4::Address(v4), ipv6::Address(v6));
        }
        link
    }

    /// What the ISN of a SYN-ACK is more than that of the SYN, in the modes in which that is all there is to know.
    pub fn offset_of(&self, tuple: &[u8]) -> u32 {
        self.isn_of(tuple) / 4 + 0x2000_0000
    }

    /// The MSS of a reply: what the MTU leaves beside the headers, but never less than Linux announces.
    fn mss(&self, is_v6: bool) -> u16 {
        let (headers, least) = if is_v6 { (60, 1220) } else { (40, 256) };
        self.mss.unwrap_or((self.mtu - headers).clamp(least, 65535) as u16)
    }

    /// The window of a reply: the whole segments that 64 KiB hold, or all of it, where the options leave nothing of a segment.
    fn window(&self, mss: u16, timestamps: bool) -> u16 {
        let payload = u32::from(mss).saturating_sub(if timestamps { 12 } else { 0 });
        let whole = 65536u32.checked_div(payload).map_or(65535, |count| (count * payload).min(65535));
        self.window.unwrap_or(whole as u16)
    }

    /// The ISN for the connection with this tuple, addresses and ports, as siphasher has it.
    pub fn isn_of(&self, tuple: &[u8]) -> u32 {
        let hash = |key: [u8; 16]| siphasher::sip::SipHasher13::new_with_key(&key).hash(tuple) as u32;
        self.key.map_or(self.isn, hash)
    }
}

/// What tcp-bounce is told, and the room that its buffers have behind a frame.
#[derive(Clone, Debug)]
pub struct Setup {
    pub settings: Choice,
    pub filters: Box<Filters>,
    /// The modes of some ports. All that are used are so in the whole setup.
    pub actions_by_port: Vec<(u16, Action)>,
    /// The client's port in connections that are the host's own.
    pub connected: Option<u16>,
    pub filters_destinations: bool,
    pub filters_sources: bool,
    pub telemetry: TelemetrySettings,
    pub room: usize,
}

impl Setup {
    /// No port is spared, every address is answered, and there is room enough.
    pub fn new(settings: Choice) -> Self {
        let filters = Filters::new_box_zeroed().expect("memory");
        Self {
            settings,
            filters,
            actions_by_port: Vec::new(),
            connected: None,
            filters_destinations: false,
            filters_sources: false,
            telemetry: TelemetrySettings::default(),
            room: 64,
        }
    }

    /// The same with these ports spared.
    pub fn sparing(mut self, spared: PortSet) -> Self {
        self.filters.excluded_ports = spared;
        self
    }

    /// The default settings.
    pub fn standard() -> Self {
        Self::new(Choice::DEFAULT)
    }

    /// The default settings, but what is not ours is dropped.
    pub fn takeover() -> Self {
        Self::new(Choice { takeover: true, ..Choice::DEFAULT })
    }

    /// Without and with takeover.
    pub fn both() -> [Self; 2] {
        [Self::standard(), Self::takeover()]
    }

    /// For the program.
    pub fn settings(&self) -> ProgramSettings {
        let settings = self.settings.settings(self.filters_destinations, self.filters_sources);
        ProgramSettings {
            telemetry: self.telemetry,
            actions: self.actions_by_port.iter().fold(settings.actions, |modes, &(_, action)| modes.with(action)),
            ..settings
        }
    }

    /// For the program.
    pub fn actions_by_port(&self) -> Box<ActionByPort> {
        let mut by_port = Box::new(ActionByPort::new());
        if self.settings.action != Action::Ignore {
            (0..=u16::MAX).for_each(|port| by_port.set(port, self.settings.action));
        }
        self.actions_by_port.iter().for_each(|&(port, action)| by_port.set(port, action));
        by_port
    }

    /// What becomes of connections to `port`.
    pub fn action(&self, port: u16) -> Action {
        self.actions_by_port.iter().find(|(own, _)| *own == port).map_or(self.settings.action, |&(_, action)| action)
    }

    /// The verdict that the packet logic gives on `frame`, which becomes what it becomes.
    pub fn run(&self, frame: &mut impl Frame) -> Verdict {
        let config = ProgramConfig::new(self.settings());
        let host = TestHost { filters: &self.filters, now: self.settings.now, connected: self.connected };
        static NONE: ActionByPort = ActionByPort::new();
        let by_port = (!self.actions_by_port.is_empty()).then(|| self.actions_by_port());
        let actions_by_port = by_port.as_deref().unwrap_or(&NONE);
        respond(
            frame,
            &Policy {
                config: &config,
                interface: &self.settings.interface(),
                filters: &self.filters,
                actions_by_port,
                host,
            },
        )
    }

    /// The verdict on `frame`, after a check of all that holds for every frame.
    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        self.respond(frame).0
    }

    /// The verdict on `frame` and what it became.
    ///
    /// Whatever the test is about, this holds: what lies behind the frame in memory changes nothing and is not changed;
    /// a frame that is not answered keeps its length and every byte; one that is has become the right reply.
    pub fn respond(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let outcome = self.respond_before_junk(frame, 0xa5);
        assert_eq!(outcome, self.respond_before_junk(frame, 0x5a), "depends on what lies behind the frame");
        let (verdict, result) = outcome;
        match (verdict, verdict.action()) {
            (Verdict::Answered, _) => {
                let port = Segment::parse(frame).map(|segment| segment.tcp.destination_port());
                let settings = Choice { action: self.action(port.unwrap_or_default()), ..self.settings };
                assert_answer(frame, &result, &settings);
            }
            (_, XdpAction::Tx) => assert_later_answer(frame, &result, &self.settings),
            _ => assert_eq!(frame, result, "not answered ({verdict:?}), but changed"),
        }
        (verdict, result)
    }

    fn respond_before_junk(&self, frame: &[u8], junk: u8) -> (Verdict, Vec<u8>) {
        let mut bytes = frame.to_vec();
        bytes.resize(frame.len() + self.room, junk);
        let mut buffer = Buffer::new(&mut bytes, frame.len());
        let verdict = self.run(&mut buffer);
        let length = buffer.len();
        let behind = &bytes[frame.len().max(length)..];
        assert!(behind.iter().all(|&byte| byte == junk), "{verdict:?} wrote behind the frame: {behind:02x?}");
        bytes.truncate(length);
        (verdict, bytes)
    }
}

/// Where the packet logic runs in the tests.
struct TestHost<'a> {
    filters: &'a Filters,
    now: u32,
    connected: Option<u16>,
}

impl Host for TestHost<'_> {
    fn now(&self) -> u32 {
        self.now
    }

    fn serves(&self, destination: AddressBits) -> bool {
        self.filters.destinations().contains(destination)
    }

    fn is_connected<I: Ip>(&self, ends: &FourTuple<I>) -> bool {
        self.connected == Some(ends.source_port.get())
    }
}

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
    fn is_looked_at(&self) -> bool {
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

/// What the options of a SYN offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    pub timestamp: Option<[u8; 4]>,
    pub echo_reply: [u8; 4],
    pub sack: bool,
    pub window_scale: bool,
    pub signed: bool,
}

impl SynOptions {
    /// Options are read up to the first that makes no sense.
    pub fn of(mut options: &[u8]) -> Self {
        let mut offer = Self::default();
        loop {
            options = match *options {
                [1, ref rest @ ..] => rest,
                [kind, length, ..] if kind > 1 && length > 1 && usize::from(length) <= options.len() => {
                    let (option, rest) = options.split_at(length.into());
                    match (kind, &option[2..]) {
                        (3, [_]) => offer.window_scale = true,
                        (4, []) => offer.sack = true,
                        (8, &[a, b, c, d, e, f, g, h]) => {
                            offer.timestamp = Some([a, b, c, d]);
                            offer.echo_reply = [e, f, g, h];
                        }
                        (19 | 29, _) => offer.signed = true,
                        _ => {}
                    }
                    rest
                }
                _ => return offer,
            }
        }
    }

    /// The options of Linux's SYN-ACK to such a SYN (`tcp_options_write`).
    pub fn taken_up(&self, mss: u16, now: u32, window_scale: u8) -> Vec<u8> {
        let mut options = vec![2, 4];
        options.extend(mss.to_be_bytes());
        if let Some(timestamp) = self.timestamp {
            options.extend(if self.sack { [4, 2, 8, 10] } else { [1, 1, 8, 10] });
            options.extend(now.to_be_bytes());
            options.extend(timestamp);
        } else if self.sack {
            options.extend([1, 1, 4, 2]);
        }
        if self.window_scale {
            options.extend([1, 3, 3, window_scale]);
        }
        options
    }
}

/// Checks the verdict on any bytes at all, if no port is spared and there is room: etherparse says what they are.
pub fn assert_expected(frame: &[u8], verdict: Verdict, settings: &Choice) {
    match Segment::parse(frame) {
        Some(segment) if segment.is_unicast() && segment.is_looked_at() => {
            assert_eq!(segment.expected(settings), verdict, "{segment:?}")
        }
        _ => assert_eq!(XdpAction::Pass, verdict.action(), "{verdict:?} on what is no segment between two hosts"),
    }
}

/// Checks that `reply` is the SYN-ACK to `request` in every field, and holds nothing else.
pub fn assert_answer(request: &[u8], reply: &[u8], settings: &Choice) {
    let parsed = Segment::parse(request).expect("only a whole segment is answered");
    assert_eq!(parsed.expected(settings), Verdict::Answered, "only a SYN is answered");
    let is_v6 = matches!(parsed.net, NetSlice::Ipv6(_));
    let offer = SynOptions::of(parsed.tcp.options());
    let client_isn = parsed.tcp.sequence_number();
    let (mss, window) = (settings.mss(is_v6), settings.window(settings.mss(is_v6), offer.timestamp.is_some()));
    let following = settings.offset_of(&parsed.tuple()).wrapping_add(client_isn);
    let (isn, mss, window, offer) = match settings.action {
        Action::Echo => (following, 536, 536, SynOptions { window_scale: false, ..offer }),
        Action::Tarpit => (following, mss, 0, offer),
        _ => (parsed.isn(settings), mss, window, offer),
    };
    let options = offer.taken_up(mss, settings.now, settings.window_scale);
    let answer = assert_reply(request, reply, settings, options.len(), 0);
    assert_eq!(answer.tcp.sequence_number(), isn, "sequence number");
    assert_eq!(answer.tcp.acknowledgment_number(), client_isn.wrapping_add(1), "acknowledgment number");
    assert_eq!(answer.flags(), SYN | ACK, "flags");
    assert_eq!(answer.tcp.window_size(), window, "window");
    assert_eq!(answer.tcp.options(), options, "options");
}

/// Checks what holds for every answer to a segment that is no SYN: it is not longer, carries nothing but what came, and has
/// its timestamps, swapped.
pub fn assert_later_answer(request: &[u8], reply: &[u8], settings: &Choice) {
    assert!(reply.len() <= request.len(), "{} bytes are more than {}", reply.len(), request.len());
    let (asked, answer) = (Segment::parse(request), Segment::parse(reply));
    let (asked, answer) = (asked.expect("a whole segment"), answer.expect("a whole segment"));
    let payload = answer.tcp.payload();
    assert!(
        asked.tcp.payload().starts_with(payload),
        "data that is not the client's: {payload:x?} {asked:?} {answer:?}"
    );
    let mut options = answer.tcp.options();
    let asked_for = SynOptions::of(asked.tcp.options());
    if let Some(value) = asked_for.timestamp {
        let expected = [&[1, 1, 8, 10], &asked_for.echo_reply[..], &value].concat();
        options = options.strip_prefix(&expected[..]).expect("timestamps");
    }
    assert!(options.iter().all(|&byte| byte == 1), "other options than NOP: {options:x?}");
    assert!(!payload.is_empty() || options.is_empty(), "padding without need");
    let answer = assert_reply(request, reply, settings, answer.tcp.options().len(), payload.len());
    assert_eq!(answer.flags() & (SYN | URG | ECE | CWR), 0, "flags");
    assert_ne!(answer.flags() & ACK, 0, "flags");
}

/// Checks all that does not depend on what the reply is: that it is one to `request`, and holds nothing else.
fn assert_reply<'a>(request: &[u8], reply: &'a [u8], settings: &Choice, options: usize, payload: usize) -> Segment<'a> {
    let request_bytes = request;
    let request = Segment::parse(request).expect("only a whole segment is answered");
    assert!(request.is_unicast(), "only what goes from one host to another is answered");
    let is_v6 = matches!(request.net, NetSlice::Ipv6(_));
    let ip_offset = ETHERNET_LENGTH + request.tags * 4;
    let length = ip_offset + if is_v6 { 40 } else { 20 } + 20 + options + payload;

    assert!(reply.len() <= request_bytes.len().max(length), "{} bytes are too many", reply.len());
    let padding = reply.get(length..).expect("a frame that is too short for a reply");
    assert!(padding.iter().all(|&byte| byte == 0), "behind the reply: {padding:02x?}");
    assert_eq!(reply[12..ip_offset], request_bytes[12..ip_offset], "tags and ethertype");
    let reply = Segment::parse(reply).expect("the reply is no whole segment");

    assert_eq!(reply.destination_mac, request.source_mac, "destination MAC");
    assert_eq!(reply.source_mac, request.destination_mac, "source MAC");
    let (source, destination) = request.addresses();
    assert_eq!(reply.addresses(), (destination, source), "addresses");
    match &reply.net {
        NetSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            assert_eq!(header.ihl(), 5, "IHL");
            assert_eq!(header.slice()[1], 0, "type of service");
            assert_eq!(usize::from(header.total_len()), length - ip_offset, "total length");
            assert_eq!(header.identification(), 0, "identification");
            assert_eq!(header.slice()[6..8], [0x40, 0], "DF alone, and no fragment offset");
            assert_eq!(header.ttl(), settings.ttl, "TTL");
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
        }
        NetSlice::Ipv6(ipv6) => {
            let header = ipv6.header();
            assert_eq!(header.slice()[..4], [0x60, 0, 0, 0], "version, traffic class and flow label");
            assert_eq!(usize::from(header.payload_length()), length - ip_offset - 40, "payload length");
            assert_eq!(header.slice()[6], 6, "next header");
            assert_eq!(header.hop_limit(), settings.ttl, "hop limit");
        }
        NetSlice::Arp(_) => unreachable!("it carries TCP"),
    }

    let (asked, tcp) = (&request.tcp, &reply.tcp);
    assert_eq!(tcp.source_port(), asked.destination_port(), "source port");
    assert_eq!(tcp.destination_port(), asked.source_port(), "destination port");
    assert_eq!(usize::from(tcp.slice()[12]), ((20 + options) / 4) << 4, "data offset, and reserved bits of zero");
    assert_eq!(tcp.urgent_pointer(), 0, "urgent pointer");
    assert_eq!(tcp.payload().len(), payload, "payload");
    assert_eq!(tcp.checksum(), reply.checksum(), "TCP checksum");
    reply
}
