//! Tests of the comparison: each state of a port, with one rule and with several.

use std::time::SystemTime;

use serde_json::json;
use tcp_bounce_wire::ClientCounts;

use super::ArrivalState::{Incomplete, NoSyn, Open, SynArrived};
use super::*;
use crate::config::PortList;

const POLICY: &str = r#"
    [[rule]]
    ports = "22"
    from = "198.51.100.0/24"
    open = true

    [[rule]]
    ports = "80-82"
    open = true
"#;

/// The lines of the rules in [`POLICY`].
const FROM: Option<usize> = Some(2);
const ALL: Option<usize> = Some(7);

/// A run with a policy, on ports 20 to 25 and 79 to 84.
struct Run {
    expectation: Expectation,
    counts: BTreeMap<u16, PortCounts>,
}

impl Run {
    fn new(policy: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(["eth0"]);
        let ports: PortList = "20-25,79-84".parse().unwrap();
        config.scope.ports = PortSelection::new(Some(ports), PortList::default()).unwrap();
        change(&mut config);
        let mut expectation = Expectation::new(Policy::parse(policy, "policy.toml").unwrap(), &config);
        expectation.add_destinations(vec!["192.0.2.1/32".parse().unwrap()]);
        Self { expectation, counts: BTreeMap::new() }
    }

    /// Adds a SYN that tcp-bounce answers, and the completed handshake.
    fn connect(&mut self, client: &str, port: u16) -> &mut Self {
        self.send_syn(client, port);
        self.counts.entry(port).or_default().answered.completed += 1;
        self.add(client, port, "completed")
    }

    /// Adds a SYN that tcp-bounce answers.
    fn send_syn(&mut self, client: &str, port: u16) -> &mut Self {
        self.counts.entry(port).or_default().answered.syns += 1;
        self.add(client, port, "syn")
    }

    /// Adds a SYN that is passed to a local listener.
    fn reach_listener(&mut self, port: u16) -> &mut Self {
        self.counts.entry(port).or_default().excluded_syns += 1;
        self
    }

    fn add(&mut self, client: &str, port: u16, event: &'static str) -> &mut Self {
        self.expectation.add(&ClientEvent {
            time: SystemTime::UNIX_EPOCH,
            interface: "eth0".into(),
            source: client.parse().unwrap(),
            source_port: 40_000,
            destination: "192.0.2.1".parse().unwrap(),
            port,
            event,
            data: None,
        });
        self
    }

    fn compare(&self) -> Comparison {
        self.expectation.compare(|port| self.counts.get(&port).copied().unwrap_or_default())
    }

    /// Returns the differences: their ports, states and rules.
    fn differences(&self) -> Vec<(String, ArrivalState, Option<usize>)> {
        let rows = self.compare().rows.into_iter().filter(|row| row.outcome.differs);
        rows.map(|row| (row.ports.to_string(), row.outcome.state, row.outcome.rule)).collect()
    }
}

fn difference(ports: &str, state: ArrivalState, rule: Option<usize>) -> (String, ArrivalState, Option<usize>) {
    (ports.to_owned(), state, rule)
}

#[test]
fn ports_without_a_syn_differ_if_they_must_be_open() {
    let run = Run::new(POLICY, |_| ());
    assert_eq!(run.differences(), [difference("22", NoSyn, FROM), difference("80-82", NoSyn, ALL)]);
    let comparison = run.compare();
    assert_eq!(comparison.differences, 4);
    let others: Vec<String> = comparison.rows[2..].iter().map(|row| row.ports.to_string()).collect();
    assert_eq!(others, ["20-21", "23-25", "79", "83-84"]);
    assert_eq!(Run::new("", |_| ()).compare().differences, 0);
    assert_eq!(
        Run::new("default_open = true", |_| ()).differences(),
        [difference("20-25", NoSyn, None), difference("79-84", NoSyn, None)]
    );
}

#[test]
fn segments_of_older_connections_are_no_arrivals() {
    let mut run = Run::new(POLICY, |config| {
        config.post_handshake = PostHandshake::new(&["echo:81".parse().unwrap()]).unwrap();
    });
    for port in [80, 81] {
        run.add("203.0.113.7", port, "disconnected").add("203.0.113.7", port, "data");
    }
    assert_eq!(run.differences(), [difference("22", NoSyn, FROM), difference("80-82", NoSyn, ALL)]);
}

#[test]
fn a_completed_handshake_opens_a_port_for_the_rule_of_its_client() {
    let mut run = Run::new(POLICY, |_| ());
    run.connect("203.0.113.7", 80).connect("203.0.113.7", 81).connect("198.51.100.1", 82).connect("198.51.100.1", 22);
    assert_eq!(run.differences(), []);
    // This client must not reach port 22.
    run.connect("203.0.113.7", 22);
    assert_eq!(run.differences(), [difference("22", Open, None)]);
    assert_eq!(run.compare().differences, 1);
    // Two rules differ at one port.
    let mut run = Run::new(POLICY, |_| ());
    run.connect("203.0.113.7", 22).connect("203.0.113.7", 80).connect("203.0.113.7", 81).connect("203.0.113.7", 82);
    assert_eq!(run.differences(), [difference("22", NoSyn, FROM), difference("22", Open, None)]);
    assert_eq!(run.compare().differences, 1);
}

