//! The comparison of the arrived SYNs and handshakes with a policy (`--expect`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use tcp_bounce_wire::Action;

use super::ClientEvent;
use super::port_counts::PortCounts;
use crate::config::{Config, Policy, PortSelection, PossibleRules, PostHandshake};
use crate::port_table::{PortRange, expected, fold, words};

/// The maximum number of clients that are listed for a port and a rule.
const MAX_CLIENTS: usize = 4;

/// A policy, and the clients that arrived so far.
pub struct Expectation {
    policy: Policy,
    /// The prefixes of the answered clients. An empty list stands for all clients.
    sources: Vec<IpNet>,
    /// The addresses that tcp-bounce has answered for during the run.
    destinations: BTreeSet<IpNet>,
    /// The ports that tcp-bounce answers on.
    selection: PortSelection,
    post_handshake: PostHandshake,
    /// The arrivals by port, and by the index of the rule that decides about the client.
    arrivals: BTreeMap<(u16, usize), Arrivals>,
    /// The number of completed handshakes with an event, by port.
    completed: BTreeMap<u16, u64>,
}

/// The clients at a port about which one rule decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Arrivals {
    /// The first clients that completed a handshake.
    clients: BTreeSet<IpAddr>,
    /// Whether there were more clients than `clients` contains.
    has_more: bool,
}

/// The result of a comparison.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The file of the policy, as the user wrote it.
    pub policy: String,
    /// The number of ports that differ from the policy.
    pub differences: usize,
    /// The ranges of ports. Those that differ come first.
    pub rows: Vec<ComparisonRow>,
}

/// A range of adjacent ports with equal outcomes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ComparisonRow {
    /// The ports.
    #[serde(serialize_with = "as_text")]
    pub ports: PortRange,
    /// The outcome of each port.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The outcome of a port, for the clients about which one rule decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The furthest state that these clients reached.
    pub state: ArrivalState,
    /// The state that the rule expects: "open" or "closed".
    pub expected: &'static str,
    /// Whether the state differs from it.
    pub differs: bool,
    /// The line of the rule in the policy. `None` for the default.
    pub rule: Option<usize>,
    /// The first clients that completed a handshake.
    pub clients: Vec<IpAddr>,
    /// Whether there were more clients than `clients` contains.
    #[serde(rename = "more_clients")]
    pub has_more_clients: bool,
}

/// How far the clients of a port came. A later state includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalState {
    /// No SYN arrived.
    NoSyn,
    /// A SYN was answered, and no handshake was completed.
    Incomplete,
    /// A SYN arrived where tcp-bounce does not see whether the handshake is completed.
    SynArrived,
    /// A handshake was completed.
    Open,
}

impl ArrivalState {
    /// Returns a description for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::NoSyn => "no SYN arrived",
            Self::Incomplete => "no handshake completed",
            Self::SynArrived => "SYN arrived",
            Self::Open => "open",
        }
    }

    /// Returns whether the port counts as open.
    fn is_open(self) -> bool {
        self >= Self::SynArrived
    }
}

impl Outcome {
    /// Returns the clients that completed a handshake, separated by spaces. `...` stands for additional ones.
    pub fn clients(&self) -> String {
        words(self.clients.iter().map(IpAddr::to_string).collect(), self.has_more_clients)
    }

    /// Returns the place of the rule in the policy.
    pub fn rule_name(&self) -> String {
        self.rule.map_or_else(|| "default".to_owned(), |line| format!("line {line}"))
    }
}

impl Expectation {
    /// Creates the expectation of a run, before anything arrives.
    pub fn new(policy: Policy, config: &Config) -> Self {
        Self {
            policy,
            sources: config.scope.sources.clone(),
            destinations: BTreeSet::new(),
            selection: config.scope.ports.clone(),
            post_handshake: config.post_handshake.clone(),
            arrivals: BTreeMap::new(),
            completed: BTreeMap::new(),
        }
    }

    /// Adds addresses that tcp-bounce answers for.
    pub fn add_destinations(&mut self, prefixes: Vec<IpNet>) {
        self.destinations.extend(prefixes);
    }

    /// Adds the client of an event. Events of later segments may belong to a connection from before the run, so they
    /// are ignored.
    pub fn add(&mut self, event: &ClientEvent) {
        if !matches!(event.event, "syn" | "completed") {
            return;
        }
        let rule = self.policy.deciding_rule(Some(event.source), event.destination, event.port);
        let arrivals = self.arrivals.entry((event.port, rule)).or_default();
        if event.event != "completed" {
            return;
        }
        *self.completed.entry(event.port).or_default() += 1;
        if !arrivals.clients.contains(&event.source) {
            if arrivals.clients.len() < MAX_CLIENTS {
                arrivals.clients.insert(event.source);
            } else {
                arrivals.has_more = true;
            }
        }
    }

