//! The messages to the user, with their JSON and their text.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tcp_bounce_wire::Verdict;

use super::journal::Priority;
use super::numbers::{grouped, rounded};
use crate::config::AttachMode;
use crate::preflight::{Check, Finding};
use crate::responder::{AffectedConnections, AnswerSummary, RETRY_TIME, Scope};
use crate::telemetry::{ClientEvent, EventTotals, Summary, TopEntry, TopList};

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
    /// Dropped events that no summary reports.
    EventsDropped {
        /// The number of dropped events.
        events: u64,
    },
    /// The result of a preflight check.
    Check(Check),
    /// An error that kept tcp-bounce from starting, or ended the run.
    Error {
        /// The error and its causes.
        message: String,
        /// A hint on how to resolve the error.
        hint: Option<String>,
        /// The lines that libbpf printed.
        libbpf: Vec<String>,
    },
}

impl Message {
    /// Returns the priority of the message as a journal entry.
    pub fn priority(&self) -> Priority {
        match self {
            Self::Error { .. } => Priority::Error,
            Self::Check(check) if !check.starts() => Priority::Error,
            Self::AffectedConnections { .. }
            | Self::Warning { .. }
            | Self::HostUnreadable { .. }
            | Self::EventsDropped { .. } => Priority::Warning,
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
                write!(f, "{interface} ({mode} mode")?;
                if let Some(remark) = remark {
                    write!(f, ": {remark}")?;
                }
                write!(f, ") for {scope}: {answering}")
            }
            Self::Warning { interface: Some(interface), finding } => write!(f, "{interface}: {finding}"),
            Self::Warning { interface: None, finding } => write!(f, "{finding}"),
            Self::ScopeChanged { interface, scope } => write!(f, "{interface}: from now on for {scope}"),
            Self::AnswerChanged(answering) => write!(f, "from now on {answering}"),
            Self::HostUnreadable { message, hint } => {
                let retry_time = rounded(RETRY_TIME);
                write!(f, "warning: {message}; keeping the last known state, retrying for {retry_time}")?;
                hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
            }
            Self::HostReadable => f.write_str("the state of the host can be read again"),
            Self::Event(event) => write!(f, "{event}"),
            Self::Summary(summary) => write!(f, "{summary}"),
            Self::EventsDropped { events } => write!(f, "tcp-bounce: {events} events were lost"),
            Self::Check(check) => write!(f, "{check}"),
            Self::Error { message, hint, libbpf } => {
                write!(f, "tcp-bounce: {message}")?;
                hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
                libbpf.iter().try_for_each(|line| write!(f, "\n  libbpf: {line}"))
            }
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { elapsed, counters, events, ports, sources } = self;
        write!(f, "detached after {}", rounded(*elapsed))?;
        for verdict in Verdict::ALL {
            let is_always_shown = match verdict {
                Verdict::Answered => true,
                Verdict::Completed => counters.completed() == 0,
                _ => false,
            };
            if is_always_shown || counters[verdict] > 0 {
                write!(f, "\n{:>15} {}", grouped(counters[verdict]), verdict.description())?;
            }
        }
        if let Some(EventTotals { seen, delivered, dropped }) = events {
            let count = |count: &u64| grouped(*count);
            write!(
                f,
                "\n{:>15} events, of which {} were told and {} lost",
                count(seen),
                count(delivered),
                count(dropped)
            )?;
        }
        if let Some(ports) = ports {
            write!(f, "\n{:>15} ports asked for{ports}", grouped(ports.distinct as u64))?;
        }
        if let Some(sources) = sources {
            let least = if sources.at_least { " at least" } else { "" };
            write!(f, "\n{:>15} clients{least}{sources}", grouped(sources.distinct as u64))?;
        }
        Ok(())
    }
}

impl<T: Display> Display for TopList<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for (index, TopEntry { name, syns, .. }) in self.entries.iter().enumerate() {
            write!(f, "{}{name} ({})", if index == 0 { ", most: " } else { ", " }, grouped(*syns))?;
        }
        Ok(())
    }
}
