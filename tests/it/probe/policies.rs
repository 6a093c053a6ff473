//! The comparison with a policy, and the exit status.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::NamedTempFile;

use crate::fixtures::command::assert_error;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::probe::{Server, parse, run_probe};
use crate::fixtures::process::Process;

/// Returns a file with a policy.
fn policy(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    file
}

/// Checks the exit status and the differences of a host on which ports 80 and 443 are open.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn differences_have_the_exit_status_3() {
    let network = Network::without_program(Mode::Skb);
    let at = |host, port| network.host.enter(move || TcpListener::bind(SocketAddr::new(host, port))).unwrap();
    let _listeners: Vec<TcpListener> = HOSTS.iter().flat_map(|&host| [at(host, 80), at(host, 443)]).collect();
    for (text, differences) in [
        ("[[rule]]\nports = \"80,443\"\nopen = true\n", 0),
        ("[[rule]]\nports = \"80\"\nopen = true\n", 1),
        ("", 2),
        ("default_open = true\n", 8),
        ("[[rule]]\nports = \"80,443\"\nfrom = \"192.0.2.0/24,2001:db8::/32\"\nopen = true\n", 0),
        ("[[rule]]\nports = \"80,443\"\nfrom = \"192.0.2.1,2001:db8::1\"\nopen = true\n", 2),
        ("[[rule]]\nports = \"80,443\"\nto = \"192.0.2.1,2001:db8::1\"\nopen = true\n", 0),
        ("[[rule]]\nports = \"80,443\"\nto = \"192.0.2.2,2001:db8::2\"\nopen = true\n", 2),
    ] {
        let file = policy(text);
        let path = file.path().display();
        for host in HOSTS {
            let arguments = format!("--retries 0 --timeout 300ms --ports 80-88,443 --expect {path} {host}");
            let finished = run_probe(&network.client, &format!("--format json {arguments}"));
            assert_eq!(finished.status.code(), Some(if differences == 0 { 0 } else { 3 }), "{text} {finished:?}");
            let report = parse(&finished.stdout);
            assert_eq!(
                (&report["policy"], &report["hosts"][0]["differences"]),
                (&json!(path.to_string()), &json!(differences))
            );
        }
    }
}

/// Checks that a host without a route is an error. Otherwise, a policy that only forbids ports would be met.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn hosts_without_a_route_are_not_compared() {
    let network = Network::without_program(Mode::Skb);
    let file = policy("default_open = false\n");
    let error = run_probe(&network.client, &format!("--expect {} {HOST} 203.0.113.1", file.path().display()));
    assert_eq!((error.status.code(), error.stdout.as_str()), (Some(1), ""), "{error:?}");
    assert_error(&error.stderr, &["there is no route to 203.0.113.1", "policy"], "routes");
}

/// Checks that an IPv4-mapped address is the IPv4 address in it.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn mapped_addresses_match_ipv4_rules() {
    let network = Network::without_program(Mode::Skb);
    let _listener = network.listen(80);
    let file = policy("[[rule]]\nports = 80\nfrom = \"192.0.2.0/24\"\nto = \"192.0.2.1\"\nopen = true\n");
    let arguments = format!("--timeout 300ms --ports 80-81 --expect {} ::ffff:{HOST}", file.path().display());
    let finished = run_probe(&network.client, &arguments);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
}

/// The parser of Python's standard library reads the XML.
const PARSE_JUNIT: &str = "
import sys, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.buffer.read())
assert root.tag == 'testsuites'
cases = list(root.iter('testcase'))
failures = [(case.get('classname'), case.get('name'), case.find('failure').get('message')) for case in cases
            if case.find('failure') is not None]
assert root.get('tests') == str(len(cases)) and root.get('failures') == str(len(failures))
for suite in root:
    assert suite.get('tests') == str(len(list(suite)))
for failure in failures:
    print(*failure, sep=': ')
";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn junit_has_a_failure_for_each_difference() {
    let network = Network::without_program(Mode::Skb);
    let _server = Server::start(&network.host, SocketAddr::new(HOST.into(), 22), |_| b"<&\"\x00\xff\r\n".to_vec());
    let file = policy("[[rule]]\nports = 80\nopen = true\n");
    let arguments = format!("--retries 0 --ports 20-23,80 --expect {} {HOST} {HOST_V6}", file.path().display());
    let finished = run_probe(&network.client, &format!("--format junit {arguments}"));
    assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(3), ""));
    let xml = NamedTempFile::new().unwrap();
    fs::write(&xml, &finished.stdout).unwrap();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PARSE_JUNIT]).stdin(xml.reopen().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failures = Process::start_as_is(&mut python).finish().success();
    assert_eq!(
        failures.lines().collect::<Vec<_>>(),
        [
            "192.0.2.1: port 22: expected closed, but open: \"<&\\\"\\x00\\xff\\r\\n\"",
            "192.0.2.1: port 80: expected open, but refused",
            "2001:db8::1: port 80: expected open, but refused",
        ],
        "{}",
        finished.stdout
    );
}

/// Checks a policy that differs for one of two hosts. The matrix shows which.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn hosts_are_compared_one_by_one() {
    let network = Network::without_program(Mode::Skb);
    let _listener = network.listen(80);
    let file = policy("[[rule]]\nports = 80\nopen = true\n");
    let arguments =
        format!("--retries 0 --timeout 300ms --ports 79-81 --expect {} {HOST} {HOST_V6}", file.path().display());
    let finished = run_probe(&network.client, &arguments);
    assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(3), ""));
    let lines: Vec<Vec<&str>> = finished.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[2], ["PORTS", "192.0.2.1", "2001:db8::1"]);
    assert_eq!(lines[3], ["80", "open", "(silent)", "refused,", "expected", "open"]);
    assert_eq!(lines[4], ["79", "refused", "refused"]);
    assert_eq!(lines[6][..4], ["1", "port", "differs", "from"], "{finished:?}");
}
