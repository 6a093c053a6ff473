//! The messages to the user, with their JSON and their text.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use tcp_bounce_wire::{Counters, Verdict};

use super::numbers::{counted, grouped, rounded};
use super::verdicts;
use crate::config::AttachMode;
use crate::output::{Entry, Priority};
use crate::port_table;
use crate::preflight::{Check, Finding};
use crate::responder::{AffectedConnections, AnswerSummary, RETRY_TIME, Scope};
use crate::telemetry::{
    ClientEvent, Comparison, ComparisonRow, CountedHandshakes, EventTotals, InterfaceCounters, Summary, TopEntry,
    TopList,
};

/// A message to the user. `docs/output.schema.json` describes the JSON that it serializes to.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The established connections that takeover affects.
    AffectedConnections {
        /// The affected connections.
        connections: AffectedConnections,
    },
    /// tcp-bounce has started to answer on an interface.
    Started {
        /// The name of the interface.
        interface: String,
        /// The attach mode of the program.
        mode: AttachMode,
        /// A note on why this mode was chosen, if there is one.
        remark: Option<String>,
        /// The destination addresses that tcp-bounce answers for.
        #[serde(rename = "destinations")]
        scope: Scope,
        /// The answered ports and clients, and the post-handshake actions.
        #[serde(flatten)]
        answering: AnswerSummary,
    },
    /// The metrics server is ready.
    Metrics {
        /// The address that it listens on.
        address: SocketAddr,
    },
    /// A finding that does not keep tcp-bounce from starting.
    Warning {
        /// The name of the interface. `None` if the finding is about the host.
        interface: Option<String>,
        /// The finding.
        #[serde(flatten)]
        finding: Finding,
    },
    /// A change of the destination addresses of an interface.
    #[serde(rename = "destinations_changed")]
    ScopeChanged {
        /// The name of the interface.
        interface: String,
        /// The destination addresses that tcp-bounce answers for from now on.
        #[serde(rename = "destinations")]
        scope: Scope,
    },
    /// A change of the excluded ports.
    #[serde(rename = "ports_changed")]
    AnswerChanged(AnswerSummary),
    /// The state of the host cannot be read for now. The last known state stays in force.
    HostUnreadable {
        /// The error and its causes.
        message: String,
        /// A hint on how to resolve the error.
        hint: Option<String>,
    },
    /// The state of the host can be read again.
    HostReadable,
    /// A client event.
    Event(ClientEvent),
    /// The totals at the end of the run.
    Summary(Summary),
    /// The port report was written.
    ReportWritten {
        /// The path of the file, as the user wrote it.
        path: PathBuf,
        /// The number of ports in the report.
        ports: usize,
    },
    /// The comparison of the port report with a policy.
    Comparison(Comparison),
    /// Dropped events that no summary reports.
    EventsDropped {
        /// The number of dropped events.
        events: u64,
    },
    /// The result of a preflight check.
    Check(Check),
}

impl Entry for Message {
    fn priority(&self) -> Priority {
        match self {
            Self::Check(check) if !check.starts() => Priority::Error,
            Self::AffectedConnections { .. }
            | Self::Warning { .. }
            | Self::HostUnreadable { .. }
            | Self::EventsDropped { .. } => Priority::Warning,
            Self::Comparison(comparison) if comparison.differences > 0 => Priority::Warning,
            // journald limits the rate of each priority. A separate priority keeps events from crowding out the rest.
            Self::Event(_) => Priority::Debug,
            _ => Priority::Info,
        }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::AffectedConnections { connections } => write!(f, "{connections}"),
            Self::Started { interface, mode, remark, scope, answering } => {
                write!(f, "{interface} ({mode} mode): answering on {}\n  addresses: {scope}", answering.exclusions())?;
                answering.settings().iter().try_for_each(|setting| write!(f, "\n  {setting}"))?;
                remark.iter().try_for_each(|remark| write!(f, "\n  note: {remark}"))
            }
            Self::Metrics { address } => write!(f, "metrics: http://{address}/metrics"),
            Self::Warning { interface, finding } => write!(f, "{}", finding.about(interface.as_deref())),
            Self::ScopeChanged { interface, scope } => write_scope_change(f, interface, scope),
            Self::AnswerChanged(answering) => write!(f, "now answering on {}", answering.exclusions()),
            Self::HostUnreadable { message, hint } => {
                let retry_time = rounded(RETRY_TIME);
                write!(f, "warning: {message}; keeping the last known state, retrying for {retry_time}")?;
                hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
            }
            Self::HostReadable => f.write_str("the state of the host can be read again"),
            Self::Event(event) => write!(f, "{event}"),
            Self::Summary(summary) => write!(f, "{summary}"),
            Self::ReportWritten { path, ports } => {
                write!(f, "report: {}, written to {}", counted(*ports as u64, "port"), path.display())
            }
            Self::Comparison(comparison) => write!(f, "{comparison}"),
            Self::EventsDropped { events } => {
                let were = if *events == 1 { "was" } else { "were" };
                write!(f, "warning: {} {were} dropped", counted(*events, "event"))
            }
            Self::Check(check) => write!(f, "{check}"),
        }
    }
}

