//! The kernel as the oracle: a listener of the kernel and tcp-bounce get identical SYNs, and must give identical
//! answers.
//!
//! Only the ISN, the TSval and the TCP checksum may differ. The checksums are verified separately.

mod syns;

use std::fmt::{self, Display, Formatter};
use std::iter;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use etherparse::{NetHeaders, PacketHeaders, TcpHeader, TcpOptionElement, TransportHeader};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, shutdown, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network};
use crate::fixtures::{DEADLINE, namespace::Namespace};
use syns::Family::{V4, V6};
use syns::{Family, PORT, Syn};

in_each_mode! {
    answers_over_ipv4_equal_the_kernels,
    answers_over_ipv6_equal_the_kernels,
}

const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The tested MTUs in bytes, with the IP versions and modes of each.
///
/// With 1064 over IPv4 and 2108 over IPv6, whole segments fill exactly 65536 bytes, one more than a window field holds.
const MTUS: [(u16, &[Family], &[Mode]); 7] = [
    (576, &[V4], &[Mode::Native, Mode::Skb]),
    (1064, &[V4], &[Mode::Native, Mode::Skb]),
    (1280, &[V4, V6], &[Mode::Native, Mode::Skb]),
    (1400, &[V4], &[Mode::Native, Mode::Skb]),
    (1500, &[V4, V6], &[Mode::Native, Mode::Skb]),
    (2108, &[V6], &[Mode::Native, Mode::Skb]),
    (9000, &[V4, V6], &[Mode::Native, Mode::Skb]),
];

/// The default window scale of tcp-bounce.
const WINDOW_SCALE: u8 = 7;

/// SYNs that the kernel does not answer with a SYN-ACK.
const UNANSWERED: [&str; 20] = [
    // Since Linux 6.7 the kernel first looks for a signature (`tcp_do_parse_auth_options`). It drops a SYN with an
    // unexpected signature. It also drops a SYN if its options break off with enough bytes left for a signature: 18, or
    // 5 with CONFIG_TCP_AO.
    "length 0: MSS",
    "length 0: unknown",
    "length 1: MSS",
    "length 1: unknown",
    "length 0, 18 bytes before the end",
    "past the header, from the start",
    "MD5 signature (19)",
    "MD5 signature (19) at the end",
    "MD5 signature (19) that is too short",
    "authentication (29) that is too short",
    "authentication (29) twice",
    "FIN",
    "RST",
    "FIN and RST",
    "IP options: loose source route",
    "IP options: strict source route",
    // The kernel answers the following SYNs with an ICMP error.
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    "routing: type 0, not at its end",
];

/// SYNs that tcp-bounce treats differently by design.
const BY_DESIGN: [&str; 19] = [
    // The kernel's answer has an IP option too.
    "IP options: timestamp",
    "IP options: timestamps with addresses",
    "IP options: a timestamp that is full",
    "IP options: record route",
    // The program skips IP options and extension headers without reading them.
    "IP options: loose source route",
    "IP options: strict source route",
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    // The program passes fragments to the host.
    "fragment: the only one",
    // The program passes signed segments to the host, even if the signature is malformed.
    "MD5 signature (19) that is too short, late",
    "authentication (29)",
    "authentication (29) that is too short, late",
    // Like kernels before 6.7, the program accepts options that break off.
    "length 0: MSS",
    "length 0: unknown",
    "length 1: MSS",
    "length 1: unknown",
    "past the header, from the start",
    "length 0, 18 bytes before the end",
];

/// A SYN whose reply is 4 bytes longer than the SYN itself. The SYN's socket buffer may have no room for 4 more bytes.
const WITHOUT_ROOM: &str = "subset [sok ws]";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn kernel_answers_all_syns_but_the_listed_ones() {
    for (mtu, family, _) in settings().filter(|&(_, _, mode)| mode == Mode::Skb) {
        let wire = Wire::new(Mode::Skb, family, mtu);
        let syns = sent_over(family, syns::all());
        for (syn, answer) in iter::zip(&syns, wire.ask_kernel(&syns)) {
            let expected = !UNANSWERED.contains(&&*syn.name);
            assert_eq!(answer.is_some(), expected, "{}, {family}, MTU {mtu}", syn.name);
        }
    }
}