#[test]
fn a_syn_alone_does_not_open_a_port() {
    let mut run = Run::new(POLICY, |_| ());
    run.connect("198.51.100.1", 22).send_syn("203.0.113.7", 80).connect("203.0.113.7", 81);
    run.connect("203.0.113.7", 82).send_syn("203.0.113.7", 83);
    assert_eq!(run.differences(), [difference("80", Incomplete, ALL)]);
    let closed = run.compare().rows.into_iter().find(|row| row.ports.first == 83).unwrap();
    assert_eq!((closed.outcome.state, closed.outcome.differs), (Incomplete, false));
}

#[test]
fn rules_that_no_client_can_match_are_left_out() {
    let sources = |prefix: &str| vec![prefix.parse().unwrap()];
    let without = Run::new(POLICY, |config| config.scope.sources = sources("203.0.113.0/24"));
    assert_eq!(without.differences(), [difference("80-82", NoSyn, ALL)]);
    let with = Run::new(POLICY, |config| config.scope.sources = sources("198.51.100.8/32"));
    assert_eq!(with.differences(), [difference("22", NoSyn, FROM), difference("80-82", NoSyn, ALL)]);
    let elsewhere =
        "[[rule]]\nto = \"192.0.2.2\"\nopen = true\n[[rule]]\nto = \"192.0.2.1\"\nports = 20\nopen = true\n";
    assert_eq!(Run::new(elsewhere, |_| ()).differences(), [difference("20", NoSyn, Some(4))]);
}

/// The clients of a local listener are unknown, and echo does not see the end of a handshake.
#[test]
fn a_syn_opens_the_port_of_a_listener_and_of_echo() {
    let mut run = Run::new(POLICY, |config| {
        config.post_handshake = PostHandshake::new(&["echo:80,84".parse().unwrap()]).unwrap();
    });
    run.reach_listener(22).reach_listener(23).send_syn("203.0.113.7", 80).send_syn("203.0.113.7", 84);
    run.connect("203.0.113.7", 81).connect("203.0.113.7", 82);
    assert_eq!(run.differences(), [difference("23", SynArrived, None), difference("84", SynArrived, None)]);
}

/// The counts of a port are complete, even if all its events were dropped.
#[test]
fn dropped_events_do_not_close_a_port() {
    let mut run = Run::new(POLICY, |_| ());
    for port in [22, 80, 81, 82, 83] {
        run.counts.insert(port, PortCounts { answered: ClientCounts { syns: 2, completed: 1 }, excluded_syns: 0 });
    }
    run.counts.insert(82, PortCounts { answered: ClientCounts { syns: 2, completed: 0 }, excluded_syns: 0 });
    assert_eq!(run.differences(), [difference("82", Incomplete, ALL), difference("83", Open, None)]);
}

#[test]
fn dropped_completions_do_not_close_a_port() {
    let mut run = Run::new(POLICY, |_| ());
    run.connect("198.51.100.7", 22).send_syn("203.0.113.7", 80).send_syn("203.0.113.7", 83).reach_listener(81);
    for port in [80, 83] {
        run.counts.insert(port, PortCounts { answered: ClientCounts { syns: 1, completed: 1 }, excluded_syns: 0 });
    }
    run.counts.insert(82, PortCounts { answered: ClientCounts { syns: 1, completed: 1 }, excluded_syns: 0 });
    assert_eq!(run.differences(), [difference("83", Open, None)]);
}

#[test]
fn only_answered_ports_are_compared() {
    let excluded = |config: &mut Config| {
        let only: PortList = "0,22-23".parse().unwrap();
        config.scope.ports = PortSelection::new(Some(only), "23".parse().unwrap()).unwrap();
    };
    let mut run = Run::new("default_open = true", excluded);
    run.reach_listener(80);
    assert_eq!(run.differences(), [difference("22", NoSyn, None)]);
}

#[test]
fn json_has_ranges_of_ports() {
    let mut run = Run::new("[[rule]]\nports = \"80-81\"\nopen = true\n", |_| ());
    for client in 1..=5 {
        run.connect(&format!("192.0.2.{client}"), 81);
    }
    let comparison = serde_json::to_value(run.compare()).unwrap();
    assert_eq!((&comparison["policy"], &comparison["differences"]), (&json!("policy.toml"), &json!(1)));
    let missing = json!({
        "ports": "80", "state": "no_syn", "expected": "open", "differs": true, "rule": 1, "clients": [],
        "more_clients": false,
    });
    let open = json!({
        "ports": "81", "state": "open", "expected": "open", "differs": false, "rule": 1,
        "clients": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], "more_clients": true,
    });
    assert_eq!((&comparison["rows"][0], &comparison["rows"][3]), (&missing, &open), "{comparison}");
}
