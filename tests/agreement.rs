//! The kernel and the host agree: the loaded program does to every packet what [`bounce`] does to it here.
//!
//! The packets are made from a fixed seed, so every run makes the same ones, and a longer run begins with them.
//! `TCP_BOUNCE_AGREEMENT_PACKETS` asks for more packets than [`PACKETS`].

mod packet;

use std::cmp::Ordering;
use std::env;
use std::ops::Range;

use fastrand::Rng;
use ipnet::IpNet;
use packet::{
    ACK, CWR, Choice, ECE, FIN, Kernel, LINUX_OPTIONS, LONGEST, Outcome, PSH, RST, Request, SYN, Segment, Setup, URG,
    V6,
};
use tcp_bounce::prefixes::ranges;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Action, Counters, Frame, Then, Verdict};

/// How many packets there are at least, in all.
const PACKETS: usize = 1_000_000;
const SEED: u64 = 0x5eed_0f5e_a50e_d175;

/// What the program is told: settings, and the ports that are spared under them.
const SETUPS: [(Choice, &[u16]); 15] = [
    (Choice { mac: Some(MAC), usual: Some(USUAL), ..DEFAULT }, &[]),
    (Choice { takeover: true, ..DEFAULT }, &[]),
    (DEFAULT, &[22, 80, 443]),
    (Choice { then: Then::Close, mac: Some(MAC), usual: Some(USUAL), ..DEFAULT }, &[]),
    (Choice { then: Then::Reset, takeover: true, ..DEFAULT }, &[22]),
    (Choice { then: Then::Echo, key: Some([1; 16]), ..DEFAULT }, &[]),
    (
        Choice { isn: u32::MAX, ttl: 255, window: Some(u16::MAX), mss: Some(u16::MAX), takeover: true, ..DEFAULT },
        &[0, 22],
    ),
    (Choice { isn: 0, ttl: 1, window: Some(0), mss: Some(1), attach_mode: 4, ..DEFAULT }, &[63, 64, u16::MAX]),
    (
        Choice {
            isn: 0x0102_0304,
            ttl: 128,
            window_scale: 0,
            mtu: 576,
            attach_mode: 8,
            mac: Some(MAC),
            usual: Some(USUAL),
            ..DEFAULT
        },
        &[],
    ),
    (Choice { isn: 0xfffe_ffff, ttl: 37, window_scale: 14, mtu: 9000, takeover: true, ..DEFAULT }, &[443, 8080]),
    (Choice { key: Some(*b"0123456789abcdef"), ..DEFAULT }, &[]),
    (Choice { key: Some([0xff; 16]), mac: Some(MAC), takeover: true, ..DEFAULT }, &[22]),
    (Choice { then: Then::Discard, ttl: 3, window: Some(7), ..DEFAULT }, &[]),
    (Choice { then: Then::Tarpit, key: Some([2; 16]), takeover: true, ..DEFAULT }, &[]),
    (Choice { then: Then::Discard, key: Some([3; 16]), mac: Some(MAC), usual: Some(USUAL), ..DEFAULT }, &[]),
];
const DEFAULT: Choice = Choice::DEFAULT;

