//! Two hosts that both run tcp-bounce: forged segments start no reply loop between them.

use std::io::Write as _;
use std::net::IpAddr;
use std::thread;

use tcp_bounce_wire::address::{Ipv4Address, Ipv6Address};
use tcp_bounce_wire::ip::Ip as _;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::post_handshake::isn_offset;
use tcp_bounce_wire::serve::service_isn;
use tcp_bounce_wire::siphash::SipHash13;
use tcp_bounce_wire::{Action, Counters, Verdict, XdpAction};

use crate::fixtures::command::TcpBounce;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network, switched};
use crate::fixtures::segment::{ACK, Endpoint, FIN, Injector, SYN, Segment, mac};
use crate::fixtures::{SILENCE, programs, until};

in_each_mode! {
    forged_segments_cause_no_loop_by_default,
    forged_segments_cause_no_loop_under_takeover,
    forged_segments_cause_no_loop_with_keyed_isn,
    forged_segments_cause_no_loop_between_any_two_actions,
}

/// The acknowledgment numbers of forged segments: the default ISN plus one, and 0.
const ACKNOWLEDGMENTS: [u32; 2] = [0x7463_7063, 0];

/// The number of forged segments to each host: all combinations of flags and acknowledgment numbers, over IPv4 and
/// IPv6.
const FORGED: u64 = 256 * 2 * ACKNOWLEDGMENTS.len() as u64;
/// The number of SYNs among the [`FORGED`] segments. FIN, RST and ACK are clear in a SYN; PSH, URG, ECE and CWR vary.
const SYNS: u64 = 16 * 2 * ACKNOWLEDGMENTS.len() as u64;
/// The largest possible number of segments at both hosts together, if there is no loop.
///
/// Half of the forged segments are resets, which get no answer. Each of the others gets one reply. The kernel that
/// receives a SYN-ACK may answer it with a reset.
const MAX_SEGMENTS: u64 = 2 * (FORGED / 2 + 2 * FORGED / 2 + SYNS);

fn forged_segments_cause_no_loop_by_default(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "");
    assert!(seen <= MAX_SEGMENTS, "{seen}");
}

fn forged_segments_cause_no_loop_under_takeover(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "--takeover");
    // Under takeover no segment reaches a kernel.
    assert_eq!(seen, 2 * (FORGED + SYNS));
}

fn forged_segments_cause_no_loop_with_keyed_isn(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "--isn keyed");
    assert!(seen <= MAX_SEGMENTS, "{seen}");
}

/// The post-handshake actions of ports 1 to 7, in this order. The last is that of `identify`.
const ACTIONS: [Action; 7] =
    [Action::Ignore, Action::Reset, Action::Close, Action::Discard, Action::Echo, Action::Tarpit, Action::Serve];

/// Checks every pair of post-handshake actions.
///
/// Both hosts have the same key, and the forged numbers are derived from it. A host may therefore take a forged segment
/// or the other host's reply for a segment after a handshake. `src/wire/tests/reply_loops.rs` tests more combinations
/// without a network.
fn forged_segments_cause_no_loop_between_any_two_actions(mode: Mode) {
    let key = [0x5a; 16];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", "5a".repeat(16)).unwrap();
    let network = Network::new(Mode::Skb);
    let arguments = format!(
        "--mode {} --key-file {} --on-connect reset:2 --on-connect close:3 --on-connect discard:4 --on-connect echo:5 --on-connect tarpit:6 --on-connect identify:7",
        mode.name(),
        file.path().display()
    );
    let host = Side::start(&network.host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
    let client = Side::start(&network.client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
    let mut forged = 0;
    for (from, to) in [(&client, &host), (&host, &client)] {
        let injector = Injector::new(from.namespace, from.interface);
        for (pair, family) in (0..49).flat_map(|pair| [(pair, 0), (pair, 1)]) {
            let (own, other) = (ACTIONS[pair / 7], ACTIONS[pair % 7]);
            let (from_end, to_end) = (from.end(family, pair as u16 % 7 + 1), to.end(family, pair as u16 / 7 + 1));
            let (base, back) = (base(key, own, from_end, to_end), base(key, other, to_end, from_end));
            let before = to.counters().total(XdpAction::Tx);
            for sequence_number in [-1, 0, 1, 2].map(|near| back.wrapping_add_signed(near)) {
                for near in [0, 1, 2] {
                    for (flags, payload) in [(ACK, &b""[..]), (ACK, b"x"), (ACK | FIN, b""), (ACK | FIN, b"xyz")] {
                        let acknowledgment_number = if own == Action::Serve {
                            service_isn(base, sequence_number.wrapping_sub(1), true).wrapping_add(near)
                        } else if own.follows_client() {
                            sequence_number.wrapping_add(base).wrapping_add(near).wrapping_sub(1)
                        } else {
                            base.wrapping_add(near)
                        };
                        let (from, to) = (from_end, to_end);
                        injector.send(&Segment { from, to, flags, sequence_number, acknowledgment_number, payload });
                        forged += 1;
                    }
                }
            }
            if own != Action::Ignore {
                until("for an answer", || (to.counters().total(XdpAction::Tx) > before).then_some(()));
            }
        }
    }
    let seen = || segments(&host.counters()) + segments(&client.counters());
    let total = until("for silence", || {
        let before = seen();
        // A forged segment starts a chain of at most four replies. A kernel may answer each of these five segments with
        // a reset.
        assert!(before <= forged * 10, "the hosts keep answering each other: {before} of {forged}");
        thread::sleep(SILENCE);
        (seen() == before).then_some(before)
    });
    let answered = host.counters().total(XdpAction::Tx) + client.counters().total(XdpAction::Tx);
    assert!(total > forged && answered > forged / 4, "{total} segments, {answered} answers to {forged}");
}

/// Returns the ISN of the SYN-ACK for a connection between `from` and `to`, on a port with this action. If the
/// action follows the client, returns the offset from the client's ISN instead.
fn base(key: [u8; 16], action: Action, from: Endpoint, to: Endpoint) -> u32 {
    let hash = SipHash13::new(key);
    let ([a, b], [c, d]) = (from.port.to_be_bytes(), to.port.to_be_bytes());
    let hash = match (from.address, to.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Ipv4::hash(hash, Ipv4Address(from.octets()), Ipv4Address(to.octets()), [a, b, c, d])
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Ipv6::hash(hash, Ipv6Address(from.octets()), Ipv6Address(to.octets()), [a, b, c, d])
        }
        _ => panic!("addresses of two families"),
    } as u32;
    if action.follows_client() { isn_offset(hash) } else { hash }
}

/// A host that runs tcp-bounce. Forged segments use its addresses as their source.
struct Side<'a> {
    namespace: &'a Namespace,
    interface: &'a str,
    responder: TcpBounce,
    program: u32,
    addresses: [IpAddr; 2],
}