/// Checks the premise of the comparisons: the kernel's answers to a SYN do not differ between two runs.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn kernel_gives_equal_answers_twice() {
    for family in [V4, V6] {
        let mut syns = sent_over(family, syns::all());
        syns.retain(|syn| !BY_DESIGN.contains(&&*syn.name));
        let wire = Wire::new(Mode::Skb, family, 1500);
        assert_identical(&wire.comparisons(&syns, wire.ask_kernel(&syns), wire.ask_kernel(&syns)));
    }
}

/// Checks the SYNs of real clients. With `--nocapture`, the test prints the table of
/// docs/internals/linux-comparison.md.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_to_real_clients_equal_the_kernels() {
    let tables = [V4, V6].map(|family| {
        let wire = Wire::new(Mode::Skb, family, 1500);
        wire.compare(&sent_over(family, syns::clients()))
    });
    println!("\n| client | IPv4 | IPv6 |\n|---|---|---|");
    for syn in syns::clients() {
        let cells = tables.each_ref().map(|comparisons| {
            let comparison = comparisons.iter().find(|comparison| comparison.syn == syn.name);
            comparison.map_or_else(|| "not sent".to_owned(), Comparison::summary)
        });
        println!("| {} | {} |", syn.name, cells.join(" | "));
    }
    println!();
    assert_identical(&tables.concat());
}

fn answers_over_ipv4_equal_the_kernels(mode: Mode) {
    assert_identical(&compare_all(V4, mode));
}

fn answers_over_ipv6_equal_the_kernels(mode: Mode) {
    assert_identical(&compare_all(V6, mode));
}

/// Returns each tested combination of MTU, IP version and mode.
fn settings() -> impl Iterator<Item = (u16, Family, Mode)> {
    MTUS.into_iter().flat_map(|(mtu, families, modes)| {
        families.iter().flat_map(move |&family| modes.iter().map(move |&mode| (mtu, family, mode)))
    })
}

fn sent_over(family: Family, mut syns: Vec<Syn>) -> Vec<Syn> {
    syns.retain(|syn| syn.families.contains(&family));
    syns
}

fn compare_all(family: Family, mode: Mode) -> Vec<Comparison> {
    let mut syns = sent_over(family, syns::all());
    syns.retain(|syn| !BY_DESIGN.contains(&&*syn.name) && syn.name != WITHOUT_ROOM);
    let mtus = settings().filter(|&(_, its_family, its_mode)| (its_family, its_mode) == (family, mode));
    mtus.flat_map(|(mtu, ..)| Wire::new(mode, family, mtu).compare(&syns)).collect()
}

#[track_caller]
fn assert_identical(comparisons: &[Comparison]) {
    let different: Vec<_> = comparisons.iter().filter(|comparison| comparison.summary() != IDENTICAL).collect();
    let lines: String = different.iter().map(|comparison| format!("{comparison}\n")).collect();
    assert!(different.is_empty(), "{lines}{} of {} answers differ", different.len(), comparisons.len());
}

/// A network with a packet socket on `client0`, for one mode, IP version and MTU.
struct Wire {
    network: Network,
    mode: Mode,
    family: Family,
    mtu: u16,
    socket: OwnedFd,
    _pinned: Pinned,
}

/// Restricts the calling thread, and processes that it starts, to one CPU until this value is dropped.
struct Pinned(CpuSet);

impl Pinned {
    fn new() -> Self {
        let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let mut cpu = CpuSet::new();
        cpu.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
        Self(before)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        sched_setaffinity(Pid::from_raw(0), &self.0).unwrap();
    }
}

