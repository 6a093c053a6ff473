//! The comparison of the port report with a policy: `tcp-bounce --report FILE --expect POLICY`.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tcp_bounce_wire::Verdict;
use tempfile::TempDir;

use crate::fixtures::command::{BINARY, STARTED, TcpBounce, assert_error, usage_error};
use crate::fixtures::network::{CLIENT, HOST, HOST_V6, Mode, Network, connect};
use crate::fixtures::process::{Finished, Process, run};
use crate::fixtures::schema::validate;

in_each_mode! {
    ports_that_differ_come_first,
    every_interface_and_ip_version_is_compared,
}

/// A policy in which port 22 must be open for other clients than `client0`, and three ports for everyone.
const POLICY: &str = r#"
[[rule]]
ports = "22"
from = "198.51.100.0/24,2001:db8:1::/48"
open = true

[[rule]]
ports = "80,443,8000"
open = true
"#;

/// A directory with a policy, for the report of the run.
struct Files(TempDir);

impl Files {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Returns the options for a report with this name, and the policy.
    fn options(&self, report: &str) -> String {
        format!("--report {} --expect {}", self.path(report), self.path("policy.toml"))
    }
}

/// Stops tcp-bounce when it has counted `handshakes` on `host0`.
#[track_caller]
fn finish(network: &Network, responder: TcpBounce, handshakes: u64) -> Finished {
    network.wait_until_counted(Verdict::Completed, handshakes);
    stop(responder)
}

#[track_caller]
fn stop(responder: TcpBounce) -> Finished {
    responder.0.signal(Signal::SIGINT);
    let finished = responder.0.finish();
    assert_eq!(finished.stderr, "");
    finished
}

/// Returns the words of each line of the table.
fn table(finished: &Finished) -> Vec<Vec<&str>> {
    let lines = finished.stdout.lines().skip_while(|line| !line.starts_with("PORTS"));
    lines.map(|line| line.split_whitespace().collect()).collect()
}

/// Checks a real connect scan through a firewall, and the exit status.
fn ports_that_differ_come_first(mode: Mode) {
    let network = Network::new(mode);
    network.client.run("nft", "add table ip firewall");
    network.client.run("nft", "add chain ip firewall output { type filter hook output priority 0 ; }");
    network.client.run("nft", "add rule ip firewall output tcp dport 443 drop");
    let files = Files::new(POLICY);
    let responder = network.start_responder(&files.options("arrived.csv"));
    network.client.run("nmap", &format!("-n -Pn -sT -p 80,443,8000,8001-8003 --max-retries 0 {HOST}"));
    let finished = finish(&network, responder, 5);
    assert_eq!(finished.status.code(), Some(3), "{finished:?}");
    let client = CLIENT.to_string();
    let expected = [
        vec!["PORTS", "STATE", "EXPECTED", "RULE", "CLIENTS"],
        vec!["22", "no", "SYN", "arrived", "open", "line", "2"],
        vec!["443", "no", "SYN", "arrived", "open", "line", "7"],
        vec!["8001-8003", "open", "closed", "default", &client],
        vec!["1-21", "no", "SYN", "arrived", "default"],
    ];
    let table = table(&finished);
    assert_eq!(table[..5], expected, "{finished:?}");
    assert!(table.contains(&vec!["80", "open", "line", "7", &client]), "{finished:?}");
    let verdict = format!("5 ports differ from {}", files.path("policy.toml"));
    assert_eq!(finished.stdout.lines().last(), Some(verdict.as_str()));
    // The report itself is unchanged by the comparison.
    let report = fs::read_to_string(files.path("arrived.csv")).unwrap();
    assert!(report.starts_with("port,state,syns,completed,") && report.contains("\n8003,answered,1,1,"), "{report}");

    // With `--src`, the rule for other clients is left out.
    network.client.run("nft", "flush ruleset");
    let responder = network.start_responder(&format!("--src {CLIENT} {}", files.options("arrived.csv")));
    for port in [80, 443, 8000] {
        network.client.run("nc", &format!("-z -w 5 {HOST} {port}"));
    }
    let finished = finish(&network, responder, 3);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(
        finished.stdout.lines().last().unwrap(),
        format!("all ports are as {} expects", files.path("policy.toml"))
    );
}

