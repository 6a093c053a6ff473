//! Generates setups and packets from a source of choices: a random number generator, or the input of a fuzzer.

use std::ops::Range;

use tcp_bounce_wire::address::{AddressBits, Ipv4Address};
use tcp_bounce_wire::address_set::AddressRange;
use tcp_bounce_wire::ethernet::VlanTag;
use tcp_bounce_wire::{Action, Ending, SystemReplies, TelemetrySettings};

use super::{
    ACK, CWR, Choice, ECE, FIN, LINUX_OPTIONS, MACOS_OPTIONS, PSH, RST, Request, SYN, Segment, Setup, TestService, URG,
    V6, WINDOWS_OPTIONS,
};

/// A source of numbers and bytes: a random number generator, or the input of a fuzzer.
pub trait Choices {
    /// Returns a number below `bound`, which must not be 0.
    fn below(&mut self, bound: usize) -> usize;

    /// Fills `bytes` with arbitrary values.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The MAC address of the interface, in setups that check destination MAC addresses.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The primary IPv4 and IPv6 address, in setups with primary addresses. [`FILTERS`] contains both.
const PRIMARY: ([u8; 4], [u8; 16]) = ([10, 0, 0, 2], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// Ports that packets often have: excluded ports, adjacent ports, and some others.
const PORTS: [u16; 14] = [0, 1, 22, 23, 62, 63, 64, 65, 80, 443, 8080, 8081, u16::MAX - 1, u16::MAX];

/// The systems that replies can imitate, besides Linux.
pub const SYSTEMS: [SystemReplies; 7] = [
    SystemReplies::WINDOWS_10,
    SystemReplies::WINDOWS_SERVER_2016,
    SystemReplies::FREEBSD,
    SystemReplies::MACOS,
    SystemReplies::OPENBSD,
    SystemReplies::CISCO_IOS,
    SystemReplies::LWIP,
];

/// The starts of requests that get a reply of a generated service. The empty one is the last, because it fits all.
const PREFIXES: [&[u8]; 4] = [b"G", b"\x16\x03", b"\r\n\r\n\r\n\r\n", b""];

/// The ranges of the address filters. They contain most generated addresses.
const FILTERS: [AddressRange; 7] = [
    v4([1, 0, 0, 0], [1, 255, 255, 255]),
    v4([10, 0, 0, 0], [10, 127, 255, 255]),
    v4([10, 128, 0, 0], [10, 191, 255, 255]),
    v4([126, 0, 0, 0], [127, 255, 255, 255]),
    v4([192, 0, 0, 0], [255, 255, 255, 255]),
    v6(0x2000, 0x3fff),
    v6(0xfd00, 0xfd7f),
];

const fn v4(first: [u8; 4], last: [u8; 4]) -> AddressRange {
    let mapped = 0xffff << 32;
    let (first, last) = (u32::from_be_bytes(first) as u64, u32::from_be_bytes(last) as u64);
    AddressRange {
        first: AddressBits { high: 0, low: mapped | first },
        last: AddressBits { high: 0, low: mapped | last },
    }
}

/// Returns the range of IPv6 addresses whose first 16 bits are `first` to `last`.
const fn v6(first: u64, last: u64) -> AddressRange {
    let (first, last) =
        (AddressBits { high: first << 48, low: 0 }, AddressBits { high: ((last + 1) << 48) - 1, low: u64::MAX });
    AddressRange { first, last }
}

/// The settings that determine which code of the program the verifier keeps.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The post-handshake action of all ports, or `None` to give [`PORTS`] different actions.
    pub action: Option<Action>,
    pub keyed: bool,
    pub takeover: bool,
    pub checks_mac: bool,
    pub primary: bool,
    pub filters_destinations: bool,
    pub filters_sources: bool,
    pub observed: bool,
}

impl Shape {
    /// Returns all shapes that the command line allows.
    pub fn all() -> Vec<Self> {
        let thens = Action::ALL.map(Some).into_iter().chain([None]);
        let needs_key = |action: Option<Action>| action.is_none_or(Action::follows_client);
        let with_keys = thens.flat_map(|action| [false, true].map(|keyed| (action, keyed)));
        let shapes = with_keys.filter(|&(action, keyed)| keyed || !needs_key(action)).flat_map(|(action, keyed)| {
            (0..1 << 6).map(move |bits| {
                let [takeover, checks_mac, primary, filters_destinations, filters_sources, observed] =
                    [0, 1, 2, 3, 4, 5].map(|bit| bits >> bit & 1 == 1);
                Self { action, keyed, takeover, checks_mac, primary, filters_destinations, filters_sources, observed }
            })
        });
        shapes.collect()
    }

