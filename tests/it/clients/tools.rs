//! Scanners, clients and packet generators that users run.

use std::collections::BTreeSet;
use std::iter;
use std::net::{IpAddr, SocketAddr};

use tcp_bounce_wire::Verdict;

use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network};
use crate::fixtures::process::run;
use crate::fixtures::zmap;

in_each_mode! {
    nmap_connects_to_every_port_over_ipv6,
    nmap_finds_all_65536_ports_open_over_ipv6,
    masscan_finds_every_port,
    zmap_finds_the_host_on_each_port,
    hping3_gets_a_syn_ack_for_each_syn,
    curl_connects,
    netcat_connects_over_ipv6,
    scapy_gets_a_syn_ack_for_every_kind_of_syn,
}

/// Checks all ports but 0, which `connect` refuses.
fn nmap_connects_to_every_port_over_ipv6(mode: Mode) {
    assert_nmap_finds_open(65_535, "-sT -p1-65535", mode);
}

/// Checks a scan with raw SYNs, which bypasses the client's TCP.
fn nmap_finds_all_65536_ports_open_over_ipv6(mode: Mode) {
    assert_nmap_finds_open(65_536, "-sS -p0-65535", mode);
}

#[track_caller]
fn assert_nmap_finds_open(ports: usize, scan: &str, mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let report = network.client.run("nmap", &format!("-6 {scan} -n -Pn -T4 --max-retries 10 -oG - {HOST_V6}"));
    assert_eq!(report.matches("/open/tcp/").count(), ports, "{}", head(&report));
    let summary = responder.interrupt();
    assert!(summary.count("SYNs answered") >= ports as u64, "{summary:?}");
}

/// Checks masscan at 100 packets a second. On a veth it misses answers at higher rates, even the kernel's.
fn masscan_finds_every_port(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let mac = mac(&network.host, "host0");
    for (host, client, router) in [
        (IpAddr::from(HOST), IpAddr::from(CLIENT), "--router-mac"),
        (HOST_V6.into(), CLIENT_V6.into(), "--router-mac-ipv6"),
    ] {
        let from = format!("--interface client0 --adapter-ip {client} --adapter-port 40000 {router} {mac}");
        let mut found = BTreeSet::new();
        // masscan sends each SYN once, and misses answers if the machine is busy.
        for _ in 0..5 {
            let report = network.client.run("masscan", &format!("{host} -p1-100 {from} --rate 100 --wait 5 -oL -"));
            found.extend(report.lines().filter_map(|line| masscan_port(line, host)));
            if found.len() == 100 {
                break;
            }
        }
        assert!(found.iter().copied().eq(1..=100), "{found:?}");
    }
    let summary = responder.interrupt();
    assert!(summary.count("SYNs answered") >= 200, "{summary:?}");
}

/// Returns the port in a line of masscan like `open tcp 80 192.0.2.1 1790000000`, if the address is `host`.
fn masscan_port(line: &str, host: IpAddr) -> Option<u16> {
    let (port, rest) = line.strip_prefix("open tcp ")?.split_once(' ')?;
    let address = rest.split(' ').next()?;
    (address.parse() == Ok(host)).then(|| port.parse().unwrap())
}

/// Checks zmap on an open port. With `-N 1` it ends after the first answer.
fn zmap_finds_the_host_on_each_port(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let mut crashes = 0;
    for port in [1, 22, 80, 443, 8080, 65535] {
        let scan = zmap::scan(&network, port, "-N 1 -c 30");
        assert_eq!(scan.output.trim(), HOST.to_string(), "port {port}");
        crashes += scan.crashes;
    }
    // A crashed zmap may have sent its SYN.
    let answered = responder.interrupt().count("SYNs answered");
    assert!((6..=6 + crashes).contains(&answered), "{answered} with {crashes} crashes");
}

/// Checks hping3 with `--fast`. With `--faster` it sees no answers on a veth, not even the kernel's.
fn hping3_gets_a_syn_ack_for_each_syn(mode: Mode) {
    const SYNS: usize = 10;
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let arguments = format!("-S -c {SYNS} --fast -n -I client0 -p ++5000 {HOST}");
    let finished = run(network.client.command("hping3").args(arguments.split(' ')));
    assert!(finished.stderr.contains(&format!("{SYNS} packets transmitted, {SYNS} packets received")), "{finished:?}");
    assert_eq!(finished.stdout.matches(" flags=SA ").count(), SYNS, "{finished:?}");
    assert_eq!(responder.interrupt().count("SYNs answered"), SYNS as u64);
}

/// Checks that curl connects. curl then waits for a response until its time is up.
fn curl_connects(mode: Mode) {
    const COULD_NOT_CONNECT: Option<i32> = Some(7);
    const TIME_IS_OVER: Option<i32> = Some(28);
    let network = Network::new(mode);
    let curl = || {
        let addresses = [IpAddr::from(HOST), HOST_V6.into()].map(|host| [22, 80, 65535].map(|port| (host, port)));
        let addresses: Vec<_> = addresses.concat().into_iter().map(SocketAddr::from).collect();
        let mut command = network.client.command("curl");
        command.args(["-q", "-s", "--noproxy", "*", "--parallel", "--max-time", "2"]);
        command.args(["-w", "%{url} %{num_connects} %{remote_ip}\n"]);
        let finished = run(command.args(addresses.iter().map(|address| format!("http://{address}/"))));
        let connected = |address: &SocketAddr| format!("http://{address}/ 1 {}", address.ip());
        let connections =
            addresses.iter().filter(|address| finished.stdout.lines().any(|line| line == connected(address)));
        (connections.count(), finished)
    };
    let (connections, refused) = curl();
    assert_eq!((connections, refused.status.code()), (0, COULD_NOT_CONNECT), "{refused:?}");
    let responder = network.start_responder("");
    let (connections, finished) = curl();
    assert_eq!((connections, finished.status.code()), (6, TIME_IS_OVER), "{finished:?}");
    assert_eq!(responder.interrupt().count("handshakes completed"), 6);
}

