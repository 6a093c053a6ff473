//! The rules by which scanners drop hosts: hosts with too many open ports, tarpits, and hosts that send nothing. The
//! profile `linux-server` breaks none of them.
//!
//! Each test names the scanners, and the files or issues in which they define the rule.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;

use nix::libc;

use crate::fixtures::capture::Capture;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::nmap::{open_ports, services};
use crate::fixtures::p0f::P0f;
use crate::fixtures::until;

in_each_mode! {
    syn_acks_have_a_window_and_more_options_than_mss,
    data_in_the_handshakes_last_ack_gets_data_and_an_acknowledgment,
    few_ports_are_open_and_all_others_reset,
    nmap_names_each_service_in_each_scan,
    each_port_sends_the_same_data_after_a_restart,
    p0f_sees_one_system,
}

const PROFILE: &str = "--profile linux-server";

/// The ports of the profile.
const PORTS: [u16; 7] = [21, 22, 25, 80, 110, 143, 587];

/// The port on which the client speaks first.
const HTTP: u16 = 80;

/// A port with a listener of the host.
const LISTENING: u16 = 8080;

/// Returns the addresses of the host with each port of the profile.
fn targets() -> impl Iterator<Item = (IpAddr, u16)> {
    HOSTS.into_iter().flat_map(|host| PORTS.map(|port| (host, port)))
}

/// Checks the rules for SYN-ACKs:
///
/// - LZR drops a host with a window of zero (stanford-esrg/lzr, `handle_ack.go`).
/// - naabu drops a host with a window of zero and no options (projectdiscovery/naabu, pull request 1733).
/// - degreaser takes a host for a tarpit if its window is at most 20 and MSS is the only option (lancealt/degreaser,
///   `src/scan.cpp`).
fn syn_acks_have_a_window_and_more_options_than_mss(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder(PROFILE);
    let filter = "tcp[13] = 0x12 or (ip6[6] = 6 and ip6[53] = 0x12)";
    let fields = ["tcp.srcport", "tcp.window_size_value", "tcp.option_kind"];
    let capture = Capture::start(&network.client, "client0", filter, targets().count(), &fields);
    let _clients: Vec<_> = targets().map(|(host, port)| network.open(host, port)).collect();
    for syn_ack in capture.packets() {
        let window: u16 = syn_ack[1].parse().unwrap();
        let options: Vec<&str> = syn_ack[2].split(',').collect();
        // MSS, window scale, SACK and timestamps, as the client offers them.
        assert!(window > 20 && ["2", "3", "4", "8"].iter().all(|kind| options.contains(kind)), "{syn_ack:?}");
    }
}

/// Checks a client like LZR, which sends its first data with the last ACK of the handshake.
///
/// LZR keeps a host that sends data, and drops one that only acknowledges (stanford-esrg/lzr, `handle_pcap.go`). Other
/// clients give up if their data is not acknowledged.
fn data_in_the_handshakes_last_ack_gets_data_and_an_acknowledgment(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder(PROFILE);
    let request = b"GET / HTTP/1.1\r\nHost: web01.example.com\r\n\r\n";
    let connect = |target| network.open_with_data(target, libc::TCP_QUICKACK, 0, request);
    let mut clients: Vec<_> = targets().map(|target| connect(SocketAddr::from(target))).collect();
    for client in &mut clients {
        assert!(client.read(&mut [0; 300]).unwrap() > 0, "{client:?}");
    }
    // The third column has the bytes that are not acknowledged.
    until("for acknowledgments", || {
        let sockets = network.client.run("ss", "--no-header --tcp --all --numeric");
        sockets.lines().all(|socket| socket.split_whitespace().nth(2) == Some("0")).then_some(())
    });
}

/// Checks the limits for open ports:
///
/// - GPS keeps hosts with at most 10 open ports.
/// - nuclei drops hosts with more than 25 to 50 (projectdiscovery/nuclei, issue 6403).
/// - Censys truncates hosts with more than 100.
/// - IVRE drops those with 200 (`VIEW_SYNACK_HONEYPOT_COUNT` in cea-sec/ivre), and users of nmap give up after as many
///   (nmap/nmap, issue 1904).
/// - naabu has a limit that the user sets (projectdiscovery/naabu, issue 379).
/// - LZR also connects to random ports, and drops hosts that accept them (`HyperACKtiveFiltering` in `handle_pcap.go`).
fn few_ports_are_open_and_all_others_reset(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder(PROFILE);
    let network = &network;
    thread::scope(|scope| {
        for scan in HOSTS.map(|host| scope.spawn(move || open_ports(network, host))) {
            assert_eq!(scan.join().unwrap(), (PORTS.to_vec(), 65536 - PORTS.len()));
        }
    });
}

/// Checks that nmap names each service, and calls no port `tcpwrapped`, which it does if the server ends the connection
/// within three seconds and without data (`tcpwrappedms` in nmap's `nmap-service-probes`).
///
/// IVRE ignores open ports without a service and those that are `tcpwrapped` (`is_real_service_port` in cea-sec/ivre).
/// A port whose service changes between scans is a decoy (drk1wi/portspoof, issue 27).
fn nmap_names_each_service_in_each_scan(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder(PROFILE);
    let network = &network;
    thread::scope(|scope| {
        let scans = [HOST.into(), HOST.into(), HOST_V6.into()];
        let scans = scans.map(|host| scope.spawn(move || services(network, host, &PORTS)));
        let [first, second, third] = scans.map(|scan| scan.join().unwrap());
        assert!(first.keys().eq(&PORTS), "{first:?}");
        for (name, version) in first.values() {
            assert!(name != "tcpwrapped" && !version.is_empty(), "{first:?}");
        }
        assert_eq!((&first, &first), (&second, &third));
    });
}

/// Returns the first data of each port: the banner, or the reply to nmap's probe `GetRequest`.
fn first_data(network: &Network) -> BTreeMap<(IpAddr, u16), String> {
    let data = targets().map(|(host, port)| {
        let mut stream = network.open(host, port);
        if port == HTTP {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        }
        let mut received = [0; 2048];
        let length = stream.read(&mut received).unwrap();
        ((host, port), String::from_utf8_lossy(&received[..length]).into_owned())
    });
    data.collect()
}

/// Checks that scanners find equal banners, also after a restart. portspoof selects banners at random at each start, so
/// two scans show that it is one.
fn each_port_sends_the_same_data_after_a_restart(mode: Mode) {
    let network = Network::new(mode);
    let scans = [(); 2].map(|()| {
        let responder = network.start_responder(PROFILE);
        let scan = first_data(&network);
        responder.interrupt();
        scan
    });
    assert!(scans[0].values().all(|data| !data.is_empty()), "{scans:?}");
    assert_eq!(scans[0], scans[1]);
    for port in PORTS {
        assert_eq!(scans[0][&(HOST.into(), port)], scans[0][&(HOST_V6.into(), port)]);
    }
}

/// Checks that the ports of the profile look like a listener of the host. A host with two systems on its ports hides
/// something.
fn p0f_sees_one_system(mode: Mode) {
    let network = Network::new(mode);
    let _listeners = HOSTS.map(|host| network.host.enter(|| TcpListener::bind((host, LISTENING))).unwrap());
    let _responder = network.start_responder(PROFILE);
    let p0f = P0f::start(&network.client, "client0");
    let answer = |host, port| p0f.answer_to(&network.open(host, port));
    for host in HOSTS {
        let listener = answer(host, LISTENING);
        for port in PORTS {
            assert_eq!(answer(host, port), listener, "{host} {port}");
        }
    }
}
