//! Every TCP port accepts connections.

use tcp_bounce_wire::Verdict;

use crate::fixtures::is_silent;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::run;

in_each_mode! {
    standard_library_connects,
    netcat_connects,
    nmap_connects_to_every_port,
    nmap_finds_all_65536_ports_open,
    connection_accepts_data_silently,
}

fn standard_library_connects(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let ports = [1, 22, 80, 443, 5000, 8080, 32767, 32768, 60999, 65535];
    let connections = ports.map(|port| network.connect(port).unwrap());
    for (port, connection) in ports.into_iter().zip(&connections) {
        assert_eq!(connection.peer_addr().unwrap(), (HOST, port).into());
    }
    network.wait_until_counted(Verdict::Completed, 10);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 10, "{summary:?}");
    assert_eq!(summary.count("handshakes completed"), 10, "{summary:?}");
}

/// Checks the shell loop of the article that inspired this project, with a time limit added.
fn netcat_connects(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let command = format!("for i in {{5000..5010}}; do nc.openbsd -w 30 -vz {HOST} ${{i}}; done");
    let finished = run(network.client.command("bash").args(["-c", &command]));
    for port in 5000..=5010 {
        assert!(finished.stderr.contains(&format!("{HOST} {port} port [tcp/*] succeeded!")), "{finished:?}");
    }
    network.wait_until_counted(Verdict::Completed, 11);
    assert_eq!(responder.interrupt().count("handshakes completed"), 11);
}

/// Checks all ports but 0, which `connect` refuses.
fn nmap_connects_to_every_port(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let report = network.client.run("nmap", &format!("-sT -n -Pn -T4 --max-retries 10 -p1-65535 -oG - {HOST}"));
    assert_eq!(report.matches("/open/tcp/").count(), 65_535, "{}", head(&report));
    let summary = responder.interrupt();
    assert!(summary.count("SYNs answered") >= 65_535, "{summary:?}");
}

/// Checks a scan with raw SYNs, which bypasses the client's TCP.
fn nmap_finds_all_65536_ports_open(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let report = network.client.run("nmap", &format!("-sS -n -Pn -T4 --max-retries 10 -p0-65535 -oG - {HOST}"));
    assert_eq!(report.matches("/open/tcp/").count(), 65_536, "{}", head(&report));
    assert!(report.contains(" 0/open/tcp/"), "{}", head(&report));
    let summary = responder.interrupt();
    assert!(summary.count("SYNs answered") >= 65_536, "{summary:?}");
}

fn connection_accepts_data_silently(mode: Mode) {
    use std::io::Write as _;

    let network = Network::new(mode);
    let responder = network.start_responder("");
    let mut connection = network.connect(80).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    network.wait_until_counted(Verdict::Later, 1);
    assert!(is_silent(&mut connection));
    let summary = responder.interrupt();
    assert!(summary.count("later segments dropped") >= 1, "{summary:?}");
    assert_eq!(summary.count("handshakes completed"), 1, "{summary:?}");
}

fn head(text: &str) -> String {
    text.chars().take(2000).collect()
}
