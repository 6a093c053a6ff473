//! Two hosts that both run tcp-bounce do not keep each other busy, whatever is forged in their names.

use std::io::Write as _;
use std::net::IpAddr;
use std::thread;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network, switched};
use crate::fixtures::segment::{ACK, Endpoint, FIN, Injector, SYN, Segment, mac};
use crate::fixtures::{SILENCE, programs, until};
use tcp_bounce_wire::ip::Ip as _;
use tcp_bounce_wire::ipv4::{self, Ipv4};
use tcp_bounce_wire::ipv6::{self, Ipv6};
use tcp_bounce_wire::post_handshake::isn_offset;
use tcp_bounce_wire::{Action, Counters, Verdict, XdpAction};

in_each_mode! {
    by_default_traffic_dies_out,
    under_takeover_traffic_dies_out,
    with_keyed_sequence_numbers_traffic_dies_out,
    in_every_pair_of_modes_traffic_dies_out,
}

/// What follows the number that every SYN-ACK has by default, and a number that means nothing.
const ACKNOWLEDGMENTS: [u32; 2] = [0x7463_7063, 0];

/// How many forged segments arrive at each host: all combinations of flags, by IPv4 and by IPv6.
const FORGED: u64 = 256 * 2 * ACKNOWLEDGMENTS.len() as u64;
/// How many of these are SYNs: with PSH, URG, ECE and CWR or without, but with neither FIN, RST nor ACK.
const SYNS: u64 = 16 * 2 * ACKNOWLEDGMENTS.len() as u64;
/// Half of the segments are resets, which nobody answers. To each of the others there is one reply, and if that is a
/// SYN-ACK, the kernel that gets it may send a reset.
const MOST: u64 = 2 * (FORGED / 2 + 2 * FORGED / 2 + SYNS);

fn by_default_traffic_dies_out(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "");
    assert!(seen <= MOST, "{seen}");
}

fn under_takeover_traffic_dies_out(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "--takeover");
    // No kernel gets any.
    assert_eq!(seen, 2 * (FORGED + SYNS));
}

fn with_keyed_sequence_numbers_traffic_dies_out(mode: Mode) {
    let seen = all_flags_in_both_directions(mode, "--isn keyed");
    assert!(seen <= MOST, "{seen}");
}

/// The mode of each of the ports 1 to 6.
const MODES: [Action; 6] =
    [Action::Ignore, Action::Reset, Action::Close, Action::Discard, Action::Echo, Action::Tarpit];

