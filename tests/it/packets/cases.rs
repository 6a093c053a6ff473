//! The loaded program, case by case: the action, the counter that goes up, and every byte of the frame afterwards.
//!
//! The cases run in the kernel (`BPF_PROG_TEST_RUN`), without a network. Expected bytes are written out or built by
//! etherparse, never by the code under test. Frames in hex have correct checksums. Frames of [`Request`] have wrong
//! checksums, as if the sender left them to its NIC. The program must ignore them.

use std::fs;

use etherparse::PacketBuilder;
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Func;
use libbpf_rs::libbpf_sys::{XDP_DROP, XDP_PASS, XDP_TX};
use libbpf_rs::query::{ProgInfoIter, ProgramInfo};
use libbpf_rs::{MapCore as _, MapFlags, ObjectBuilder, ProgramHandle, ProgramType};
use tcp_bounce::XdpError;
use tcp_bounce::internals::kernel::is_older_than;
use tcp_bounce::internals::loader;
use tcp_bounce_wire::{Action, ProgramConfig, TelemetrySettings, Verdict};
use zerocopy::IntoBytes as _;

use crate::fixtures::packet::{
    self, ACK, CWR, Choice, ECE, FIN, Kernel, LONGEST, Outcome, PSH, REPLY_LENGTH, RST, Request, SYN, Setup,
    SynOptions, URG, V6,
};

/// The object that the loader embeds.
const OBJECT: &str = concat!(env!("OUT_DIR"), "/tcp_bounce.bpf.o");

const DEFAULT: Choice = Choice::DEFAULT;
const TAKEOVER: Choice = Choice { takeover: true, ..DEFAULT };

/// The answer of 198.51.100.7:443 to the client 192.0.2.10:40262 with sequence number 0x3b9aca07, under the default
/// settings. The lines of a frame are the Ethernet header, the IPv4 header, the TCP header and the TCP options.
const REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 0800
    4500 002c 0000 4000 4006 4e87 c633 6407 c000 020a
    01bb 9d46 7463 7062 3b9a ca08 6012 faf0 2776 0000
    0204 05b4";

/// A Linux client's SYN: MSS, SACK permitted, timestamps, NOP, window scale.
const LINUX_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 003c 1c46 4000 4006 3231 c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 a002 faf0 08bf 0000
    0204 05b4 0402 080a 00a1 b2c3 0000 0000 0103 030a";

/// A Windows client's SYN: MSS, NOP, window scale, NOP, NOP, SACK permitted. TTL 128.
const WINDOWS_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 0034 2b11 4000 8006 e36d c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 8002 faf0 e336 0000
    0204 05b4 0103 0308 0101 0402";

/// The answer to [`WINDOWS_SYN`] under the default settings.
const WINDOWS_REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 0800
    4500 0034 0000 4000 4006 4e7f c633 6407 c000 020a
    01bb 9d46 7463 7062 3b9a ca08 8012 faf0 fe60 0000
    0204 05b4 0101 0402 0103 0307";

/// A macOS client's SYN: MSS, NOP, window scale, NOP, NOP, timestamps, SACK permitted, end of options. ECE and CWR are
/// set.
const MACOS_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 0040 0000 4000 4006 4e73 c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 b0c2 ffff af3d 0000
    0204 05b4 0103 0306 0101 080a 3f5c b6b9 0000 0000 0402 0000";

/// A SYN of `nmap -sS`: only MSS, DF clear. The reply has the same length, 58 bytes.
const NMAP_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 002c d0a8 0000 3106 ccde c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 6002 0400 033e 0000
    0204 05b4";

/// The first probe of `nmap -O`: window scale, NOP, MSS, timestamps, SACK permitted. Window 1.
const NMAP_OS_PROBE: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 003c 99a1 0000 3406 00d6 c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 a002 0001 ae1c 0000
    0303 0a01 0204 05b4 080a ffff ffff 0000 0000 0402";

/// A SYN of masscan: no options, DF clear, TTL 255.
const MASSCAN_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 0028 d0a8 0000 ff06 fee1 c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 5002 0400 1afa 0000";

/// The ARP request of 192.0.2.10 for the MAC address of 198.51.100.7.
const ARP_REQUEST: &str = "
    ffff ffff ffff 5254 00ab cdef 0806
    0001 0800 0604 0001 5254 00ab cdef c000 020a 0000 0000 0000 c633 6407";

/// A packet and the expected result.
#[derive(Clone)]
struct Case {
    name: &'static str,
    settings: Choice,
    excluded: &'static [u16],
    packet: Vec<u8>,
    verdict: Verdict,
    action: u32,
    /// The expected frame after the run. `None` stands for a valid answer with any TSval.
    result: Option<Vec<u8>>,
}

impl Case {
    fn new(name: &'static str, packet: Vec<u8>, verdict: Verdict, action: u32, result: Vec<u8>) -> Self {
        Self { name, settings: DEFAULT, excluded: &[], packet, verdict, action, result: Some(result) }
    }

    /// Returns a case whose answer has timestamps, so its bytes depend on the time.
    fn answered_in_time(name: &'static str, packet: Vec<u8>) -> Self {
        Self { result: None, ..Self::answered(name, packet, Vec::new()) }
    }

