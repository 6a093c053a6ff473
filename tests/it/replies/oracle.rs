//! The kernel is the oracle: each SYN goes to a listener of the kernel's and then, the same bytes, to tcp-bounce; and
//! the answers must be the same bytes.

mod syns;

use std::fmt::{self, Display, Formatter};
use std::iter;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use etherparse::{NetHeaders, PacketHeaders, TcpHeader, TcpOptionElement, TransportHeader};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
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
    over_ipv4_the_answer_is_that_of_the_kernel,
    over_ipv6_the_answer_is_that_of_the_kernel,
}

const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Of 1064 and 2108, segments fill 65536 bytes exactly, which is more than a window can say.
const MTUS: [(u16, &[Family], &[Mode]); 7] = [
    (576, &[V4], &[Mode::Native, Mode::Skb]),
    (1064, &[V4], &[Mode::Native, Mode::Skb]),
    (1280, &[V4, V6], &[Mode::Native, Mode::Skb]),
    (1400, &[V4], &[Mode::Native, Mode::Skb]),
    (1500, &[V4, V6], &[Mode::Native, Mode::Skb]),
    (2108, &[V6], &[Mode::Native, Mode::Skb]),
    (9000, &[V4, V6], &[Mode::Native, Mode::Skb]),
];

/// The window scale that tcp-bounce answers with by itself.
const WINDOW_SCALE: u8 = 7;

/// The SYNs that the kernel does not answer with a SYN-ACK.
const UNANSWERED: [&str; 20] = [
    // Since Linux 6.7 it looks for a signature first (`tcp_do_parse_auth_options`). It drops a SYN that has one which it
    // does not expect, or whose options break off while there is room for one: 18 bytes, or 5 with CONFIG_TCP_AO.
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
    // To these it says so by ICMP.
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    "routing: type 0, not at its end",
];

/// The SYNs that tcp-bounce treats otherwise, and is meant to.
const BY_DESIGN: [&str; 19] = [
    // The kernel answers with an IP option of its own.
    "IP options: timestamp",
    "IP options: timestamps with addresses",
    "IP options: a timestamp that is full",
    "IP options: record route",
    // Neither IP options nor extension headers are read, but gone over.
    "IP options: loose source route",
    "IP options: strict source route",
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    // A fragment is passed to the host.
    "fragment: the only one",
    // What is signed is passed to the host, whatever the signature is like.
    "MD5 signature (19) that is too short, late",
    "authentication (29)",
    "authentication (29) that is too short, late",
    // As kernels before 6.7, it does not mind options that break off.
    "length 0: MSS",
    "length 0: unknown",
    "length 1: MSS",
    "length 1: unknown",
    "past the header, from the start",
    "length 0, 18 bytes before the end",
];

/// The reply to this is 4 bytes longer, and behind a packet of just this length the socket may leave no room for them.
const WITHOUT_ROOM: &str = "subset [sok ws]";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_kernel_answers_all_but_these() {
    for (mtu, family, _) in settings().filter(|&(_, _, mode)| mode == Mode::Skb) {
        let wire = Wire::new(Mode::Skb, family, mtu);
        let syns = sent_over(family, syns::all());
        for (syn, answer) in iter::zip(&syns, wire.ask_kernel(&syns)) {
            let expected = !UNANSWERED.contains(&&*syn.name);
            assert_eq!(answer.is_some(), expected, "{}, {family}, MTU {mtu}", syn.name);
        }
    }
}

/// Nothing is compared that the kernel itself does not say twice.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_kernel_agrees_with_itself() {
    for family in [V4, V6] {
        let mut syns = sent_over(family, syns::all());
        syns.retain(|syn| !BY_DESIGN.contains(&&*syn.name));
        let wire = Wire::new(Mode::Skb, family, 1500);
        assert_identical(&wire.comparisons(&syns, wire.ask_kernel(&syns), wire.ask_kernel(&syns)));
    }
}

/// The table for the documents: with `--nocapture` it can be seen.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn real_clients_see_no_difference() {
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

fn over_ipv4_the_answer_is_that_of_the_kernel(mode: Mode) {
    assert_identical(&compare_all(V4, mode));
}

fn over_ipv6_the_answer_is_that_of_the_kernel(mode: Mode) {
    assert_identical(&compare_all(V6, mode));
}

/// Each MTU with each family and mode that it is tested with.
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

/// A network in which frames are sent and received as they are, at the client's end of the cable.
struct Wire {
    network: Network,
    mode: Mode,
    family: Family,
    mtu: u16,
    socket: OwnedFd,
}

impl Wire {
    fn new(mode: Mode, family: Family, mtu: u16) -> Self {
        let network = Network::new(mode);
        let (host, client) = (&network.host, &network.client);
        prepare(host, "host0", HOST_MAC, (CLIENT_MAC, CLIENT.into(), CLIENT_V6), family, mtu);
        prepare(client, "client0", CLIENT_MAC, (HOST_MAC, HOST.into(), HOST_V6), family, mtu);
        // ECN is a promise to echo the marks of routers, and nobody is there to keep it.
        host.sysctl("ipv4/tcp_ecn", "0");
        // The label is a hash with a secret of the kernel's.
        host.sysctl("ipv6/auto_flowlabels", "0");
        // The window depends on the second, the window scale on the third, and both on the machine's memory.
        host.sysctl("ipv4/tcp_rmem", "4096 131072 6291456");
        // Else the kernel's answers arrive without a checksum.
        host.run("ethtool", "--offload host0 tx off");

        // On one CPU, answers keep the order of the SYNs.
        let mut cpu = CpuSet::new();
        cpu.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
        let socket = client.enter(packet_socket);
        Self { network, mode, family, mtu, socket }
    }