impl Wire {
    fn new(mode: Mode, family: Family, mtu: u16) -> Self {
        let network = Network::new(mode);
        let (host, client) = (&network.host, &network.client);
        prepare(host, ("host0", HOST_MAC), (CLIENT_MAC, CLIENT.into(), CLIENT_V6), family, mtu);
        prepare(client, ("client0", CLIENT_MAC), (HOST_MAC, HOST.into(), HOST_V6), family, mtu);
        // With ECN the kernel would promise to echo congestion marks of routers. tcp-bounce cannot echo them.
        host.sysctl("ipv4/tcp_ecn", "0");
        // By default, Linux derives the flow label from a hash with a secret key, which tcp-bounce cannot reproduce.
        host.sysctl("ipv6/auto_flowlabels", "0");
        // The advertised window depends on the second value, and the window scale on the third. Their defaults depend
        // on the machine's memory.
        host.sysctl("ipv4/tcp_rmem", "4096 131072 6291456");
        // With checksum offload, the kernel's answers would have incomplete checksums.
        host.run("ethtool", "--offload host0 tx off");

        // On one CPU the answers arrive in the order of the SYNs.
        let pinned = Pinned::new();
        let socket = client.enter(packet_socket);
        Self { network, mode, family, mtu, socket, _pinned: pinned }
    }

    /// Sends each SYN to the kernel and to tcp-bounce, and compares the answers.
    ///
    /// The kernel's window scale also depends on `net.core.rmem_max` of the machine, so `--wscale` gives tcp-bounce the
    /// kernel's scale.
    #[track_caller]
    fn compare(&self, syns: &[Syn]) -> Vec<Comparison> {
        let kernel = self.ask_kernel(syns);
        let scale = kernel.iter().flatten().find_map(|frame| {
            tcp(frame).options_iterator().find_map(|option| match option {
                Ok(TcpOptionElement::WindowScale(scale)) => Some(scale),
                _ => None,
            })
        });
        let scale = scale.filter(|&scale| scale != WINDOW_SCALE).map(|scale| format!("--wscale {scale}"));
        let responder = self.ask_responder(syns, &scale.unwrap_or_default());
        self.comparisons(syns, kernel, responder)
    }

    fn comparisons(&self, syns: &[Syn], kernel: Vec<Option<Frame>>, responder: Vec<Option<Frame>>) -> Vec<Comparison> {
        let compare = |(syn, (kernel, responder)): (&Syn, _)| {
            let (syn, setting) = (syn.name.clone(), self.setting());
            Comparison { syn, setting, kernel, responder }
        };
        iter::zip(syns, iter::zip(kernel, responder)).map(compare).collect()
    }

    #[track_caller]
    fn ask_kernel(&self, syns: &[Syn]) -> Vec<Option<Frame>> {
        let address: IpAddr = if self.family == V4 { HOST.into() } else { HOST_V6.into() };
        let listener = self.network.host.enter(|| TcpListener::bind((address, PORT))).unwrap();
        let answers = self.ask(syns);
        // A process that another test forks may briefly share the listener, so closing it here does not stop it.
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
        answers
    }

    #[track_caller]
    fn ask_responder(&self, syns: &[Syn], arguments: &str) -> Vec<Option<Frame>> {
        let responder = self.network.start_responder(arguments);
        let answers = self.ask(syns);
        responder.interrupt();
        answers
    }

    /// Sends SYNs, and returns the SYN-ACK to each of them, if any. An RST is not an answer: without a listener, the
    /// host sends an RST for each SYN that tcp-bounce passes.
    ///
    /// Each SYN has a different source port. A second SYN, which always gets a SYN-ACK or RST, follows it. The answer
    /// to the second SYN shows that no answer to the first can follow.
    #[track_caller]
    fn ask(&self, syns: &[Syn]) -> Vec<Option<Frame>> {
        let last = &syns::subsets()[0];
        let ask = |(syn, (port, last_port)): (&Syn, (u16, u16))| {
            for frame in [self.frame(syn, port), self.frame(last, last_port)] {
                send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
            }
            let mut answer = None;
            loop {
                let (header, frame) = self.next_segment(&syn.name);
                let is_syn_ack = header.syn && header.ack;
                if header.destination_port == last_port {
                    return answer;
                } else if header.destination_port == port && is_syn_ack {
                    let is_clean = frame[end(&frame)..].iter().all(|&byte| byte == 0);
                    let is_right = is_clean && checksums_are_right(&frame);
                    assert!(is_right, "{}, {}: {}", syn.name, self.setting(), hex(&frame));
                    answer = Some(frame);
                }
            }
        };
        iter::zip(syns, iter::zip(10_000.., 30_000..)).map(ask).collect()
    }

