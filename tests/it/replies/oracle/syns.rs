//! The SYNs of real clients, and SYNs that no client sends.

use super::segment::Family::{V4, V6};
use super::segment::{CWR, ECE, FIN, PSH, RST, SYN, Segment, URG};

/// The flag AE, among the reserved bits (RFC 9768).
const AE: u8 = 1;

/// The options of Linux's SYN.
const LINUX: &str = "mss sok ts nop ws";
/// The options of the SYN of macOS and iOS.
const MACOS: &str = "mss nop 030306 nop nop ts sok eol eol";

/// Returns the SYNs of real clients.
///
/// The SYNs of systems come from p0f's database, or from descriptions of newer systems that it lacks. The SYNs of
/// scanners were captured from the versions in Debian 12.
pub fn clients() -> Vec<Segment> {
    let system = |name: &str, ttl, window, options| Segment { ttl, window, ..Segment::syn(name, options) };
    let linux = |name: &str, window, options| Segment { flow_label: 0x5a3c1, ..system(name, 64, window, options) };
    let macos = |name: &str, options| Segment { flow_label: 0xc0500, ..system(name, 64, 65535, options) };
    let scanner =
        |name: &str, ttl, window, options| Segment { dont_fragment: false, ..system(name, ttl, window, options) };
    // The probes of `nmap -O` to an open port, numbered in the order of sending.
    let nmap_os = |number, window, options| Segment {
        acknowledgment_number: 0xecf9_ee4b,
        ..scanner(&format!("nmap -O, probe {number}"), 43, window, options)
    };
    vec![
        linux("Linux 3.11 and newer", 64240, LINUX),
        Segment { flags: SYN | ECE | CWR, ..linux("Linux with ECN", 64240, LINUX) },
        Segment { reserved: AE, flags: SYN | ECE | CWR, ..linux("Linux with accurate ECN", 64240, LINUX) },
        linux("Linux with MPTCP", 64240, "mss sok ts nop ws 1e040181"),
        linux("Linux with TFO, first connection", 64240, "mss sok ts nop ws 2202 nop nop"),
        Segment {
            payload: b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            ..linux("Linux with TFO, later connection", 64240, "mss sok ts nop ws 220a0102030405060708 nop nop")
        },
        linux("Linux 3.1 to 3.10", 14600, "mss sok ts nop 030304"),
        system("Linux 2.4", 64, 5840, "mss sok ts nop 030300"),
        linux("Android, older", 64240, "mss sok ts nop 030303"),
        linux("Android", 65535, "mss sok ts nop 030309"),
        system("Windows XP", 128, 65535, "mss nop nop sok"),
        system("Windows 7 and 8", 128, 8192, "mss nop 030308 nop nop sok"),
        system("Windows 10 and 11", 128, 64240, "mss nop 030308 nop nop sok"),
        Segment { flags: SYN | ECE | CWR, ..system("Windows Server", 128, 64240, "mss nop 030308 nop nop sok") },
        macos("macOS, iOS", MACOS),
        Segment { flags: SYN | ECE | CWR, ..macos("macOS, iOS with ECN", MACOS) },
        Segment { reserved: AE, flags: SYN | ECE | CWR, ..macos("macOS, iOS with accurate ECN", MACOS) },
        system("FreeBSD", 64, 65535, "mss nop 030306 sok ts"),
        system("OpenBSD", 64, 16384, "mss nop nop sok nop 030303 nop nop ts"),
        system("Solaris 8", 64, 32850, "nop 030301 nop nop ts nop nop sok mss"),
        system("Solaris 10", 64, 49640, "mss nop 030300 nop nop sok"),
        Segment { dont_fragment: false, ..system("lwIP", 255, 5840, "mss") },
        scanner("nmap -sS", 46, 1024, "020405b4"),
        nmap_os(1, 1, "03030a nop 020405b4 080affffffff00000000 sok"),
        nmap_os(2, 63, "02040578 030300 sok 080affffffff00000000 eol"),
        nmap_os(3, 4, "080affffffff00000000 nop nop 030305 nop 02040280"),
        nmap_os(4, 4, "sok 080affffffff00000000 03030a eol"),
        nmap_os(5, 16, "02040218 sok 080affffffff00000000 03030a eol"),
        nmap_os(6, 512, "02040109 sok 080affffffff00000000"),
        Segment {
            reserved: 8,
            flags: SYN | ECE | CWR,
            urgent_pointer: 0xf7f5,
            ..scanner("nmap -O, ECN probe", 39, 3, "03030a nop 020405b4 sok nop nop")
        },
        scanner("masscan", 255, 1024, ""),
        Segment { families: &[V4], identification: 0xd431, ..scanner("zmap", 255, 65535, "") },
        Segment { families: &[V4], acknowledgment_number: 0x600b_0196, ..scanner("hping3 -S", 64, 512, "") },
        Segment { identification: 1, sequence_number: 0, ..scanner("scapy", 64, 8192, "") },
    ]
}