    /// Has the kernel and tcp-bounce answer each of these, and compares the answers.
    ///
    /// The kernel's window scale depends also on `net.core.rmem_max`, which is the machine's.
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
        // A process that another test is just starting has the listener too: to close it here may not end it.
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

    /// The answers to these SYNs, if they are SYN-ACKs: where tcp-bounce runs there is no listener, so the host answers
    /// with RST what is passed to it.
    ///
    /// Each comes from a port of its own, and so does what follows it: a SYN that is always answered, if only with RST.
    /// When that answer has come, there is no other to wait for.
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

    /// The next TCP segment that arrives at the client.
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
        panic!("{syn}, {}: waited in vain for an answer", self.setting());
    }

    fn setting(&self) -> String {
        format!("{:?} mode, {}, MTU {}", self.mode, self.family, self.mtu)
    }

    fn frame(&self, syn: &Syn, source_port: u16) -> Frame {
        let (source, destination, ethertype) = match self.family {
            V4 => (&CLIENT.octets()[..], &HOST.octets()[..], [0x08, 0x00]),
            V6 => (&CLIENT_V6.octets()[..], &HOST_V6.octets()[..], [0x86, 0xdd]),
        };
        let packet = syn.packet(self.family, source, destination, source_port, self.mtu);
        [&HOST_MAC[..], &CLIENT_MAC, &ethertype, &packet].concat()
    }
}

/// Gives an end of the cable its MAC address and its MTU, and tells it those of its peer, so that nobody has to ask.
fn prepare(
    namespace: &Namespace,
    interface: &str,
    mac: [u8; 6],
    (peer_mac, peer, peer_v6): ([u8; 6], IpAddr, Ipv6Addr),
    family: Family,
    mtu: u16,
) {
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    namespace.ip(&format!("link set {interface} address {} mtu {mtu}", text(mac)));
    let peer = if family == V4 { peer } else { peer_v6.into() };
    namespace.ip(&format!("neighbor replace {peer} lladdr {} dev {interface} nud permanent", text(peer_mac)));
}

/// A packet socket on `client0`.
fn packet_socket() -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    let mut addresses = getifaddrs().unwrap().filter(|entry| entry.interface_name == "client0");
    let address = addresses.find_map(|entry| entry.address.filter(|address| address.as_link_addr().is_some()));
    bind(socket.as_raw_fd(), &address.unwrap()).unwrap();
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(DEADLINE.as_secs() as i64)).unwrap();
    socket
}

type Frame = Vec<u8>;

/// The summary of two answers that are the same.
const IDENTICAL: &str = "identical";

/// The answers to one SYN.
#[derive(Clone)]
struct Comparison {
    syn: String,
    setting: String,
    kernel: Option<Frame>,
    responder: Option<Frame>,
}

impl Comparison {
    /// The fields in which the answers differ, if there are any.
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

    /// The offsets of the bytes in which the answers differ.
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

/// Where the TCP header of an answer begins.
fn tcp_offset(frame: &[u8]) -> usize {
    if frame[12..14] == [0x08, 0x00] { 14 + 4 * usize::from(frame[14] & 0xf) } else { 54 }
}

/// Where the datagram of an answer ends. What follows is Ethernet's padding, which NICs add to the kernel's answers.
fn end(frame: &[u8]) -> usize {
    let length = |at| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    if frame[12..14] == [0x08, 0x00] { 14 + length(16) } else { 54 + length(18) }
}

/// An answer without padding, but for what cannot be the same twice: its ISN, TSval and TCP checksum are 0.
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

/// The fields of an answer, each with its name. The first of them follow from the others.
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

/// The TCP header of an answer.
fn tcp(frame: &[u8]) -> TcpHeader {
    PacketHeaders::from_ethernet_slice(frame).unwrap().transport.unwrap().tcp().unwrap()
}

fn checksums_are_right(frame: &[u8]) -> bool {
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else { unreachable!("it is a SYN-ACK") };
    let payload = headers.payload.slice();
    let (ip_is_right, expected) = match headers.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            (ip.header_checksum == ip.calc_header_checksum(), tcp.calc_checksum_ipv4(&ip, payload))
        }
        NetHeaders::Ipv6(ip, _) => (true, tcp.calc_checksum_ipv6(&ip, payload)),
        NetHeaders::Arp(_) => unreachable!("it is a SYN-ACK"),
    };
    let expected = expected.unwrap();
    // In one's complement 0xffff is zero too, and what the kernel writes for it (`CSUM_MANGLED_0`).
    ip_is_right && (tcp.checksum == expected || (tcp.checksum, expected) == (0xffff, 0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