    /// Returns the next TCP segment that arrives at the client.
    #[track_caller]
    fn next_segment(&self, syn: &str) -> (TcpHeader, Frame) {
        let end = Instant::now() + DEADLINE;
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
            let frame = &buffer[..length];
            if frame.starts_with(&CLIENT_MAC)
                && let Ok(PacketHeaders { transport: Some(TransportHeader::Tcp(header)), .. }) =
                    PacketHeaders::from_ethernet_slice(frame)
            {
                return (header, frame.to_vec());
            }
        }
        panic!("{syn}, {}: timed out waiting for an answer", self.setting());
    }

    fn setting(&self) -> String {
        format!("{:?} mode, {}, MTU {}", self.mode, self.family, self.mtu)
    }

    fn frame(&self, syn: &Syn, source_port: u16) -> Frame {
        let (source, destination, ethertype) = match self.family {
            V4 => (&CLIENT.octets()[..], &HOST.octets()[..], [0x08, 0x00]),
            V6 => (&CLIENT_V6.octets()[..], &HOST_V6.octets()[..], [0x86, 0xdd]),
        };
        let packet = syn.packet(self.family, (source, destination), source_port, self.mtu);
        [&HOST_MAC[..], &CLIENT_MAC, &ethertype, &packet].concat()
    }
}

/// Sets the MAC address and MTU of one end of the cable. Adds the peer's address of `family` to the neighbour table, so
/// that this end sends no ARP requests or neighbour solicitations for it.
fn prepare(
    namespace: &Namespace,
    (interface, mac): (&str, [u8; 6]),
    (peer_mac, peer, peer_v6): ([u8; 6], IpAddr, Ipv6Addr),
    family: Family,
    mtu: u16,
) {
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    namespace.ip(&format!("link set {interface} address {} mtu {mtu}", text(mac)));
    let peer = if family == V4 { peer } else { peer_v6.into() };
    namespace.ip(&format!("neighbor replace {peer} lladdr {} dev {interface} nud permanent", text(peer_mac)));
}

/// Opens a packet socket on `client0`.
fn packet_socket() -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    let mut addresses = getifaddrs().unwrap().filter(|entry| entry.interface_name == "client0");
    let address = addresses.find_map(|entry| entry.address.filter(|address| address.as_link_addr().is_some()));
    bind(socket.as_raw_fd(), &address.unwrap()).unwrap();
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(DEADLINE.as_secs() as i64)).unwrap();
    socket
}

type Frame = Vec<u8>;

/// The summary of a comparison without differences.
const IDENTICAL: &str = "identical";

/// The answers of the kernel and of tcp-bounce to one SYN.
#[derive(Clone)]
struct Comparison {
    syn: String,
    setting: String,
    kernel: Option<Frame>,
    responder: Option<Frame>,
}

impl Comparison {
    /// Returns the names of the fields that differ, or [`IDENTICAL`]. If only one side answered, returns "answered" or
    /// "not answered" instead, for tcp-bounce.
    fn summary(&self) -> String {
        let (kernel, responder) = match (&self.kernel, &self.responder) {
            (Some(kernel), Some(responder)) => (kernel, responder),
            (None, None) => return IDENTICAL.to_owned(),
            (Some(_), None) => return "not answered".to_owned(),
            (None, Some(_)) => return "answered".to_owned(),
        };
        let fields = iter::zip(fields(kernel), fields(responder));
        let mut names: Vec<_> =
            fields.filter(|(kernel, responder)| kernel != responder).map(|((name, _), _)| name).collect();
        names.dedup();
        if names.is_empty() { IDENTICAL.to_owned() } else { names.join(", ") }
    }

    /// Returns the offsets of the bytes that differ, from the start of the frame.
    fn offsets(&self) -> Vec<usize> {
        let [kernel, responder] =
            [&self.kernel, &self.responder].map(|frame| frame.as_deref().map_or(vec![], comparable));
        (0..kernel.len().max(responder.len())).filter(|&at| kernel.get(at) != responder.get(at)).collect()
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { syn, setting, kernel, responder } = self;
        let [kernel, responder] =
            [kernel, responder].map(|frame| frame.as_ref().map_or("nothing".to_owned(), |f| hex(f)));
        writeln!(f, "{syn}; {setting}: {}", self.summary())?;
        writeln!(f, "  kernel:  {kernel}\n  responder: {responder}\n  offsets: {:?}", self.offsets())
    }
}