/// Writes the addresses that tcp-bounce answers for from now on, or that there are none.
fn write_scope_change(f: &mut Formatter, interface: &str, scope: &Scope) -> fmt::Result {
    if scope.is_empty() {
        write!(f, "{interface}: no address left, so nothing is answered")
    } else {
        write!(f, "{interface}: now answering for {scope}")
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { elapsed, counters, interfaces, events, ports, sources, .. } = self;
        write!(f, "detached after {}", rounded(*elapsed))?;
        if interfaces.len() > 1 {
            for InterfaceCounters { interface, counters } in interfaces {
                write!(f, "\n{interface}:")?;
                write_counters(f, counters, self)?;
            }
            write!(f, "\ntotal:")?;
        }
        write_counters(f, counters, self)?;
        if let Some(EventTotals { seen, delivered, dropped }) = *events {
            write!(f, "\nevents: {} delivered, {} dropped", grouped(delivered), grouped(dropped))?;
            match seen.saturating_sub(delivered + dropped) {
                0 => {}
                skipped => write!(f, ", {} skipped by --sample", grouped(skipped))?,
            }
        }
        if let Some(ports) = ports {
            write_top(f, "ports", "to port", ports)?;
        }
        if let Some(sources) = sources {
            write_top(f, "clients", "from", sources)?;
        }
        Ok(())
    }
}

impl Display for Comparison {
    /// Writes a table, which begins with the ports that differ, and the verdict.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let headings = ["PORTS", "STATE", "EXPECTED", "RULE", "CLIENTS"].map(str::to_owned);
        let cells = |ComparisonRow { ports, outcome }: &ComparisonRow| {
            let expected = if outcome.differs { outcome.expected } else { "" };
            let state = outcome.state.description().to_owned();
            [ports.to_string(), state, expected.to_owned(), outcome.rule_name(), outcome.clients()]
        };
        let rows = [headings].into_iter().chain(self.rows.iter().map(cells)).map(Vec::from);
        let table = port_table::table(&rows.collect::<Vec<_>>());
        write!(f, "{table}{}", port_table::verdict(&self.policy, self.differences))
    }
}

/// Writes a line for each counter that is not 0, and in any case for answered SYNs and completed handshakes.
///
/// The counters are those of `summary`, or of one of its interfaces.
fn write_counters(f: &mut Formatter, counters: &Counters, summary: &Summary) -> fmt::Result {
    let handshakes = summary.handshakes;
    for verdict in verdicts::in_order() {
        let count = counters[verdict];
        let is_always_shown = match verdict {
            Verdict::Answered => true,
            Verdict::Completed => counters.completed() == 0 && handshakes != CountedHandshakes::None,
            _ => false,
        };
        let is_partial = matches!(
            verdict,
            Verdict::Completed | Verdict::Reset | Verdict::Closed | Verdict::Greeted | Verdict::Accepted
        ) && handshakes == CountedHandshakes::ExceptEcho;
        let note = if is_partial { " (echo ports are not counted)" } else { "" };
        if is_always_shown || count > 0 {
            write!(f, "\n{:>15} {}{note}", grouped(count), verdicts::description(verdict, count, summary.has_profile))?;
        }
    }
    Ok(())
}

