//! The list of established connections that `--takeover` affects.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use crate::fixtures::accept;
use crate::fixtures::command::{STARTED, TcpBounce};
use crate::fixtures::network::{CLIENT, HOST, HOST_V6, Mode, Network, connect};
use crate::fixtures::process::{Process, run};

/// Starts tcp-bounce, and returns the lines that it prints before the line that reports the start.
#[track_caller]
fn lines_before_start(network: &Network, arguments: &str) -> Vec<String> {
    let responder = TcpBounce::start(&network.host, &format!("--mode skb {arguments}"));
    let text = responder.0.stdout.text();
    responder.interrupt();
    let lines = text.lines().take_while(|line| !line.contains(STARTED));
    lines.map(str::to_owned).collect()
}

/// Connects to `listener` at `address`, and returns both ends of the connection.
fn open(network: &Network, listener: &TcpListener, address: Ipv4Addr) -> (TcpStream, TcpStream) {
    let port = listener.local_addr().unwrap().port();
    let client = network.client.enter(|| connect(address, port)).unwrap();
    (client, accept(listener))
}

/// Returns the first line of a list with one connection, or with several.
fn header(connections: usize) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    format!("--takeover affects {connections} established connection{plural} of this host:")
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_connections_in_both_directions() {
    let network = Network::new(Mode::Skb);
    let (listener, at_client) = (network.listen(2222), network.listen_at_client(3333));
    let inward = open(&network, &listener, HOST);
    let outward = network.connect_back(3333).unwrap();
    let _accepted = accept(&at_client);
    // This IPv6 listener accepts IPv4 connections too, with IPv4-mapped addresses.
    let dual = network.host.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 2223))).unwrap();
    let mapped = open(&network, &dual, HOST);

    let peer = |connection: &(TcpStream, TcpStream)| connection.0.local_addr().unwrap();
    let lines = lines_before_start(&network, "--takeover host0");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0], header(3));
    assert_eq!(lines[1], format!("  {HOST}:2222 with {}", peer(&inward)));
    assert_eq!(lines[2], format!("  {HOST}:2223 with {}", peer(&mapped)));
    assert_eq!(lines[3], format!("  {} with {CLIENT}:3333", outward.local_addr().unwrap()));

    let lines = lines_before_start(&network, "--takeover --exclude-ports 2222-2223 host0");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].ends_with(&format!(" with {CLIENT}:3333")), "{lines:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn omits_unaffected_connections() {
    let network = Network::new(Mode::Skb);
    let elsewhere = network.add_cable();
    let (here, there) = (network.listen(2222), network.host.enter(|| TcpListener::bind((elsewhere, 2222))).unwrap());
    let _here = open(&network, &here, HOST);
    let _there = open(&network, &there, elsewhere);
    let _in_host = network.host.enter(|| connect(HOST, 2222)).unwrap();
    let local = network.host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 2223))).unwrap();
    let _over_loopback = network.host.enter(|| connect(Ipv4Addr::LOCALHOST, 2223)).unwrap();
    drop(local);

    assert_eq!(lines_before_start(&network, "host0"), [""; 0]);
    assert_eq!(lines_before_start(&network, "--takeover --exclude-ports 2222 host0 host1"), [""; 0]);
    let lines = lines_before_start(&network, "--takeover host1");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with(&format!("  {elsewhere}:2222 with ")), "{lines:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_20_connections_and_counts_the_rest() {
    let network = Network::new(Mode::Skb);
    let listener = network.listen(2222);
    let mut connections: Vec<_> = (0..20).map(|_| open(&network, &listener, HOST)).collect();
    let lines = lines_before_start(&network, "--takeover host0");
    assert_eq!(lines.len(), 21, "{lines:?}");
    assert!(lines[20].starts_with("  192.0.2.1:2222 with "), "{lines:?}");
    connections.extend((0..3).map(|_| open(&network, &listener, HOST)));
    let lines = lines_before_start(&network, "--takeover host0");
    assert_eq!(lines.len(), 22, "{lines:?}");
    assert_eq!(lines[21], "  and 3 more");
}

/// Checks that takeover on a bridge port lists connections to the bridge's addresses, whose packets the port receives.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_connections_to_the_bridge_for_its_port() {
    let network = Network::new(Mode::Skb);
    network.host.ip(&format!("address delete {HOST}/24 dev host0"));
    network.host.ip("link add bridge0 type bridge");
    network.host.ip("link set host0 master bridge0");
    network.host.ip(&format!("address add {HOST}/24 dev bridge0"));
    network.host.ip("link set bridge0 up");
    let listener = network.listen(2222);
    let _connection = open(&network, &listener, HOST);
    for interface in ["host0", "bridge0"] {
        let lines = lines_before_start(&network, &format!("--takeover --dst any {interface}"));
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}

/// Checks an address on `lo`, as many routers have. Packets to it arrive on other interfaces.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_connections_to_a_loopback_interface_address() {
    const LOOPBACK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
    let network = Network::new(Mode::Skb);
    network.host.ip(&format!("address add {LOOPBACK}/32 dev lo"));
    network.client.ip(&format!("route add {LOOPBACK}/32 via {HOST}"));
    let listener = network.host.enter(|| TcpListener::bind((LOOPBACK, 2222))).unwrap();
    let connection = open(&network, &listener, LOOPBACK);
    assert_eq!(lines_before_start(&network, "--takeover host0"), [""; 0]);
    for destinations in ["local", "any"] {
        let lines = lines_before_start(&network, &format!("--takeover --dst {destinations} host0"));
        assert_eq!(lines, [header(1), format!("  {LOOPBACK}:2222 with {}", connection.0.local_addr().unwrap())]);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn quiet_prints_no_list() {
    let network = Network::new(Mode::Skb);
    let listener = network.listen(2222);
    let _connection = open(&network, &listener, HOST);
    let mut command = TcpBounce::command(&network.host, "--mode skb --quiet --duration 1s --takeover host0");
    assert_eq!(run(&mut command).success(), "");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn omits_connections_outside_the_scope() {
    let network = Network::new(Mode::Skb);
    let listener = network.listen(2222);
    let _connection = open(&network, &listener, HOST);
    for (filters, lines) in [
        ("--ports 80", 0),
        ("--ports 2222", 2),
        ("--src 203.0.113.0/24", 0),
        ("--src 192.0.2.2", 2),
        ("--dst 203.0.113.1", 0),
        ("--dst 192.0.2.0/24", 2),
        ("--dst any", 2),
        ("--dst 192.0.2.1 --src 192.0.2.0/24 --ports 2222", 2),
    ] {
        let responder = Process::start(&mut TcpBounce::command(&network.host, &format!("--takeover {filters} host0")));
        let text = responder.wait_for("host0 (skb mode");
        let output = text.lines().take_while(|line| !line.starts_with("host0 ")).count();
        assert_eq!(output, lines, "{filters} {text}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_connections_over_ipv6() {
    let network = Network::new(Mode::Skb);
    let listener = network.host.enter(|| TcpListener::bind((HOST_V6, 2222))).unwrap();
    let client = network.client.enter(|| TcpStream::connect((HOST_V6, 2222))).unwrap();
    let _host = accept(&listener);
    let lines = lines_before_start(&network, "--takeover host0");
    let connection = format!("  [2001:db8::1]:2222 with {}", client.local_addr().unwrap());
    assert_eq!(lines, [header(1), connection]);
}