fn netcat_connects_over_ipv6(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let command = format!("for i in {{5000..5010}}; do nc.openbsd -6 -w 30 -vz {HOST_V6} ${{i}}; done");
    let finished = run(network.client.command("bash").args(["-c", &command]));
    for port in 5000..=5010 {
        assert!(finished.stderr.contains(&format!("{HOST_V6} {port} port [tcp/*] succeeded!")), "{finished:?}");
    }
    network.wait_until_counted(Verdict::Completed, 11);
    assert_eq!(responder.interrupt().count("handshakes completed"), 11);
}

/// Requests as scapy expressions, and the TCP flags and VLAN identifiers of their answers.
///
/// `SA` is a SYN-ACK of the program. `RA` is a reset of the host's kernel, which gets the requests that the program
/// passes. `silence` stands for no answer.
const PROBES: [(&str, &str); 24] = [
    ("ether / ip / tcp(flags='S')", "SA"),
    ("ether / ip / tcp(flags='S') / b'data'", "SA"),
    ("ether / ip / tcp(flags='SPU') / b'data'", "SA"),
    ("ether / ip / tcp(flags='SEC')", "SAE"),
    ("ether / ip / tcp(flags='S', options=[(34, b'')])", "SA"),
    ("ether / ip / tcp(flags='S', options=[(34, b'8 bytes!')]) / b'data'", "SA"),
    ("ether / ip / tcp(flags='S', options=[('NOP', None)] * 40)", "SA"),
    ("ether / IP(src=CLIENT, dst=HOST, options=[IPOption_RR()]) / tcp(flags='S')", "SA"),
    // The program ignores the checksum, which the sender's NIC may still have to complete.
    ("ether / ip / tcp(flags='S', chksum=0xbad)", "SA"),
    ("ether / ip6 / tcp(flags='S')", "SA"),
    ("ether / ip6 / tcp(flags='S', options=[(34, b'')]) / b'data'", "SA"),
    ("ether / ip6 / IPv6ExtHdrHopByHop() / tcp(flags='S')", "SA"),
    ("ether / ip6 / IPv6ExtHdrDestOpt() / tcp(flags='S')", "SA"),
    (
        "ether / ip6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b'8 bytes!')]) / tcp(flags='S')",
        "SA",
    ),
    ("ether / Dot1Q(vlan=5) / ip / tcp(flags='S')", "SA 5"),
    // Without an MSS option the reply would be longer than the SYN. A frame of 62 bytes may have no room to grow.
    ("ether / Dot1Q(vlan=5) / Dot1Q(vlan=6) / ip / tcp(flags='S', options=[('MSS', 536)])", "SA 5 6"),
    ("ether / Dot1Q(vlan=7) / ip6 / tcp(flags='S')", "SA 7"),
    ("ether / Dot1AD(vlan=8) / Dot1Q(vlan=9) / ip6 / tcp(flags='S')", "SA 8 9"),
    ("ether / ip / tcp(flags='FPU')", "silence"),
    ("ether / ip / tcp(flags=0)", "silence"),
    ("ether / ip6 / tcp(flags='FPU')", "silence"),
    ("ether / ip / tcp(flags='SF')", "silence"),
    ("ether / ip / tcp(flags='SR')", "silence"),
    ("[ether / part for part in fragment(ip / tcp(flags='S') / bytes(40), fragsize=24)]", "RA"),
];

fn scapy_gets_a_syn_ack_for_every_kind_of_syn(mode: Mode) {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/probe.py");
    let network = Network::new(mode);
    // With explicit destinations, frames of all VLANs are answered.
    let responder = network.start_responder(&format!("--dst {HOST},{HOST_V6}"));
    // The system's Python has scapy; another `python3` in PATH may not.
    let mut python = network.client.command("/usr/bin/python3");
    python.args([SCRIPT, &mac(&network.host, "host0")]);
    python.args([IpAddr::from(HOST), CLIENT.into(), HOST_V6.into(), CLIENT_V6.into()].map(|ip| ip.to_string()));
    let answers = run(python.args(PROBES.map(|(probe, _)| probe))).success();
    let answers: Vec<_> = iter::zip(PROBES.map(|(probe, _)| probe), answers.lines()).collect();
    assert_eq!(answers, PROBES);
    responder.interrupt();
}

/// Returns the MAC address of an interface.
fn mac(namespace: &Namespace, interface: &str) -> String {
    namespace.ip(&format!("-brief link show dev {interface}")).split_whitespace().nth(2).unwrap().to_owned()
}

fn head(text: &str) -> String {
    text.chars().take(2000).collect()
}
