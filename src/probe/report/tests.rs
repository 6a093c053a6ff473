//! Tests of the formats, with results that have every state.

use nix::errno::Errno;
use serde_json::{Value, json};

use std::time::Duration;

use super::*;
use crate::config::Policy;
use crate::probe::Family;
use crate::probe::far::FarReport;
use crate::probe::icmp::IcmpError;
use crate::probe::identity::{Identification, Identity};
use crate::probe::results::HostResults;
use crate::probe::state::PortResult;
use crate::probe::state::{Answer, PortState, Silence};
use crate::probe::target::Target;

/// Returns the results of a host. Port 22 sends data, tcp-bounce answers on ports 80 and 443 to 445, and the other
/// ports have the other states.
fn host(name: &str, policy: Option<&Policy>) -> HostResults {
    let identified = |port: u16, source: &str| {
        let identity = Identity {
            destination: format!("127.0.0.1:{port}").parse().unwrap(),
            source: source.parse().unwrap(),
            token: 1,
        };
        let local = Some("127.0.0.2:40000".parse().unwrap());
        PortState::Open(Answer::Identified(Identification { identity, local, is_proven: None }))
    };
    let icmp = IcmpError { is_v6: false, kind: 3, code: 13, sender: Some([192, 0, 2, 254].into()) };
    let states = [
        (20, PortState::Filtered),
        (21, PortState::Filtered),
        (22, PortState::Open(Answer::Data(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()))),
        (80, identified(80, "127.0.0.2:40000")),
        (443, identified(443, "127.0.0.2:40000")),
        (444, identified(444, "127.0.0.2:40000")),
        (445, identified(9445, "203.0.113.7:1024")),
        (500, PortState::SILENT),
        (501, PortState::Open(Answer::Silent(Silence::Closed))),
        (8080, PortState::Refused),
        (9000, PortState::Unreachable { errno: Errno::EHOSTUNREACH, icmp: Some(icmp) }),
        (9001, PortState::Unreachable { errno: Errno::ENETUNREACH, icmp: None }),
    ];
    let results = states.into_iter().map(|(port, state)| {
        let latency = (state != PortState::Filtered).then_some(Duration::from_micros(900));
        PortResult { port, state, latency, attempts: 1 }
    });
    HostResults::new(Target::resolve(name, Family::V4).unwrap(), results.collect(), policy, None)
}

fn results(hosts: Vec<HostResults>) -> Results {
    let policy = hosts[0].expected(0).map(|_| "policy.toml".to_owned());
    Results { hosts, elapsed: Duration::from_millis(6600), policy }
}

#[test]
fn text_of_one_host_has_a_row_for_each_range() {
    let expected = r#"127.0.0.1: 7 open (4 tcp-bounce, 1 data, 2 silent), 1 refused, 2 unreachable, 2 filtered
PORTS    STATE        LATENCY  ANSWER
20-21    filtered
22       open         0.9 ms   "SSH-2.0-OpenSSH_9.2p1\r\n"
80       open         0.9 ms   tcp-bounce, reached from 127.0.0.2:40000
443-444  open         0.9 ms   tcp-bounce, reached from 127.0.0.2
445      open         0.9 ms   tcp-bounce, reached from 203.0.113.7:1024 (translated) at 127.0.0.1:9445
500      open         0.9 ms   silent
501      open         0.9 ms   closed without data
8080     refused      0.9 ms
9000     unreachable  0.9 ms   EHOSTUNREACH (ICMP administratively prohibited from 192.0.2.254)
9001     unreachable  0.9 ms   ENETUNREACH
probed in 6.6 seconds
"#;
    assert_eq!(render(&results(vec![host("127.0.0.1", None)]), Format::Text, 2), expected);
}

