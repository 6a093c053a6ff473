//! Programs that name the system of a host: p0f and `nmap -O`.

use std::net::TcpListener;

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::nmap::{fingerprint, system_scan};
use crate::fixtures::p0f::P0f;
use crate::profiles::file::profile;

in_each_mode! {
    p0f_names_the_systems_in_its_database,
    nmap_finds_linux_on_all_ports,
}

/// The systems, and the names that p0f gives to their SYN-ACKs over IPv4. `???` stands for no name.
///
/// Over IPv6, p0f names none of them, because no entry of its database has a flow label.
const NAMES: [(&str, &str, &str); 9] = [
    // p0f's database has Linux 3, which advertises a window of ten segments.
    ("linux", "--window 14600", "Linux 3.x"),
    ("linux", "", "???"),
    ("windows-server-2016", "", "Windows 7 or 8"),
    // The entry for FreeBSD 9 differs only in the IPv4 identification, which FreeBSD 12 no longer sets.
    ("freebsd", "", "FreeBSD 9.x"),
    // The entries for these systems have the window or the window scale of older releases.
    ("windows-10", "", "???"),
    ("macos", "", "???"),
    ("openbsd", "", "???"),
    // There is no entry for Cisco IOS.
    ("cisco-ios", "", "???"),
    // p0f ignores the TTL if nothing else fits, and old releases of Linux have a window of four segments, too.
    ("lwip", "", "Linux 2.4-2.6"),
];

fn p0f_names_the_systems_in_its_database(mode: Mode) {
    let network = Network::new(mode);
    let p0f = P0f::start(&network.client, "client0");
    for (system, arguments, name) in NAMES {
        let file =
            profile(&format!("system = \"{system}\"\n[[service]]\nports = \"80\"\nbanner = \"220 ready\\r\\n\"\n"));
        let responder = network.start_responder(&format!("--profile {} {arguments}", file.path().display()));
        // Linux offers MSS, SACK, timestamps and window scale, so the SYN-ACK has all options of the system.
        let answer = p0f.answer_to(&network.open(HOST.into(), 80));
        assert_eq!(answer.system, name, "{system}: {answer:?}");
        responder.interrupt();
    }
}

/// Checks a port of `linux-server` against a listener of the host. The host's kernel answers the closed port in both
/// scans.
fn nmap_finds_linux_on_all_ports(mode: Mode) {
    const ANSWERED: u16 = 22;
    const LISTENING: u16 = 8080;
    const CLOSED: u16 = 81;
    let network = Network::new(mode);
    let _listeners = HOSTS.map(|host| network.host.enter(|| TcpListener::bind((host, LISTENING))).unwrap());
    let _responder = network.start_responder("--profile linux-server");
    let [answered, listener] = [ANSWERED, LISTENING].map(|port| system_scan(&network, HOST.into(), port, CLOSED));
    assert_eq!(fingerprint(&answered), fingerprint(&listener));
    for output in [answered, system_scan(&network, HOSTS[1], ANSWERED, CLOSED)] {
        let names = ["OS details: ", "Aggressive OS guesses: ", "Running"];
        let named = output.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
        assert!(named.is_some_and(|line| line.contains("Linux")), "{output}");
    }
}
