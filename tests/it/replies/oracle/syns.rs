//! The SYNs of real clients, and SYNs that no client sends.

use std::fmt::{self, Display, Formatter};

use etherparse::checksum::Sum16BitWords;

/// The destination port of all SYNs.
pub const PORT: u16 = 80;

const TCP: u8 = 6;
const SYN: u8 = 0x02;

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

/// A SYN without its addresses and source port.
#[derive(Clone, Debug)]
pub struct Syn {
    pub name: String,
    /// The IP versions over which the SYN is sent.
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

impl Syn {
    /// Returns a SYN with the header fields of a Linux client. `options` is in the notation of [`bytes`].
    fn new(name: &str, options: &str) -> Self {
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
            &PORT.to_be_bytes(),
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

/// Returns the SYNs of real clients.
///
/// The SYNs of systems come from p0f's database, or from descriptions of newer systems that it lacks. The SYNs of
/// scanners were captured from the versions in Debian 12.
pub fn clients() -> Vec<Syn> {
    let system = |name: &str, ttl, window, options| Syn { ttl, window, ..Syn::new(name, options) };
    let scanner = |name: &str, ttl, window, options| Syn { dont_fragment: false, ..system(name, ttl, window, options) };
    // The probes of `nmap -O` to an open port, numbered in the order of sending.
    let nmap_os = |number, window, options| Syn {
        acknowledgment_number: 0xecf9_ee4b,
        ..scanner(&format!("nmap -O, probe {number}"), 43, window, options)
    };
    vec![
        system("Linux 3.11 and newer", 64, 64240, "mss sok ts nop ws"),
        system("Linux 3.1 to 3.10", 64, 14600, "mss sok ts nop 030304"),
        system("Linux 2.4", 64, 5840, "mss sok ts nop 030300"),
        system("Android, older", 64, 64240, "mss sok ts nop 030303"),
        system("Android", 64, 65535, "mss sok ts nop 030309"),
        system("Windows XP", 128, 65535, "mss nop nop sok"),
        system("Windows 7 and 8", 128, 8192, "mss nop 030308 nop nop sok"),
        system("Windows 10 and 11", 128, 64240, "mss nop 030308 nop nop sok"),
        Syn { flags: 0xc2, ..system("Windows Server", 128, 64240, "mss nop 030308 nop nop sok") },
        system("macOS, iOS", 64, 65535, "mss nop 030306 nop nop ts sok eol eol"),
        Syn { flags: 0xc2, ..system("macOS, iOS with ECN", 64, 65535, "mss nop 030306 nop nop ts sok eol eol") },
        system("FreeBSD", 64, 65535, "mss nop 030306 sok ts"),
        system("OpenBSD", 64, 16384, "mss nop nop sok nop 030303 nop nop ts"),
        system("Solaris 8", 64, 32850, "nop 030301 nop nop ts nop nop sok mss"),
        system("Solaris 10", 64, 49640, "mss nop 030300 nop nop sok"),
        scanner("nmap -sS", 46, 1024, "020405b4"),
        nmap_os(1, 1, "03030a nop 020405b4 080affffffff00000000 sok"),
        nmap_os(2, 63, "02040578 030300 sok 080affffffff00000000 eol"),
        nmap_os(3, 4, "080affffffff00000000 nop nop 030305 nop 02040280"),
        nmap_os(4, 4, "sok 080affffffff00000000 03030a eol"),
        nmap_os(5, 16, "02040218 sok 080affffffff00000000 03030a eol"),
        nmap_os(6, 512, "02040109 sok 080affffffff00000000"),
        Syn {
            reserved: 8,
            flags: 0xc2,
            urgent_pointer: 0xf7f5,
            ..scanner("nmap -O, ECN probe", 39, 3, "03030a nop 020405b4 sok nop nop")
        },
        scanner("masscan", 255, 1024, ""),
        Syn { families: &[V4], identification: 0xd431, ..scanner("zmap", 255, 65535, "") },
        Syn { families: &[V4], acknowledgment_number: 0x600b_0196, ..scanner("hping3 -S", 64, 512, "") },
        Syn { identification: 1, sequence_number: 0, ..scanner("scapy", 64, 8192, "") },
    ]
}

/// Returns a SYN for each subset of MSS, SACK permitted, timestamps and window scale, in Linux's order.
pub fn subsets() -> Vec<Syn> {
    let subset = |bits: usize| {
        let chosen = ["mss", "sok", "ts", "ws"].into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
        let words = chosen.map(|(_, word)| word).collect::<Vec<_>>().join(" ");
        Syn::new(&format!("subset [{words}]"), &words)
    };
    (0..16).map(subset).collect()
}

/// Returns SYNs with malformed or rare options.
pub fn odd_options() -> Vec<Syn> {
    [
        ("order 1", "ws ts sok mss"),
        ("order 2", "ts sok ws mss"),
        ("order 3", "sok mss ws ts"),
        ("order 4", "ts mss sok ws"),
        ("order 5", "ws nop mss nop nop ts sok"),
        ("NOPs between", "nop mss nop nop nop sok nop nop ts nop nop ws nop"),
        ("NOPs before", "nop nop nop nop nop nop nop mss sok ts ws"),
        ("NOPs behind", "mss sok ts ws nop nop nop nop nop nop nop nop"),
        ("NOPs alone", "01010101010101010101010101010101010101010101010101010101010101010101010101010101"),
        ("EOL after MSS", "mss eol sok ts ws"),
        ("EOL after timestamps", "mss sok ts eol ws"),
        ("EOL first", "eol mss sok ts ws"),
        ("EOL alone", "eol"),
        ("length 0: MSS", "020005b4 sok ts ws"),
        ("length 0: SACK-permitted", "mss 0400 ts ws"),
        ("length 0: timestamps", "mss sok 0800 ws"),
        ("length 0: unknown", "mss sok 6300 ts ws"),
        ("length 1: MSS", "020105b4 sok ts ws"),
        ("length 1: SACK-permitted", "mss 0401 ts ws"),
        ("length 1: unknown", "mss sok 6301 ts ws"),
        ("past the header: MSS", "sok 0204"),
        ("past the header: MSS by one byte", "ts nop nop nop 0204 05"),
        ("past the header: timestamps", "mss sok ws nop nop nop 080a0000"),
        ("past the header: window scale", "mss ts sok nop nop 0303"),
        ("past the header: unknown", "mss sok ts ws 63280000"),
        ("a kind without a length: window scale", "mss sok ts nop nop nop 03"),
        ("a kind without a length: unknown", "mss sok nop 63"),
        ("twice: MSS", "mss 02040218 sok"),
        ("twice: SACK-permitted", "mss sok sok"),
        ("twice: timestamps", "mss ts 080aaabbccdd00000000"),
        ("twice: window scale", "mss ws 030302"),
        ("wrong length: MSS 2", "0202 sok ts ws"),
        ("wrong length: MSS 3", "020305 sok ts ws"),
        ("wrong length: MSS 5", "020505b400 sok ts ws"),
        ("wrong length: SACK-permitted 3", "mss 040300 ts ws"),
        ("wrong length: SACK-permitted 4", "mss 04040000 ts ws"),
        ("wrong length: timestamps 2", "mss sok 0802 ws"),
        ("wrong length: timestamps 9", "mss sok 080900000001000000 ws"),
        ("wrong length: timestamps 12", "mss sok 080c00000001000000000000 ws"),
        ("wrong length: window scale 2", "mss sok ts 0302"),
        ("wrong length: window scale 4", "mss sok ts 03040700"),
        ("MSS 0", "02040000 sok ts ws"),
        ("MSS 1", "02040001 sok ts ws"),
        ("MSS 65535", "0204ffff sok ts ws"),
        ("window scale 0", "mss sok ts nop 030300"),
        ("window scale 14", "mss sok ts nop 03030e"),
        ("window scale 15", "mss sok ts nop 03030f"),
        ("window scale 255", "mss sok ts nop 0303ff"),
        ("TSval 0", "mss sok 080a0000000000000000 ws"),
        ("TSval 0xffffffff", "mss sok 080affffffff00000000 ws"),
        ("TSecr not 0", "mss sok 080a0000000112345678 ws"),
        ("unknown: SACK blocks (5)", "mss 050a0000000100000002 sok ts ws"),
        ("unknown: echo (6)", "mss 060600000001 sok ts ws"),
        ("unknown: user timeout (28)", "mss sok ts 1c040e10 ws"),
        ("unknown: MPTCP (30)", "mss sok ts ws 1e040181"),
        ("unknown: MPTCP (30) with a key", "mss sok 1e0c00810102030405060708 ts ws"),
        ("unknown: TFO cookie request (34)", "mss sok ts ws 2202"),
        ("unknown: TFO cookie (34)", "mss sok ts ws 220a0102030405060708"),
        ("unknown: experimental (253)", "mss sok ts ws fd04abcd"),
        ("unknown: experimental (254)", "mss sok ts ws fe04abcd"),
        ("unknown: experimental TFO (254)", "mss sok ts ws fe04f989"),
        ("unknown: SMC (254)", "mss sok ts ws fe06e2d4c3d9"),
        ("unknown: 255", "mss sok ts ws ff02"),
        ("unknown: 99, before all others", "6304abcd mss sok ts ws"),
        ("MD5 signature (19)", "mss sok ws nop 131200000000000000000000000000000000"),
        ("MD5 signature (19) at the end", "mss nop nop 131200000000000000000000000000000000"),
        ("MD5 signature (19) after EOL", "eol nop nop nop 131200000000000000000000000000000000"),
        ("MD5 signature (19) that is too short", "mss nop nop 130a0000000000000000 ts"),
        ("MD5 signature (19) that is too short, late", "mss 130a0000000000000000 sok"),
        ("authentication (29)", "mss sok ws nop 1d1001010000000000000000000000ff"),
        ("authentication (29) that is too short", "1d04abcd mss ts"),
        ("authentication (29) that is too short, late", "mss 1d04abcd nop nop nop nop nop nop nop nop"),
        ("authentication (29) twice", "1d0601010000 1d0601010000 mss sok ts"),
        ("length 0, 18 bytes before the end", "nop nop 6300 0101010101010101 0101010101010101"),
        ("length 0, 17 bytes before the end", "nop nop nop 6300 0101010101010101 01010101010101"),
        ("past the header, from the start", "6328 0101010101010101 0101010101010101 0101"),
    ]
    .map(|(name, options)| Syn::new(name, options))
    .to_vec()
}

/// Returns SYNs with unusual headers, with data, or with trailers.
pub fn odd_headers() -> Vec<Syn> {
    const LINUX: &str = "mss sok ts nop ws";
    let syn = |name| Syn::new(name, LINUX);
    let flags = |name, flags| Syn { flags, ..syn(name) };
    let class = |name, traffic_class| Syn { traffic_class, ..syn(name) };
    let ipv4 = |name, ip_options| Syn { families: &[V4], ip_options, ..syn(name) };
    let ipv6 = |name, protocol, ip_options| Syn { families: &[V6], protocol, ip_options, ..syn(name) };
    let data = |name, options, payload: &[u8]| Syn { payload: payload.to_vec(), ..Syn::new(name, options) };
    vec![
        flags("ECE", SYN | 0x40),
        flags("CWR", SYN | 0x80),
        flags("ECE and CWR", SYN | 0xc0),
        Syn { reserved: 1, ..flags("ECE, CWR and AE: accurate ECN", SYN | 0xc0) },
        Syn { traffic_class: 2, ..flags("ECE and CWR, ECT(0)", SYN | 0xc0) },
        flags("PSH", SYN | 0x08),
        flags("URG", SYN | 0x20),
        Syn { urgent_pointer: 1, ..flags("URG and PSH, with a pointer", SYN | 0x28) },
        Syn { urgent_pointer: 0xffff, ..syn("an urgent pointer without URG") },
        Syn { reserved: 0xf, ..syn("reserved bits") },
        flags("FIN", SYN | 0x01),
        flags("RST", SYN | 0x04),
        flags("FIN and RST", SYN | 0x05),
        Syn { sequence_number: 0, ..syn("sequence number 0") },
        Syn { sequence_number: u32::MAX, ..syn("sequence number 0xffffffff") },
        Syn { acknowledgment_number: u32::MAX, ..syn("an acknowledgment number without ACK") },
        Syn { window: 0, ..syn("window 0") },
        Syn { window: 1, ..Syn::new("window 1, no options", "") },
        data("one byte of data", LINUX, b"x"),
        data("data", LINUX, &[b'x'; 99]),
        data("much data", LINUX, &[b'x'; 500]),
        data("data, no options", "", b"GET / HTTP/1.0\r\n\r\n"),
        data("data and a TFO cookie", "mss sok ts nop ws 220a0102030405060708 nop nop", b"GET / HTTP/1.0\r\n\r\n"),
        Syn { sequence_number: u32::MAX, ..data("data, sequence number 0xffffffff", LINUX, b"xyz") },
        Syn { trailer: vec![0; 6], ..Syn::new("Ethernet padding, no options", "") },
        Syn { trailer: vec![0; 2], ..Syn::new("Ethernet padding, MSS", "mss") },
        Syn { trailer: vec![0xa5; 46], ..syn("a trailer that is not empty") },
        Syn { trailer: vec![0xa5; 6], ..data("data and a trailer", LINUX, b"xyz") },
        Syn { ttl: 1, ..syn("TTL 1") },
        Syn { ttl: 255, ..syn("TTL 255") },
        class("DSCP EF", 0xb8),
        class("DSCP CS1", 0x20),
        class("ECT(1)", 0x01),
        class("CE", 0x03),
        class("traffic class 0xff", 0xff),
        Syn { families: &[V4], identification: 0, ..syn("identification 0") },
        Syn { families: &[V4], dont_fragment: false, ..syn("DF clear") },
        Syn { families: &[V6], flow_label: 0xfffff, ..syn("a flow label") },
        ipv4("IP options: NOPs", "01010101"),
        ipv4("IP options: EOL", "00000000"),
        ipv4(
            "IP options: all 40 bytes",
            "01010101010101010101010101010101010101010101010101010101010101010101010101010101",
        ),
        ipv4("IP options: router alert", "94040000"),
        ipv4("IP options: unknown", "9e04abcd"),
        ipv4("IP options: security", "820b0000000000000000 00 00"),
        ipv4("IP options: timestamp", "4408050000000000"),
        ipv4("IP options: timestamps with addresses", "440c0501 00000000 00000000"),
        ipv4("IP options: a timestamp that is full", "4408090000000001"),
        ipv4("IP options: record route", "07070400000000 00"),
        ipv4("IP options: loose source route", "83070400000000 00"),
        ipv4("IP options: strict source route", "89070400000000 00"),
        ipv4("IP options: length 0", "94000000"),
        ipv4("IP options: past the header", "94080000"),
        ipv6("hop-by-hop: PadN", 0, "0600010400000000"),
        ipv6("hop-by-hop: router alert", 0, "0600050200000100"),
        ipv6("hop-by-hop: unknown, to be skipped", 0, "06001e0400000000"),
        ipv6("hop-by-hop: unknown, to be refused", 0, "0600de0400000000"),
        ipv6("destination options: PadN", 60, "0600010400000000"),
        ipv6("destination options: unknown, to be skipped", 60, "06001e0400000000"),
        ipv6("hop-by-hop and destination options", 0, "3c00010400000000 0600010400000000"),
        ipv6("routing: type 0, at its end", 43, "0600000000000000"),
        ipv6("routing: type 0, not at its end", 43, "0602000100000000 20010db8000000000000000000000001"),
        ipv6("fragment: the only one", 44, "0600000012345678"),
    ]
}

/// Returns the SYNs of [`clients`], [`subsets`], [`odd_options`] and [`odd_headers`].
pub fn all() -> Vec<Syn> {
    [clients(), subsets(), odd_options(), odd_headers()].concat()
}
