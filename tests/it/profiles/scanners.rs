//! Scanners on a host with a profile.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, Network};

in_each_mode! {
    nmap_names_the_services_of_every_profile,
    nmap_finds_the_same_services_in_two_scans,
    masscan_gets_the_banners,
}

/// The names that nmap gives to the services of each profile. nmap does not probe port 9100, since printers print what
/// they receive there.
const NAMES: [(&str, &[(u16, &str)]); 7] = [
    (
        "linux-server",
        &[(21, "ftp"), (22, "ssh"), (25, "smtp"), (80, "http"), (110, "pop3"), (143, "imap"), (587, "smtp")],
    ),
    (
        "windows-server",
        &[
            (21, "ftp"),
            (80, "http"),
            (135, "msrpc"),
            (1433, "ms-sql-s"),
            (3389, "ms-wbt-server"),
            (5985, "http"),
            (47001, "http"),
        ],
    ),
    (
        "mail-server",
        &[(22, "ssh"), (25, "smtp"), (80, "http"), (110, "pop3"), (143, "imap"), (587, "smtp"), (4190, "sieve")],
    ),
    ("router", &[(22, "ssh"), (23, "telnet"), (80, "http"), (8080, "http")]),
    ("printer", &[(21, "ftp"), (80, "http"), (515, "printer"), (631, "http")]),
    ("ip-camera", &[(80, "http"), (554, "rtsp"), (8000, "ipcam")]),
    ("database", &[(22, "ssh"), (3306, "mysql"), (5432, "postgresql"), (6379, "redis"), (11211, "memcached")]),
];

/// Returns nmap's name and version for each open port of `host`.
fn service_scan(network: &Network, host: IpAddr, ports: &str) -> BTreeMap<u16, (String, String)> {
    let family = if host.is_ipv6() { "-6" } else { "" };
    let report = network.client.run("nmap", &format!("{family} -n -Pn -T4 -sV -p {ports} -oG - {host}"));
    let ports = report.lines().filter_map(|line| line.split_once("Ports: ")).flat_map(|(_, ports)| ports.split(", "));
    let services = ports.filter_map(|port| {
        // An entry looks like `22/open/tcp//ssh//OpenSSH 9.2p1/`.
        let fields: Vec<&str> = port.split('/').collect();
        let [number, "open", "tcp", _, name, _, version, ..] = fields[..] else { return None };
        Some((number.parse().unwrap(), (name.to_owned(), version.to_owned())))
    });
    services.collect()
}

fn nmap_names_the_services_of_every_profile(mode: Mode) {
    // A scan mostly waits for probes without an answer, so the profiles are scanned at the same time.
    std::thread::scope(|scope| {
        for (profile, expected) in NAMES {
            scope.spawn(move || {
                let network = Network::new(mode);
                let _responder = network.start_responder(&format!("--profile {profile}"));
                let ports = expected.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(",");
                for host in HOSTS {
                    let found = service_scan(&network, host, &ports);
                    let names: Vec<(u16, &str)> =
                        found.iter().map(|(&port, (name, _))| (port, name.as_str())).collect();
                    assert_eq!(names, expected, "{profile} on {host}");
                }
            });
        }
    });
}

fn nmap_finds_the_same_services_in_two_scans(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    let report = network.client.run("nmap", &format!("-n -Pn -sS -p 0-65535 -T4 --max-retries 10 -oG - {HOST}"));
    assert_eq!(report.matches("/open/tcp/").count(), 7, "{report}");
    assert!(report.contains("Ignored State: closed (65529)"), "{report}");
    let first = service_scan(&network, HOST.into(), "21,22,25,80,110,143,587");
    assert!(first.values().all(|(_, version)| !version.is_empty()), "{first:?}");
    assert_eq!(first, service_scan(&network, HOST.into(), "21,22,25,80,110,143,587"));
    assert_eq!(first, service_scan(&network, HOST_V6.into(), "21,22,25,80,110,143,587"));
}

fn masscan_gets_the_banners(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    // masscan has its own TCP, so the client's kernel must not reset its connections.
    let client = &network.client;
    client.run("nft", "add table ip scan");
    client.run("nft", "add chain ip scan output { type filter hook output priority 0 ; }");
    client.run("nft", "add rule ip scan output tcp sport 40000 tcp flags rst drop");
    let from = "--interface client0 --adapter-ip 192.0.2.2 --adapter-port 40000 --router-mac";
    let mac = network.host.ip("-br link show dev host0");
    let mac = mac.split_whitespace().nth(2).expect("a MAC address");
    let report = client.run("masscan", &format!("{HOST} -p22,25,110 --banners {from} {mac} --rate 50 --wait 8 -oL -"));
    for banner in ["22 192.0.2.1", "SSH-2.0-OpenSSH_9.2p1", "220 web01.example.com", "+OK Dovecot ready."] {
        assert!(report.contains(banner), "{banner}: {report}");
    }
}