/// Returns a SYN for each subset of MSS, SACK permitted, timestamps and window scale, in Linux's order.
pub fn subsets() -> Vec<Segment> {
    let subset = |bits: usize| {
        let chosen = ["mss", "sok", "ts", "ws"].into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
        let words = chosen.map(|(_, word)| word).collect::<Vec<_>>().join(" ");
        Segment::syn(&format!("subset [{words}]"), &words)
    };
    (0..16).map(subset).collect()
}

/// Returns SYNs with malformed or rare options.
pub fn odd_options() -> Vec<Segment> {
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
    .map(|(name, options)| Segment::syn(name, options))
    .to_vec()
}

/// Returns SYNs with unusual headers, with data, or with trailers.
pub fn odd_headers() -> Vec<Segment> {
    let syn = |name| Segment::syn(name, LINUX);
    let flags = |name, flags| Segment { flags, ..syn(name) };
    let class = |name, traffic_class| Segment { traffic_class, ..syn(name) };
    let ipv4 = |name, ip_options| Segment { families: &[V4], ip_options, ..syn(name) };
    let ipv6 = |name, protocol, ip_options| Segment { families: &[V6], protocol, ip_options, ..syn(name) };
    let data = |name, options, payload: &[u8]| Segment { payload: payload.to_vec(), ..Segment::syn(name, options) };
    vec![
        flags("PSH", SYN | PSH),
        flags("URG", SYN | URG),
        Segment { urgent_pointer: 1, ..flags("URG and PSH, with a pointer", SYN | URG | PSH) },
        Segment { urgent_pointer: 0xffff, ..syn("an urgent pointer without URG") },
        Segment { reserved: 0xf, ..syn("reserved bits") },
        flags("FIN", SYN | FIN),
        flags("RST", SYN | RST),
        flags("FIN and RST", SYN | FIN | RST),
        Segment { sequence_number: 0, ..syn("sequence number 0") },
        Segment { sequence_number: u32::MAX, ..syn("sequence number 0xffffffff") },
        Segment { acknowledgment_number: u32::MAX, ..syn("an acknowledgment number without ACK") },
        Segment { window: 0, ..syn("window 0") },
        Segment { window: 1, ..Segment::syn("window 1, no options", "") },
        data("one byte of data", LINUX, b"x"),
        data("data", LINUX, &[b'x'; 99]),
        data("much data", LINUX, &[b'x'; 500]),
        data("data, no options", "", b"GET / HTTP/1.0\r\n\r\n"),
        data("data and a TFO cookie", "mss sok ts nop ws 220a0102030405060708 nop nop", b"GET / HTTP/1.0\r\n\r\n"),
        Segment { sequence_number: u32::MAX, ..data("data, sequence number 0xffffffff", LINUX, b"xyz") },
        Segment { trailer: vec![0; 6], ..Segment::syn("Ethernet padding, no options", "") },
        Segment { trailer: vec![0; 2], ..Segment::syn("Ethernet padding, MSS", "mss") },
        Segment { trailer: vec![0xa5; 46], ..syn("a trailer that is not empty") },
        Segment { trailer: vec![0xa5; 6], ..data("data and a trailer", LINUX, b"xyz") },
        Segment { ttl: 1, ..syn("TTL 1") },
        Segment { ttl: 255, ..syn("TTL 255") },
        class("DSCP EF", 0xb8),
        class("DSCP CS1", 0x20),
        class("ECT(1)", 0x01),
        class("CE", 0x03),
        class("traffic class 0xff", 0xff),
        Segment { families: &[V4], identification: 0, ..syn("identification 0") },
        Segment { families: &[V4], dont_fragment: false, ..syn("DF clear") },
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

/// Returns SYNs with each combination of the ECN flags in the TCP header, the ECN bits in the IP header, and reserved
/// bits.
pub fn ecn() -> Vec<Segment> {
    let mut syns = Vec::new();
    for (flags, flag_names) in [(0, "no ECN flags"), (ECE, "ECE"), (CWR, "CWR"), (ECE | CWR, "ECE and CWR")] {
        for (ecn, ecn_name) in (0..).zip(["not ECT", "ECT(1)", "ECT(0)", "CE"]) {
            for (reserved, reserved_name) in [(0, ""), (AE, ", AE"), (2, ", reserved bit"), (8, ", first reserved bit")]
            {
                let name = format!("{flag_names}, {ecn_name}{reserved_name}");
                let flags = SYN | flags;
                syns.push(Segment { flags, reserved, traffic_class: ecn, ..Segment::syn(&name, LINUX) });
            }
        }
    }
    syns
}

/// Returns SYNs over IPv6 with the smallest and largest flow labels, and others.
pub fn flow_labels() -> Vec<Segment> {
    let label = |flow_label| {
        let name = format!("flow label 0x{flow_label:05x}");
        Segment { families: &[V6], flow_label, ..Segment::syn(&name, LINUX) }
    };
    [0x00001, 0x12345, 0x7ffff, 0x80000, 0xfffff].map(label).to_vec()
}

/// Returns the SYNs of all other functions.
pub fn all() -> Vec<Segment> {
    [clients(), subsets(), odd_options(), odd_headers(), ecn(), flow_labels()].concat()
}