#[test]
fn text_of_several_hosts_has_a_column_for_each() {
    let mut other = host("127.0.0.3", None);
    other.ports[0].state = PortState::Refused;
    let text = render(&results(vec![host("127.0.0.1", None), other]), Format::Text, 2);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1: 7 open (") && lines[1].starts_with("127.0.0.3: 7 open ("), "{text}");
    assert_eq!(
        lines[2..8],
        [
            "PORTS      127.0.0.1          127.0.0.3",
            "20         filtered           refused",
            "21         filtered           filtered",
            "22         open (data)        open (data)",
            "80         open (tcp-bounce)  open (tcp-bounce)",
            "443-445    open (tcp-bounce)  open (tcp-bounce)",
        ]
    );
}

#[test]
fn json_has_each_port() {
    let text = render(&results(vec![host("127.0.0.1", None)]), Format::Json, 2);
    assert_eq!(text.matches('\n').count(), 1);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["version"], &json["type"], &json["elapsed"]), (&json!(2), &json!("probe"), &json!(6.6)));
    let host = &json["hosts"][0];
    assert_eq!((&host["host"], &host["address"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
    let ports = host["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 12);
    let filtered = json!({
        "port": 20, "state": "filtered", "expected": null, "cause": null, "latency": null, "attempts": 1, "answer": null, "error": null,
    });
    assert_eq!(ports[0], filtered);
    assert_eq!(ports[2]["answer"]["data"], "SSH-2.0-OpenSSH_9.2p1\\r\\n");
    let answer = &ports[6]["answer"];
    assert_eq!((&answer["kind"], &answer["source"]), (&json!("tcp-bounce"), &json!("203.0.113.7:1024")));
    assert_eq!((&answer["destination"], &answer["local"]), (&json!("127.0.0.1:9445"), &json!("127.0.0.2:40000")));
    assert_eq!(ports[8]["answer"]["end"], "closed");
    let error = json!({"errno": "EHOSTUNREACH", "icmp": {"type": 3, "code": 13, "sender": "192.0.2.254"}});
    assert_eq!(ports[10]["error"], error);
}

/// A policy that port 443 and the ports after 9000 break.
const POLICY: &str = r#"
    [[rule]]
    ports = "22,80,444-445,500-501,9000-9001"
    open = true
"#;

#[test]
fn ports_that_differ_from_the_policy_come_first() {
    let policy = Policy::parse(POLICY, "policy.toml").unwrap();
    let text = render(&results(vec![host("127.0.0.1", Some(&policy))]), Format::Text, 2);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines[..5],
        [
            "PORTS  STATE        EXPECTED  LATENCY  ANSWER",
            "443    open         closed    0.9 ms   tcp-bounce, reached from 127.0.0.2:40000",
            "9000   unreachable  open      0.9 ms   EHOSTUNREACH (ICMP administratively prohibited from 192.0.2.254)",
            "9001   unreachable  open      0.9 ms   ENETUNREACH",
            "20-21  filtered",
        ]
    );
    assert_eq!(lines[lines.len() - 2..], ["3 ports differ from policy.toml", "probed in 6.6 seconds"]);
    let json: Value =
        serde_json::from_str(&render(&results(vec![host("127.0.0.1", Some(&policy))]), Format::Json, 2)).unwrap();
    assert_eq!((&json["policy"], &json["hosts"][0]["differences"]), (&json!("policy.toml"), &json!(3)));
    let expected: Vec<&Value> =
        json["hosts"][0]["ports"].as_array().unwrap().iter().map(|port| &port["expected"]).collect();
    assert_eq!(expected[..5], ["closed", "closed", "open", "open", "closed"]);
}

#[test]
fn the_matrix_marks_the_host_that_differs() {
    let policy =
        Policy::parse(&format!("{POLICY}[[rule]]\nports = 443\nto = \"127.0.0.1\"\nopen = true\n"), "policy.toml")
            .unwrap();
    let hosts = ["127.0.0.1", "127.0.0.3"].map(|name| host(name, Some(&policy))).to_vec();
    let text = render(&results(hosts), Format::Text, 2);
    let lines: Vec<&str> = text.lines().skip(3).collect();
    assert_eq!(lines[0], "443        open (tcp-bounce)           open (tcp-bounce), expected closed");
    assert_eq!(lines[1], "9000-9001  unreachable, expected open  unreachable, expected open");
    assert_eq!(lines[2], "20-21      filtered                    filtered");
    assert_eq!(lines[lines.len() - 2], "5 ports differ from policy.toml");
}

#[test]
fn the_report_of_the_far_side_locates_losses() {
    let far = FarReport::parse(
        r#"{"type": "report", "ports": [
            {"port": 21, "state": "answered", "completed": 0}, {"port": 22, "state": "answered", "completed": 1},
            {"port": 80, "state": "answered", "completed": 1}, {"port": 500, "state": "answered", "completed": 0}
        ]}"#,
    );
    let policy = Policy::parse("[[rule]]\nports = \"22,80,443-500,501\"\nopen = true\n", "policy.toml").unwrap();
    let HostResults { target, ports, .. } = host("127.0.0.1", None);
    let host = HostResults::new(target, ports, Some(&policy), far.ok());
    let json: Value = serde_json::from_str(&render(&results(vec![host.clone()]), Format::Json, 2)).unwrap();
    let causes: Vec<&Value> = json["hosts"][0]["ports"].as_array().unwrap().iter().map(|port| &port["cause"]).collect();
    assert_eq!(causes[..3], [&json!("no_syn"), &json!("answer_lost"), &Value::Null]);
    assert_eq!(causes[7..10], ["ack_lost", "in_between", "in_between"]);
    let text = render(&results(vec![host]), Format::Text, 2);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    let expected = [
        "501      open         open      0.9 ms   closed without data: answered by something in between",
        "20       filtered                        no SYN arrived",
        "21       filtered                        the SYN arrived, and the answer was lost",
    ];
    assert_eq!(lines[..3], expected, "{text}");
}

#[test]
fn junit_has_a_suite_for_each_host_and_a_case_for_each_range() {
    let policy = Policy::parse(POLICY, "policy.toml").unwrap();
    let mut hosts = ["127.0.0.1", "127.0.0.3"].map(|name| host(name, Some(&policy))).to_vec();
    hosts[1].ports[2].state = PortState::Open(Answer::Data(b"<a href=\"x\">&\x01".to_vec()));
    let xml = render(&results(hosts), Format::Junit, 2);
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="tcp-bounce probe" tests="22" failures="6" errors="0" time="6.600">
  <testsuite name="127.0.0.1" tests="11" failures="3" errors="0">
    <testcase classname="127.0.0.1" name="ports 20-21">
      <system-out>filtered</system-out>
    </testcase>
    <testcase classname="127.0.0.1" name="port 22">
      <system-out>open: &quot;SSH-2.0-OpenSSH_9.2p1\r\n&quot;</system-out>
    </testcase>
"#;
    assert!(xml.starts_with(expected), "{xml}");
    let failure = r#"    <testcase classname="127.0.0.1" name="port 443">
      <failure type="difference" message="expected closed, but open: tcp-bounce, reached from 127.0.0.2"/>
    </testcase>
"#;
    assert!(xml.contains(failure), "{xml}");
    assert!(
        xml.contains(r#"<system-out>open: &quot;&lt;a href=\&quot;x\&quot;&gt;&amp;\x01&quot;</system-out>"#),
        "{xml}"
    );
}
