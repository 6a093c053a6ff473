//! The kernel and the host agree: the loaded program does to every packet what [`bounce`] does to it here.
//!
//! The packets are made from a fixed seed, so every run makes the same ones, and a longer run begins with them.
//! `TCP_BOUNCE_AGREEMENT_PACKETS` asks for more packets than [`PACKETS`].

mod packet;

use std::cmp::Ordering;
use std::env;
use std::ops::Range;

use fastrand::Rng;
use packet::{ACK, CWR, ECE, FIN, Kernel, LONGEST, Outcome, PSH, RST, Request, SYN, URG};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Config, Counters, Frame, Ports, Settings, Verdict, bounce};

/// How many packets there are at least, in all.
const PACKETS: usize = 500_000;
const SEED: u64 = 0x5eed_0f5e_a50e_d175;

/// Settings, and the ports that are spared under them.
const SETUPS: [(Settings, &[u16]); 7] = [
    (Settings::DEFAULT, &[]),
    (Settings { takeover: true, ..Settings::DEFAULT }, &[]),
    (Settings::DEFAULT, &[22, 80, 443]),
    (Settings { isn: u32::MAX, ttl: 255, window: u16::MAX, mss: u16::MAX, takeover: true, attach_mode: 2 }, &[0, 22]),
    (Settings { isn: 0, ttl: 1, window: 0, mss: 1, takeover: false, attach_mode: 4 }, &[63, 64, u16::MAX]),
    (Settings { isn: 0x0102_0304, ttl: 128, window: 1024, mss: 536, takeover: false, attach_mode: 8 }, &[]),
    (Settings { isn: 0xfffe_ffff, ttl: 37, window: 5, mss: 8960, takeover: true, attach_mode: 0 }, &[443, 8080]),
];

/// Ports that a packet is often for: all that any setup spares, their neighbours in the bitmap, and some others.
const PORTS: [u16; 14] = [0, 1, 22, 23, 62, 63, 64, 65, 80, 443, 8080, 8081, u16::MAX - 1, u16::MAX];

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_agree_on_every_packet() {
    let packets = number_of_packets();
    println!("{packets} packets of seed {SEED:#x}");
    let mut rng = Rng::with_seed(SEED);
    let mut coverage = Coverage::default();
    let mut sides: Vec<_> = SETUPS.into_iter().map(|(settings, spared)| Sides::new(settings, spared)).collect();
    for index in 0..packets {
        let setup = index % SETUPS.len();
        let packet = Generator { rng: &mut rng, isn: SETUPS[setup].0.isn }.packet();
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
    config: Config,
    spared: Ports,
}

impl Sides {
    fn new(settings: Settings, spared: &[u16]) -> Self {
        let kernel = Kernel::load(settings);
        kernel.spare(spared.iter().copied());
        Self { kernel, config: Config::new(settings), spared: packet::port_set(spared.iter().copied()) }
    }

    /// What both sides say of `packet`: the verdict, and how long the frame is then. If they do not agree: the packet,
    /// and what each side says.
    fn compare(&mut self, packet: &[u8]) -> Result<(Verdict, usize), String> {
        let (verdict, host) = self.host(packet);
        let kernel = self.kernel.run(packet);
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
        let verdict = bounce(&mut frame, &self.config, &self.spared);
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
        if verdict == Verdict::Answered {
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
            let enough = if verdict == Verdict::NoRoom { count == 0 } else { count >= packets as u64 / 200 };
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
    isn: u32,
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
        let options = self.pick(&[0..1, 0..1, 1..6, 5..6, 0..11]);
        Request {
            destination_mac: self.mac(),
            source_mac: self.mac(),
            type_of_service: self.rng.u8(..),
            identification: self.rng.u16(..),
            fragment: self.pick(&[0, 0x4000, 0x4000, 0x8000]),
            ttl: self.rng.u8(..),
            header_checksum: self.rng.u16(..),
            source: self.address(),
            destination: self.address(),
            ip_options: self.words(ip_options),
            source_port: self.port(),
            destination_port: self.port(),
            sequence_number: self.number(),
            acknowledgment_number: self.acknowledgment_number(),
            flags: self.flags(),
            window: self.rng.u16(..),
            checksum: self.rng.u16(..),
            urgent_pointer: self.rng.u16(..),
            options: self.words(options),
            payload: self.bytes(payload),
            trailer: self.bytes(trailer),
            ..Request::syn()
        }
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

    /// Half of the time, the one that belongs to our SYN-ACK.
    fn acknowledgment_number(&mut self) -> u32 {
        let next = self.isn.wrapping_add(1);
        match self.rng.u8(..8) {
            0..4 => next,
            4 => self.isn,
            5 => next.wrapping_add(1),
            6 => next.swap_bytes(),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> u32 {
        let any = self.rng.u32(..);
        self.pick(&[any, any, any, 0, u32::MAX, 0xffff, 0xffff_0000])
    }

    fn port(&mut self) -> u16 {
        if self.rng.bool() { self.pick(&PORTS) } else { self.rng.u16(..) }
    }

    fn mac(&mut self) -> [u8; 6] {
        let mut mac: [u8; 6] = self.octets();
        mac[0] &= 0xfe;
        mac
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
        match self.rng.u8(..14) {
            0 => request.ethertype = self.pick(&[0x0806, 0x8100, 0x86dd, 0x0008, 0x05dc, 0x0801, 0x0900]),
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