/// Checks JSON: one object for all interfaces, with the clients of both IP versions.
fn every_interface_and_ip_version_is_compared(mode: Mode) {
    let network = Network::new(mode);
    let second = network.add_cable();
    let _pass = (mode == Mode::Native).then(|| crate::fixtures::programs::pass(&network.client, "client1"));
    let rule = |line: &str| format!("[[rule]]\nopen = true\n{line}\n");
    let files = Files::new(
        &[
            rule(&format!("ports = 80\nto = \"{HOST}\"")),
            rule(&format!("ports = 81\nto = \"{second}\"")),
            rule(&format!("ports = 82\nto = \"{HOST_V6}\"")),
            rule("ports = 83\nto = \"203.0.113.9\""),
        ]
        .concat(),
    );
    let arguments = format!("{} host1", network.arguments(&format!("--json {}", files.options("arrived.json"))));
    let responder = TcpBounce(Process::start(&mut TcpBounce::command(&network.host, &arguments)));
    responder.0.wait_for("\"interface\":\"host1\"");
    network.connect(80).unwrap();
    network.client.enter(|| connect(second, 81)).unwrap();
    // Port 82 must be open over IPv6 only, and port 81 on the other interface only.
    network.connect(81).unwrap();
    network.connect(82).unwrap();
    let finished = finish(&network, responder, 3);
    assert_eq!(finished.status.code(), Some(3), "{finished:?}");
    let lines: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(validate(&lines), Ok(()));
    let comparison = lines.last().unwrap();
    assert_eq!(
        (&comparison["type"], &comparison["policy"], &comparison["differences"]),
        (&json!("comparison"), &json!(files.path("policy.toml")), &json!(2))
    );
    let differences = comparison["rows"].as_array().unwrap().iter().filter(|row| row["differs"] == true);
    let open = json!({
        "ports": "81-82", "state": "open", "expected": "closed", "differs": true, "rule": null,
        "clients": [CLIENT.to_string()], "more_clients": false,
    });
    let missing = json!({
        "ports": "82", "state": "no_syn", "expected": "open", "differs": true, "rule": 9, "clients": [],
        "more_clients": false,
    });
    let differences: Vec<Value> = differences.cloned().collect();
    assert_eq!(differences, [open, missing], "{comparison}");
}

/// The parser of Python's standard library reads the XML.
const PARSE_JUNIT: &str = "
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
cases = list(root.iter('testcase'))
failures = [case for case in cases if case.find('failure') is not None]
assert root.get('tests') == str(len(cases)) and root.get('failures') == str(len(failures))
print(root[0].get('name'), len(root), float(root.get('time')) >= 0)
for case in failures:
    print(case.get('name') + ': ' + case.find('failure').get('message'))
";

fn parse_junit(path: &str) -> String {
    run(Command::new("/usr/bin/python3").args(["-c", PARSE_JUNIT, path])).success()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_report_in_junit_has_a_failure_for_each_difference() {
    let network = Network::new(Mode::Skb);
    let files = Files::new(POLICY);
    let responder = network.start_responder(&format!("--ports 22-25,80,81 {}", files.options("arrived.xml")));
    network.connect(81).unwrap();
    network.connect(80).unwrap();
    let finished = finish(&network, responder, 2);
    assert_eq!(finished.status.code(), Some(3), "{finished:?}");
    assert_eq!(
        parse_junit(&files.path("arrived.xml")),
        format!(
            "host0 1 True\nport 22, line 2: expected open, but no SYN arrived\n\
             port 81, default: expected closed, but open: {CLIENT}\n"
        )
    );
}

/// Checks an unprivileged user, and that the policy is read only at the start.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_unprivileged_process_compares_what_it_read_at_the_start() {
    let network = Network::new(Mode::Skb);
    let files = Files::new("[[rule]]\nports = 80\nopen = true\n");
    chown(files.0.path(), Some(65534), Some(65534)).unwrap();
    let mut command = network.host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=keep"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{set}=-all,+bpf,+net_admin,+perfmon"));
    }
    // The user may be unable to read the directory of the binary, so it is executed from standard input.
    command.args(["--", "/proc/self/fd/0", "--mode", "skb", "host0"]);
    command.args(files.options("arrived.csv").split(' ')).stdin(File::open(BINARY).unwrap());
    let process = Process::start_as_is(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    process.wait_for(STARTED);
    fs::remove_file(files.path("policy.toml")).unwrap();
    network.connect(80).unwrap();
    let finished = finish(&network, TcpBounce(process), 1);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert!(fs::read_to_string(files.path("arrived.csv")).unwrap().contains("\n80,answered,1,1,"));
}