    fn answered(name: &'static str, packet: Vec<u8>, result: Vec<u8>) -> Self {
        Self::new(name, packet, Verdict::Answered, XDP_TX, result)
    }

    fn dropped(name: &'static str, packet: Vec<u8>, verdict: Verdict) -> Self {
        Self::new(name, packet.clone(), verdict, XDP_DROP, packet)
    }

    fn passed(name: &'static str, packet: Vec<u8>, verdict: Verdict) -> Self {
        Self::new(name, packet.clone(), verdict, XDP_PASS, packet)
    }

    fn under(self, settings: Choice) -> Self {
        Self { settings, ..self }
    }

    fn excluding(self, excluded: &'static [u16]) -> Self {
        Self { excluded, ..self }
    }

    fn check(&self, kernel: &mut Kernel) {
        // libtest shows the output only if the test fails.
        println!("case: {}, takeover {}", self.name, self.settings.takeover);
        kernel.exclude(self.excluded.iter().copied());
        let outcome = kernel.run(&self.packet);
        let frame = self.result.clone().unwrap_or(outcome.frame.clone());
        let expected = Outcome { action: self.action, counted: vec![(self.verdict, 1)], frame };
        assert_eq!(outcome, expected, "{}", self.name);
        if self.verdict == Verdict::Answered {
            let now = packet::clock(&self.packet, &outcome.frame, &self.settings).unwrap_or_default();
            packet::assert_answer(&self.packet, &outcome.frame, &Choice { now, ..self.settings });
        }
    }
}

/// Checks all cases. Cases with the same settings share a loaded program, since loading takes much longer than
/// running.
fn check(cases: impl IntoIterator<Item = Case>) {
    let mut kernels: Vec<(Choice, Kernel)> = Vec::new();
    for case in cases {
        let index = kernels.iter().position(|(settings, _)| *settings == case.settings).unwrap_or_else(|| {
            kernels.push((case.settings, Kernel::load(case.settings)));
            kernels.len() - 1
        });
        case.check(&mut kernels[index].1);
    }
}

/// Checks that each case has the expected result both without and with takeover.
fn check_without_and_with_takeover(cases: impl IntoIterator<Item = Case>) {
    check(cases.into_iter().flat_map(|case| [case.clone(), case.under(TAKEOVER)]));
}