impl<'a> Side<'a> {
    fn start(namespace: &'a Namespace, interface: &'a str, addresses: [IpAddr; 2], arguments: &str) -> Self {
        let responder = TcpBounce::start(namespace, &format!("{arguments} {interface}"));
        let program = programs::attached(namespace, interface).unwrap();
        Self { namespace, interface, responder, program, addresses }
    }

    fn counters(&self) -> Counters {
        programs::counters(self.program)
    }

    fn end(&self, family: usize, port: u16) -> Endpoint {
        Endpoint { mac: mac(self.namespace, self.interface), address: self.addresses[family], port }
    }

    /// Sends segments with every combination of flags to the other side, with this side as their spoofed source.
    fn forge(&self, other: &Self, injector: &Injector) {
        let mut syns = other.counters()[Verdict::Answered];
        for family in [0, 1] {
            let (from, to) = (self.end(family, 7), other.end(family, 9));
            for acknowledgment_number in ACKNOWLEDGMENTS {
                for flags in 0..=u8::MAX {
                    let sequence_number = 1_000_000;
                    injector.send(&Segment { from, to, flags, sequence_number, acknowledgment_number, payload: b"" });
                    // Wait for the answer, since a full queue would lose segments.
                    if flags & 0x17 == SYN {
                        syns += 1;
                        until(&format!("for an answer to {flags:#x}"), || {
                            (other.counters()[Verdict::Answered] >= syns).then_some(())
                        });
                    }
                }
            }
        }
    }
}

/// Sends every combination of flags in both directions. Returns the total number of TCP segments at both hosts, once no
/// more arrive.
fn all_flags_in_both_directions(mode: Mode, arguments: &str) -> u64 {
    // `Mode::Skb` leaves `client0` without an XDP program, so tcp-bounce can attach to it.
    let network = Network::new(Mode::Skb);
    let arguments = format!("--mode {} {arguments}", mode.name());
    let host = Side::start(&network.host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
    let client = Side::start(&network.client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
    client.forge(&host, &Injector::new(client.namespace, client.interface));
    host.forge(&client, &Injector::new(host.namespace, host.interface));
    when_silent(host, client)
}

/// Waits until all forged segments and answers have arrived and no more follow. Returns the total number of TCP
/// segments at both sides.
///
/// Also stops both sides, and checks that each of them answered exactly [`SYNS`] segments with a SYN-ACK.
#[track_caller]
fn when_silent(host: Side, client: Side) -> u64 {
    let seen = || segments(&host.counters()) + segments(&client.counters());
    let total = until("for all forged segments and their answers, and then for silence", || {
        let before = seen();
        assert!(before <= 2 * 3 * FORGED, "the hosts keep answering each other: {before}");
        thread::sleep(SILENCE);
        (before >= 2 * (FORGED + SYNS) && seen() == before).then_some(before)
    });
    for side in [host, client] {
        let summary = side.responder.interrupt();
        assert_eq!(summary.count("SYNs answered"), SYNS, "{summary:?}");
    }
    total
}

/// Returns how many of the counted frames were TCP segments.
fn segments(counters: &Counters) -> u64 {
    let all: u64 =
        [XdpAction::Pass, XdpAction::Drop, XdpAction::Tx].into_iter().map(|action| counters.total(action)).sum();
    all - counters[Verdict::NotIp] - counters[Verdict::NotTcp]
}

/// Checks forged segments from a third machine: the switch between the hosts spoofs the address of each host.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn segments_forged_by_a_switch_cause_no_loop() {
    let [switch, host, client] = switched();
    for arguments in ["", "--takeover", "--isn keyed"] {
        let arguments = format!("--mode skb {arguments}");
        let host = Side::start(&host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
        let client = Side::start(&client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
        // The ping makes the switch learn the port of each host. Otherwise it would flood the replies to all ports.
        host.namespace.run("ping", &format!("-n -c 1 -W 30 {CLIENT}"));
        client.forge(&host, &Injector::new(&switch, "port0"));
        host.forge(&client, &Injector::new(&switch, "port1"));
        let seen = when_silent(host, client);
        assert!(seen <= MAX_SEGMENTS, "{arguments}: {seen}");
    }
}