/// Whoever forges here knows the key that both hosts have, so that all is taken for what follows a handshake, and so are
/// the answers, where that can be. `src/wire/tests/busy.rs` has far more of it, without a network.
fn in_every_pair_of_modes_traffic_dies_out(mode: Mode) {
    let key = [0x5a; 16];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", "5a".repeat(16)).unwrap();
    let network = Network::new(Mode::Skb);
    let arguments = format!(
        "--mode {} --key-file {} --then reset:2 --then close:3 --then discard:4 --then echo:5 --then tarpit:6",
        mode.name(),
        file.path().display()
    );
    let host = Side::start(&network.host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
    let client = Side::start(&network.client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
    let mut forged = 0;
    for (from, to) in [(&client, &host), (&host, &client)] {
        let injector = Injector::new(from.namespace, from.interface);
        for (pair, family) in (0..36).flat_map(|pair| [(pair, 0), (pair, 1)]) {
            let (own, other) = (MODES[pair / 6], MODES[pair % 6]);
            let (from_end, to_end) = (from.end(family, pair as u16 % 6 + 1), to.end(family, pair as u16 / 6 + 1));
            let (base, back) = (base(key, own, from_end, to_end), base(key, other, to_end, from_end));
            let before = to.counters().total(XdpAction::Tx);
            for sequence_number in [-1, 0, 1, 2].map(|near| back.wrapping_add_signed(near)) {
                for near in [0, 1, 2] {
                    for (flags, payload) in [(ACK, &b""[..]), (ACK, b"x"), (ACK | FIN, b""), (ACK | FIN, b"xyz")] {
                        let acknowledgment_number = if own.follows_client() {
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
        // No chain of answers has more than four, and the kernel may send a reset for each.
        assert!(before <= forged * 10, "they keep each other busy: {before} of {forged}");
        thread::sleep(SILENCE);
        (seen() == before).then_some(before)
    });
    let answered = host.counters().total(XdpAction::Tx) + client.counters().total(XdpAction::Tx);
    assert!(total > forged && answered > forged / 4, "{total} segments, {answered} answers to {forged}");
}

/// What a host whose port has the mode `then` counts from in a connection: its ISN, or its offset.
fn base(key: [u8; 16], then: Action, from: Endpoint, to: Endpoint) -> u32 {
    let key = u128::from_le_bytes(key);
    let key = [key as u64, (key >> 64) as u64];
    let ([a, b], [c, d]) = (from.port.to_be_bytes(), to.port.to_be_bytes());
    let hash = match (from.address, to.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Ipv4::hash(key, ipv4::Address(from.octets()), ipv4::Address(to.octets()), [a, b, c, d])
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Ipv6::hash(key, ipv6::Address(from.octets()), ipv6::Address(to.octets()), [a, b, c, d])
        }
        _ => panic!("addresses of two kinds"),
    } as u32;
    if then.follows_client() { isn_offset(hash) } else { hash }
}

/// A host that runs tcp-bounce, and what is forged in its name.
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

    /// Sends every combination of flags to the other side, in the name of this.
    fn forge(&self, other: &Self, injector: &Injector) {
        let mut syns = other.counters()[Verdict::Answered];
        for family in [0, 1] {
            let (from, to) = (self.end(family, 7), other.end(family, 9));
            for acknowledgment_number in ACKNOWLEDGMENTS {
                for flags in 0..=u8::MAX {
                    let sequence_number = 1_000_000;
                    injector.send(&Segment { from, to, flags, sequence_number, acknowledgment_number, payload: b"" });
                    // A queue that is full would lose some of them.
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

/// Sends every combination of flags from each side to the other, and returns how many TCP segments have arrived in all
/// when no more do.
fn all_flags_in_both_directions(mode: Mode, arguments: &str) -> u64 {
    // Its end of the cable must be free for tcp-bounce.
    let network = Network::new(Mode::Skb);
    let arguments = format!("--mode {} {arguments}", mode.name());
    let host = Side::start(&network.host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
    let client = Side::start(&network.client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
    client.forge(&host, &Injector::new(client.namespace, client.interface));
    host.forge(&client, &Injector::new(host.namespace, host.interface));
    when_silent(host, client)
}

/// Checks that each side answers the SYNs and nothing else, and returns how many TCP segments have arrived in all when
/// no more do.
#[track_caller]
fn when_silent(host: Side, client: Side) -> u64 {
    let seen = || segments(&host.counters()) + segments(&client.counters());
    let total = until("for silence", || {
        let before = seen();
        assert!(before <= 2 * 3 * FORGED, "they keep each other busy: {before}");
        thread::sleep(SILENCE);
        (seen() == before).then_some(before)
    });
    assert!(total >= 2 * (FORGED + SYNS), "all that was forged has arrived, and all answers: {total}");
    for side in [host, client] {
        let summary = side.responder.interrupt();
        assert_eq!(summary.count("SYNs answered"), SYNS, "{summary:?}");
    }
    total
}

/// The TCP segments among the frames.
fn segments(counters: &Counters) -> u64 {
    let all: u64 =
        [XdpAction::Pass, XdpAction::Drop, XdpAction::Tx].into_iter().map(|action| counters.total(action)).sum();
    all - counters[Verdict::NotIp] - counters[Verdict::NotTcp]
}

/// Somebody in the middle, a switch, sends to each in the name of the other.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn what_a_third_sends_dies_out() {
    let [switch, host, client] = switched();
    for arguments in ["", "--takeover", "--isn keyed"] {
        let arguments = format!("--mode skb {arguments}");
        let host = Side::start(&host, "host0", [HOST.into(), HOST_V6.into()], &arguments);
        let client = Side::start(&client, "client0", [CLIENT.into(), CLIENT_V6.into()], &arguments);
        // So that the switch knows where each of them is, and sends no reply to all.
        host.namespace.run("ping", &format!("-n -c 1 -W 30 {CLIENT}"));
        client.forge(&host, &Injector::new(&switch, "port0"));
        host.forge(&client, &Injector::new(&switch, "port1"));
        let seen = when_silent(host, client);
        assert!(seen <= MOST, "{arguments}: {seen}");
    }
}
