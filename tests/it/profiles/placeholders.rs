//! Placeholders in the payloads of a profile, as clients receive them.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::process::run;

in_each_mode! {
    each_client_reads_its_own_address,
    curl_gets_a_page_with_every_placeholder,
}

const PROFILE: &str = r#"
[[service]]
ports = "23"
banner = "{client}|{client_port}|{server}|{port}\n"
end = "close"

[[service]]
ports = "80"
replies = [{ prefix = "GET ", send = """\
HTTP/1.1 200 OK\r\n\
Connection: close\r\n\
\r\n\
{client} port {client_port} to {server} port {port} since {date}.
""" }]
end = "close"
"#;

fn profile() -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(&file, PROFILE).unwrap();
    file
}

/// Returns the text of an address in a payload.
fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{address:<15}", address = address.to_string()),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:04x}")).join(":"),
    }
}

fn each_client_reads_its_own_address(mode: Mode) {
    let network = Network::new(mode);
    let file = profile();
    let _responder = network.start_responder(&format!("--profile {}", file.path().display()));
    for host in HOSTS {
        let client = if host.is_ipv4() { CLIENT.into() } else { IpAddr::from(CLIENT_V6) };
        for port in [7, 42, 999, 1000, 65535] {
            let banner = network.client.run("nc", &format!("-w 20 -p {port} {host} 23"));
            assert_eq!(banner, format!("{}|{port:<5}|{}|23\n", text(client), text(host)));
        }
    }
}

fn curl_gets_a_page_with_every_placeholder(mode: Mode) {
    let network = Network::new(mode);
    let file = profile();
    let before = seconds();
    let _responder = network.start_responder(&format!("--profile {}", file.path().display()));
    let after = seconds();
    for (url, host, client) in [
        ("http://192.0.2.1/", HOST.into(), CLIENT.into()),
        ("http://[2001:db8::1]/", IpAddr::from(HOST_V6), IpAddr::from(CLIENT_V6)),
    ] {
        let arguments = format!("--silent --show-error --max-time 20 --write-out %{{local_port}} {url}");
        let output = network.client.run("curl", &arguments);
        let (page, port) = output.split_once(".\n").expect(&output);
        let (connection, date) = page.split_once(" since ").expect(page);
        assert_eq!(connection, format!("{} port {port:<5} to {} port 80", text(client), text(host)));
        let started = run(Command::new("date").args(["--utc", "--date", date, "+%s %a, %d %b %Y %T %z"])).success();
        let (started, form) = started.trim_end().split_once(' ').unwrap();
        assert_eq!(form, date);
        assert!((before..=after).contains(&started.parse().unwrap()), "{before} {date} {after}");
    }
}

/// Returns the time in seconds since 1970.
fn seconds() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