/// Writes a heading with the number of distinct ports or clients, and a line for each entry.
///
/// `nouns` names the entries, and `preposition` leads to one of them: `SYNs to port 80`.
fn write_top<T: Display>(f: &mut Formatter, nouns: &str, preposition: &str, list: &TopList<T>) -> fmt::Result {
    let TopList { distinct, at_least, entries } = list;
    if entries.is_empty() {
        return write!(f, "\nbusiest {nouns}: none");
    }
    let at_least = if *at_least { "at least " } else { "" };
    write!(f, "\nbusiest {nouns} (of {at_least}{}):", grouped(*distinct as u64))?;
    for TopEntry { name, syns, .. } in entries {
        write!(f, "\n{:>15} SYN{} {preposition} {name}", grouped(*syns), if *syns == 1 { "" } else { "s" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn counters(counts: &[(Verdict, u64)]) -> Counters {
        let count = |verdict| counts.iter().find(|(other, _)| *other == verdict).map_or(0, |(_, count)| *count);
        Counters::from(Verdict::ALL.map(count))
    }

    fn summary(interfaces: &[(&str, Counters)]) -> Summary {
        Summary {
            elapsed: Duration::from_millis(500),
            counters: interfaces.iter().map(|(_, counters)| *counters).sum(),
            interfaces: interfaces
                .iter()
                .map(|&(name, counters)| InterfaceCounters { interface: name.to_owned(), counters })
                .collect(),
            handshakes: CountedHandshakes::All,
            has_profile: false,
            events: None,
            ports: None,
            sources: None,
        }
    }

    #[test]
    fn summary_of_one_interface_has_no_headings() {
        let mut summary = summary(&[("eth1", counters(&[(Verdict::Answered, 1), (Verdict::OtherTcp, 1234)]))]);
        summary.events = Some(EventTotals { seen: 100, delivered: 9, dropped: 1 });
        let entry = |name, syns| TopEntry { name, syns, completed: 0 };
        summary.ports = Some(TopList { distinct: 1000, at_least: false, entries: vec![entry(80, 2000), entry(22, 1)] });
        summary.sources = Some(TopList { distinct: 0, at_least: false, entries: Vec::new() });
        let expected = "detached after 0.5 seconds
              1 SYN answered
              0 handshakes completed
          1,234 passed: other TCP segments
events: 9 delivered, 1 dropped, 90 skipped by --sample
busiest ports (of 1,000):
          2,000 SYNs to port 80
              1 SYN to port 22
busiest clients: none";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn summary_of_several_interfaces_ends_with_the_total() {
        let one = counters(&[(Verdict::Answered, 2), (Verdict::Completed, 1)]);
        let expected = "detached after 0.5 seconds
eth1:
              2 SYNs answered
              1 handshake completed
eth2:
              0 SYNs answered
              0 handshakes completed
total:
              2 SYNs answered
              1 handshake completed";
        assert_eq!(summary(&[("eth1", one), ("eth2", counters(&[]))]).to_string(), expected);
    }

    #[test]
    fn summary_says_which_handshakes_are_not_counted() {
        for (handshakes, counts, expected) in [
            (CountedHandshakes::None, &[(Verdict::Answered, 9), (Verdict::Later, 9)][..], "9 later segments dropped"),
            (CountedHandshakes::ExceptEcho, &[], "0 handshakes completed (echo ports are not counted)"),
            (
                CountedHandshakes::ExceptEcho,
                &[(Verdict::Closed, 1)],
                "1 handshake completed and closed (echo ports are not counted)",
            ),
        ] {
            let text = Summary { handshakes, ..summary(&[("eth1", counters(counts))]) }.to_string();
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            assert_eq!((lines.len(), lines[2]), (3, expected), "{text}");
        }
    }

    #[test]
    fn summary_with_a_profile_names_handshakes_without_banner_and_unanswered_ports() {
        let counts = [
            (Verdict::Answered, 9),
            (Verdict::Greeted, 7),
            (Verdict::Replied, 3),
            (Verdict::Completed, 2),
            (Verdict::Excluded, 1),
        ];
        for (has_profile, completed, excluded) in [
            (false, "2 handshakes completed", "1 passed: to an excluded port"),
            (true, "2 handshakes completed, no banner", "1 passed: to a port that is not answered"),
        ] {
            let text = Summary { has_profile, ..summary(&[("eth1", counters(&counts))]) }.to_string();
            let lines: Vec<&str> = text.lines().skip(1).map(str::trim_start).collect();
            let greeted = "7 handshakes completed, banner sent";
            assert_eq!(lines, ["9 SYNs answered", completed, greeted, "3 later segments answered", excluded]);
        }
        let idle = Summary { has_profile: true, ..summary(&[("eth1", counters(&[]))]) }.to_string();
        assert!(idle.ends_with(" 0 handshakes completed"), "{idle}");
    }

    #[test]
    fn counts_one_in_the_singular() {
        let report = |ports| Message::ReportWritten { path: "arrived.csv".into(), ports }.to_string();
        assert_eq!(report(1), "report: 1 port, written to arrived.csv");
        assert_eq!(report(7), "report: 7 ports, written to arrived.csv");
        let dropped = |events| Message::EventsDropped { events }.to_string();
        assert_eq!(dropped(1), "warning: 1 event was dropped");
        assert_eq!(dropped(2000), "warning: 2,000 events were dropped");
    }

    #[test]
    fn warnings_name_the_interface_after_the_severity() {
        let finding = Finding::warning("down", "the interface is down").with_command("ip link set dev eth1 up");
        let warning = |interface: Option<&str>| {
            Message::Warning { interface: interface.map(str::to_owned), finding: finding.clone() }.to_string()
        };
        let hint = "  hint: run `ip link set dev eth1 up`";
        assert_eq!(warning(Some("eth1")), format!("warning: eth1: the interface is down\n{hint}"));
        assert_eq!(warning(None), format!("warning: the interface is down\n{hint}"));
    }
}
