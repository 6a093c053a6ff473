//! `--on-connect identify`: clients read both ends of their connection, as the server sees them, and a token.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tcp_bounce_wire::{Verdict, identity};

use crate::fixtures::capture::Capture;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::line::Line;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, HOSTS, Mode, Network, switched};
use crate::fixtures::packet::token;
use crate::fixtures::programs::pass;
use crate::fixtures::segment::{ACK, Endpoint, Injector, Segment, mac, text};

in_each_mode! {
    nc_reads_both_ends_on_every_port,
    curl_reads_text_and_json,
    other_ports_keep_their_action,
    the_far_side_of_a_nat_is_seen,
    clients_in_a_vlan_read_both_ends,
    forged_acks_get_no_answer,
}

const KEY: [u8; 16] = [0x5a; 16];

/// Starts tcp-bounce with [`KEY`].
fn start(network: &Network, arguments: &str) -> TcpBounce {
    start_in(&network.host, &network.arguments(arguments))
}

/// Starts tcp-bounce in `namespace` with [`KEY`].
fn start_in(namespace: &Namespace, arguments: &str) -> TcpBounce {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", "5a".repeat(16)).unwrap();
    TcpBounce::start(namespace, &format!("--key-file {} {arguments}", file.path().display()))
}

/// Returns the address of the client that connects to `host`.
fn client_of(host: IpAddr) -> IpAddr {
    if host.is_ipv4() { CLIENT.into() } else { CLIENT_V6.into() }
}

/// Returns the text of the token, as another implementation of SipHash computes it.
fn token_of(client: SocketAddr, server: SocketAddr) -> String {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    let expected = token(&KEY, &[octets(client.ip()), octets(server.ip()), ports].concat());
    assert_eq!(identity::token(&KEY, client, server), Some(expected));
    format!("{expected:016x}")
}

/// Checks a response with a line of text.
#[track_caller]
fn check_text(response: &str, client: SocketAddr, server: SocketAddr) {
    let (header, line) = response.split_once("\r\n\r\n").expect(response);
    assert_eq!(header, "HTTP/1.0 200 OK\r\nContent-Type: text/plain");
    check_line(line, client, server);
}