    /// Returns a setup of this shape. `choices` selects all other settings.
    pub fn setup(self, choices: &mut impl Choices) -> Setup {
        let mut setup = Setup::new(Choice::DEFAULT);
        let mut generator = Generator { choices, setup: &setup };
        let mut key = [0; 16];
        generator.choices.fill(&mut key);
        let settings = Choice {
            isn: generator.number(),
            key: self.keyed.then_some(key),
            ttl: 1 + generator.below(255) as u8,
            hop_limit: 1 + generator.below(255) as u8,
            window_scale: generator.below(15) as u8,
            accepted: [0, 1, 2].map(|_| generator.below(8) > 0),
            ecn: generator.below(4) > 0,
            flow_labels: [0, 1, 2].map(|_| generator.below(2) > 0),
            timestamp_offsets: (generator.u32(), generator.below(4) > 0),
            action: self.action.unwrap_or(Action::Ignore),
            takeover: self.takeover,
            attach_mode: generator.pick(&[0, 2, 4, 8]),
            mtu: generator.pick(&[1500, 1500, 68, 576, 9000, 65535]),
            mtu_v6: generator.pick(&[1500, 1500, 68, 1280, 9000, 65535]),
            space: generator.pick(&[(65536, u32::MAX), (65536, 32767), (1000, u32::MAX), (3 << 20, u32::MAX)]),
            mss: generator.pick(&[None, None, Some(1), Some(1460), Some(u16::MAX)]),
            window: generator.pick(&[None, None, Some(0), Some(1), Some(u16::MAX)]),
            now: generator.u32(),
            mac: self.checks_mac.then_some(MAC),
            primary: self.primary.then_some(PRIMARY),
            system: None,
        };
        let excluded: &[u16] = generator.pick(&[&[][..], &[22], &[22, 80, 443], &[0, 22], &[63, 64, u16::MAX]]);
        let (index, first) = (generator.below(2), generator.below(FILTERS.len()));
        let (filters_vlans, broadcast) = (generator.flip(), generator.address());
        setup.settings = settings;
        excluded.iter().for_each(|&port| setup.filters.excluded_ports.insert(port));
        (setup.filters_destinations, setup.filters_sources) = (self.filters_destinations, self.filters_sources);
        if self.filters_destinations {
            setup.filters.active_destinations = index as u64;
            setup.filters.destinations[index].fill(&FILTERS).expect("not too many");
        }
        if self.filters_sources {
            setup.filters.sources.fill(&FILTERS[first..]).expect("not too many");
        }
        setup.filters_vlans = filters_vlans;
        setup.filters.vlans.insert(VlanTag { protocol: 0x8100, id: 42 });
        setup.filters.vlans.insert_inner(VlanTag { protocol: 0x8100, id: 0xfff });
        setup.filters.broadcasts.insert(Ipv4Address(broadcast)).expect("room for one address");
        if self.action.is_none() {
            setup.actions_by_port = PORTS.into_iter().zip(Action::ALL.into_iter().cycle()).collect();
        }
        if self.observed {
            setup.telemetry =
                TelemetrySettings { ports: true, sources: true, events: 1, stripes: 1, shared: true, data: 64 };
        }
        setup
    }
}

/// Returns `setup` with a profile: replies in the style of another system, services on all ports, or both.
pub fn with_profile(setup: Setup, choices: &mut impl Choices) -> Setup {
    let mut generator = Generator { choices, setup: &setup };
    let system = if generator.flip() { Some(generator.pick(&SYSTEMS)) } else { None };
    if system.is_some() && generator.flip() {
        return Setup { settings: Choice { system, ..setup.settings }, ..setup };
    }
    let lengths = [0, 1, 7, 8, 60, 300, 1208];
    let mut payload = || vec![b'x'; generator.pick(&lengths)];
    let (banner, reply) = (payload(), payload());
    let first = generator.below(PREFIXES.len() + 1);
    let replies: Vec<_> = PREFIXES[first..].iter().map(|&prefix| (prefix, &reply[..])).collect();
    let ending = generator.pick(&[Ending::Stay, Ending::Close, Ending::Reset]);
    let settings = Choice { system, ..setup.settings };
    let serving = Setup::serving(TestService::new(&banner, &replies, ending), settings);
    Setup { settings: serving.settings, service: serving.service, actions_by_port: Vec::new(), ..setup }
}

/// Generates packets for a setup. Most of them are TCP segments.
pub struct Generator<'a, C> {
    pub choices: &'a mut C,
    pub setup: &'a Setup,
}