/// Checks a port with a local listener, and one with echo: a SYN opens them.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_syn_opens_ports_whose_handshakes_are_not_counted() {
    let network = Network::new(Mode::Skb);
    let _listener = network.listen(22);
    let files = Files::new("[[rule]]\nports = \"7,9,22\"\nopen = true\n");
    let options = format!("--ports 7-9,22 --on-connect echo:7-9 {}", files.options("arrived.csv"));
    let responder = network.start_responder(&options);
    let _clients: Vec<TcpStream> = [7, 8, 22].map(|port| network.connect(port).unwrap()).into();
    network.wait_until_counted(Verdict::Answered, 2);
    let finished = stop(responder);
    assert_eq!(finished.status.code(), Some(3), "{finished:?}");
    let expected = [
        vec!["8", "SYN", "arrived", "closed", "default"],
        vec!["9", "no", "SYN", "arrived", "open", "line", "1"],
        vec!["7", "SYN", "arrived", "line", "1"],
        vec!["22", "SYN", "arrived", "line", "1"],
    ];
    assert_eq!(table(&finished)[1..5], expected, "{finished:?}");
}

/// Checks that a SYN scan, which completes no handshake, opens no port.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_syn_scan_opens_no_port() {
    let network = Network::new(Mode::Skb);
    let files = Files::new("[[rule]]\nports = 80\nopen = true\n");
    let responder = network.start_responder(&format!("--ports 80-81 {}", files.options("arrived.csv")));
    network.client.run("nmap", &format!("-n -Pn -sS -p 80-81 {HOST}"));
    network.wait_until_counted(Verdict::Answered, 2);
    let finished = stop(responder);
    assert_eq!(finished.status.code(), Some(3), "{finished:?}");
    let expected = [
        vec!["80", "no", "handshake", "completed", "open", "line", "1"],
        vec!["81", "no", "handshake", "completed", "default"],
    ];
    assert_eq!(table(&finished)[1..3], expected, "{finished:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_quiet_run_has_only_an_exit_status() {
    let network = Network::new(Mode::Skb);
    let files = Files::new("[[rule]]\nports = 80\nopen = true\n");
    let arguments = network.arguments(&format!("--quiet --duration 100ms {}", files.options("arrived.csv")));
    let finished = run(&mut TcpBounce::command(&network.host, &arguments));
    assert_eq!((finished.status.code(), finished.stdout.as_str(), finished.stderr.as_str()), (Some(3), "", ""));
}

/// Checks that a mistake is one line and a hint, and that nothing is attached. `--check` finds the mistake, too.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn mistakes_in_the_policy_prevent_the_start() {
    let network = Network::new(Mode::Skb);
    let files = Files::new("default_open = false\n[[rule]]\nopen = true\nports = \"80,x\"\n");
    let policy = files.path("policy.toml");
    for check in ["", "--check "] {
        let output = usage_error(&network.host, &format!("{check}{} host0", files.options("arrived.csv")));
        let reason = format!("error: cannot use the policy {policy}: line 4: \"x\" is not a port from 0 to 65535");
        assert_error(&output, &[&reason], "a list looks like 22,8000-8999");
        fs::rename(&policy, files.path("away")).unwrap();
        let output = usage_error(&network.host, &format!("{check}{} host0", files.options("arrived.csv")));
        assert_eq!(output, format!("error: cannot read the policy {policy}: No such file or directory (os error 2)\n"));
        fs::rename(files.path("away"), &policy).unwrap();
    }
    fs::write(&policy, "").unwrap();
    let output = usage_error(&network.host, &format!("--expect {policy} host0"));
    assert_error(&output, &["--expect requires --report"], "add --report FILE");
    let output = usage_error(&network.host, &format!("--report {} host0", files.path("arrived.xml")));
    assert_error(&output, &["a report in JUnit XML (.xml) requires --expect"], "add --expect FILE");
    let output = usage_error(&network.host, &format!("--ports 0 {} host0", files.options("arrived.csv")));
    assert_error(&output, &["--expect compares the ports from 1 to 65535"], "--ports");
    network.assert_nothing_is_attached();
    assert!(!Path::new(&files.path("arrived.csv")).exists());
    let check = run(&mut TcpBounce::command(&network.host, &format!("--check {} host0", files.options("arrived.csv"))));
    assert!(check.status.success(), "{check:?}");
}