/// Checks the line of text. White space separates its words.
#[track_caller]
fn check_line(line: &str, client: SocketAddr, server: SocketAddr) {
    assert!(line.ends_with('\n') && !line.contains('\0'), "{line:?}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["tcp-bounce", own, "reached", "from", other, token] = words[..] else { panic!("{line:?}") };
    assert_eq!((own.parse(), other.parse()), (Ok(server), Ok(client)));
    assert_eq!(token, format!("token={}", token_of(client, server)));
}

fn nc_reads_both_ends_on_every_port(mode: Mode) {
    let network = Network::new(mode);
    let _responder = start(&network, "--on-connect identify");
    for host in HOSTS {
        for (port, client_port) in [(1, 65535), (80, 1000), (8443, 7), (65535, 10000)] {
            let response = network.client.run("nc", &format!("-w 20 -p {client_port} {host} {port}"));
            check_text(&response, SocketAddr::new(client_of(host), client_port), SocketAddr::new(host, port));
        }
    }
}

fn curl_reads_text_and_json(mode: Mode) {
    let network = Network::new(mode);
    let _responder = start(&network, "--on-connect identify --on-connect identify=json:81,65535");
    for (host, url) in [(IpAddr::from(HOST), "192.0.2.1"), (HOST_V6.into(), "[2001:db8::1]")] {
        let read = |port: u16| {
            let arguments =
                format!("--silent --show-error --max-time 20 --write-out %{{local_port}} http://{url}:{port}/");
            let output = network.client.run("curl", &arguments);
            let (body, client_port) = output.rsplit_once('\n').expect(&output);
            let client = SocketAddr::new(client_of(host), client_port.parse().unwrap());
            (format!("{body}\n"), client, SocketAddr::new(host, port))
        };
        for port in [80, 8443] {
            let (body, client, server) = read(port);
            check_line(&body, client, server);
        }
        for port in [81, 65535] {
            let (body, client, server) = read(port);
            let mut value: Value = serde_json::from_str(&body).expect(&body);
            for key in ["server", "client"] {
                let end: SocketAddr = value[key].as_str().expect(&body).parse().expect(&body);
                value[key] = json!(end);
            }
            let expected = json!({"server": server, "client": client, "token": token_of(client, server)});
            assert_eq!(value, expected);
        }
    }
}

fn other_ports_keep_their_action(mode: Mode) {
    let network = Network::new(mode);
    let _responder = start(&network, "--on-connect identify:8000-8999 --on-connect close");
    for host in HOSTS {
        let server = SocketAddr::new(host, 8500);
        let response = network.client.run("nc", &format!("-w 20 -p 4000 {host} 8500"));
        check_text(&response, SocketAddr::new(client_of(host), 4000), server);
        for port in [80, 7999, 9000] {
            assert_eq!(network.client.run("nc", &format!("-w 20 {host} {port}")), "", "{port}");
        }
    }
    network.wait_until_counted(Verdict::Greeted, 2);
    network.wait_until_counted(Verdict::Closed, 6);
}

fn the_far_side_of_a_nat_is_seen(mode: Mode) {
    let network = Network::new(mode);
    let router = &network.client;
    let inside = Namespace::new();
    router.ip(&format!("link add inner0 type veth peer name client1 netns {}", inside.path()));
    router.ip("address add 10.0.0.1/24 dev inner0");
    router.ip("link set inner0 up");
    inside.ip("address add 10.0.0.2/24 dev client1");
    inside.ip("link set client1 up");
    inside.ip("route add default via 10.0.0.1");
    router.sysctl("ipv4/ip_forward", "1");
    router.run("nft", "add table ip nat");
    router.run("nft", "add chain ip nat out { type nat hook postrouting priority 100 ; }");
    router.run("nft", "add rule ip nat out oifname client0 meta l4proto tcp masquerade to :50000");
    let _responder = start(&network, "--on-connect identify");
    let response = inside.run("nc", &format!("-w 20 -p 4000 {HOST} 8443"));
    check_text(&response, (CLIENT, 50000).into(), (HOST, 8443).into());
}

/// Checks a client whose frames arrive at the host with the tag of VLAN 5. The answers have this tag, too.
fn clients_in_a_vlan_read_both_ends(mode: Mode) {
    let [switch, host, client] = switched();
    switch.ip("link delete bridge0");
    let _pass = (mode == Mode::Native).then(|| pass(&switch, "port0"));
    let _line = Line::start(&switch, Duration::ZERO, &[0x81, 0, 0, 5]);
    // With explicit destinations, frames of all VLANs are answered.
    let arguments = format!("--mode {} --dst {HOST},{HOST_V6} --on-connect identify host0", mode.name());
    let _responder = start_in(&host, &arguments);
    let filter = "greater 150 and (tcp src port 8443 or (vlan and tcp src port 8443))";
    let capture = Capture::start(&switch, "port0", filter, 2, &["vlan.id", "tcp.srcport"]);
    let host_mac = text(mac(&host, "host0"));
    for address in HOSTS {
        // The kernel of the host is not in the VLAN, and does not answer ARP there.
        client.ip(&format!("neighbor add {address} lladdr {host_mac} dev client0"));
        let response = client.run("nc", &format!("-w 20 -p 4000 {address} 8443"));
        check_text(&response, (client_of(address), 4000).into(), (address, 8443).into());
    }
    assert_eq!(capture.packets(), [["5", "8443"], ["5", "8443"]]);
}

fn forged_acks_get_no_answer(mode: Mode) {
    let network = Network::new(mode);
    let _responder = start(&network, "--on-connect identify");
    let injector = Injector::new(&network.client, "client0");
    let (client_mac, host_mac) = (mac(&network.client, "client0"), mac(&network.host, "host0"));
    let mut forged = 0;
    for host in HOSTS {
        let from = Endpoint { mac: client_mac, address: client_of(host), port: 4000 };
        let to = Endpoint { mac: host_mac, address: host, port: 8443 };
        for acknowledgment_number in (0..16).map(|upper: u32| upper << 28) {
            for payload in [&b""[..], b"GET / HTTP/1.0\r\n\r\n"] {
                let sequence_number = 1_000_000;
                injector.send(&Segment { from, to, flags: ACK, sequence_number, acknowledgment_number, payload });
                forged += 1;
            }
        }
    }
    network.wait_until_counted(Verdict::OtherTcp, forged);
    let counters = network.counters();
    assert_eq!((counters[Verdict::Greeted], counters[Verdict::Replied]), (0, 0));
}