impl<C: Choices> Generator<'_, C> {
    /// Returns a frame of at most `longest` bytes with a TCP segment, often an invalid one.
    pub fn packet(&mut self, longest: usize) -> Vec<u8> {
        let mut request = self.segment();
        for _ in 0..self.pick(&[0, 0, 0, 1, 1, 2]) {
            self.spoil(&mut request);
        }
        let mut frame = request.frame();
        if self.below(8) == 0 {
            self.damage(&mut frame);
        }
        frame.truncate(longest);
        frame
    }

    /// Returns a complete TCP segment from one host to another.
    fn segment(&mut self) -> Request {
        let ip_options = self.pick(&[0..1, 0..1, 0..1, 0..1, 0..1, 1..11]);
        let payload = self.pick(&[0..1, 0..1, 0..1, 1..2, 1..40, 1..1461, 1461..3300]);
        let prefix: &[u8] = if self.setup.service.is_some() { self.pick(&PREFIXES) } else { &[] };
        let trailer = self.pick(&[0..1, 0..1, 0..1, 1..7, 1..40, 1..100]);
        let family = self.below(5);
        let mut request = Request {
            destination_mac: self.mac(),
            source_mac: self.mac(),
            type_of_service: self.u8(),
            identification: self.u16(),
            fragment: self.pick(&[0, 0x4000, 0x4000, 0x8000]),
            ttl: self.u8(),
            header_checksum: self.u16(),
            source: self.address(),
            destination: if self.flip() { PRIMARY.0 } else { self.address() },
            ip_options: self.words(ip_options),
            source_port: self.port(),
            destination_port: self.port(),
            sequence_number: self.number(),
            acknowledgment_number: self.number(),
            flags: self.flags(),
            window: self.window(),
            checksum: self.u16(),
            urgent_pointer: self.u16(),
            options: self.options(),
            payload: [prefix, &self.bytes(payload)].concat(),
            trailer: self.bytes(trailer),
            tags: self.tags(),
            ..Request::syn()
        };
        if family >= 3 {
            request = request.over_ipv6();
            request.v6 = Some(self.v6());
        }
        if self.flip() {
            request.acknowledgment_number = self.acknowledgment_number(&request);
        }
        match self.below(4) {
            0 => request,
            1 => request.with_partial_checksum(),
            _ => request.with_checksum(),
        }
    }

    /// Returns up to three VLAN tags, mostly none.
    fn tags(&mut self) -> Vec<u8> {
        let tag = self.pick(&[[0x81, 0, 0, 42], [0x88, 0xa8, 0xf0, 7]]);
        let count = self.pick(&[0, 0, 0, 0, 1, 2, 3]);
        [tag, [0x81, 0, 0xff, 0xff], tag][..count].concat()
    }

    fn v6(&mut self) -> V6 {
        let destination = if self.flip() { PRIMARY.1 } else { self.address_v6() };
        let mut v6 = V6 { source: self.address_v6(), destination, ..V6::new() };
        v6.class_and_flow = self.pick(&[0, 0, 0x0ff0_1234]);
        for _ in 0..self.pick(&[0, 0, 0, 0, 1, 1, 2, 4, 5]) {
            let kind = self.pick(&[0, 43, 60, 60, 60, 44, 51]);
            let words = self.pick(&[1, 1, 1, 2, 5]);
            let mut header = vec![0; usize::from(words) * 8];
            header[..4].copy_from_slice(&[v6.next_header.unwrap_or(6), words - 1, 0, self.pick(&[0, 0, 0, 1])]);
            v6.next_header = Some(kind);
            v6.extensions.splice(..0, header);
        }
        v6
    }

    /// Returns TCP options, padded to 32-bit words: none, those of a common client, known options in any order, or
    /// random bytes.
    fn options(&mut self) -> Vec<u8> {
        const KNOWN: [&[u8]; 12] = [
            &[2, 4, 5, 0xb4],
            &[4, 2],
            &[8, 10, 9, 8, 7, 6, 5, 4, 3, 2],
            &[3, 3, 8],
            &[1],
            &[1, 1],
            &[0],
            &[30, 3, 1],
            &[19, 4, 0, 0],
            &[3, 4, 0, 0],
            &[5, 0],
            &[254, 200],
        ];
        // Case 1 has the options of segments after the handshake, with or without SACK blocks.
        let mut options = match self.below(8) {
            0 => Vec::new(),
            1 => {
                [&[1, 1, 8, 10][..], &self.bytes(8..9), self.pick(&[&[][..], &[1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12]])]
                    .concat()
            }
            2 | 3 => LINUX_OPTIONS.to_vec(),
            4 => self.pick(&[&MACOS_OPTIONS[..], &WINDOWS_OPTIONS]).to_vec(),
            5 | 6 => (0..1 + self.below(8)).flat_map(|_| self.pick(&KNOWN[..]).to_vec()).collect(),
            _ => self.words(0..11),
        };
        options.truncate(40);
        let padding = self.pick(&[0, 1]);
        options.resize(options.len().next_multiple_of(4), padding);
        options
    }

    fn flags(&mut self) -> u8 {
        match self.below(10) {
            0..4 => SYN | self.pick(&[0, 0, 0, ECE | CWR, PSH, URG]),
            4..7 => ACK | self.pick(&[0, 0, 0, PSH, URG | PSH]),
            7 => ACK | self.pick(&[FIN, RST, FIN | PSH, SYN, SYN | FIN, SYN | RST]),
            8 => self.pick(&[0, FIN, RST, SYN | FIN, SYN | RST, SYN | FIN | RST, FIN | PSH | URG]),
            _ => self.u8(),
        }
    }

    /// Returns an acknowledgment number that, in most cases, acknowledges a SYN-ACK or a later answer.
    fn acknowledgment_number(&mut self, request: &Request) -> u32 {
        let tuple = Segment::parse(&request.frame()).map(|segment| segment.tuple()).unwrap_or_default();
        if let Some(own) = &self.setup.service {
            let client_isn = request.sequence_number.wrapping_sub(1);
            let isn = self.setup.settings.service_isn(&tuple, client_isn, self.flip());
            let banner = u32::from(own.services[usize::from(request.v6.is_some())].banner().length);
            let any = self.below(6000) as u32;
            return isn.wrapping_add(self.pick(&[1, 1, 1, banner, banner + 1, banner + 1, banner + 2, any]));
        }
        if self.setup.settings.action.follows_client() || (!self.setup.actions_by_port.is_empty() && self.flip()) {
            let next = request.sequence_number.wrapping_add(self.setup.settings.offset_of(&tuple));
            let near = self.below(1200) as i32 - 600;
            let payload = request.payload.len() as i32;
            // Under tarpit, the client may have filled a window of the largest size.
            let filled = -(self.below(66_000) as i32);
            let known = self.pick(&[0, 0, 0, 0, 1, 1, -1, payload, payload + 1, near, filled]);
            return next.wrapping_add_signed(known);
        }
        let next = self.setup.settings.isn_of(&tuple).wrapping_add(1);
        let isn = next.wrapping_sub(1);
        let unscaled = next.wrapping_add(1 << 30);
        let after_fin = self.pick(&[next, unscaled]).wrapping_add(1);
        self.pick(&[next, next, next, unscaled, isn, after_fin, after_fin, next.swap_bytes()])
    }

    fn number(&mut self) -> u32 {
        let any = self.u32();
        self.pick(&[any, any, any, 0, u32::MAX, 0xffff, 0xffff_0000])
    }

    /// Returns a receive window that is mostly large.
    fn window(&mut self) -> u16 {
        let (any, small) = (self.u16(), self.below(3000) as u16);
        self.pick(&[any, any, small, 0, 1])
    }

    fn port(&mut self) -> u16 {
        if self.flip() { self.pick(&PORTS) } else { self.u16() }
    }

    fn mac(&mut self) -> [u8; 6] {
        let mut mac: [u8; 6] = self.octets();
        mac[0] &= 0xfe;
        if self.below(4) == 0 { mac } else { MAC }
    }

    /// Returns an IPv6 address that a host can have.
    fn address_v6(&mut self) -> [u8; 16] {
        let mut address: [u8; 16] = self.octets();
        address[0] = self.pick(&[0x20, 0x3f, 0xfd, 0xfe]);
        address
    }

    /// Returns an IPv4 address that a host can have.
    fn address(&mut self) -> [u8; 4] {
        let [_, b, c, d] = self.octets();
        [self.pick(&[1, 10, 126, 128, 192, 198, 223]), b, c, d]
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| {
            let any = self.u8();
            self.pick(&[any, any, any, 0, 255])
        })
    }

    /// Returns random 32-bit words as bytes. `number` is the range of their count.
    fn words(&mut self, number: Range<usize>) -> Vec<u8> {
        let number = self.within(number);
        self.bytes(number * 4..number * 4 + 1)
    }

    fn bytes(&mut self, length: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; self.within(length)];
        self.choices.fill(&mut bytes);
        bytes
    }

    /// Changes one field of `request`, or two of its IPv6 fields. Most of the new values are invalid.
    fn spoil(&mut self, request: &mut Request) {
        match self.below(15) {
            0 => request.ethertype = self.pick(&[0x0806, 0x8100, 0x86dd, 0x0800, 0x05dc, 0x0801, 0x88a8]),
            1 => request.version = self.below(16) as u8,
            2 => request.ihl = Some(self.below(16) as u8),
            3 => request.data_offset = Some(self.below(16) as u8),
            4 => request.total_length = Some(self.u16()),
            5 => request.total_length = Some(self.near(request.headers_length())),
            6 => request.total_length = Some(self.near(request.datagram_length() + request.trailer.len())),
            7 => request.fragment = self.fragment(),
            8 => request.protocol = self.pick(&[1, 17, 41, 47, 50, 58, 132, 0, 255]),
            9 => request.destination_mac[0] |= 1,
            10 => request.source_mac[0] |= 1,
            11 => request.source[0] = self.group(),
            12 => request.destination[0] = self.group(),
            13 => {
                if let Some(v6) = &mut request.v6 {
                    v6.payload_length = Some(self.near(request.options.len() + 20));
                    v6.source[0] = self.pick(&[0, 0xff]);
                }
            }
            _ => request.source = request.destination,
        }
    }

    /// Returns the IPv4 flags and offset of a first, middle or last fragment, or any value.
    fn fragment(&mut self) -> u16 {
        let any = self.u16();
        self.pick(&[0x2000, 0x2001, 0x0001, 0x1000, 0x4100, any])
    }

    /// Returns the first octet of an IPv4 address that no host can have, or a neighbouring octet.
    fn group(&mut self) -> u8 {
        self.pick(&[0, 127, 224, 239, 240, 255, 1, 126, 128, 223])
    }

    /// Returns a value that differs from `length` by at most 2.
    fn near(&mut self, length: usize) -> u16 {
        (length + self.below(5) - 2) as u16
    }

    /// Damages the frame without regard to its contents: truncates it, flips a bit, or appends bytes.
    fn damage(&mut self, frame: &mut Vec<u8>) {
        match self.below(3) {
            // `BPF_PROG_TEST_RUN` requires a complete Ethernet header.
            0 => frame.truncate(14 + self.below(frame.len() - 13)),
            1 => {
                let offset = self.below(frame.len().min(80));
                frame[offset] ^= 1 << self.below(8);
            }
            _ => frame.extend(self.bytes(1..64)),
        }
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    fn u8(&mut self) -> u8 {
        self.below(1 << 8) as u8
    }

    fn u16(&mut self) -> u16 {
        self.below(1 << 16) as u16
    }

    fn u32(&mut self) -> u32 {
        self.below(1 << 32) as u32
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    fn below(&mut self, bound: usize) -> usize {
        self.choices.below(bound)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}