/// The MAC address of those that have one.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The usual addresses of those that have some. They are among those that are answered for.
const USUAL: ([u8; 4], [u8; 16]) = ([10, 0, 0, 2], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// In the last setup each of [`PORTS`] has a mode of its own.
const BY_PORT: usize = SETUPS.len() - 1;

/// The setups after these many have filters.
const WITHOUT_FILTERS: usize = SETUPS.len() / 2;

/// Ports that a packet is often for: all that any setup spares, their neighbours in the bitmap, and some others.
const PORTS: [u16; 14] = [0, 1, 22, 23, 62, 63, 64, 65, 80, 443, 8080, 8081, u16::MAX - 1, u16::MAX];

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_agree_on_every_packet() {
    let packets = number_of_packets();
    println!("{packets} packets of seed {SEED:#x}");
    let mut rng = Rng::with_seed(SEED);
    let mut coverage = Coverage::default();
    let mut sides: Vec<_> = (0..SETUPS.len()).map(Sides::new).collect();
    for index in 0..packets {
        let setup = index % SETUPS.len();
        let packet = Generator { rng: &mut rng, choice: SETUPS[setup].0, by_port: setup == BY_PORT }.packet();
        let (verdict, reply_length) = sides[setup].compare(&packet).unwrap_or_else(|disagreement| {
            let (settings, spared) = SETUPS[setup];
            panic!("packet {index} of seed {SEED:#x}, {settings:?}, spared {spared:?}\n{disagreement}");
        });
        coverage.count(verdict, packet.len(), reply_length);
    }
    coverage.check(packets);
}

fn number_of_packets() -> usize {
    let asked = env::var("TCP_BOUNCE_AGREEMENT_PACKETS").ok();
    let asked = asked.map(|number| number.parse().expect("TCP_BOUNCE_AGREEMENT_PACKETS is a number"));
    asked.unwrap_or(0).max(PACKETS)
}

/// The program in the kernel, and what it is to be compared with.
struct Sides {
    kernel: Kernel,
    host: Setup,
}

impl Sides {
    fn new(index: usize) -> Self {
        let (choice, spared) = SETUPS[index];
        let mut host = Setup::new(choice).sparing(packet::port_set(spared.iter().copied()));
        if index >= WITHOUT_FILTERS {
            (host.filter_to, host.filter_from) = (true, index.is_multiple_of(2));
            // Most addresses that are generated, in many ranges and in few.
            let prefixes =
                ["1.0.0.0/8", "10.0.0.0/9", "10.128.0.0/10", "126.0.0.0/7", "192.0.0.0/2", "2000::/3", "fd00::/9"];
            let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
            host.filters.to_index = index as u64 % 2;
            host.filters.to[index % 2].fill(&ranges(&prefixes)).expect("not too many");
            host.filters.from.fill(&ranges(&prefixes[index - WITHOUT_FILTERS..])).expect("not too many");
        }
        if index == BY_PORT {
            host.then_by_port = PORTS.into_iter().zip(Then::ALL.into_iter().cycle()).collect();
        }
        Self { kernel: Kernel::load_setup(&host), host }
    }

    /// What both sides say of `packet`: the verdict, and how long the frame is then. If they do not agree: the packet,
    /// and what each side says.
    fn compare(&mut self, packet: &[u8]) -> Result<(Verdict, usize), String> {
        let kernel = self.kernel.run(packet);
        // Only the kernel knows its clock.
        self.host.settings.now = packet::timestamp(&kernel.frame).unwrap_or_default();
        let (verdict, host) = self.host(packet);
        if kernel == host {
            Ok((verdict, host.frame.len()))
        } else {
            let (length, hex) = (packet.len(), packet::hex(packet));
            Err(format!("packet: {length} bytes: {hex}\nhost:   {host:?}\nkernel: {kernel:?}"))
        }
    }

    /// What the packet logic does here, in a buffer with the room of a test run and junk behind the packet.
    fn host(&self, packet: &[u8]) -> (Verdict, Outcome) {
        let mut bytes = [0xa5; LONGEST];
        bytes[..packet.len()].copy_from_slice(packet);
        let mut frame = Buffer::new(&mut bytes, packet.len());
        let verdict = self.host.run(&mut frame);
        let length = frame.len();
        (verdict, Outcome::of(verdict, bytes[..length].to_vec()))
    }
}

/// What the packets were good for.
#[derive(Default)]
struct Coverage {
    verdicts: Counters,
    /// Replies that are longer than their request, as long, and shorter.
    replies: [usize; 3],
}

impl Coverage {
    fn count(&mut self, verdict: Verdict, request_length: usize, reply_length: usize) {
        self.verdicts.count(verdict);
        if verdict.action() == Action::Tx {
            let [grown, kept, shrunk] = &mut self.replies;
            *match reply_length.cmp(&request_length) {
                Ordering::Greater => grown,
                Ordering::Equal => kept,
                Ordering::Less => shrunk,
            } += 1;
        }
    }

    /// Checks that all that can happen did happen, and often.
    fn check(&self, packets: usize) {
        for verdict in Verdict::ALL {
            println!("{:>9} {}", self.verdicts[verdict], verdict.description());
        }
        let [grown, kept, shrunk] = self.replies;
        println!("{grown:>9} frames grew, {kept} kept their length, {shrunk} shrank");

        for verdict in Verdict::ALL {
            let count = self.verdicts[verdict];
            // There is always room in a test run.
            let enough = if verdict == Verdict::NoRoom { count == 0 } else { count >= packets as u64 / 2000 };
            assert!(enough, "{verdict:?}: {count} of {packets} packets");
        }
        for count in self.replies {
            assert!(count >= packets / 200, "too few of one kind of reply");
        }
    }
}

/// Makes packets, most of which are segments that the program has something to do with.
struct Generator<'a> {
    rng: &'a mut Rng,
    choice: Choice,
    /// Whether each port has a mode of its own.
    by_port: bool,
}

