//! Replies on the wire, checked by tshark and by the client's kernel.

use std::net::TcpStream;

use tcp_bounce_wire::Verdict;

use crate::fixtures::SILENCE;
use crate::fixtures::capture::Capture;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network, connect};

in_each_mode! {
    tshark_accepts_every_checksum,
    kernel_accepts_every_checksum,
    router_may_complete_checksums,
    settings_show_on_the_wire,
}

const PORTS: [u16; 8] = [1, 22, 80, 443, 5000, 8080, 32768, 65535];
const SYN_ACKS: &str = "tcp[tcpflags] = tcp-syn|tcp-ack";

/// Turns checksum offload of `client0` on or off. With offload, SYNs leave the client with an incomplete checksum.
/// Without it, the client verifies the checksum of each reply.
fn set_offload(network: &Network, state: &str) {
    network.client.run("ethtool", &format!("--offload client0 tx {state} rx {state}"));
}

fn tshark_accepts_every_checksum(mode: Mode) {
    const GOOD: &str = "1";
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for state in ["on", "off"] {
        set_offload(&network, state);
        let fields = ["ip.src", "ip.checksum.status", "tcp.srcport", "tcp.checksum.status"];
        let capture = Capture::start(&network.client, "client0", SYN_ACKS, PORTS.len(), &fields);
        for port in PORTS {
            network.connect(port).unwrap();
        }
        let expected = PORTS.map(|port| [&HOST.to_string(), GOOD, &port.to_string(), GOOD].map(str::to_owned));
        assert_eq!(capture.packets(), expected, "offload {state}");
    }
    responder.interrupt();
}

fn kernel_accepts_every_checksum(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for state in ["on", "off"] {
        set_offload(&network, state);
        for port in PORTS {
            network.connect(port).unwrap();
        }
        assert_eq!(checksum_errors(&network.client), 0, "offload {state}");
    }
    responder.interrupt();
}

/// Returns the number of packets that the kernel has dropped because of a wrong checksum.
fn checksum_errors(namespace: &Namespace) -> u64 {
    // `-a` prints absolute values, `-z` includes zeros, and `-s` writes no history.
    let counters = namespace.run("nstat", "-a -z -s IpExtInCsumErrors TcpInCsumErrors");
    let values = counters.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let values: Vec<u64> = values.collect();
    assert_eq!(values.len(), 2, "{counters}");
    values.iter().sum()
}

/// Turns the client into a router that completes checksums in software, and returns a namespace behind it.
fn behind_router(network: &Network) -> Namespace {
    let (router, far) = (&network.client, Namespace::new());
    router.ip(&format!("link add near0 type veth peer name far0 netns {}", far.path()));
    router.ip("address add 198.51.100.1/24 dev near0");
    router.ip("link set near0 up");
    router.run("ethtool", "--offload near0 tx off");
    router.sysctl("ipv4/ip_forward", "1");
    far.ip("address add 198.51.100.2/24 dev far0");
    far.ip("link set far0 up");
    far.ip("route add default via 198.51.100.1");
    far
}

fn router_may_complete_checksums(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_router(&network);
    if mode == Mode::Skb {
        far.run("ethtool", "--offload far0 tx off");
    }
    let responder = network.start_responder("");
    far.enter(|| connect(HOST, 80)).unwrap();
    assert_eq!(checksum_errors(&far), 0);
    responder.interrupt();
}

/// Documents a limit of skb mode: a router may damage the checksum of a reply.
///
/// The kernel marks a SYN whose checksum is incomplete (`CHECKSUM_PARTIAL`), and in skb mode the reply keeps the mark.
/// A router then completes a checksum that is already complete. The program can neither see nor remove the mark.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn known_limit_skb_mode_reply_may_get_a_wrong_checksum() {
    let network = Network::new(Mode::Skb);
    let far = behind_router(&network);
    let responder = network.start_responder("");
    // Resolve the addresses first, so that the single SYN does not wait for ARP.
    far.run("ping", "-n -c 1 -W 30 198.51.100.1");
    network.client.run("ping", &format!("-n -c 1 -W 30 {HOST}"));
    let capture = Capture::start(&far, "far0", SYN_ACKS, 1, &["ip.checksum.status", "tcp.checksum.status"]);
    let connection = far.enter(|| TcpStream::connect_timeout(&(HOST, 80).into(), SILENCE));
    assert_eq!(capture.packets(), [["1", "0"]]);
    connection.unwrap_err();
    responder.interrupt();
}

fn settings_show_on_the_wire(mode: Mode) {
    const FIELDS: [&str; 5] =
        ["tcp.seq_raw", "ip.ttl", "tcp.window_size_value", "tcp.options.mss_val", "tcp.options.wscale.shift"];
    let network = Network::new(mode);
    // The largest receive buffer, which differs between machines, determines the window scale.
    network.host.sysctl("ipv4/tcp_rmem", "4096 131072 6291456");
    for (arguments, expected) in [
        ("", ["1952673890", "64", "65160", "1460", "7"]),
        ("--isn 0x01020304 --ttl 7 --window 0x1234 --wscale 3 --mss 536", ["16909060", "7", "4660", "536", "3"]),
        ("--isn 0 --ttl 1 --window 0 --wscale 0 --mss 1", ["0", "1", "0", "1", "0"]),
        (
            "--isn 4294967295 --ttl 255 --window 65535 --wscale 14 --mss 65535",
            ["4294967295", "255", "65535", "65535", "14"],
        ),
    ] {
        let responder = network.start_responder(arguments);
        let capture = Capture::start(&network.client, "client0", SYN_ACKS, 1, &FIELDS);
        network.connect(80).unwrap();
        assert_eq!(capture.packets(), [expected], "{arguments}");
        // The program recognises the ACK of the configured ISN.
        network.wait_until_counted(Verdict::Completed, 1);
        responder.interrupt();
    }
}
