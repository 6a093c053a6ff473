//! Scanners on a host with a profile.

use std::thread;

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::nmap::services;
use crate::fixtures::zmap;

in_each_mode! {
    nmap_names_the_services_of_every_profile,
    masscan_gets_the_banners,
    zmap_tells_open_ports_from_closed_ones,
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

fn nmap_names_the_services_of_every_profile(mode: Mode) {
    // A scan mostly waits for probes without an answer, so the profiles are scanned at the same time.
    thread::scope(|scope| {
        for (profile, expected) in NAMES {
            scope.spawn(move || {
                let network = Network::new(mode);
                let _responder = network.start_responder(&format!("--profile {profile}"));
                let ports: Vec<u16> = expected.iter().map(|&(port, _)| port).collect();
                for host in HOSTS {
                    let found = services(&network, host, &ports);
                    let names: Vec<(u16, &str)> =
                        found.iter().map(|(&port, (name, _))| (port, name.as_str())).collect();
                    assert_eq!(names, expected, "{profile} on {host}");
                }
            });
        }
    });
}

fn zmap_tells_open_ports_from_closed_ones(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    let fields = "--output-module=csv --output-fields=saddr,classification --output-filter=repeat=0";
    let network = &network;
    thread::scope(|scope| {
        // zmap ends with the first SYN-ACK. After a RST, it waits for others as long as `-c` says, in seconds.
        for (port, limit, class) in [(22, "-N 1 -c 30", "synack"), (80, "-N 1 -c 30", "synack"), (443, "-c 3", "rst")] {
            scope.spawn(move || {
                let scan = zmap::scan(network, port, &format!("{fields} {limit}"));
                let answers: Vec<&str> = scan.output.lines().skip(1).collect();
                assert_eq!(answers, [format!("{HOST},{class}")], "port {port}");
            });
        }
    });
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