impl Generator<'_> {
    /// A segment, often with something wrong with it.
    fn packet(&mut self) -> Vec<u8> {
        let mut request = self.segment();
        for _ in 0..self.pick(&[0, 0, 0, 1, 1, 2]) {
            self.spoil(&mut request);
        }
        let mut frame = request.frame();
        if self.rng.u8(..8) == 0 {
            self.damage(&mut frame);
        }
        frame.truncate(LONGEST);
        frame
    }

    /// A whole segment from one host to another.
    fn segment(&mut self) -> Request {
        let ip_options = self.pick(&[0..1, 0..1, 0..1, 0..1, 0..1, 1..11]);
        let payload = self.pick(&[0..1, 0..1, 0..1, 1..2, 1..40, 1..1461, 1461..3300]);
        let trailer = self.pick(&[0..1, 0..1, 0..1, 1..7, 1..40, 1..100]);
        let family = self.rng.u8(..5);
        let mut request = Request {
            destination_mac: self.mac(),
            source_mac: self.mac(),
            type_of_service: self.rng.u8(..),
            identification: self.rng.u16(..),
            fragment: self.pick(&[0, 0x4000, 0x4000, 0x8000]),
            ttl: self.rng.u8(..),
            header_checksum: self.rng.u16(..),
            source: self.address(),
            destination: if self.rng.bool() { USUAL.0 } else { self.address() },
            ip_options: self.words(ip_options),
            source_port: self.port(),
            destination_port: self.port(),
            sequence_number: self.number(),
            acknowledgment_number: self.number(),
            flags: self.flags(),
            window: self.window(),
            checksum: self.rng.u16(..),
            urgent_pointer: self.rng.u16(..),
            options: self.options(),
            payload: self.bytes(payload),
            trailer: self.bytes(trailer),
            tags: self.tags(),
            ..Request::syn()
        };
        if family >= 3 {
            request = request.over_ipv6();
            request.v6 = Some(self.v6());
        }
        if self.rng.bool() {
            request.acknowledgment_number = self.acknowledgment_number(&request);
        }
        match self.rng.u8(..4) {
            0 => request,
            1 => request.with_partial_checksum(),
            _ => request.with_checksum(),
        }
    }

    /// Mostly none.
    fn tags(&mut self) -> Vec<u8> {
        let tag = self.pick(&[[0x81, 0, 0, 42], [0x88, 0xa8, 0xf0, 7]]);
        let count = self.pick(&[0, 0, 0, 0, 1, 2, 3]);
        [tag, [0x81, 0, 0xff, 0xff], tag][..count].concat()
    }

    fn v6(&mut self) -> V6 {
        let destination = if self.rng.bool() { USUAL.1 } else { self.address_v6() };
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

    /// Those of common systems, any order of known ones, and nonsense; whole words.
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
        // The second, with SACK blocks or without, is what later segments have.
        let mut options = match self.rng.u8(..8) {
            0 => Vec::new(),
            1 => {
                [&[1, 1, 8, 10][..], &self.bytes(8..9), self.pick(&[&[][..], &[1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12]])]
                    .concat()
            }
            2..5 => LINUX_OPTIONS.to_vec(),
            5 | 6 => (0..self.rng.usize(1..9)).flat_map(|_| self.pick(&KNOWN[..]).to_vec()).collect(),
            _ => self.words(0..11),
        };
        options.truncate(40);
        let padding = self.pick(&[0, 1]);
        options.resize(options.len().next_multiple_of(4), padding);
        options
    }

    fn flags(&mut self) -> u8 {
        match self.rng.u8(..10) {
            0..4 => SYN | self.pick(&[0, 0, 0, ECE | CWR, PSH, URG]),
            4..7 => ACK | self.pick(&[0, 0, 0, PSH, URG | PSH]),
            7 => ACK | self.pick(&[FIN, RST, FIN | PSH, SYN, SYN | FIN, SYN | RST]),
            8 => self.pick(&[0, FIN, RST, SYN | FIN, SYN | RST, SYN | FIN | RST, FIN | PSH | URG]),
            _ => self.rng.u8(..),
        }
    }

    /// Mostly one that belongs to our SYN-ACK, or to what we said later.
    fn acknowledgment_number(&mut self, request: &Request) -> u32 {
        let tuple = Segment::parse(&request.frame()).map(|segment| segment.tuple()).unwrap_or_default();
        if self.choice.then.follows_client() || (self.by_port && self.rng.bool()) {
            let next = request.sequence_number.wrapping_add(self.choice.offset_of(&tuple));
            let near = self.rng.i32(-600..600);
            let payload = request.payload.len() as i32;
            let known = self.pick(&[0, 0, 0, 0, 1, 1, -1, payload, payload + 1, near]);
            return next.wrapping_add_signed(known);
        }
        let next = self.choice.isn_of(&tuple).wrapping_add(1);
        let isn = next.wrapping_sub(1);
        self.pick(&[next, next, next, next, isn, next.wrapping_add(1), next.wrapping_add(1), next.swap_bytes()])
    }

    fn number(&mut self) -> u32 {
        let any = self.rng.u32(..);
        self.pick(&[any, any, any, 0, u32::MAX, 0xffff, 0xffff_0000])
    }

    /// Mostly one that has room, seldom one that has little or none.
    fn window(&mut self) -> u16 {
        let (any, small) = (self.rng.u16(..), self.rng.u16(..3000));
        self.pick(&[any, any, small, 0, 1])
    }

    fn port(&mut self) -> u16 {
        if self.rng.bool() { self.pick(&PORTS) } else { self.rng.u16(..) }
    }

    fn mac(&mut self) -> [u8; 6] {
        let mut mac: [u8; 6] = self.octets();
        mac[0] &= 0xfe;
        if self.rng.u8(..4) == 0 { mac } else { MAC }
    }

    /// An address that a host can have.
    fn address_v6(&mut self) -> [u8; 16] {
        let mut address: [u8; 16] = self.octets();
        address[0] = self.pick(&[0x20, 0x3f, 0xfd, 0xfe]);
        address
    }

    /// An address that a host can have.
    fn address(&mut self) -> [u8; 4] {
        let [_, b, c, d] = self.octets();
        [self.pick(&[1, 10, 126, 128, 192, 198, 223]), b, c, d]
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| {
            let any = self.rng.u8(..);
            self.pick(&[any, any, any, 0, 255])
        })
    }

    /// Some 32-bit words, as options come.
    fn words(&mut self, number: Range<usize>) -> Vec<u8> {
        let number = self.rng.usize(number);
        self.bytes(number * 4..number * 4 + 1)
    }

    fn bytes(&mut self, length: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.usize(length)];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// Makes one field something else, mostly something wrong.
    fn spoil(&mut self, request: &mut Request) {
        match self.rng.u8(..15) {
            0 => request.ethertype = self.pick(&[0x0806, 0x8100, 0x86dd, 0x0800, 0x05dc, 0x0801, 0x88a8]),
            1 => request.version = self.rng.u8(..16),
            2 => request.ihl = Some(self.rng.u8(..16)),
            3 => request.data_offset = Some(self.rng.u8(..16)),
            4 => request.total_length = Some(self.rng.u16(..)),
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

    /// Of a first, a middle and a last fragment, and of others.
    fn fragment(&mut self) -> u16 {
        let any = self.rng.u16(..);
        self.pick(&[0x2000, 0x2001, 0x0001, 0x1000, 0x4100, any])
    }

    /// The first octet of an address that no host can have, or of a neighbour of one.
    fn group(&mut self) -> u8 {
        self.pick(&[0, 127, 224, 239, 240, 255, 1, 126, 128, 223])
    }

    /// A length that is at most 2 off.
    fn near(&mut self, length: usize) -> u16 {
        (length + self.rng.usize(..5) - 2) as u16
    }

    /// Damages the frame without regard to what is in it.
    fn damage(&mut self, frame: &mut Vec<u8>) {
        match self.rng.u8(..3) {
            // A test run wants an Ethernet header.
            0 => frame.truncate(self.rng.usize(14..=frame.len())),
            1 => {
                let offset = self.rng.usize(..frame.len().min(80));
                frame[offset] ^= 1 << self.rng.u8(..8);
            }
            _ => frame.extend(self.bytes(1..64)),
        }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())].clone()
    }
}