    /// Compares all arrivals with the policy. `counts` returns the counts of a port.
    pub fn compare(&self, counts: impl Fn(u16) -> PortCounts) -> Comparison {
        let destinations = Vec::from_iter(self.destinations.iter().copied());
        let mut possible = PossibleRules::new(&self.policy, &self.sources, &destinations);
        // No client can connect to port 0.
        let ports = (1..=u16::MAX).filter(|&port| self.selection.contains(port));
        let mut outcomes: Vec<(usize, u16, Outcome)> = Vec::new();
        let mut differences = 0;
        for port in ports {
            let of_port = self.outcomes(port, possible.at(port), counts(port));
            differences += usize::from(of_port.iter().any(|(_, outcome)| outcome.differs));
            outcomes.extend(of_port.into_iter().map(|(rule, outcome)| (rule, port, outcome)));
        }
        // Ports are folded only with others of their rule.
        outcomes.sort_by_key(|&(rule, port, _)| (rule, port));
        let ports = outcomes.iter().map(|(_, port, _)| *port);
        let rows = fold(ports, |index| outcomes[index].2.clone());
        let mut rows: Vec<ComparisonRow> =
            rows.into_iter().map(|row| ComparisonRow { ports: row.ports, outcome: row.key }).collect();
        rows.sort_by_key(|row| (!row.outcome.differs, row.ports.first));
        Comparison { policy: self.policy.name().to_owned(), differences, rows }
    }

    /// Returns the outcomes of a port, each with the index of its rule. `possible` are the rules that can decide.
    ///
    /// Outcomes without a SYN that are as expected are left out, unless there is no other one.
    fn outcomes(&self, port: u16, possible: &BTreeSet<usize>, counts: PortCounts) -> Vec<(usize, Outcome)> {
        let known: BTreeMap<usize, &Arrivals> = self
            .arrivals
            .range((port, 0)..=(port, usize::MAX))
            .map(|(&(_, rule), arrivals)| (rule, arrivals))
            .collect();
        let from_unknown = self.state_from_unknown(port, counts, known.is_empty());
        // Unknown clients may be those of any rule. They meet the expectation if a rule expects an open port.
        let is_any_open = possible.iter().any(|&rule| self.policy.is_open(rule));
        let outcome = |rule: usize| {
            let is_open = self.policy.is_open(rule);
            let arrivals = known.get(&rule);
            let known = arrivals.map_or(ArrivalState::NoSyn, |arrivals| self.state(port, arrivals));
            let unknown = Some(from_unknown).filter(|_| is_open || !is_any_open);
            let state = known.max(unknown.unwrap_or(ArrivalState::NoSyn));
            let Arrivals { clients, has_more } = arrivals.copied().cloned().unwrap_or_default();
            Outcome {
                state,
                expected: expected(is_open),
                differs: state.is_open() != is_open,
                rule: self.policy.line(rule),
                clients: clients.into_iter().collect(),
                has_more_clients: has_more,
            }
        };
        let rules: BTreeSet<usize> = possible.iter().chain(known.keys()).copied().collect();
        let outcomes: Vec<(usize, Outcome)> = rules.into_iter().map(|rule| (rule, outcome(rule))).collect();
        let is_remarkable = |outcome: &Outcome| outcome.differs || outcome.state != ArrivalState::NoSyn;
        if outcomes.iter().any(|(_, outcome)| is_remarkable(outcome)) {
            outcomes.into_iter().filter(|(_, outcome)| is_remarkable(outcome)).collect()
        } else {
            outcomes.into_iter().take(1).collect()
        }
    }

    fn state(&self, port: u16, arrivals: &Arrivals) -> ArrivalState {
        match arrivals.clients.is_empty() {
            false => ArrivalState::Open,
            true if self.is_echo(port) => ArrivalState::SynArrived,
            true => ArrivalState::Incomplete,
        }
    }

    /// Returns the state that clients without an event reached: those of a local listener, and those whose events were
    /// dropped. `has_no_event` tells whether the port has no event at all.
    fn state_from_unknown(&self, port: u16, counts: PortCounts, has_no_event: bool) -> ArrivalState {
        let PortCounts { answered, excluded_syns } = counts;
        if answered.completed > self.completed.get(&port).copied().unwrap_or_default() {
            ArrivalState::Open
        } else if excluded_syns > 0 {
            ArrivalState::SynArrived
        } else if answered.syns > 0 && has_no_event {
            self.state(port, &Arrivals::default())
        } else {
            ArrivalState::NoSyn
        }
    }

    /// Returns whether the action of `port` is echo, which does not count completed handshakes.
    fn is_echo(&self, port: u16) -> bool {
        self.post_handshake.action_of(port) == Action::Echo
    }
}

fn as_text<S: Serializer>(ports: &PortRange, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(ports)
}

#[cfg(test)]
mod tests;
