//! A host and a packet socket of its client, which sends any segment and receives every reply.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{MsgFlags, Shutdown, SockProtocol, recv, send, setsockopt, shutdown};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

use super::comparison::Comparison;
use super::frame::Frame;
use super::segment::Family::{self, V4, V6};
use super::segment::{PORT, Segment};
use super::state::State;
use super::syns;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network};
use crate::fixtures::segment::packet_socket;
use crate::fixtures::{DEADLINE, namespace::Namespace};

const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Addresses that no kernel has. Replies to them reach the packet socket, but no kernel resets the connections.
const ABSENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const ABSENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

/// A source of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client, whose kernel resets every connection that a SYN-ACK offers.
    Client,
    /// An address of no kernel, so that connections last.
    Absent,
}

/// A host in some state, with a packet socket on `client0`.
pub struct Wire {
    pub network: Network,
    mode: Mode,
    pub state: &'static State,
    socket: OwnedFd,
    _pinned: Pinned,
}

/// Listeners of the host's kernel on [`PORT`], over IPv4 and IPv6, until this value is dropped.
pub struct Listeners(pub Vec<TcpListener>);

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

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in &self.0 {
            // A process that another test forks may briefly share the listener, so closing it does not stop it.
            shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
        }
    }
}

impl Wire {
    /// Creates a host in `state`, and its client. Returns `None` if the kernel does not have this state.
    pub fn new(mode: Mode, state: &'static State) -> Option<Self> {
        let network = Network::new(mode);
        let (host, client) = (&network.host, &network.client);
        prepare(client, ("client0", CLIENT_MAC), (HOST_MAC, &[HOST.into(), HOST_V6.into()]), state);
        let peers = [CLIENT.into(), ABSENT.into(), CLIENT_V6.into(), ABSENT_V6.into()];
        prepare(host, ("host0", HOST_MAC), (CLIENT_MAC, &peers), state);
        // With checksum offload, the kernel's replies would have incomplete checksums.
        host.run("ethtool", "--offload host0 tx off");
        if !state.apply(host) {
            return None;
        }
        // On one CPU the replies arrive in the order of the segments.
        let pinned = Pinned::new();
        let socket = packet_socket(client, "client0", Some(SockProtocol::EthAll));
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(DEADLINE.as_secs() as i64)).unwrap();
        Some(Self { network, mode, state, socket, _pinned: pinned })
    }

    /// Opens listeners on the addresses of the host.
    pub fn listen(&self) -> Listeners {
        let open = |family: &Family| self.network.host.enter(|| TcpListener::bind((host(*family), PORT))).unwrap();
        Listeners(self.state.families.iter().map(open).collect())
    }

    /// Starts tcp-bounce, with arguments separated by spaces.
    #[track_caller]
    pub fn respond(&self, arguments: &str) -> TcpBounce {
        self.network.start_responder(arguments)
    }

    /// Returns those of `segments` that the state's IP versions carry, each with its IP version.
    pub fn requests(&self, segments: &[Segment]) -> Vec<(Family, Segment)> {
        let over = |&family| {
            segments
                .iter()
                .filter(move |segment| segment.families.contains(&family))
                .map(move |segment| (family, segment.clone()))
        };
        self.state.families.iter().flat_map(over).collect()
    }

    /// Sends each SYN to the kernel and to tcp-bounce, and compares the SYN-ACKs.
    #[track_caller]
    pub fn compare(&self, syns: &[Segment]) -> Vec<Comparison> {
        self.compare_with(syns, "")
    }

    /// Sends each SYN to the kernel, and to tcp-bounce with `arguments`, and compares the SYN-ACKs.
    #[track_caller]
    pub fn compare_with(&self, syns: &[Segment], arguments: &str) -> Vec<Comparison> {
        let requests = self.requests(syns);
        let kernel = self.ask_kernel(&requests);
        let responder = self.respond(arguments);
        let replies = self.ask(&requests);
        responder.interrupt();
        self.comparisons(&requests, kernel, replies)
    }

    /// Returns comparisons of the replies to `requests`.
    pub fn comparisons(
        &self,
        requests: &[(Family, Segment)],
        kernel: Vec<Option<Frame>>,
        responder: Vec<Option<Frame>>,
    ) -> Vec<Comparison> {
        let compare = |((family, segment), (kernel, responder)): (&(Family, Segment), _)| {
            let comparable = |frame: Option<Frame>| {
                frame.map(|frame| frame.comparable(segment.flow_label, self.state.marks_flow_labels()))
            };
            Comparison {
                segment: segment.name.clone(),
                setting: self.setting(*family),
                kernel: comparable(kernel),
                responder: comparable(responder),
            }
        };
        iter::zip(requests, iter::zip(kernel, responder)).map(compare).collect()
    }

    /// Sends SYNs to listeners of the kernel, and returns the SYN-ACK to each of them, if any.
    #[track_caller]
    pub fn ask_kernel(&self, syns: &[(Family, Segment)]) -> Vec<Option<Frame>> {
        let _listeners = self.listen();
        self.ask(syns)
    }

    /// Sends SYNs from the client, and returns the SYN-ACK to each of them, if any. An RST is not an answer: without a
    /// listener, the host sends an RST for each SYN that tcp-bounce passes.
    ///
    /// Each SYN has a different source port. A random flow label is 0 or that of the SYN once in 2^19, so a SYN whose
    /// answer has such a label is sent again.
    #[track_caller]
    pub fn ask(&self, syns: &[(Family, Segment)]) -> Vec<Option<Frame>> {
        let ask = |((family, syn), port): (&(Family, Segment), u16)| {
            let ask = |port| self.replies(*family, syn, Source::Client, port).into_iter().find(Frame::is_syn_ack);
            let answer = ask(port);
            let is_random = |answer: &Frame| ![0, syn.flow_label].contains(&answer.flow_label());
            let asks_again = *family == V6 && answer.as_ref().is_some_and(|answer| !is_random(answer));
            let again = if asks_again { ask(port + 10_000) } else { None };
            again.filter(is_random).or(answer)
        };
        iter::zip(syns, 10_000..).map(ask).collect()
    }

    /// Sends a segment, and returns all replies to it.
    ///
    /// A SYN of the client, which always gets a SYN-ACK or RST, follows the segment. Its answer shows that no reply to
    /// the segment can follow.
    #[track_caller]
    pub fn replies(&self, family: Family, segment: &Segment, source: Source, port: u16) -> Vec<Frame> {
        self.send(family, segment, source, port);
        self.replies_until(family, &segment.name, port, port + 20_000)
    }

    /// Sends a SYN of the client from `last_port`, and returns the frames to `port` that arrive before its answer.
    #[track_caller]
    fn replies_until(&self, family: Family, name: &str, port: u16, last_port: u16) -> Vec<Frame> {
        self.send(family, &syns::subsets()[0], Source::Client, last_port);
        let mut replies = Vec::new();
        loop {
            let frame = self.next(family, name);
            let to = frame.tcp().destination_port;
            if to == last_port {
                return replies;
            } else if to == port {
                replies.push(frame);
            }
        }
    }

    /// Sends a segment, and returns all replies to it, even if the reply to a later segment overtakes them.
    ///
    /// In native mode a reply of the program may overtake one of the kernel's network stack, but not of an earlier
    /// batch of frames.
    #[track_caller]
    pub fn settled_replies(&self, family: Family, segment: &Segment, source: Source, port: u16) -> Vec<Frame> {
        let mut replies = self.replies(family, segment, source, port);
        replies.extend(self.replies_until(family, &segment.name, port, port + 40_000));
        replies
    }

    /// Sends a segment.
    pub fn send(&self, family: Family, segment: &Segment, source: Source, port: u16) {
        let (from, to, ethertype) = match (family, source) {
            (V4, Source::Client) => (&CLIENT.octets()[..], &HOST.octets()[..], [0x08, 0x00]),
            (V4, Source::Absent) => (&ABSENT.octets()[..], &HOST.octets()[..], [0x08, 0x00]),
            (V6, Source::Client) => (&CLIENT_V6.octets()[..], &HOST_V6.octets()[..], [0x86, 0xdd]),
            (V6, Source::Absent) => (&ABSENT_V6.octets()[..], &HOST_V6.octets()[..], [0x86, 0xdd]),
        };
        let packet = segment.packet(family, (from, to), port, self.state.mtu);
        let frame = [&HOST_MAC[..], &CLIENT_MAC, &ethertype, &packet].concat();
        send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
    }

    /// Returns the next TCP segment that arrives from the host, and checks that it is intact.
    ///
    /// # Panics
    ///
    /// If no segment arrives. The message contains `request`, the name of the segment that was sent.
    #[track_caller]
    pub fn next(&self, family: Family, request: &str) -> Frame {
        let end = Instant::now() + DEADLINE;
        let mut buffer = [0; 16_384];
        while Instant::now() < end {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
            let bytes = &buffer[..length];
            if bytes.starts_with(&CLIENT_MAC)
                && let Some(frame) = Frame::parse(bytes)
            {
                assert!(frame.is_intact(), "{request}, {}: {frame:?}", self.setting(family));
                return frame;
            }
        }
        panic!("{request}, {}: timed out waiting for a reply", self.setting(family));
    }

    /// Returns the mode, the IP version and the state of the host, as text.
    pub fn setting(&self, family: Family) -> String {
        format!("{} mode, {family}, {}", self.mode.name(), self.state.name)
    }
}

/// Returns the host's address.
fn host(family: Family) -> IpAddr {
    if family == V4 { HOST.into() } else { HOST_V6.into() }
}

/// Sets the MAC address and MTU of one end of the cable. Adds the addresses of its peers to the neighbour table, so
/// that this end sends no ARP requests or neighbour solicitations for them.
fn prepare(
    namespace: &Namespace,
    (interface, mac): (&str, [u8; 6]),
    (peer_mac, peers): ([u8; 6], &[IpAddr]),
    state: &State,
) {
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    namespace.ip(&format!("link set {interface} address {} mtu {}", text(mac), state.mtu));
    for peer in peers.iter().filter(|peer| peer.is_ipv4() || state.families.contains(&V6)) {
        namespace.ip(&format!("neighbor replace {peer} lladdr {} dev {interface} nud permanent", text(peer_mac)));
    }
}