/// Parses a frame in hex, which may contain white space.
fn frame(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.split_whitespace().flat_map(str::chars).map(|digit| digit.to_digit(16).expect("a hex digit")).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Returns [`REPLY`], padded with zeros to `length` bytes.
fn reply(length: usize) -> Vec<u8> {
    padded(frame(REPLY), length)
}

fn padded(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
    assert!(frame.len() <= length, "{} bytes are more than {length}", frame.len());
    frame.resize(length, 0);
    frame
}

/// Builds the expected SYN-ACK for `syn` with etherparse, padded with zeros to `length` bytes.
///
/// `syn` must not offer timestamps.
fn syn_ack(syn: &Request, settings: Choice, length: usize) -> Vec<u8> {
    let options = SynOptions::of(&syn.options).taken_up(settings.mss.unwrap_or(1460), 0, settings.window_scale);
    let builder = PacketBuilder::ethernet2(syn.destination_mac, syn.source_mac)
        .ipv4(syn.destination, syn.source, settings.ttl)
        .tcp(
            syn.destination_port,
            syn.source_port,
            settings.isn,
            settings.window.unwrap_or(settings.mss.map_or(64240, window_for)),
        )
        .syn()
        .ack(syn.sequence_number.wrapping_add(1))
        .options_raw(&options)
        .expect("the options fit");
    let builder = if syn.flags & (ECE | CWR) == ECE | CWR { builder.ece() } else { builder };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("writing to a vector cannot fail");
    padded(frame, length)
}

/// Returns the default window for an MSS, both in bytes.
///
/// It is the largest multiple of the MSS up to 65536, capped at 65535, the largest value of a window field.
fn window_for(mss: u16) -> u16 {
    (65536 / u32::from(mss) * u32::from(mss)).min(65535) as u16
}

/// Returns the length of the reply to a frame of `length` bytes. A frame keeps its length, unless it is shorter than a
/// reply or at least 24 bytes longer.
const fn reply_length(length: usize) -> usize {
    match length.checked_sub(REPLY_LENGTH) {
        Some(0..24) => length,
        _ => REPLY_LENGTH,
    }
}

fn syn() -> Request {
    Request::syn()
}

fn ack() -> Request {
    Request::ack()
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_the_syn_of_every_system() {
    let mut padded_syn = frame(MASSCAN_SYN);
    padded_syn.resize(60, 0);
    check_without_and_with_takeover([
        Case::answered_in_time("Linux", frame(LINUX_SYN)),
        Case::answered("Windows", frame(WINDOWS_SYN), frame(WINDOWS_REPLY)),
        Case::answered_in_time("macOS", frame(MACOS_SYN)),
        Case::answered("nmap", frame(NMAP_SYN), reply(58)),
        Case::answered_in_time("nmap -O", frame(NMAP_OS_PROBE)),
        Case::answered("masscan: the smallest SYN grows", frame(MASSCAN_SYN), reply(58)),
        Case::answered("masscan, padded to the shortest frame of Ethernet", padded_syn, reply(60)),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_syns_with_options_and_data() {
    let nops = |words: usize| vec![1; words * 4];
    let case = |name, syn: Request, length| {
        let reply = syn_ack(&syn, DEFAULT, length);
        Case::answered(name, syn.frame(), reply)
    };
    let fast_open = b"\x02\x04\x05\xb4\x22\x0a\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x01".to_vec();
    check_without_and_with_takeover([
        case("nothing", syn(), 58),
        case("a byte of data", Request { payload: vec![0xee], ..syn() }, 58),
        case("a little data, of odd length", Request { payload: vec![0xee; 15], ..syn() }, 69),
        case("the most data that the frame keeps its length with", Request { payload: vec![0xee; 27], ..syn() }, 81),
        case("the least data that the frame is shortened with", Request { payload: vec![0xee; 28], ..syn() }, 58),
        case("a segment full of data", Request { payload: vec![0xee; 1460], ..syn() }, 58),
        case("data with a fast open cookie", Request { options: fast_open, payload: vec![0xee; 37], ..syn() }, 58),
        case("all the TCP options that fit", Request { options: nops(10), ..syn() }, 58),
        case("TCP options of unknown kinds", Request { options: vec![0xfe; 12], ..syn() }, 66),
        case("an MD5 signature that is cut off", Request { options: vec![19, 18, 0xee, 0xee], ..syn() }, 58),
        case("an IP option", Request { ip_options: vec![0x94, 4, 0, 0], ..syn() }, 58),
        case("all the IP options that fit", Request { ip_options: nops(10), ..syn() }, 58),
        case("all the options that fit", Request { ip_options: nops(10), options: nops(10), ..syn() }, 58),
        case("bytes behind the datagram", Request { trailer: vec![0xee; 9], ..syn() }, 63),
        case("ECE and CWR", Request { flags: SYN | ECE | CWR, ..syn() }, 58),
        case("PSH and URG", Request { flags: SYN | PSH | URG, urgent_pointer: 7, ..syn() }, 58),
        case("reserved bits", Request { reserved: 0xf, ..syn() }, 58),
        case("an acknowledgment number, which means nothing", Request { acknowledgment_number: 7, ..syn() }, 58),
        case("the acknowledgment number of a SYN-ACK", Request { flags: SYN, ..ack() }, 58),
        case("the last sequence number", Request { sequence_number: u32::MAX, ..syn() }, 58),
        case("TTL 1", Request { ttl: 1, ..syn() }, 58),
        case("a type of service", Request { type_of_service: 0xff, ..syn() }, 58),
        case("DF clear", Request { fragment: 0, ..syn() }, 58),
        case("the reserved bit of IP", Request { fragment: 0x8000, ..syn() }, 58),
        case("the same port at both ends", Request { source_port: 443, ..syn() }, 58),
        case("port 0 at both ends", Request { source_port: 0, destination_port: 0, ..syn() }, 58),
        case("the highest port at both ends", Request { source_port: 65535, destination_port: 65535, ..syn() }, 58),
    ]);
}

/// Checks every IP header length with every TCP header length.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_syns_with_any_header_lengths() {
    let mut kernel = Kernel::load(DEFAULT);
    for (ihl, data_offset) in (5..16).flat_map(|ihl| (5..16).map(move |data_offset| (ihl, data_offset))) {
        let options = |words: u8, byte| vec![byte; usize::from(words - 5) * 4];
        let syn = Request { ip_options: options(ihl, 0x1e), options: options(data_offset, 0xfe), ..syn() };
        let packet = syn.frame();
        assert_eq!((packet[14], packet[14 + usize::from(ihl) * 4 + 12]), (0x40 | ihl, data_offset << 4));
        let reply = syn_ack(&syn, DEFAULT, reply_length(packet.len()));
        assert_eq!(kernel.run(&packet), answer(reply), "{syn:?}");
    }
}

/// Checks every length from the shortest SYN to [`LONGEST`], filled once with data and once with a trailer.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_syns_of_any_frame_length() {
    let mut kernel = Kernel::load(DEFAULT);
    for more in 0..=LONGEST - 54 {
        let rest = vec![0xee; more];
        for syn in [Request { payload: rest.clone(), ..syn() }, Request { trailer: rest.clone(), ..syn() }] {
            let reply = syn_ack(&syn, DEFAULT, reply_length(54 + more));
            assert_eq!(kernel.run(&syn.frame()), answer(reply), "{more} bytes more: {syn:?}");
        }
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_syns_over_ipv6_and_in_vlans() {
    let linux = frame(LINUX_SYN)[54..].to_vec();
    let with_options = Request { options: linux, ..syn() };
    let extensions = Request {
        v6: Some(V6 { next_header: Some(0), extensions: vec![6, 0, 1, 4, 0, 0, 0, 0], ..V6::new() }),
        ..syn().over_ipv6()
    };
    check_without_and_with_takeover([
        Case::answered_in_time("IPv6", syn().over_ipv6().frame()),
        Case::answered_in_time("IPv6, with all options", with_options.clone().over_ipv6().frame()),
        Case::answered_in_time("IPv6, hop-by-hop options", extensions.frame()),
        Case::answered_in_time("a VLAN", with_options.clone().tagged().frame()),
        Case::answered_in_time("two VLANs", with_options.clone().twice_tagged().frame()),
        Case::answered_in_time("IPv6 in a VLAN", with_options.clone().over_ipv6().tagged().frame()),
        Case::answered_in_time("IPv6 in two VLANs", with_options.over_ipv6().twice_tagged().frame()),
        Case::dropped("an ACK over IPv6", ack().over_ipv6().tagged().frame(), Verdict::Completed),
        Case::passed("neighbour discovery", Request { protocol: 58, ..syn().over_ipv6() }.frame(), Verdict::NotTcp),
    ]);
}

/// Returns the expected outcome of a SYN that is answered with `reply`.
fn answer(reply: Vec<u8>) -> Outcome {
    Outcome { action: XDP_TX, counted: vec![(Verdict::Answered, 1)], frame: reply }
}

/// Returns the expected outcome of a packet that is passed unchanged.
fn pass(verdict: Verdict, packet: Vec<u8>) -> Outcome {
    Outcome { action: XDP_PASS, counted: vec![(verdict, 1)], frame: packet }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_on_every_port_but_the_excluded() {
    let is_excluded = |port: u16| port % 7 == 3 || port % 64 == 63;
    let mut kernel = Kernel::load(DEFAULT);
    kernel.exclude((0..=u16::MAX).filter(|&port| is_excluded(port)));
    for destination_port in 0..=u16::MAX {
        let syn = Request { destination_port, ..syn() };
        let expected = if is_excluded(destination_port) {
            pass(Verdict::Excluded, syn.frame())
        } else {
            answer(syn_ack(&syn, DEFAULT, REPLY_LENGTH))
        };
        assert_eq!(kernel.run(&syn.frame()), expected, "port {destination_port}");
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn follows_changes_of_the_excluded_ports() {
    let mut kernel = Kernel::load(DEFAULT);
    let packet = syn().frame();
    for _ in 0..2 {
        kernel.exclude([]);
        assert_eq!(kernel.run(&packet), answer(reply(58)));
        kernel.exclude([443]);
        assert_eq!(kernel.run(&packet), pass(Verdict::Excluded, packet.clone()));
        kernel.exclude([442, 444]);
        assert_eq!(kernel.run(&packet), answer(reply(58)));
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_all_tcp_to_excluded_ports() {
    let case = |name, request: Request| Case::passed(name, request.frame(), Verdict::Excluded).excluding(&[22, 443]);
    check_without_and_with_takeover([
        case("a SYN", syn()),
        case("a SYN to the other port", Request { destination_port: 22, ..syn() }),
        case("an ACK that looks as if it were for a SYN-ACK of the program", ack()),
        case("data that looks as if it were for the program", Request { payload: vec![0xee; 9], ..ack() }),
        case("another ACK", Request { acknowledgment_number: 7, ..ack() }),
        case("a SYN-ACK", Request { flags: SYN | ACK, ..ack() }),
        case("an RST", Request { flags: RST, ..syn() }),
    ]);
    let from_excluded = |request| Request { source_port: 22, ..request };
    let reply = syn_ack(&from_excluded(syn()), DEFAULT, 58);
    check_without_and_with_takeover([
        Case::answered("a SYN from an excluded port", from_excluded(syn()).frame(), reply).excluding(&[22]),
        Case::dropped("an ACK from an excluded port", from_excluded(ack()).frame(), Verdict::Completed)
            .excluding(&[22]),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn drops_acknowledgments_of_its_syn_acks() {
    use Verdict::{Completed, Later};
    let case = |name, request: Request, verdict| Case::dropped(name, request.frame(), verdict);
    check_without_and_with_takeover([
        case("the ACK of a handshake", ack(), Completed),
        case("with options", Request { options: vec![1; 12], ip_options: vec![1; 8], ..ack() }, Completed),
        case("padded to the shortest frame of Ethernet", Request { trailer: vec![0; 6], ..ack() }, Completed),
        case("with PSH, URG, ECE and CWR", Request { flags: ACK | PSH | URG | ECE | CWR, ..ack() }, Completed),
        case("to port 0", Request { destination_port: 0, ..ack() }, Completed),
        case("to the highest port", Request { destination_port: 65535, ..ack() }, Completed),
        case("data", Request { flags: ACK | PSH, payload: b"GET / HTTP/1.1\r\n\r\n".to_vec(), ..ack() }, Later),
        case("a byte of data", Request { payload: vec![0], ..ack() }, Later),
        case("a segment full of data", Request { payload: vec![0xee; 1460], ..ack() }, Later),
        case("FIN", Request { flags: FIN | ACK, ..ack() }, Later),
        case("FIN with data", Request { flags: FIN | PSH | ACK, payload: vec![0xee; 3], ..ack() }, Later),
        case("RST", Request { flags: RST | ACK, ..ack() }, Later),
        case("FIN and RST", Request { flags: FIN | RST | ACK, ..ack() }, Later),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_other_tcp_without_takeover() {
    let cases = [
        ("an ACK of the program's ISN", Request { acknowledgment_number: 0x7463_7062, ..ack() }),
        ("an ACK beyond the program's SYN-ACK", Request { acknowledgment_number: 0x7463_7064, ..ack() }),
        (
            "an ACK of the program's ISN + 1 in the wrong byte order",
            Request { acknowledgment_number: 0x6370_6374, ..ack() },
        ),
        ("data of another connection", Request { acknowledgment_number: 7, payload: vec![0xee; 100], ..ack() }),
        ("a FIN of another connection", Request { acknowledgment_number: 7, flags: FIN | ACK, ..ack() }),
        ("a SYN-ACK", Request { flags: SYN | ACK, acknowledgment_number: 7, ..syn() }),
        ("a SYN-ACK that acknowledges the program's ISN + 1", Request { flags: SYN | ACK, ..ack() }),
        ("an RST", Request { flags: RST, ..syn() }),
        ("an RST without ACK, with the program's ISN + 1", Request { flags: RST, ..ack() }),
        ("a SYN with RST", Request { flags: SYN | RST, ..syn() }),
        ("a SYN with ACK and FIN, and the program's ISN + 1", Request { flags: SYN | ACK | FIN, ..ack() }),
        ("a SYN with ACK and RST, and the program's ISN + 1", Request { flags: SYN | ACK | RST, ..ack() }),
        ("all flags", Request { flags: 0xff, ..ack() }),
    ];
    check(cases.into_iter().flat_map(|(name, request)| {
        [
            Case::passed(name, request.frame(), Verdict::OtherTcp),
            Case::dropped(name, request.frame(), Verdict::TakenOver).under(TAKEOVER),
        ]
    }));
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn drops_segments_without_ack_as_a_listener_does() {
    let cases = [
        ("a SYN with FIN", Request { flags: SYN | FIN, ..syn() }),
        ("a FIN alone", Request { flags: FIN, ..ack() }),
        ("no flags", Request { flags: 0, ..ack() }),
        ("FIN, PSH and URG", Request { flags: FIN | PSH | URG, ..ack() }),
        ("data without ACK", Request { flags: PSH, payload: b"data".to_vec(), ..ack() }),
    ];
    check(cases.into_iter().flat_map(|(name, request)| {
        [
            Case::dropped(name, request.frame(), Verdict::WithoutAck),
            Case::dropped(name, request.over_ipv6().frame(), Verdict::TakenOver).under(TAKEOVER),
        ]
    }));
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_everything_but_tcp() {
    use Verdict::{NotIp, NotTcp};
    let ethernet = || PacketBuilder::ethernet2(syn().source_mac, syn().destination_mac);
    let built = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frame
    };
    let udp = built(&|out| {
        let ipv4 = ethernet().ipv4(syn().source, syn().destination, 64);
        ipv4.udp(40262, 443).write(out, &[2; 20]).expect("writing to a vector cannot fail");
    });
    let ping = built(&|out| {
        let ipv4 = ethernet().ipv4(syn().source, syn().destination, 64);
        ipv4.icmpv4_echo_request(7, 1).write(out, &[2; 56]).expect("writing to a vector cannot fail");
    });
    let not_ip = |name, ethertype| Case::passed(name, Request { ethertype, ..syn() }.frame(), NotIp);
    let not_tcp = |name, protocol| Case::passed(name, Request { protocol, ..syn() }.frame(), NotTcp);
    check_without_and_with_takeover([
        Case::passed("ARP", frame(ARP_REQUEST), NotIp),
        Case::passed("UDP", udp, NotTcp),
        Case::passed("a ping", ping, NotTcp),
        not_ip("an IEEE 802.3 length", 46),
        not_ip("the type of IPv4 in the wrong byte order", 0x0008),
        not_ip("a neighbour of the type of IPv4", 0x0801),
        not_tcp("IPv6 in IPv4", 41),
        not_tcp("GRE", 47),
        not_tcp("ESP", 50),
        not_tcp("AH", 51),
        not_tcp("SCTP", 132),
        not_tcp("protocol 0", 0),
        not_tcp("protocol 255", 255),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_fragments() {
    let case = |name, fragment, request| {
        let request = Request { fragment, payload: vec![0xee; 24], ..request };
        Case::passed(name, request.frame(), Verdict::Fragment)
    };
    let first = |fragment| Request { fragment, payload: vec![0xee; 24], ..syn() }.frame();
    let data = Request { fragment: 0x2000, payload: vec![0xee; 24], ..ack() }.frame();
    check([
        Case::passed("the first fragment of a SYN", first(0x2000), Verdict::Fragment),
        Case::passed("the first, with DF", first(0x6000), Verdict::Fragment),
        Case::dropped("the first fragment under takeover", first(0x2000), Verdict::TakenOver).under(TAKEOVER),
        Case::dropped("the first fragment of data", data.clone(), Verdict::Later),
        Case::dropped("the first fragment of data under takeover", data, Verdict::Later).under(TAKEOVER),
    ]);
    check_without_and_with_takeover([
        case("a middle fragment", 0x2001, syn()),
        case("the last fragment", 0x0001, syn()),
        case("a far one", 0x1000, syn()),
        case("the farthest", 0x1fff, syn()),
        case("the last, with DF", 0x4001, ack()),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_malformed_packets() {
    let case = |name, request: Request| Case::passed(name, request.frame(), Verdict::Malformed);
    let trailer = vec![0xee; 80];
    let ihl = |ihl| Request { ihl: Some(ihl), trailer: trailer.clone(), ..syn() };
    let data_offset = |data_offset| Request { data_offset: Some(data_offset), trailer: trailer.clone(), ..syn() };
    let total_length = |length| Request { total_length: Some(length), trailer: trailer.clone(), ..syn() };
    check_without_and_with_takeover([
        case("IP version 0", Request { version: 0, ..syn() }),
        case("IP version 5", Request { version: 5, ..syn() }),
        case("IP version 6", Request { version: 6, ..syn() }),
        case("no IP header", ihl(0)),
        case("an IP header that is a word too short", ihl(4)),
        case("IP options that the datagram does not hold", ihl(6)),
        case("the longest IP header, which the datagram does not hold", ihl(15)),
        case("no TCP header", data_offset(0)),
        case("a TCP header that is a word too short", data_offset(4)),
        case("TCP options that the datagram does not hold", data_offset(6)),
        case("the longest TCP header, which the datagram does not hold", data_offset(15)),
        case("an empty datagram", total_length(0)),
        case("a datagram that ends with its IP header", total_length(20)),
        case("a datagram that ends within its TCP header", total_length(39)),
        case("a datagram that is longer than the frame", Request { total_length: Some(41), ..syn() }),
        case("the longest datagram, in a short frame", Request { total_length: Some(u16::MAX), ..syn() }),
        case("an ACK in a datagram that is longer than the frame", Request { total_length: Some(41), ..ack() }),
    ]);
}

/// Checks connections whose last ACK of the handshake carries data, and connections whose last ACK does not.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn counts_a_handshake_once() {
    use Verdict::{Accepted, Answered, Closed, Completed, Later, Replied, Reset};
    let data = || Request { payload: vec![1; 40], ..ack() };
    for (action, bare, with_data, later) in [
        (Action::Ignore, Completed, Completed, Later),
        (Action::Discard, Completed, Accepted, Replied),
        (Action::Close, Closed, Accepted, Replied),
        (Action::Reset, Reset, Accepted, Replied),
    ] {
        let telemetry = TelemetrySettings { ports: true, stripes: 1, ..TelemetrySettings::default() };
        let mut kernel = Kernel::load_setup(&Setup { telemetry, ..Setup::new(Choice { action, ..DEFAULT }) });
        for (name, to) in [("IPv4", &(|request| request) as &dyn Fn(Request) -> Request), ("IPv6", &Request::over_ipv6)]
        {
            let mut verdict =
                |port, request: Request| kernel.run(&to(Request { source_port: port, ..request }).frame()).counted[0].0;
            assert_eq!(verdict(1, syn()), Answered, "{action:?} {name}");
            assert_eq!(verdict(1, data()), with_data, "{action:?} {name}");
            assert_eq!(verdict(1, data()), later, "{action:?} {name}");
            assert_eq!(verdict(2, syn()), Answered, "{action:?} {name}");
            assert_eq!(verdict(2, ack()), bare, "{action:?} {name}");
            assert_eq!(verdict(2, data()), later, "{action:?} {name}");
            assert_eq!(verdict(3, data()), later, "{action:?} {name}");
        }
    }
}

/// Checks every truncation down to an Ethernet header. A test run refuses shorter frames.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_truncated_packets() {
    for settings in [DEFAULT, TAKEOVER] {
        let mut kernel = Kernel::load(settings);
        // Data from another port than the SYN, so that it completes no handshake.
        let data = Request { source_port: 1, ..ack() };
        for (request, verdict) in [(syn(), Verdict::Answered), (data, Verdict::Later)] {
            let options = vec![1; 12];
            let whole = Request { ip_options: vec![1; 8], options, payload: vec![0xee; 13], ..request }.frame();
            for length in 14..whole.len() {
                let packet = whole[..length].to_vec();
                assert_eq!(kernel.run(&packet), pass(Verdict::Malformed, packet.clone()), "{length} bytes");
            }
            assert_eq!(kernel.run(&whole).counted, [(verdict, 1)], "all {} bytes", whole.len());
        }
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn passes_packets_with_non_unicast_addresses() {
    let cases: [(_, fn(&mut Request)); 17] = [
        ("to the broadcast MAC address", |request| request.destination_mac = [0xff; 6]),
        ("to a multicast MAC address", |request| request.destination_mac = [1, 0, 0x5e, 0, 0, 1]),
        ("from a multicast MAC address", |request| request.source_mac = [3, 0, 0, 0, 0, 1]),
        ("to the broadcast address", |request| request.destination = [255; 4]),
        ("to a multicast address", |request| request.destination = [224, 0, 0, 1]),
        ("to the last multicast address", |request| request.destination = [239, 255, 255, 255]),
        ("to the unspecified address", |request| request.destination = [0; 4]),
        ("to loopback", |request| request.destination = [127, 0, 0, 1]),
        ("from the unspecified address", |request| request.source = [0; 4]),
        ("from this network", |request| request.source = [0, 1, 2, 3]),
        ("from loopback", |request| request.source = [127, 0, 0, 1]),
        ("from the last loopback address", |request| request.source = [127, 255, 255, 255]),
        ("from a multicast address", |request| request.source = [224, 0, 0, 1]),
        ("from the last multicast address", |request| request.source = [239, 255, 255, 255]),
        ("from the broadcast address", |request| request.source = [255; 4]),
        ("from its destination", |request| request.source = request.destination),
        ("from its destination, port and all", |request| {
            (request.source, request.source_port) = (request.destination, request.destination_port);
        }),
    ];
    check_without_and_with_takeover(cases.into_iter().flat_map(|(name, edit)| {
        [syn(), ack(), Request { acknowledgment_number: 7, ..ack() }].map(|mut request| {
            edit(&mut request);
            Case::passed(name, request.frame(), Verdict::NotUnicast)
        })
    }));
}

/// Checks addresses right outside the ranges that no host can have, such as 127.0.0.0/8.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn answers_packets_with_extreme_unicast_addresses() {
    let case = |name, syn: Request| {
        let reply = syn_ack(&syn, DEFAULT, 58);
        Case::answered(name, syn.frame(), reply)
    };
    check([
        case("from 1.0.0.0", Request { source: [1, 0, 0, 0], ..syn() }),
        case("from 126.255.255.255", Request { source: [126, 255, 255, 255], ..syn() }),
        case("from 128.0.0.0", Request { source: [128, 0, 0, 0], ..syn() }),
        case("from 223.255.255.255", Request { source: [223, 255, 255, 255], ..syn() }),
        case("from 240.0.0.0", Request { source: [240, 0, 0, 0], ..syn() }),
        case("to 255.255.255.254", Request { destination: [255, 255, 255, 254], ..syn() }),
        case("to 1.0.0.0", Request { destination: [1, 0, 0, 0], ..syn() }),
        case("to 126.255.255.255", Request { destination: [126, 255, 255, 255], ..syn() }),
        case("to 128.0.0.0", Request { destination: [128, 0, 0, 0], ..syn() }),
        case("to 223.255.255.255", Request { destination: [223, 255, 255, 255], ..syn() }),
        case("within a network", Request { source: [10, 0, 0, 1], destination: [10, 0, 0, 2], ..syn() }),
        case("of a network card", Request { source_mac: [0, 0x1b, 0x21, 255, 255, 255], ..syn() }),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn reply_follows_the_settings() {
    let cases = [
        ("the lowest ISN", Choice { isn: 0, ..DEFAULT }),
        ("the highest ISN", Choice { isn: u32::MAX, ..DEFAULT }),
        ("an ISN whose bytes all differ", Choice { isn: 0x0102_0304, ..DEFAULT }),
        ("the lowest TTL", Choice { ttl: 1, ..DEFAULT }),
        ("the highest TTL", Choice { ttl: 255, ..DEFAULT }),
        ("no window", Choice { window: Some(0), ..DEFAULT }),
        ("the largest window", Choice { window: Some(u16::MAX), ..DEFAULT }),
        ("a window whose bytes differ", Choice { window: Some(0x0102), ..DEFAULT }),
        ("the smallest MSS", Choice { mss: Some(1), ..DEFAULT }),
        ("the largest MSS", Choice { mss: Some(u16::MAX), ..DEFAULT }),
        ("all at their lowest", Choice { isn: 0, ttl: 1, window: Some(0), mss: Some(1), ..DEFAULT }),
        (
            "all at their highest",
            Choice { isn: u32::MAX, ttl: 255, window: Some(u16::MAX), mss: Some(u16::MAX), ..DEFAULT },
        ),
        ("any mode", Choice { attach_mode: u16::MAX, ..DEFAULT }),
    ];
    check(cases.into_iter().flat_map(|(name, settings)| {
        [settings, Choice { takeover: true, ..settings }].map(|settings| {
            let reply = syn_ack(&syn(), settings, 58);
            Case::answered(name, syn().frame(), reply).under(settings)
        })
    }));
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn recognises_acknowledgments_of_the_configured_isn() {
    let case = |name, isn, acknowledgment_number, verdict| {
        let packet = Request { acknowledgment_number, ..ack() }.frame();
        let case = match verdict {
            Verdict::Completed => Case::dropped(name, packet, verdict),
            _ => Case::passed(name, packet, verdict),
        };
        case.under(Choice { isn, ..DEFAULT })
    };
    check([
        case("the highest ISN is followed by 0", u32::MAX, 0, Verdict::Completed),
        case("the highest ISN itself", u32::MAX, u32::MAX, Verdict::OtherTcp),
        case("beyond the highest ISN", u32::MAX, 1, Verdict::OtherTcp),
        case("ISN 0 is followed by 1", 0, 1, Verdict::Completed),
        case("ISN 0 itself", 0, 0, Verdict::OtherTcp),
        case("a carry into every byte", 0x00ff_ffff, 0x0100_0000, Verdict::Completed),
        case("the ISN that the object was built with", 0, DEFAULT.isn + 1, Verdict::OtherTcp),
    ]);
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn settings_are_in_frozen_memory() {
    let settings = Choice {
        isn: 0x0102_0304,
        ttl: 5,
        window: Some(6),
        mss: Some(7),
        takeover: true,
        attach_mode: 0x0809,
        ..DEFAULT
    };
    let kernel = Kernel::load(settings);
    let rodata = &kernel.program.maps.rodata;
    let read = || rodata.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).expect("the map can be read");
    let expected = Some(ProgramConfig::new(settings.settings(false, false)).as_bytes().to_vec());
    assert_eq!(read(), expected);

    let other = ProgramConfig::new(Choice { attach_mode: 0, ..settings }.settings(false, false));
    let update = rodata.update(&0u32.to_ne_bytes(), other.as_bytes(), MapFlags::ANY);
    let error = update.expect_err("the map is frozen");
    assert_eq!(error.kind(), libbpf_rs::ErrorKind::PermissionDenied, "{error}");
    assert_eq!(read(), expected);
}

/// Checks the attach mode in the program's read-only data. Tools find it there by the BTF type information.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn loaded_program_shows_its_attach_mode() {
    for attach_mode in [0, 2, 4, 8, u16::MAX] {
        let kernel = Kernel::load(Choice { attach_mode, ..DEFAULT });
        let rodata = kernel.program.maps.rodata_data.expect("the map is mapped");
        assert_eq!(rodata.CONFIG.__0.value.attach_mode, attach_mode);
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_knows_name_licence_and_types() {
    let kernel = Kernel::load(DEFAULT);
    let ProgramInfo { id, name, ty, gpl_compatible, ifindex, .. } = info(&kernel);
    assert_eq!(name, "tcp_bounce");
    assert_eq!(ty, ProgramType::Xdp);
    assert!(gpl_compatible);
    assert_eq!(ifindex, 0, "the program is not offloaded to a NIC");

    let btf = Btf::from_prog_id(id).expect("the program has BTF");
    assert!(btf.type_by_name::<Func>("tcp_bounce").is_some());
    let object = fs::read(OBJECT).expect("the object exists");
    let licence = b"Dual MIT/GPL\0";
    assert!(object.windows(licence.len()).any(|bytes| bytes == licence));
}

/// Checks that the verifier processes far fewer instructions than its limit of one million.
///
/// Another kernel version may process more instructions for the same program. More instructions also make a start
/// slower.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn verifier_stays_far_from_its_limit() {
    if is_older_than((5, 16)) {
        // Kernels before 5.16 report the count only in the verifier's log, which `tests/kernel.rs` reads.
        return;
    }
    let all = Choice { key: Some([7; 16]), mac: Some([2, 0, 0, 0, 0, 1]), takeover: true, ..DEFAULT };
    let setup = |choice, filters_destinations, filters_sources| Setup {
        filters_destinations,
        filters_sources,
        ..Setup::new(choice)
    };
    let default = setup(Choice { mac: all.mac, ..DEFAULT }, true, false);
    for (setup, most) in
        [(default, 150_000), (setup(all, true, true), 300_000), (setup(DEFAULT, false, false), 150_000)]
    {
        let verified = info(&Kernel::load_setup(&setup)).verified_insns;
        assert!((1000..most).contains(&verified), "{verified} instructions: {:?}", setup.settings);
        // Add every action, each on a different port.
        let actions_by_port = (1..).zip(Action::ALL).collect();
        let verified = info(&Kernel::load_setup(&Setup { actions_by_port, ..setup.clone() })).verified_insns;
        assert!(verified < 2 * most, "{verified} instructions: {:?}", setup.settings);
    }
}

fn info(kernel: &Kernel) -> ProgramInfo {
    let handle = ProgramHandle::try_from(&kernel.program.progs.tcp_bounce).expect("the program has a descriptor");
    ProgInfoIter::default().find(|program| program.id == handle.id()).expect("the program is loaded")
}

/// Checks the settings built into the object, which apply if `ip link` or `xdp-loader` loads it.
#[test]
#[ignore = "needs root: loads a BPF program"]
fn object_without_a_loader_answers_on_every_port() {
    let object = ObjectBuilder::default().open_file(OBJECT).and_then(|object| object.load()).expect("the object loads");
    let program =
        object.progs_mut().find(|program| program.name() == "tcp_bounce").expect("the object has the program");

    for destination_port in [0, 22, 80, 443, 65535] {
        let syn = Request { destination_port, ..syn() };
        let default = Choice { isn: 0x7463_7062, ttl: 64, window: Some(64240), mss: Some(1460), ..DEFAULT };
        let expected = (XDP_TX, syn_ack(&syn, default, REPLY_LENGTH));
        assert_eq!(packet::test_run(&program, &syn.frame()), expected, "port {destination_port}");
    }
    let packet = ack().frame();
    assert_eq!(packet::test_run(&program, &packet), (XDP_DROP, packet));
    let packet = Request { acknowledgment_number: 7, ..ack() }.frame();
    assert_eq!(packet::test_run(&program, &packet), (XDP_PASS, packet));
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn verifier_error_leaves_its_log_in_a_file() {
    let mut skel = loader::open().expect("the object can be opened");
    // A socket filter may read a packet only through its context, so the verifier refuses the program.
    skel.progs.tcp_bounce.set_prog_type(ProgramType::SocketFilter);
    let error = loader::load_opened(skel).err().expect("the verifier refuses the program");
    let log = match &error {
        XdpError::Verifier { log, .. } => log,
        // Old kernels refuse the program earlier: they accept no pointer but the context as a function argument.
        XdpError::Load { messages, .. } if messages.iter().any(|line| line.contains("type PTR in ")) => {
            return;
        }
        error => panic!("{error:?}"),
    };

    let output = fs::read_to_string(log).expect("the log exists");
    fs::remove_file(log).expect("the log can be removed");
    assert!(log.starts_with(std::env::temp_dir()), "{}", log.display());
    assert!(output.contains("invalid"), "{output}");
    assert!(output.contains("processed ") && output.contains(" insns"), "{output}");
    assert!(error.to_string().contains(&log.display().to_string()), "{error}");
}