/// Returns the offset of the TCP header, in bytes. An IPv6 answer has no extension headers.
fn tcp_offset(frame: &[u8]) -> usize {
    if frame[12..14] == [0x08, 0x00] { 14 + 4 * usize::from(frame[14] & 0xf) } else { 54 }
}

/// Returns the offset of the end of the IP packet, in bytes. Ethernet padding may follow.
fn end(frame: &[u8]) -> usize {
    let length = |at| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    if frame[12..14] == [0x08, 0x00] { 14 + length(16) } else { 54 + length(18) }
}

/// Returns an answer without padding, with zeros in the fields that differ each time: ISN, TSval and TCP checksum.
fn comparable(frame: &[u8]) -> Frame {
    let mut frame = frame[..end(frame)].to_vec();
    let tcp = tcp_offset(&frame);
    frame[tcp + 4..tcp + 8].fill(0);
    frame[tcp + 16..tcp + 18].fill(0);
    let mut at = tcp + 20;
    while at < tcp + 4 * usize::from(frame[tcp + 12] >> 4) && frame[at] != 0 {
        if frame[at] == 8 {
            frame[at + 2..at + 6].fill(0);
        }
        at += if frame[at] == 1 { 1 } else { usize::from(frame[at + 1]).max(2) };
    }
    frame
}

/// Returns the fields of an answer with their names. Lengths and checksums, which depend on other fields, come first.
fn fields(frame: &[u8]) -> Vec<(&'static str, Frame)> {
    const DERIVED: &str = "lengths and checksums";
    let frame = &comparable(frame)[..];
    let tcp = tcp_offset(frame);
    let options = tcp + 4 * usize::from(frame[tcp + 12] >> 4);
    let is_v4 = frame[12..14] == [0x08, 0x00];
    let ip: &[_] = if is_v4 {
        &[
            (DERIVED, 14..15),
            (DERIVED, 16..18),
            (DERIVED, 24..26),
            ("type of service", 15..16),
            ("identification", 18..20),
            ("DF", 20..22),
            ("TTL", 22..23),
            ("protocol", 23..24),
            ("addresses", 26..34),
            ("IP options", 34..tcp),
        ]
    } else {
        &[
            (DERIVED, 18..20),
            ("traffic class and flow label", 14..18),
            ("next header", 20..21),
            ("hop limit", 21..22),
            ("addresses", 22..54),
        ]
    };
    let fields = [
        ("MACs and EtherType", 0..14),
        ("ports", tcp..tcp + 4),
        ("acknowledgment number", tcp + 8..tcp + 12),
        ("flags", tcp + 13..tcp + 14),
        ("window", tcp + 14..tcp + 16),
        ("urgent pointer", tcp + 18..tcp + 20),
        ("options", tcp + 20..options),
        ("data", options..frame.len()),
    ];
    ip.iter().cloned().chain(fields).map(|(name, range)| (name, frame[range].to_vec())).collect()
}

/// Returns the TCP header of an answer.
fn tcp(frame: &[u8]) -> TcpHeader {
    PacketHeaders::from_ethernet_slice(frame).unwrap().transport.unwrap().tcp().unwrap()
}

fn checksums_are_right(frame: &[u8]) -> bool {
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else { unreachable!("the frame is a SYN-ACK") };
    let payload = headers.payload.slice();
    let (ip_is_right, expected) = match headers.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            (ip.header_checksum == ip.calc_header_checksum(), tcp.calc_checksum_ipv4(&ip, payload))
        }
        NetHeaders::Ipv6(ip, _) => (true, tcp.calc_checksum_ipv6(&ip, payload)),
        NetHeaders::Arp(_) => unreachable!("the frame is a SYN-ACK"),
    };
    let expected = expected.unwrap();
    // In one's complement 0xffff is also zero. The kernel writes it instead of zero (`CSUM_MANGLED_0`).
    ip_is_right && (tcp.checksum == expected || (tcp.checksum, expected) == (0xffff, 0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
