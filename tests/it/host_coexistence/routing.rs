//! Traffic that a host forwards, routed or with NAT, which tcp-bounce leaves alone.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, HOST, Mode, Network, connect};
use crate::fixtures::{accept, exchange, is_idle, is_silent};

in_each_mode! {
    routed_connections_keep_flowing,
    masqueraded_connections_keep_flowing,
    connections_to_an_excluded_dnat_port_keep_flowing,
    dnat_port_needs_an_exclusion,
    takeover_routes_only_excluded_ports,
}

/// The host's address on the inner network.
const INNER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The address of the machine behind the host.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Turns the host into a router, and returns a namespace behind it.
fn behind_host(network: &Network) -> Namespace {
    let (host, far) = (&network.host, Namespace::new());
    host.ip(&format!("link add inner0 type veth peer name far0 netns {}", far.path()));
    host.ip(&format!("address add {INNER}/24 dev inner0"));
    host.ip("link set inner0 up");
    host.sysctl("ipv4/ip_forward", "1");
    far.ip(&format!("address add {FAR}/24 dev far0"));
    far.ip("link set far0 up");
    far.ip(&format!("route add default via {INNER}"));
    far
}

/// Adds a NAT rule to the host.
fn nat(network: &Network, hook: &str, rule: &str) {
    network.host.run("nft", "add table ip nat");
    network.host.run("nft", &format!("add chain ip nat {hook} {{ type nat hook {hook} priority 0 ; }}"));
    network.host.run("nft", &format!("add rule ip nat {hook} {rule}"));
}

fn listen(namespace: &Namespace, address: Ipv4Addr, port: u16) -> TcpListener {
    namespace.enter(|| TcpListener::bind((address, port))).unwrap()
}

/// Connects to `listener`, and returns both ends of the connection.
#[track_caller]
fn open(from: &Namespace, to: Ipv4Addr, port: u16, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let connection = from.enter(|| connect(to, port)).unwrap();
    (connection, accept(listener))
}

/// Checks that the `old` connections, and new ones that `open` opens, carry data while tcp-bounce answers on other
/// ports.
#[track_caller]
fn assert_flows(network: &Network, old: &mut [(TcpStream, TcpStream)], open: impl Fn() -> (TcpStream, TcpStream)) {
    for port in 1..=5 {
        let mut answered = network.connect(port).unwrap();
        let mut new = open();
        for (one, other) in old.iter_mut().chain([&mut new]) {
            exchange(one, other);
        }
        if port == 1 {
            assert!(is_silent(&mut answered));
        }
    }
}

fn routed_connections_keep_flowing(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_host(&network);
    network.client.ip(&format!("route add 198.51.100.0/24 via {HOST}"));
    let inner = listen(&far, FAR, 80);
    let outer = listen(&network.client, CLIENT, 80);
    let open_inwards = || open(&network.client, FAR, 80, &inner);
    let open_outwards = || open(&far, CLIENT, 80, &outer);
    let mut old = [open_inwards(), open_outwards()];

    let responder = network.start_responder("");
    assert_flows(&network, &mut old, open_inwards);
    assert_flows(&network, &mut old, open_outwards);
    // Nothing listens on port 81, so the far machine's kernel refuses the connection.
    assert!(network.client.enter(|| connect(FAR, 81)).is_err());
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 10, "{summary:?}");
    assert!(summary.count("passed: to another IP address") >= 30, "{summary:?}");
}

fn masqueraded_connections_keep_flowing(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_host(&network);
    nat(&network, "postrouting", "oifname host0 masquerade");
    let listener = listen(&network.client, CLIENT, 80);
    let open = || {
        let (connection, accepted) = open(&far, CLIENT, 80, &listener);
        assert_eq!(accepted.peer_addr().unwrap().ip(), HOST);
        (connection, accepted)
    };
    let mut old = [open()];

    let responder = network.start_responder("");
    assert_flows(&network, &mut old, open);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 5, "{summary:?}");
    assert!(summary.count("passed: other TCP segments") >= 10, "{summary:?}");
}

fn connections_to_an_excluded_dnat_port_keep_flowing(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_host(&network);
    nat(&network, "prerouting", &format!("iifname host0 tcp dport 8080 dnat to {FAR}:80"));
    let listener = listen(&far, FAR, 80);
    let open = || open(&network.client, HOST, 8080, &listener);
    let mut old = [open()];

    let responder = network.start_responder("--exclude-ports 8080");
    assert_flows(&network, &mut old, open);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 5, "{summary:?}");
    assert!(summary.count("passed: to an excluded port") >= 20, "{summary:?}");
}

/// Checks that the program answers new connections to a DNAT port, since no socket of the host listens there. An
/// established connection survives.
fn dnat_port_needs_an_exclusion(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_host(&network);
    nat(&network, "prerouting", &format!("iifname host0 tcp dport 8080 dnat to {FAR}:80"));
    let listener = listen(&far, FAR, 80);
    let (mut old, mut old_at_far) = open(&network.client, HOST, 8080, &listener);

    let responder = network.start_responder("");
    let mut answered = network.connect(8080).unwrap();
    assert!(is_silent(&mut answered));
    assert!(is_idle(&listener));
    exchange(&mut old, &mut old_at_far);
    responder.interrupt();
    let (mut new, mut new_at_far) = open(&network.client, HOST, 8080, &listener);
    exchange(&mut new, &mut new_at_far);
}

/// Checks that takeover of any destination leaves only excluded ports to be routed.
fn takeover_routes_only_excluded_ports(mode: Mode) {
    let network = Network::new(mode);
    let far = behind_host(&network);
    network.client.ip(&format!("route add 198.51.100.0/24 via {HOST}"));
    let [left, taken] = [22, 80].map(|port| listen(&far, FAR, port));

    let responder = network.start_responder("--takeover --dst any --exclude-ports 22");
    let mut answered = network.client.enter(|| connect(FAR, 80)).unwrap();
    assert!(is_silent(&mut answered));
    assert!(is_idle(&taken));
    let (mut connection, mut at_far) = open(&network.client, FAR, 22, &left);
    exchange(&mut connection, &mut at_far);
    responder.interrupt();
}
